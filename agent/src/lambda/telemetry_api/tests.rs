//! Which connection finds which scanner.

use super::*;

fn post(body: &str) -> String {
    format!("POST / HTTP/1.1\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

/// The second connection is taken before anybody has looked whether the first is still there.
#[test]
fn a_lone_sender_finds_its_cut_record_again() {
    let mut telemetry = Telemetry::new();
    let port = telemetry.listen(PORT_ANY).unwrap();
    telemetry.make_room();
    let envelope = r#"{"time":"2026-11-22T07:00:00.150Z","type":"function","record":"#;
    let mut events = 0;
    for body in
        [format!("[{envelope}\"xx Memory}}]"), format!("[{envelope}Error\"}}]"), "[]".to_owned()]
    {
        let mut sender = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
        sys::pause(PAUSE);
        assert!(telemetry.accept(&mut |_| events += 1).heard);
        assert_eq!(telemetry.slots.len(), 1);
        sender.write_all(post(&body).as_bytes()).unwrap();
        sys::pause(PAUSE);
        assert!(telemetry.read(0, &mut |_| events += 1).heard);
        telemetry.answer();
    }
    assert_eq!((events, telemetry.skipped().malformed), (1, 0));
}

#[test]
fn who_says_nothing_is_not_heard() {
    let mut telemetry = Telemetry::new();
    let port = telemetry.listen(PORT_ANY).unwrap();
    telemetry.make_room();
    let _senders = [(); 2].map(|()| {
        let sender = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
        sys::pause(PAUSE);
        assert!(telemetry.accept(&mut |_| {}).heard);
        sender
    });
    let [first, second] = telemetry.slots.as_slice() else { panic!("both have a slot") };
    assert!(first.last_heard < second.last_heard);
}

/// The rest of a record may come to any scanner: to that of another connection, and after a restart.
#[test]
fn a_cut_record_puts_every_connection_in_doubt() {
    let mut telemetry = Telemetry::new();
    let port = telemetry.listen(PORT_ANY).unwrap();
    telemetry.make_room();
    assert!(!telemetry.is_in_doubt());
    let mut senders = [(); 2].map(|()| {
        let sender = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
        sys::pause(PAUSE);
        assert!(telemetry.accept(&mut |_| {}).heard);
        sender
    });
    let cut = r#"[{"time":"2026-11-22T07:00:00.150Z","type":"function","record":[1,}]"#;
    senders[1].write_all(post(cut).as_bytes()).unwrap();
    sys::pause(PAUSE);
    telemetry.read(1, &mut |_| {});
    assert!(telemetry.is_in_doubt());
    assert!(telemetry.slots.iter().all(|slot| slot.scanner.doubts() > 0));

    let mut telemetry = Telemetry::new();
    telemetry.go_on([7; TOKEN_SIZE], true);
    assert!(telemetry.is_in_doubt());
    let port = telemetry.listen(PORT_ANY).unwrap();
    let _sender = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
    sys::pause(PAUSE);
    assert!(telemetry.accept(&mut |_| {}).heard);
    assert!(telemetry.is_in_doubt());
}
