//! The child that sends. What it reports of a send is true, whatever fails in it.
//!
//! The agent believes the child's exit code, and the byte that it writes before the body leaves. So
//! each run is judged by both, as the agent does, and by what the intake has.

use std::fs;
use std::io::Write;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::ops::Range;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::{env, io, panic, thread};

use libc::SIGKILL;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::crypto::ring;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use sandbox::{Intake, IntakeAnswer};

use super::faults::{ERRORS, SURE, WORKERS};
use super::support::binary::binary;
use super::support::sandboxed_agent::{OOM, bodies};
use super::support::script::{INVOKE, Script};
use super::support::strace::{self, Strace, before_and_after_main, calls};

/// One send: how it ended, and what it wrote.
struct Sent {
    status: ExitStatus,
    stdout: String,
    stderr: String,
}

/// What the agent concludes from it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum ChildVerdict {
    Taken,
    NotTaken,
    Unknown,
    Refused,
}

impl Sent {
    /// By the table in `agent/src/child/mod.rs`.
    fn outcome(&self) -> ChildVerdict {
        match (self.status.code(), self.stdout.as_str()) {
            (Some(0), "\n") => ChildVerdict::Taken,
            (Some(1), _) => ChildVerdict::NotTaken,
            (Some(2), _) => ChildVerdict::Unknown,
            (Some(3), _) => ChildVerdict::Refused,
            (_, "") => ChildVerdict::NotTaken,
            (_, "\n") => ChildVerdict::Unknown,
            other => panic!("{other:?}: {}", self.stderr),
        }
    }

    /// Holds it to this verdict, and a failure to one line that says why.
    fn is(&self, outcome: ChildVerdict, why: &str) {
        assert_eq!(self.outcome(), outcome, "{}: {}", self.status, self.stderr);
        let lines = usize::from(outcome != ChildVerdict::Taken);
        assert_eq!(self.stderr.lines().count(), lines, "{}", self.stderr);
        assert!(self.stderr.contains(why), "{why}: {}", self.stderr);
    }
}

/// Runs `command`, which becomes a child that sends `body` to `url`.
fn send(mut command: Command, url: &str, variables: &[(&str, &str)], body: &str) -> Sent {
    command.env_clear().env("PATH", env::var_os("PATH").unwrap_or_default());
    command.env("DD_API_KEY", "the-key").env("DD_URL", url).envs(variables.iter().copied());
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("the binary");
    // It may end before it reads.
    let _ = child.stdin.take().expect("a pipe").write_all(body.as_bytes());
    let output = child.wait_with_output().expect("an end");
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    Sent { status: output.status, stdout: text(output.stdout), stderr: text(output.stderr) }
}

/// The same by the binary itself.
fn sent(url: &str, variables: &[(&str, &str)]) -> Sent {
    let mut command = Command::new(binary());
    command.args(["send", "datadog"]);
    send(command, url, variables, &point(0))
}

/// A body that names its run.
fn point(number: usize) -> String {
    format!(
        r#"{{"series":[{{"metric":"aws.lambda.enhanced.out_of_memory","points":[[{number},[1.0]]]}}]}}"#
    )
}

/// Sends over TLS under strace. Compares what the child reports with what the intake has.
fn send_truly(strace: &Strace, intake: &Intake, what: &str) {
    static NUMBER: AtomicUsize = AtomicUsize::new(1);
    let body = point(NUMBER.fetch_add(1, Ordering::Relaxed));
    let mut command = strace.command();
    command.args(["send", "datadog"]);
    let ca = intake.ca_file().to_string_lossy().into_owned();
    let sent = send(command, &intake.https_url(), &[("SSL_CERT_FILE", &ca)], &body);
    let is_there = intake.requests().iter().any(|request| request.body == body.as_bytes());
    let outcome = sent.outcome();
    match outcome {
        ChildVerdict::Taken => assert!(is_there, "{what}: taken, but not there"),
        ChildVerdict::NotTaken | ChildVerdict::Refused => {
            assert!(!is_there, "{what}: {outcome:?}, but there");
        }
        ChildVerdict::Unknown => {}
    }
    let is_told = match sent.status.signal() {
        None => sent.stderr.lines().count() == 1 || what.contains(" write "),
        // The agent logs these: `the_agent_logs_a_child_that_a_signal_ended`.
        Some(SIGKILL) => what.contains("KILL"),
        // std panics if a hash map gets no random keys. In the layer it ends without a line.
        Some(_) => !sent.stderr.is_empty() || what.contains(" getrandom "),
    };
    let why = &sent.stderr;
    assert!(
        outcome == ChildVerdict::Taken || is_told,
        "{what}: {outcome:?}, {}: {why}",
        sent.status
    );
}

/// A system call and what happens to it.
type Fault = (String, usize, String);

/// Each call of each name in turn, as in `faults.rs`, with each of `happenings`.
fn every_call(happenings: &[String], sample: usize) {
    if !strace::available() {
        return;
    }
    let intake = Intake::start().expect("an intake");
    let whole = Strace::new(&[]);
    send_truly(&whole, &intake, "without a fault");
    let counts = before_and_after_main(&calls(&whole.text()));
    let names =
        counts.iter().filter(|(name, (_, after))| !SURE.contains(&name.as_str()) && *after > 0);
    let faults = names.flat_map(|(name, (before, _))| {
        happenings.iter().map(|happening| (name.clone(), *before, happening.clone()))
    });
    let faults: Vec<Fault> = faults.collect();
    let faults = Mutex::new(faults.into_iter().enumerate());
    let (runs, failures) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    let work = || {
        let intake = Intake::start().expect("an intake");
        loop {
            let next = faults.lock().expect("no panic").next();
            let Some((index, (name, before, happening))) = next else { break };
            for number in numbers(index, sample) {
                // The kernel's brk returns no error. It returns the end of the heap.
                let is_brk = name == "brk" && happening.starts_with("error=");
                let happening = if is_brk { "retval=0" } else { happening.as_str() };
                let what = format!("child: {name} number {number}, {happening}");
                let happens = || {
                    let strace = Strace::injecting(&name, happening, before + number);
                    send_truly(&strace, &intake, &what);
                    strace.has_injected()
                };
                match panic::catch_unwind(panic::AssertUnwindSafe(happens)) {
                    Ok(false) => break,
                    Ok(true) => {}
                    Err(_) => failures.lock().expect("no panic").push(what),
                }
                runs.fetch_add(1, Ordering::Relaxed);
            }
        }
    };
    thread::scope(|scope| {
        for _ in 0..WORKERS {
            scope.spawn(work);
        }
    });
    println!("child: {runs:?} runs");
    let failures = failures.into_inner().expect("no panic");
    assert!(failures.is_empty(), "{failures:#?}");
    assert!(runs.into_inner() > 0);
}

/// Which calls of a name: all, or a sample.
fn numbers(index: usize, sample: usize) -> Range<usize> {
    if env::var_os("OOM_WITNESS_FAULTS").is_some() {
        return 0..usize::MAX;
    }
    let number = index / sample % 3;
    number..number + usize::from(index.is_multiple_of(sample))
}

#[test]
fn every_system_call_of_a_child_fails_once() {
    every_call(&ERRORS.map(|error| format!("error={error}")), 13);
}

#[test]
fn a_child_is_killed_at_every_system_call() {
    every_call(&["signal=KILL".into()], 2);
}

/// An agent whose child waits for an intake that never answers.
fn in_the_middle_of_a_send() -> (Intake, Script) {
    let intake = Intake::start().expect("an intake");
    let delay = std::time::Duration::from_secs(600);
    intake.answer_all(IntakeAnswer { delay, ..IntakeAnswer::default() });
    let url = intake.http_url();
    let mut script = Script::ready(&[("DD_API_KEY", "the-key"), ("DD_URL", &url)]);
    assert_eq!(script.sender().post(&bodies(OOM)[0]), 200);
    script.give(INVOKE);
    while intake.requests().is_empty() {
        thread::yield_now();
    }
    (intake, script)
}

/// Anybody on the machine can read this with ps(1).
#[test]
fn neither_key_nor_payload_is_an_argument() {
    let (_intake, mut script) = in_the_middle_of_a_send();
    assert_eq!(script.children(), ["oom-witness\0send\0datadog\0"]);
    script.next();
    script.end(0).once("unknown: 1");
}

#[test]
fn an_error_page_of_any_size() {
    let intake = Intake::start().expect("an intake");
    let body = "<p>Service Unavailable</p>\n".repeat(8000);
    for (status, outcome, why) in [
        (500, ChildVerdict::NotTaken, "it answered 500"),
        (504, ChildVerdict::Unknown, "it answered 504"),
        (403, ChildVerdict::Refused, "it answered 403"),
        (202, ChildVerdict::Taken, ""),
    ] {
        intake.answer_next(IntakeAnswer { status, body: body.clone(), ..IntakeAnswer::default() });
        sent(&intake.http_url(), &[]).is(outcome, why);
    }
}

/// Limits of address space, from one that is too small for any program to one that is enough.
#[test]
fn no_memory_for_a_child() {
    let intake = Intake::start().expect("an intake");
    let ca = intake.ca_file().to_string_lossy().into_owned();
    let limited = |limit_kb: usize, again: &str| {
        let mut shell = Command::new("/bin/sh");
        shell.arg("-c").arg(format!("ulimit -v {limit_kb}; exec \"$0\" send datadog {again}"));
        shell.arg(binary());
        send(shell, &intake.https_url(), &[("SSL_CERT_FILE", &ca)], &point(limit_kb))
    };
    let outcome = |limit_kb: usize| {
        let before = intake.requests().len();
        let sent = limited(limit_kb, "");
        let is_there = intake.requests().len() > before;
        assert_eq!(is_there, sent.outcome() == ChildVerdict::Taken, "{limit_kb}: {}", sent.stderr);
        // The kernel ends a program that it cannot load, without a line.
        let is_loaded = sent.status.code().is_some();
        assert!(is_there || !is_loaded || !sent.stderr.is_empty(), "{limit_kb}: {}", sent.status);
        sent.outcome()
    };
    let limits = (1000..30_000).step_by(STEP_KB);
    let outcomes: Vec<_> = limits.map(|limit_kb| (limit_kb, outcome(limit_kb))).collect();
    assert_eq!(outcomes.first(), Some(&(1000, ChildVerdict::NotTaken)));
    let enough = outcomes.iter().find(|(_, outcome)| *outcome == ChildVerdict::Taken);
    let (enough, _) = enough.expect("30 MB are enough");

    // Just below it there is room for the program, but not for all of its heap.
    let mut nearly = (enough - STEP_KB..*enough).step_by(4);
    let lacks = |limit_kb: &usize| limited(*limit_kb, "").status.code() == Some(NO_MEMORY);
    let nearly = nearly.find(lacks).expect("a limit in between");
    assert_eq!(limited(nearly, "").stderr, "oom-witness: no memory is left for this process\n");
    let again = limited(nearly, "again");
    assert_eq!((again.status.code(), again.stderr.as_str()), (Some(NO_MEMORY), ""));
}

const STEP_KB: usize = 250;

/// By the table in `agent/src/child/mod.rs`.
const NO_MEMORY: i32 = 4;

/// As the kernel or a crash would end it.
#[test]
fn the_agent_logs_a_child_that_a_signal_ended() {
    let (_intake, mut script) = in_the_middle_of_a_send();
    let [child] = script.child_pids()[..] else { panic!("{:?}", script.children()) };
    let killed = Command::new("/bin/sh").args(["-c", "kill -SEGV $0", &child.to_string()]).status();
    assert!(killed.expect("a shell").success());
    script.next();
    script.end(0).once("sending to datadog ended by signal 11: Unknown").once("unknown: 1");
}

/// A proxy that connects to any address, or refuses, and the requests that it received.
fn proxy(answer: &'static str) -> (String, std::sync::mpsc::Receiver<String>) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    let (sender, receiver) = std::sync::mpsc::channel();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.expect("a connection");
            let head = read_head(&mut stream);
            let target = head.split(' ').nth(1).expect("a target").to_owned();
            let _ = sender.send(head);
            let _ = stream.write_all(answer.as_bytes());
            if answer.contains(" 200 ") {
                // Nothing resolves its names.
                let (_, port) = target.rsplit_once(':').expect("a port");
                let port: u16 = port.parse().expect("a port");
                let to = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).expect("the target");
                pump(&stream, &to);
            }
        }
    });
    (url, receiver)
}

fn read_head(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        io::Read::read_exact(stream, &mut byte).expect("a request");
        head.push(byte[0]);
    }
    String::from_utf8(head).expect("text")
}

/// Copies both ways until both have ended.
fn pump(one: &TcpStream, other: &TcpStream) {
    let copy = |mut from: &TcpStream, mut to: &TcpStream| {
        let _ = io::copy(&mut from, &mut to);
        let _ = to.shutdown(std::net::Shutdown::Write);
    };
    thread::scope(|scope| {
        scope.spawn(move || copy(one, other));
        scope.spawn(move || copy(other, one));
    });
}

/// The first variable with the address of an http proxy counts, with its user and password.
#[test]
fn by_the_users_proxy() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("ca.pem");
    let ca = file.to_string_lossy().into_owned();
    let (proxy, asked) = proxy("HTTP/1.1 200 Connection established\r\n\r\n");
    let with_user = proxy.replace("http://", "http://us%40er:pass@");
    let socks = ("ALL_PROXY", "socks5://127.0.0.1:1");
    for (variables, user) in [
        (vec![("HTTPS_PROXY", proxy.as_str())], false),
        (vec![("http_proxy", with_user.as_str())], true),
        (vec![socks, ("https_proxy", &proxy), ("NO_PROXY", "other.example")], false),
    ] {
        let (url, _) = server(1, 1, &file);
        let url = url.replace("localhost", "host-000000000000.example");
        let variables = [&variables[..], &[("SSL_CERT_FILE", ca.as_str())]].concat();
        sent(&url, &variables).is(ChildVerdict::Taken, "");
        let asked = asked.try_recv().expect("the proxy was asked");
        assert!(asked.starts_with("CONNECT host-000000000000.example:"), "{asked}");
        // `us@er:pass`
        assert_eq!(asked.contains("Basic dXNAZXI6cGFzcw=="), user, "{asked}");
        assert!(!asked.contains("the-key"), "{asked}");
    }
}

#[test]
fn this_machine_is_not_reached_through_a_proxy() {
    let intake = Intake::start().expect("an intake");
    let ca = intake.ca_file().to_string_lossy().into_owned();
    let (proxy, asked) = proxy("HTTP/1.1 407 Proxy Authentication Required\r\n\r\n");
    for url in [intake.http_url(), intake.https_url()] {
        for name in ["ALL_PROXY", "HTTPS_PROXY", "http_proxy"] {
            sent(&url, &[(name, &proxy), ("SSL_CERT_FILE", &ca)]).is(ChildVerdict::Taken, "");
        }
    }
    assert_eq!(intake.requests().len(), 6);
    assert!(asked.try_recv().is_err(), "nobody asks the proxy");
}

#[test]
fn a_proxy_that_refuses_or_is_not_there() {
    let (url, asked) = proxy("HTTP/1.1 407 Proxy Authentication Required\r\n\r\n");
    let nobody = format!("http://user:the-password@127.0.0.1:{}", super::support::cost::port());
    for proxy in [&url, &nobody] {
        let sent = sent("https://intake.example", &[("HTTPS_PROXY", proxy)]);
        sent.is(ChildVerdict::NotTaken, "datadog has");
        assert!(!sent.stderr.contains("the-password"), "{}", sent.stderr);
    }
    assert!(asked.try_recv().is_ok_and(|asked| asked.starts_with("CONNECT intake.example:443 ")));
}

/// A file without an end, a pipe that nobody writes to, and a file that is too large are refused at
/// once.
#[test]
fn certificates_that_no_file_holds() {
    let folder = tempfile::tempdir().expect("a folder");
    let pipe = folder.path().join("pipe");
    assert!(Command::new("mkfifo").arg(&pipe).status().expect("mkfifo").success());
    let large = folder.path().join("large");
    fs::write(&large, vec![b'\n'; 1024 * 1024 + 1]).expect("a file");
    for path in ["/dev/zero", "/dev/null", "/", &pipe.to_string_lossy(), &large.to_string_lossy()] {
        let why = "SSL_CERT_FILE: it takes a regular file of at most 1 MiB";
        sent("https://localhost:1", &[("SSL_CERT_FILE", path)]).is(ChildVerdict::Refused, why);
    }
}

/// A TLS server on loopback. It sends this many certificates with this many names each, and takes
/// one request.
fn server(certificates: usize, names: usize, ca_file: &Path) -> (String, usize) {
    let ca_key = KeyPair::generate().expect("a key");
    let mut ca = CertificateParams::default();
    ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    fs::write(ca_file, ca.self_signed(&ca_key).expect("an authority").pem()).expect("a file");
    let key = KeyPair::generate().expect("a key");
    let name = |number: usize| format!("host-{number:012}.example");
    let mut names: Vec<String> = (0..names).map(name).collect();
    names.push("localhost".into());
    let leaf = CertificateParams::new(names).expect("names");
    let leaf = leaf.signed_by(&key, &Issuer::new(ca, ca_key)).expect("a certificate");
    let chain = vec![leaf.der().clone(); certificates];
    let size = certificates * leaf.der().len();
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .expect("a version")
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .expect("a configuration");
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    let url = format!("https://localhost:{}", listener.local_addr().expect("an address").port());
    thread::spawn(move || {
        let (stream, _) = listener.accept().expect("a connection");
        let connection = ServerConnection::new(Arc::new(config)).expect("a connection");
        let mut stream = StreamOwned::new(connection, stream);
        let mut request = Vec::new();
        let mut piece = [0; 4096];
        // Until the whole body is here, or the child gives up.
        while !request.ends_with(point(0).as_bytes()) {
            let Ok(count @ 1..) = io::Read::read(&mut stream, &mut piece) else { return };
            request.extend_from_slice(&piece[..count]);
        }
        let _ = stream.write_all(b"HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n");
    });
    (url, size)
}

/// Certificates as large as TLS allows are read. Larger ones are refused, with a line.
#[test]
fn a_certificate_of_any_size() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("ca.pem");
    let ca = file.to_string_lossy().into_owned();
    for (certificates, names, at_least, outcome, why) in [
        (1, 1, 100, ChildVerdict::Taken, ""),
        (1, 2250, 60_000, ChildVerdict::Taken, ""),
        (2, 1300, 68_000, ChildVerdict::NotTaken, "datadog has not taken a metric yet"),
    ] {
        let (url, size) = server(certificates, names, &file);
        assert!(size >= at_least, "{size}");
        sent(&url, &[("SSL_CERT_FILE", &ca)]).is(outcome, why);
    }
}

/// Without SSL_CERT_FILE the roots are Mozilla's, which do not include the server's.
#[test]
fn a_certificate_that_no_root_has_signed() {
    let folder = tempfile::tempdir().expect("a folder");
    let (url, _) = server(1, 1, &folder.path().join("ca.pem"));
    sent(&url, &[]).is(ChildVerdict::NotTaken, "UnknownIssuer");
}
