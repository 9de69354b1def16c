//! The connections that carry the caller's bodies.

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::*;

/// A hub with one subscriber, and the subscriber's address.
async fn subscribed() -> (Hub, TcpListener) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let body = json!({
        "schemaVersion": "2025-01-29", "types": ["platform"],
        "destination": {"protocol": "HTTP", "URI": format!("http://sandbox.localdomain:{port}")},
    });
    let subscription = Subscription::parse(body.to_string().as_bytes()).expect("a subscription");
    let switches = Switches { own_telemetry: false, ..Switches::default() };
    let hub = Hub::new("a".into(), Box::new(|| 0), LogFormat::Text, switches);
    hub.subscribe("a", subscription);
    (hub, listener)
}

/// Takes one connection and answers this many requests, each with a body of two bytes.
async fn answer(listener: TcpListener, requests: usize) {
    let (mut stream, _) = listener.accept().await.expect("a connection");
    for _ in 0..requests {
        let mut request = Vec::new();
        while !request.ends_with(b"\r\n\r\n[]") {
            assert_ne!(stream.read_buf(&mut request).await.expect("a request"), 0);
        }
        let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
        stream.write_all(answer).await.expect("a sender");
    }
}

/// A cut record continues in the next request. Over a new connection, beside one that has only just
/// closed, the agent would take it for another sender's.
#[tokio::test]
async fn a_connection_that_is_kept_carries_every_body() {
    let (hub, listener) = subscribed().await;
    let listening = tokio::spawn(answer(listener, 3));
    for _ in 0..3 {
        assert_eq!(hub.post(b"[]", true).await, [Some(200)]);
    }
    listening.await.expect("one connection, three requests");
}
