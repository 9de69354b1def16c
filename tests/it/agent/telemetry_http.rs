//! The telemetry listener as an HTTP server: every framing that HTTP allows, senders that break the
//! rules, and requests that are not Lambda's.
//!
//! Any bytes on a connection are tested by `fuzz/requests`.

use super::support::bodies::{oom_body, oom_body_of};
use super::support::sandboxed_agent::SandboxedAgent;
use super::support::script::Script;
use super::support::sender::TelemetrySender;

/// Runs an agent to which `send` posts one invocation that ran out of memory. It counts one.
fn check(send: impl FnOnce(&SandboxedAgent)) {
    let mut agent = SandboxedAgent::start();
    agent.invoke("A");
    send(&agent);
    agent.end(1);
}

#[test]
fn a_chunked_body_counts() {
    check(|agent| {
        let mut sender = agent.connect();
        let line = format!("POST {} HTTP/1.1\r\n", sender.path());
        sender.write(format!("{line}Host: x\r\ntransfer-encoding: Chunked\r\n\r\n"));
        for chunk in oom_body().as_bytes().chunks(7) {
            sender.write(format!("{:X};ext=1\r\n", chunk.len()));
            sender.write(chunk);
            sender.write("\r\n");
        }
        sender.write("0\r\nTrailer: x\r\n\r\n");
        assert_eq!(sender.status(), 200);
        // The connection can still be used.
        assert_eq!(sender.post("[]"), 200);
    });
}

#[test]
fn a_slow_sender_delays_no_other() {
    // Not in the sandbox, which has a telemetry connection of its own.
    let script = Script::start_ready(&[]);
    let (mut slow, mut good) = (script.connect(), script.connect());
    let body = oom_body();
    let request = format!("{}{body}", slow.head(body.len()));
    for (index, byte) in request.bytes().enumerate() {
        slow.write([byte]);
        if index % 100 == 0 {
            assert_eq!(good.post("[]"), 200);
        }
    }
    assert_eq!(slow.status(), 200);
    assert_eq!(good.post(body), 200);
    script.end(1).assert_warnings(0);
}

/// Whole events count, and do not count again when Lambda sends them again.
#[test]
fn a_body_that_breaks_off_and_comes_again_counts_once() {
    for part in [1, 2, 3] {
        check(|agent| {
            let body = oom_body();
            let mut sender = agent.connect();
            sender.write(sender.head(body.len()));
            sender.write(&body[..body.len() * part / 4]);
            sender.close();
            assert_eq!(agent.connect().post(body), 200);
        });
    }
}

#[test]
fn whole_events_of_a_body_that_breaks_off_count() {
    check(|agent| {
        let body = oom_body();
        let mut sender = agent.connect();
        sender.write(sender.head(body.len()));
        sender.write(&body[..body.len() - 1]);
        sender.close();
    });
}

#[test]
fn a_sender_that_expects_100_continue_gets_it() {
    check(|agent| {
        let body = oom_body();
        let mut sender = agent.connect();
        sender.write(format!(
            "POST {} HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: {}\r\n\r\n",
            sender.path(),
            body.len()
        ));
        assert_eq!(sender.status(), 100);
        sender.write(body);
        assert_eq!(sender.status(), 200);
    });
}

#[test]
fn other_methods_are_refused_and_the_next_post_counts() {
    for method in ["GET", "PUT", "DELETE", "OPTIONS", "PATCH"] {
        check(|agent| {
            let mut sender = agent.connect();
            sender.write(format!("{method} / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n[]"));
            assert_eq!(sender.status(), 405, "{method}");
            assert_eq!(sender.post(oom_body()), 200);
        });
    }
}

#[test]
fn two_requests_in_one_piece_are_both_answered() {
    check(|agent| {
        let body = oom_body();
        let mut sender = agent.connect();
        let request = format!("{}{body}", sender.head(body.len()));
        sender.write(request.repeat(2));
        assert_eq!([sender.status(), sender.status()], [200; 2]);
    });
}

#[test]
fn a_client_that_closes_after_each_request_is_served() {
    check(|agent| {
        let body = oom_body();
        for first in ["HTTP/1.0\r\n", "HTTP/1.1\r\nCONNECTION: Close\r\n"] {
            let mut sender = agent.connect();
            let path = sender.path().to_owned();
            sender.write(format!("POST {path} {first}CONTENT-LENGTH: {}\r\n\r\n", body.len()));
            sender.write(&body);
            assert_eq!(sender.status(), 200);
            sender.assert_closed();
        }
    });
}

#[test]
fn garbage_closes_its_connection_and_no_other() {
    let long = format!("POST / HTTP/1.1\r\nX: {}\r\n\r\n", "x".repeat(100_000));
    let many = format!("POST / HTTP/1.1\r\n{}\r\n", "a: b\r\n".repeat(200));
    for garbage in [
        "\x16\x03\x01\x02\x00\x01\x00\x01\x7c\x03\x03 a TLS hello",
        "this is no request\r\n\r\n",
        "POST / HTTP/9.9\r\n\r\n",
        "POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
        "POST / HTTP/1.1\r\nContent-Length: 99999999999999999999\r\n\r\n",
        "POST / HTTP/1.1\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n[]",
        "POST / HTTP/1.1\r\nTransfer-Encoding: gzip\r\n\r\n",
        "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nno number\r\n",
        "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffffffff\r\n",
        &many,
    ] {
        check(|agent| {
            let (mut bad, mut good) = (agent.connect(), agent.connect());
            bad.write(garbage);
            bad.assert_closed();
            assert_eq!(good.post(oom_body()), 200);
        });
    }
    check(|agent| {
        let mut bad = agent.connect();
        // The agent closes it before it has read everything, so the write may fail.
        bad.try_write(&long);
        assert_eq!(agent.connect().post(oom_body()), 200);
    });
}

/// The agent answers the whole request before the garbage. Then it closes the connection.
#[test]
fn a_request_before_garbage_is_answered() {
    check(|agent| {
        let body = oom_body();
        let mut sender = agent.connect();
        let request = format!("{}{body}\x16\x03\x01", sender.head(body.len()));
        sender.write(request);
        assert_eq!(sender.status(), 200);
        sender.assert_closed();
    });
}

/// The agent closes those that were silent for longest. It never has more than ten open files.
#[test]
fn connections_that_say_nothing_make_room_for_new_ones() {
    check(|agent| {
        let mut silent: Vec<TelemetrySender> = (0..30).map(|_| agent.connect()).collect();
        assert_eq!(agent.connect().post(oom_body()), 200);
        agent.assert_cost();
        silent[0].assert_closed();
    });
}

#[test]
fn requests_that_never_end_block_no_other() {
    check(|agent| {
        let mut half: Vec<TelemetrySender> = (0..9).map(|_| agent.connect()).collect();
        for sender in &mut half {
            // The agent may close the connection during a write.
            sender.try_write(sender.head(1000));
            sender.try_write("[{\"type\":\"function\",\"record\":\"");
        }
        assert_eq!(agent.connect().post(oom_body()), 200);
        agent.assert_cost();
        drop(half);
    });
}

/// Two connections send a byte now and then. They have 2 s for their requests. Then they make room.
#[test]
fn slow_requests_make_room_for_others() {
    let script = Script::start_ready(&[]);
    let trickles = [(); 2].map(|()| script.connect().trickle());
    script.post(oom_body());
    script.end(1).assert_warnings(0);
    for trickle in trickles {
        trickle.join().expect("no panic");
    }
}

/// All other connections make room before.
#[test]
fn a_connection_that_has_brought_an_event_makes_room_last() {
    let script = Script::start_ready(&[]);
    let mut lambda = script.connect();
    assert_eq!(lambda.post(oom_body()), 200);
    let trickles = [(); 2].map(|()| script.connect().trickle());
    for _ in 0..3 {
        let mut busy = script.connect().to("/");
        assert_eq!(busy.post("[]"), 200);
        let _silent = script.connect();
        // The agent has closed the first connection to take the other two.
        let mut other = script.connect().to("/");
        assert_eq!(other.post(oom_body()), 200);
        busy.assert_closed();
    }
    let second = oom_body_of("B");
    assert_eq!(lambda.post(second), 200);
    script.end(2).assert_once("connections given up: ");
    for trickle in trickles {
        trickle.join().expect("no panic");
    }
}

/// Lambda posts to the random path that the agent chose. Requests to other paths come from other
/// processes.
#[test]
fn requests_to_another_path_are_answered_and_not_read() {
    let script = Script::start_ready(&[]);
    assert_eq!(script.path.len(), 33, "{}", script.path);
    let mut lambda = script.connect();
    assert_eq!(lambda.post(oom_body_of("A")), 200);
    let wrong = format!("/{}", "0".repeat(32));
    for path in ["/", &wrong, &script.path[..32]] {
        assert_eq!(script.connect().to(path).post(oom_body_of("B")), 200);
    }
    // Also over a connection that has used the path before.
    let mut lambda = lambda.to("/");
    assert_eq!(lambda.post(oom_body_of("B")), 200);
    let mut lambda = lambda.to(&script.path);
    assert_eq!(lambda.post(oom_body_of("C")), 200);
    let output = script.end(2);
    output
        .assert_warnings(1)
        .assert_once("a process other than Lambda")
        .assert_once("requests not Lambda's: 4");
}

/// Until then every request is read, and none of them locks Lambda out.
#[test]
fn after_a_request_to_the_random_path_no_other_is_read() {
    let script = Script::start_ready(&[]);
    let mut other = script.connect().to("/");
    assert_eq!(other.post(oom_body_of("A")), 200);
    script.post(oom_body_of("B"));
    assert_eq!(other.post(oom_body_of("C")), 200);
    script.post(oom_body_of("D"));
    script.end(3).assert_once("requests not Lambda's: 1");
}

/// AWS's emulator of Managed Instances drops the path.
#[test]
fn until_a_request_to_the_random_path_every_request_is_read() {
    let script = Script::start_ready(&[]);
    let mut sender = script.connect().to("/");
    assert_eq!([sender.post(oom_body_of("A")), sender.post(oom_body_of("B"))], [200; 2]);
    script.end(2).assert_warnings(0).assert_once("requests not Lambda's: 0");
}
