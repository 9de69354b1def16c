//! Load and time: more telemetry than Lambda would ever send, slow senders and sinks, a freeze in
//! the middle of a send, clocks that jump. Nothing is lost, counts twice or grows.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream, UdpSocket};
use std::process::{Command, Stdio};
use std::thread;

use sandbox::{Intake, IntakeAnswer};

use super::faults::post;
use super::needs;
use super::support::binary::binary;
use super::support::sandboxed_agent::{OOM, bodies};
use super::support::script::{INVOKE, Script, shutdown};

/// 100,000 lines in bodies of a thousand, as fast as the agent takes them. One of them is evidence.
#[test]
fn a_flood_of_lines() {
    let mut script = Script::ready(&[]);
    let mut sender = script.sender();
    let line =
        "110 log 2026-11-22T07:00:00.000Z INFO a line like any other, of eighty bytes or so\n";
    let flood = &bodies(&line.repeat(1000))[0];
    let dying = "150 log java.lang.OutOfMemoryError: Java heap space";
    assert_eq!(sender.post(&bodies("100 start A")[0]), 200);
    for round in 0..100 {
        assert_eq!(sender.post(flood), 200);
        if round == 50 {
            assert_eq!(sender.post(&bodies(&format!("{line}{dying}"))[0]), 200);
        }
    }
    assert_eq!(sender.post(&bodies("200 done A error\n 210 report A error 94/192")[0]), 200);
    script.give(INVOKE);
    script.next();
    script.end(1).warnings(0);
}

/// Megabytes at once, over connections that make room for each other. A body is never cut for
/// another connection that waits.
#[test]
fn ten_senders_of_long_lines_at_once() {
    let mut script = Script::ready(&[]);
    let port = script.port;
    let long = "x".repeat(1 << 20);
    thread::scope(|scope| {
        for number in 0..10 {
            let scenario = format!("{} log {long}\n", 100 + number);
            let body = bodies(&format!("{}{scenario}", OOM.replace(" A", &format!(" r{number}"))));
            scope.spawn(move || {
                for _ in 0..3 {
                    post(port, &body[0]);
                }
            });
        }
    });
    script.give(INVOKE);
    script.next();
    script.end(10).warnings(0);
}

/// Answers each request in its own way, on loopback, until the test ends.
fn sink(answer: impl Fn(TcpStream) + Send + 'static) -> String {
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

/// An OOM whose only sink is `url`. The turn ends, SHUTDOWN ends in time, and the last line counts
/// the send.
fn ends_in_time(url: &str, command: Command, tally: &str) {
    let variables = [("DD_API_KEY", "k"), ("DD_URL", url)];
    let mut script = Script::start_by(command, Stdio::piped(), &variables).prepared();
    assert_eq!(script.sender().post(&bodies(OOM)[0]), 200);
    script.give(INVOKE);
    script.next();
    script.shut_down("failure", 600, 0).once(tally);
}

/// The answer comes byte by byte and never ends. Only the end of the child ends the send.
#[test]
fn a_sink_that_trickles() {
    let head = "HTTP/1.1 200 OK\r\nX: ";
    let url = sink(move |mut stream| {
        let mut bytes = head.bytes().chain(std::iter::repeat(b'x'));
        while bytes.next().is_some_and(|byte| stream.write_all(&[byte]).is_ok()) {
            thread::yield_now();
        }
    });
    ends_in_time(&url, Command::new(binary()), "sent: 0, unknown: 1,");
}

#[test]
fn a_sink_that_answers_garbage() {
    let url = sink(|mut stream| {
        let _ = stream.write_all(&[0xff; 3000]);
    });
    ends_in_time(&url, Command::new(binary()), "sent: 0, unknown: 1,");
}

#[test]
fn a_sink_that_hangs_up() {
    let url = sink(drop);
    ends_in_time(&url, Command::new(binary()), "sent: 0, unknown: 1,");
}

/// A resolver that does not answer. libc would wait 5 s for it. The agent kills the child long
/// before.
#[test]
fn names_that_are_never_resolved() {
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
    ends_in_time("http://intake.example", command, "sent: 0, unknown: 0,");
}

/// Lambda freezes the environment in the middle of a send, and thaws it much later.
#[test]
fn a_freeze_in_the_middle_of_a_send() {
    let intake = Intake::start().expect("an intake");
    let delay = std::time::Duration::from_millis(300);
    intake.answer_next(IntakeAnswer { delay, ..IntakeAnswer::default() });
    let url = intake.http_url();
    let mut script = Script::ready(&[("DD_API_KEY", "k"), ("DD_URL", &url)]);
    assert_eq!(script.sender().post(&bodies(OOM)[0]), 200);
    script.give(INVOKE);
    while intake.requests().is_empty() {
        thread::yield_now();
    }
    // Longer than a send may last. The freezer stops agent and child.
    let group = script.pid().to_string();
    let freeze = "kill -STOP -$0; sleep 1.2; kill -CONT -$0";
    let frozen = Command::new("/bin/sh").args(["-c", freeze, &group]).status();
    assert!(frozen.expect("a shell").success());
    script.next();
    let left = script.shut_down("spindown", 2000, 0);
    let last = left.last();
    // The answer had arrived by the thaw, or the child was killed as late. It counts at most once.
    assert!(last.contains("sent: 1, unknown: 0") || last.contains("sent: 0, unknown: 1"), "{last}");
    assert_eq!(intake.requests().len(), 1);
}

/// The times of records, our clock and SHUTDOWN's deadline are three clocks. None has to agree with
/// another.
#[test]
fn clocks_that_jump() {
    let scenario = "
        900000000 start A
        100 done A error Runtime.OutOfMemory
        1800000000 report A error 192/192 Runtime.OutOfMemory
        50 start B
        1700000000 done B success
        60 report B success 94/192";
    for left_ms in [0, 1, 100, 2000, 86_400_000, 1_000_000_000_000] {
        let mut script = Script::ready(&[]);
        assert_eq!(script.sender().post(&bodies(scenario)[0]), 200);
        // An attempt is open, so SHUTDOWN waits as long as it may.
        assert_eq!(script.sender().post(&bodies("1900000000 start C")[0]), 200);
        script.give(INVOKE);
        script.next();
        script.give(&shutdown("spindown", left_ms));
        script.ended(0, 1).warnings(0);
    }
}
