//! What the agent may cost in every test.

use std::fs;
use std::io::ErrorKind;
use std::net::{Ipv4Addr, TcpStream};
use std::process;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use sandbox::ProcStatus;

use super::binary::binary;

/// Private memory that may be touched for the first time after the start: connections, stack.
const RSS_ANON_GROWTH_MAX_KB: u64 = 48;

/// Descriptors at any time: stdout, stderr, the journal, the kernel's counter, the long poll, the
/// listener, two connections, and both ends of a socket in the moment in which a child is started.
const OPEN_FILES_MAX: u64 = 10;

/// What a build may cost.
struct Limits {
    rss_anon_kb: u64,
}

/// What ships is static, and held as in `size-report/budgets.toml`. A program against glibc carries
/// libc's memory with it, an unoptimized one more.
fn limits() -> &'static Limits {
    static LIMITS: OnceLock<Limits> = OnceLock::new();
    LIMITS.get_or_init(|| {
        let program = fs::read(binary()).expect("the program");
        let loader = b"/ld-linux";
        if program.windows(loader.len()).any(|window| window == loader) {
            Limits { rss_anon_kb: 640 }
        } else {
            Limits { rss_anon_kb: 144 }
        }
    })
}

/// Descriptors that the caller of these tests left open, and that each child inherits.
fn inherited() -> u64 {
    static COUNT: OnceLock<u64> = OnceLock::new();
    *COUNT.get_or_init(|| (3..1024).filter(|number| is_inherited(*number)).count() as u64)
}

/// True if a child would inherit the descriptor.
pub(in crate::agent) fn is_inherited(number: u32) -> bool {
    let info = fs::read_to_string(format!("/proc/self/fdinfo/{number}")).unwrap_or_default();
    let flags = info.lines().find_map(|line| line.strip_prefix("flags:"));
    let flags = flags.and_then(|flags| u32::from_str_radix(flags.trim(), 8).ok());
    flags.is_some_and(|flags| flags & O_CLOEXEC == 0)
}

const O_CLOEXEC: u32 = 0o2_000_000;

/// Holds the agent to its cost. `idle` was read after its init, `now` at any later time.
pub(in crate::agent) fn assert_frugal(idle: ProcStatus, now: ProcStatus) {
    assert!(now.rss_anon_kb <= limits().rss_anon_kb, "RssAnon: {now:?}");
    let growth = now.rss_anon_kb.saturating_sub(idle.rss_anon_kb);
    assert!(growth <= RSS_ANON_GROWTH_MAX_KB, "RssAnon: {idle:?}, then {now:?}");
    let mapped = now.vm_peak_kb - idle.vm_peak_kb;
    assert_eq!(mapped, 0, "maps memory after its init: {idle:?}, then {now:?}");
    assert_eq!(now.threads, 1, "{now:?}");
    assert!(now.open_files - inherited() <= OPEN_FILES_MAX, "{now:?}");
}

/// A free port, below those that the kernel gives out, so that it stays free. A port comes again
/// only after 5,500 others, which is more than all fault loops use. Test processes begin at one of
/// 11 places.
pub(in crate::agent) fn port() -> u16 {
    static TAKEN: AtomicU32 = AtomicU32::new(0);
    let begin = process::id() % 11 * (PORTS / 11);
    loop {
        let place = (begin + TAKEN.fetch_add(STEP, Ordering::Relaxed)) % PORTS;
        let port = 10_000 + u16::try_from(place).expect("below 22,000");
        // Tried with a connection. A listener would be inherited by another thread's child until
        // its exec.
        match TcpStream::connect((Ipv4Addr::LOCALHOST, port)) {
            Err(error) if error.kind() == ErrorKind::ConnectionRefused => return port,
            Err(error) => panic!("port {port}: {error}"),
            Ok(_) => {}
        }
    }
}

const PORTS: u32 = 22_000;

/// So that an agent whose port is taken finds the next ones free.
const STEP: u32 = 4;
