//! Which scanner reads which connection.

use std::io::Write;

use super::*;

fn post(body: &str) -> String {
    format!("POST / HTTP/1.1\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

/// The second connection is accepted before the end of the first one has been read.
#[test]
fn a_single_sender_continues_its_cut_record_on_a_new_connection() {
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
        assert!(telemetry.accept(&mut |_| events += 1).has_heard);
        assert_eq!(telemetry.slots.len(), 1);
        sender.write_all(post(&body).as_bytes()).unwrap();
        sys::pause(PAUSE);
        assert!(telemetry.read(0, &mut |_| events += 1).has_heard);
        telemetry.answer();
    }
    assert_eq!((events, telemetry.skipped().malformed), (1, 0));
}

#[test]
fn a_new_connection_does_not_refresh_a_silent_one() {
    let mut telemetry = Telemetry::new();
    let port = telemetry.listen(PORT_ANY).unwrap();
    telemetry.make_room();
    let _senders = [(); 2].map(|()| {
        let sender = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
        sys::pause(PAUSE);
        assert!(telemetry.accept(&mut |_| {}).has_heard);
        sender
    });
    let [first, second] = telemetry.slots.as_slice() else { panic!("both have a slot") };
    assert!(first.last_heard < second.last_heard);
}

/// The rest of a cut record may arrive on another connection, or after a restart.
#[test]
fn a_cut_record_puts_every_connection_in_doubt() {
    let mut telemetry = Telemetry::new();
    let port = telemetry.listen(PORT_ANY).unwrap();
    telemetry.make_room();
    assert!(!telemetry.is_in_doubt());
    let mut senders = [(); 2].map(|()| {
        let sender = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
        sys::pause(PAUSE);
        assert!(telemetry.accept(&mut |_| {}).has_heard);
        sender
    });
    let cut = r#"[{"time":"2026-11-22T07:00:00.150Z","type":"function","record":[1,}]"#;
    senders[1].write_all(post(cut).as_bytes()).unwrap();
    sys::pause(PAUSE);
    telemetry.read(1, &mut |_| {});
    assert!(telemetry.is_in_doubt());
    assert!(telemetry.slots.iter().all(|slot| slot.scanner.doubts() > 0));

    let mut telemetry = Telemetry::new();
    telemetry.take_over([7; TOKEN_SIZE], true);
    assert!(telemetry.is_in_doubt());
    let port = telemetry.listen(PORT_ANY).unwrap();
    let _sender = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
    sys::pause(PAUSE);
    assert!(telemetry.accept(&mut |_| {}).has_heard);
    assert!(telemetry.is_in_doubt());
}
