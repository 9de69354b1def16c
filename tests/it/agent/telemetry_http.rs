//! The telemetry listener as an HTTP server: every framing that HTTP allows, and senders that break
//! the rules.

use super::support::sandboxed_agent::{Life, OOM, bodies};
use super::support::script::Script;
use super::support::sender::Sender;

fn oom() -> Vec<u8> {
    bodies(OOM).remove(0).into_bytes()
}

/// Runs an agent to which `send` posts one invocation that ran out of memory.
fn check(send: impl FnOnce(&Life)) {
    let mut life = Life::start();
    life.invoke("A");
    send(&life);
    life.end(1);
}

#[test]
fn a_body_in_chunks() {
    check(|life| {
        let mut sender = life.sender();
        let line = format!("POST {} HTTP/1.1\r\n", sender.path());
        sender.write(format!("{line}Host: x\r\ntransfer-encoding: Chunked\r\n\r\n"));
        for chunk in oom().chunks(7) {
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
    // The sandbox would have a connection of its own.
    let script = Script::ready(&[]);
    let (mut slow, mut good) = (script.sender(), script.sender());
    let body = oom();
    let request = [slow.head(body.len()).into_bytes(), body.clone()].concat();
    for (index, byte) in request.iter().enumerate() {
        slow.write([*byte]);
        if index % 100 == 0 {
            assert_eq!(good.post("[]"), 200);
        }
    }
    assert_eq!(slow.status(), 200);
    assert_eq!(good.post(body), 200);
    script.end(1).warnings(0);
}

/// Complete events count, and do not count again when Lambda sends them again.
#[test]
fn a_body_cut_by_a_closed_connection_then_sent_again() {
    for part in [1, 2, 3] {
        check(|life| {
            let body = oom();
            let mut sender = life.sender();
            sender.write(sender.head(body.len()));
            sender.write(&body[..body.len() * part / 4]);
            sender.close();
            assert_eq!(life.sender().post(body), 200);
        });
    }
}

#[test]
fn events_before_a_cut_count() {
    check(|life| {
        let body = oom();
        let mut sender = life.sender();
        sender.write(sender.head(body.len()));
        sender.write(&body[..body.len() - 1]);
        sender.close();
    });
}

#[test]
fn a_sender_that_waits_to_go_on() {
    check(|life| {
        let body = oom();
        let mut sender = life.sender();
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
        check(|life| {
            let mut sender = life.sender();
            sender.write(format!("{method} / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n[]"));
            assert_eq!(sender.status(), 405, "{method}");
            assert_eq!(sender.post(oom()), 200);
        });
    }
}

#[test]
fn two_requests_in_one_piece() {
    check(|life| {
        let body = oom();
        let mut sender = life.sender();
        let one = [sender.head(body.len()).into_bytes(), body].concat();
        sender.write([one.clone(), one].concat());
        assert_eq!([sender.status(), sender.status()], [200; 2]);
    });
}

#[test]
fn an_old_client_closes_after_each_request() {
    check(|life| {
        let body = oom();
        for first in ["HTTP/1.0\r\n", "HTTP/1.1\r\nCONNECTION: Close\r\n"] {
            let mut sender = life.sender();
            let path = sender.path().to_owned();
            sender.write(format!("POST {path} {first}CONTENT-LENGTH: {}\r\n\r\n", body.len()));
            sender.write(&body);
            assert_eq!(sender.status(), 200);
            sender.is_closed();
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
        check(|life| {
            let (mut bad, mut good) = (life.sender(), life.sender());
            bad.write(garbage);
            bad.is_closed();
            assert_eq!(good.post(oom()), 200);
        });
    }
    check(|life| {
        let mut bad = life.sender();
        // The agent closes it before it has read everything, so the write may fail.
        bad.try_write(&long);
        assert_eq!(life.sender().post(oom()), 200);
    });
}

/// The agent answers what was whole before the broken bytes. Then it closes the connection.
#[test]
fn a_request_before_garbage_is_answered() {
    check(|life| {
        let body = oom();
        let mut sender = life.sender();
        let request = [sender.head(body.len()).as_bytes(), &body, b"\x16\x03\x01"].concat();
        sender.write(request);
        assert_eq!(sender.status(), 200);
        sender.is_closed();
    });
}

/// The connections that were silent for longest are closed. The agent never has more than ten open
/// files.
#[test]
fn connections_that_say_nothing_make_room_for_new_ones() {
    check(|life| {
        let mut silent: Vec<Sender> = (0..30).map(|_| life.sender()).collect();
        assert_eq!(life.sender().post(oom()), 200);
        life.assert_frugal();
        silent[0].is_closed();
    });
}

#[test]
fn requests_that_never_end_block_no_other() {
    check(|life| {
        let mut half: Vec<Sender> = (0..9).map(|_| life.sender()).collect();
        for sender in &mut half {
            // A connection that was closed during a write is closed.
            sender.try_write(sender.head(1000));
            sender.try_write("[{\"type\":\"function\",\"record\":\"");
        }
        assert_eq!(life.sender().post(oom()), 200);
        life.assert_frugal();
        drop(half);
    });
}

/// Two connections that send a byte now and then have 2 s for their requests. Then they make room.
#[test]
fn slow_requests_make_room_for_others() {
    let script = Script::ready(&[]);
    let trickles = [(); 2].map(|()| script.sender().trickle());
    assert_eq!(script.sender().post(oom()), 200);
    script.end(1).warnings(0);
    for trickle in trickles {
        trickle.join().expect("it ends with its connection");
    }
}

/// All other connections make room before it.
#[test]
fn a_connection_that_has_brought_an_event_goes_last() {
    let script = Script::ready(&[]);
    let mut lambda = script.sender();
    assert_eq!(lambda.post(oom()), 200);
    let trickles = [(); 2].map(|()| script.sender().trickle());
    for _ in 0..3 {
        let mut busy = script.sender().to("/");
        assert_eq!(busy.post("[]"), 200);
        let _silent = script.sender();
        // Both are accepted, since the first had to be closed for that.
        let mut other = script.sender().to("/");
        assert_eq!(other.post(oom()), 200);
        busy.is_closed();
    }
    let second = String::from_utf8(oom()).expect("text").replace("\"A\"", "\"B\"");
    assert_eq!(lambda.post(second), 200);
    script.end(2).once("connections given up: ");
    for trickle in trickles {
        trickle.join().expect("it ends with its connection");
    }
}

fn oom_of(id: &str) -> String {
    bodies(OOM).remove(0).replace("\"A\"", &format!("\"{id}\""))
}

/// Lambda posts to the path that the agent chose. Requests to other paths come from another
/// process.
#[test]
fn requests_without_the_token_are_answered_and_not_read() {
    let script = Script::ready(&[]);
    assert_eq!(script.path.len(), 33, "{}", script.path);
    let mut lambda = script.sender();
    assert_eq!(lambda.post(oom_of("A")), 200);
    let wrong = format!("/{}", "0".repeat(32));
    for path in ["/", &wrong, &script.path[..32]] {
        assert_eq!(script.sender().to(path).post(oom_of("B")), 200);
    }
    // Also over a connection that once used the path.
    let mut lambda = lambda.to("/");
    assert_eq!(lambda.post(oom_of("B")), 200);
    let mut lambda = lambda.to(&script.path);
    assert_eq!(lambda.post(oom_of("C")), 200);
    let left = script.end(2);
    left.warnings(1).once("a process other than Lambda").once("requests not Lambda's: 4");
}

/// Until a request has the path, every request is read. A request without it locks nobody out.
#[test]
fn after_a_request_with_the_token_no_other_is_read() {
    let script = Script::ready(&[]);
    let mut other = script.sender().to("/");
    assert_eq!(other.post(oom_of("A")), 200);
    assert_eq!(script.sender().post(oom_of("B")), 200);
    assert_eq!(other.post(oom_of("C")), 200);
    assert_eq!(script.sender().post(oom_of("D")), 200);
    script.end(3).once("requests not Lambda's: 1");
}

/// AWS's emulator of Managed Instances drops the path.
#[test]
fn until_a_request_has_the_token_every_request_is_read() {
    let script = Script::ready(&[]);
    let mut sender = script.sender().to("/");
    assert_eq!([sender.post(oom_of("A")), sender.post(oom_of("B"))], [200; 2]);
    script.end(2).warnings(0).once("requests not Lambda's: 0");
}
