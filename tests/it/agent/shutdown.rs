//! SHUTDOWN: what still arrives counts, and the agent ends before its deadline, whatever its sink,
//! its resolver or a clock does.
//!
//! The rules themselves are tested one by one in `agent/src/event_loop/schedule/`.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream, UdpSocket};
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use sandbox::{Intake, IntakeAnswer, ShutdownReason, Switches};

use super::needs;
use super::support::binary::binary;
use super::support::bodies::{OOM, bodies, oom_body};
use super::support::sandboxed_agent::SandboxedAgent;
use super::support::script::{Script, shutdown};
use super::support::signals::send_signal_to_group;

/// An invocation that is open, with evidence that waits for its end.
const OPEN_WITH_A_MENTION: &str =
    "100 start A\n 110 log java.lang.OutOfMemoryError: Java heap space";

/// A deadline that even a very slow machine does not reach while a test goes on.
const FAR_MS: u128 = 30_000;

#[test]
fn shutdown_may_be_the_first_event() {
    SandboxedAgent::start().end(0).assert_no_warning();
    Script::start_ready(&[]).end(0).assert_warnings(0);
}

#[test]
fn with_a_deadline_that_has_passed_or_is_missing_the_agent_still_counts() {
    for deadline in ["0", "1", "-5", "1.5", "null", "\"soon\"", "99999999999999999999999"] {
        let mut script = Script::start_ready(&[]);
        script.post(&bodies(OPEN_WITH_A_MENTION)[0]);
        script.send_event(&format!(
            r#"{{"eventType":"SHUTDOWN","shutdownReason":"failure","deadlineMs":{deadline}}}"#
        ));
        script.wait_for_end(0, 1).assert_warnings(0);
    }
}

/// Half of the body arrives before SHUTDOWN. The other half has the evidence.
#[test]
fn a_report_that_arrives_during_shutdown_counts() {
    let mut script = Script::start_ready(&[]);
    let body = oom_body();
    let mut sender = script.connect();
    let (begin, rest) = body.split_at(20);
    sender.write(sender.head(body.len()));
    sender.write(begin);
    script.send_event(&shutdown("failure", FAR_MS));
    sender.write(rest);
    assert_eq!(sender.status(), 200);
    script.wait_for_end(0, 1).assert_warnings(0);
}

/// A suspicion waits for the report, which may come on another connection.
#[test]
fn a_connection_that_opens_during_shutdown_counts() {
    let mut script = Script::start_ready(&[]);
    let [open, rest] =
        &bodies(&format!("{OPEN_WITH_A_MENTION}\n--\n200 done A error\n210 report A error 94/192"))
            [..]
    else {
        panic!("two bodies");
    };
    script.post(open);
    script.send_event(&shutdown("failure", FAR_MS));
    script.post(rest);
    script.wait_for_end(0, 1).assert_warnings(0);
}

/// Lambda may still report the end of an open invocation. So the agent goes on waiting although
/// nothing arrives.
#[test]
fn an_end_that_is_reported_late_in_shutdown_counts() {
    let mut script = Script::start_ready(&[]);
    script.post(&bodies("100 start A")[0]);
    let mut sender = script.connect();
    script.send_event(&shutdown("failure", FAR_MS));
    // Longer than the silence after which the agent otherwise ends.
    thread::sleep(Duration::from_millis(600));
    let end = &bodies("200 done A error Runtime.OutOfMemory")[0];
    assert_eq!(sender.post(end), 200);
    script.wait_for_end(0, 1).assert_warnings(0);
}

#[test]
fn the_reason_of_shutdown_decides_what_is_confirmed() {
    for (reason, confidence) in [
        (ShutdownReason::Failure, "confirmed"),
        (ShutdownReason::Timeout, "confirmed"),
        (ShutdownReason::Spindown, "suspected"),
    ] {
        let mut agent = SandboxedAgent::start();
        agent.invoke("A");
        agent.post_scenario(
            "100 start A\n 110 log FATAL ERROR: Reached heap limit Allocation failed - \
                   JavaScript heap out of memory",
        );
        let metric = agent.end_by(reason, 1).metrics().remove(0);
        assert_eq!(metric["Confidence"], confidence, "{reason:?}");
    }
}

#[test]
fn a_sender_that_never_ends_does_not_hold_up_shutdown() {
    let agent = SandboxedAgent::start();
    let mut sender = agent.connect();
    sender.write(sender.head(1000));
    agent.end(0).assert_no_warning();
    sender.assert_closed();
}

/// At the deadline the sandbox would kill the agent, which would then have no exit code.
#[test]
fn a_short_deadline_is_kept_with_an_attempt_still_open() {
    let switches = Switches { shutdown_limit: Duration::from_millis(200), ..Switches::default() };
    let mut agent = SandboxedAgent::start_with(|builder| builder.switches(switches));
    agent.invoke("A");
    agent.post_scenario(OPEN_WITH_A_MENTION);
    agent.end_by(ShutdownReason::Failure, 1).assert_no_warning();
}

#[test]
fn the_last_line_says_what_was_done() {
    let mut agent = SandboxedAgent::start();
    agent.invoke("A");
    agent.post_scenario(OOM);
    agent
        .end(1)
        .assert_once("watches sandbox-function")
        .assert_once("ends: ")
        .assert_once("written: 1")
        .assert_no_warning();
}

/// Starts a sink on loopback that answers each request in this way until the test ends. Returns its
/// URL.
fn start_sink(answer: impl Fn(TcpStream) + Send + 'static) -> String {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.expect("a connection");
            let mut request = [0; 4096];
            let _ = stream.read(&mut request);
            answer(stream);
        }
    });
    url
}

/// Runs an agent, which `command` becomes, with an OOM and the sink `url`. It asks for the next
/// event, ends before the deadline of SHUTDOWN, and counts the send in its last line.
fn check_ends_in_time(url: &str, command: Command, tally: &str) {
    let variables = [("DD_API_KEY", "k"), ("DD_URL", url)];
    let mut script = Script::start_by(command, Stdio::piped(), &variables).make_ready();
    script.post(oom_body());
    script.invoke();
    script.end_before_deadline("failure", 600, 0).assert_once(tally);
}

/// The answer comes byte by byte and never ends. The agent ends the child.
#[test]
fn a_sink_that_trickles_does_not_hold_up_shutdown() {
    let head = "HTTP/1.1 200 OK\r\nX: ";
    let url = start_sink(move |mut stream| {
        let mut bytes = head.bytes().chain(std::iter::repeat(b'x'));
        while bytes.next().is_some_and(|byte| stream.write_all(&[byte]).is_ok()) {
            thread::yield_now();
        }
    });
    check_ends_in_time(&url, Command::new(binary()), "sent: 0, unknown: 1,");
}

#[test]
fn a_sink_that_answers_garbage_does_not_hold_up_shutdown() {
    let url = start_sink(|mut stream| {
        let _ = stream.write_all(&[0xff; 3000]);
    });
    check_ends_in_time(&url, Command::new(binary()), "sent: 0, unknown: 1,");
}

#[test]
fn a_sink_that_closes_the_connection_does_not_hold_up_shutdown() {
    let url = start_sink(drop);
    check_ends_in_time(&url, Command::new(binary()), "sent: 0, unknown: 1,");
}

/// libc would wait 5 s for it. The agent kills the child long before.
#[test]
fn a_resolver_that_does_not_answer_does_not_hold_up_shutdown() {
    // An address of this test process, since another one may run at the same time.
    let [.., high, low] = std::process::id().to_be_bytes();
    let address = Ipv4Addr::new(127, 66, high, low);
    let Ok(_silent) = UdpSocket::bind((address, 53)) else {
        needs(false, "right to a resolver of its own");
        return;
    };
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("resolv.conf");
    std::fs::write(&file, format!("nameserver {address}\n")).expect("a file");
    let mut command = Command::new("unshare");
    let script = "mount --bind \"$0\" /etc/resolv.conf && exec \"$1\"";
    command.args(["--mount", "/bin/sh", "-c", script]).arg(&file).arg(binary());
    check_ends_in_time("http://intake.example", command, "sent: 0, unknown: 0,");
}

/// Lambda freezes the environment in the middle of a send, and thaws it much later.
#[test]
fn after_a_freeze_in_a_send_the_agent_ends_in_time() {
    let intake = Intake::start().expect("an intake");
    let delay = Duration::from_millis(300);
    intake.answer_next(IntakeAnswer { delay, ..IntakeAnswer::default() });
    let mut script = Script::start_in_a_send(&intake, &[]);
    // Agent and child stop, for longer than a send may last.
    assert!(send_signal_to_group("STOP", script.pid()));
    thread::sleep(Duration::from_millis(1200));
    assert!(send_signal_to_group("CONT", script.pid()));
    script.wait_for_next();
    let output = script.end_before_deadline("spindown", 2000, 0);
    let last = output.last_line();
    // Either the answer had arrived by the thaw, or the agent killed the child, which was late.
    assert!(last.contains("sent: 1, unknown: 0") || last.contains("sent: 0, unknown: 1"), "{last}");
    assert_eq!(intake.requests().len(), 1);
}

/// The times of records, the agent's clock and SHUTDOWN's deadline are three clocks. No two have to
/// agree.
#[test]
fn with_clocks_that_jump_the_agent_counts_and_ends() {
    let scenario = "
        900000000 start A
        100 done A error Runtime.OutOfMemory
        1800000000 report A error 192/192 Runtime.OutOfMemory
        50 start B
        1700000000 done B success
        60 report B success 94/192";
    for left_ms in [0, 1, 100, 2000, 86_400_000, 1_000_000_000_000] {
        let mut script = Script::start_ready(&[]);
        script.post(&bodies(scenario)[0]);
        // An attempt is open, so SHUTDOWN waits as long as it may.
        script.post(&bodies("1900000000 start C")[0]);
        script.invoke();
        script.send_event(&shutdown("spindown", left_ms));
        script.wait_for_end(0, 1).assert_warnings(0);
    }
}
