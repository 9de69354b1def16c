//! What the agent may cost in every case, whatever is done to it.

use std::net::{Ipv4Addr, TcpListener};
use std::process;
use std::sync::atomic::{AtomicU16, Ordering};

use sandbox::ProcStatus;

/// Private memory. An unoptimized program against glibc carries its relocations with it; what ships
/// is held to 96 KiB, here and by `size-report`.
const RSS_ANON_MAX_KB: u64 = if cfg!(debug_assertions) { 640 } else { 96 };

/// Private memory that may be touched for the first time after the start: connections, stack.
const RSS_ANON_GROWTH_MAX_KB: u64 = 48;

const OPEN_FILES_MAX: u64 = 10;

/// Holds the agent to its cost: `idle` is after its init, `now` at any time later.
pub(super) fn assert_frugal(idle: ProcStatus, now: ProcStatus) {
    assert!(now.rss_anon_kb <= RSS_ANON_MAX_KB, "RssAnon: {now:?}");
    let growth = now.rss_anon_kb.saturating_sub(idle.rss_anon_kb);
    assert!(growth <= RSS_ANON_GROWTH_MAX_KB, "RssAnon: {idle:?}, then {now:?}");
    assert_eq!(now.vm_peak_kb, idle.vm_peak_kb, "asked the kernel for memory after its init");
    assert_eq!(now.threads, 1, "{now:?}");
    assert!(now.open_files <= OPEN_FILES_MAX, "{now:?}");
}

/// A port that is free, below those that the kernel gives out, so that it stays free.
pub(super) fn port() -> u16 {
    static TAKEN: AtomicU16 = AtomicU16::new(0);
    let block = u16::try_from(process::id() % 100).expect("below 100");
    loop {
        let port = 10_000 + block * 200 + TAKEN.fetch_add(1, Ordering::Relaxed) % 200;
        if TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).is_ok() {
            return port;
        }
    }
}
