//! `__extension`: the extension of this crate's own tests, so that they need no other.
//!
//! It registers, subscribes, answers every telemetry request, and writes one EMF line for each
//! request id whose events say `Runtime.OutOfMemory`. `SANDBOX_TEST_EXTENSION` holds words that
//! make it misbehave: `exit-on-invoke`, `exit-late` (it asks for no next event, and ends),
//! `exit-soon` (half a second after it came up), `exit-when-idle`, `no-shutdown`, `reject-first`,
//! `deaf`, `grow`, `quiet` (it counts nothing), and `tell-key` (it writes `DD_API_KEY`).
//! `SANDBOX_TEST_RESIDENT_KIB` is the memory that it keeps resident.

use std::collections::{BTreeSet, HashSet};
use std::io::{self, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex};
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

use super::function::grow;
use super::http::{Client, read_message};
use crate::clock;
use crate::count::METRIC;
use crate::procfs::ProcStatus;
use crate::sync::lock;

pub(super) fn run() -> io::Result<()> {
    if let Some(word) = words().split(',').find(|word| !word.is_empty() && !WORDS.contains(word)) {
        return Err(io::Error::other(format!("SANDBOX_TEST_EXTENSION: no word {word}")));
    }
    become_resident();
    if is_asked("tell-key") {
        eprintln!("key: {}", std::env::var("DD_API_KEY").unwrap_or_default());
    }
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let port = listener.local_addr()?.port();
    let mut client = Client::connect()?;
    let name = std::env::var("SANDBOX_TEST_NAME").unwrap_or_else(|_| "test-extension".into());
    let name = [("Lambda-Extension-Name", name.as_str())];
    let events = br#"{"events":["INVOKE","SHUTDOWN"]}"#;
    let register = "/2020-01-01/extension/register";
    let mut answer = client.request("POST", register, &name, events)?;
    if answer.status == 403 {
        // Managed Instances.
        answer = client.request("POST", register, &name, br#"{"events":["SHUTDOWN"]}"#)?;
    }
    let id = answer.header("Lambda-Extension-Identifier").unwrap_or_default().to_string();
    let id = [("Lambda-Extension-Identifier", id.as_str())];
    let subscription = json!({
        "schemaVersion": "2025-01-29", "types": ["platform", "function"],
        "buffering": {"maxItems": 1000, "maxBytes": 262_144, "timeoutMs": 25},
        "destination": {"protocol": "HTTP", "URI": format!("http://sandbox.localdomain:{port}")},
    });
    let body = subscription.to_string();
    let answer = client.request("PUT", "/2022-07-01/telemetry", &id, body.as_bytes())?;
    eprintln!("subscribed: {}", answer.status);
    thread::spawn(move || listen(&listener));
    if is_asked("exit-soon") {
        thread::spawn(|| exit_after(500));
    }
    loop {
        let next = client.request("GET", "/2020-01-01/extension/event/next", &id, &[])?;
        if next.status != 200 {
            return Err(io::Error::other(format!("next: {}", next.status)));
        }
        let event: Value = serde_json::from_slice(&next.body)?;
        eprintln!("event: {}", event["eventType"].as_str().unwrap_or_default());
        if event["eventType"] == "INVOKE" {
            on_invoke();
        } else {
            let deadline_ms = event["deadlineMs"].as_i64().unwrap_or_default();
            let left_ms = deadline_ms - clock::epoch_ms(Duration::ZERO);
            eprintln!("left: {left_ms}");
            on_shutdown(Duration::from_millis(u64::try_from(left_ms).unwrap_or_default()));
            return Ok(());
        }
    }
}

/// Touches and keeps memory until as much is resident as the variable says.
fn become_resident() {
    let wanted = std::env::var("SANDBOX_TEST_RESIDENT_KIB").ok().and_then(|kib| kib.parse().ok());
    let status = ProcStatus::read(std::process::id());
    let has = status.map_or(0, |status| usize::try_from(status.vm_rss_kb).unwrap_or(usize::MAX));
    let missing = wanted.unwrap_or(0_usize).saturating_sub(has);
    std::mem::forget(std::hint::black_box(vec![1_u8; missing * 1024]));
}

fn on_invoke() {
    if is_asked("exit-on-invoke") {
        std::process::exit(0);
    }
    if is_asked("exit-late") {
        exit_after(300);
    }
    if is_asked("exit-when-idle") {
        thread::spawn(|| exit_after(300));
    }
    if is_asked("grow") {
        grow(1 << 20);
    }
}

fn exit_after(ms: u64) -> ! {
    thread::sleep(Duration::from_millis(ms));
    std::process::exit(3);
}

/// Listens until the end of each invocation was reported, or almost no time is left.
fn on_shutdown(left: Duration) {
    if is_asked("no-shutdown") {
        thread::sleep(Duration::from_secs(3600));
    }
    let open = lock(&OPEN);
    let left = left.saturating_sub(Duration::from_millis(150));
    let _ = ENDED.wait_timeout_while(open, left, |open| !open.is_empty());
    // The other thread reads what was posted just before the event.
    thread::sleep(Duration::from_millis(50));
}

/// The invocations that have started but not ended.
static OPEN: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());
static ENDED: Condvar = Condvar::new();

fn note_open(event: &Value, id: &str) {
    let mut open = lock(&OPEN);
    match event["type"].as_str().unwrap_or_default() {
        "platform.start" => {
            open.insert(id.to_string());
        }
        "platform.runtimeDone" | "platform.report" => {
            open.remove(id);
        }
        _ => {}
    }
    ENDED.notify_all();
}

fn listen(listener: &TcpListener) {
    for stream in listener.incoming().flatten() {
        thread::spawn(move || {
            let _ = take(stream);
        });
    }
}

fn take(stream: TcpStream) -> io::Result<()> {
    static REJECTED: AtomicBool = AtomicBool::new(false);
    let mut reader = BufReader::new(stream);
    loop {
        let (_, _, body) = read_message(&mut reader)?;
        if is_asked("deaf") {
            thread::sleep(Duration::from_secs(3600));
        }
        let reject = is_asked("reject-first") && !REJECTED.swap(true, Ordering::Relaxed);
        let status = if reject { "500 Internal Server Error" } else { "200 OK" };
        if !reject && !is_asked("quiet") {
            look(&body);
        }
        let answer = format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n");
        reader.get_mut().write_all(answer.as_bytes())?;
    }
}

fn look(body: &[u8]) {
    let events: Vec<Value> = serde_json::from_slice(body).unwrap_or_default();
    for event in &events {
        let record = &event["record"];
        let id = record["requestId"].as_str().unwrap_or_default();
        if record["errorType"] == "Runtime.OutOfMemory" && first_time(id) {
            let line = json!({
                "_aws": {"Timestamp": clock::epoch_ms(Duration::ZERO), "CloudWatchMetrics": [{"Namespace": "Test", "Dimensions": [[]],
                    "Metrics": [{"Name": METRIC}]}]},
                "message": format!("{id} ran out of memory"),
                "requestId": id, "Confidence": "confirmed", "evidence": "error_type",
                "timestamp": event["time"],
                METRIC: 1,
            });
            println!("{line}");
        }
        note_open(event, id);
    }
}

/// Remembers across restarts, in the file that the agent would use.
fn first_time(id: &str) -> bool {
    static SEEN: Mutex<Option<HashSet<String>>> = Mutex::new(None);
    let path = std::env::var("OOM_WITNESS_STATE").unwrap_or_default();
    let mut seen = lock(&SEEN);
    let stored = || std::fs::read_to_string(&path).unwrap_or_default();
    let seen = seen.get_or_insert_with(|| stored().lines().map(str::to_string).collect());
    let new = seen.insert(id.to_string());
    let text: Vec<&str> = seen.iter().map(String::as_str).collect();
    let _ = std::fs::write(&path, text.join("\n"));
    new
}

fn words() -> String {
    std::env::var("SANDBOX_TEST_EXTENSION").unwrap_or_default()
}

fn is_asked(word: &str) -> bool {
    debug_assert!(WORDS.contains(&word), "{word} is not in the list");
    words().split(',').any(|known| known == word)
}

/// A word that is not here is an error, so that no test misspells one.
const WORDS: [&str; 10] = [
    "deaf",
    "exit-late",
    "exit-on-invoke",
    "exit-soon",
    "exit-when-idle",
    "grow",
    "no-shutdown",
    "quiet",
    "reject-first",
    "tell-key",
];
