//! What the agent may cost at any time of any test: memory, threads, open files.

use std::fs;
use std::sync::OnceLock;

use sandbox::ProcStatus;

use super::binary::binary;

/// Private memory that may be touched for the first time after the start: connections, stack.
const RSS_ANON_GROWTH_MAX_KB: u64 = 48;

/// Open files at any time: stdout, stderr, the journal, the kernel's counter, the long poll, the
/// listener, two connections, and both ends of a socket while a child is started.
const OPEN_FILES_MAX: u64 = 10;

/// The most private memory of this build. The layer's program is static and has the limit of
/// `size-report/budgets.toml`. A program that is linked with glibc has glibc's memory as well, and
/// an unoptimized one takes more.
fn rss_anon_max_kb() -> u64 {
    static LIMIT_KB: OnceLock<u64> = OnceLock::new();
    *LIMIT_KB.get_or_init(|| {
        let program = fs::read(binary()).expect("the program");
        let loader = b"/ld-linux";
        let is_dynamic = program.windows(loader.len()).any(|window| window == loader);
        if is_dynamic { 640 } else { 144 }
    })
}

/// How many descriptors the caller of these tests left open. Each child inherits them.
fn inherited_count() -> u64 {
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

/// Checks the cost. `idle` was read after the init, `now` at any later time.
pub(in crate::agent) fn assert_cost(idle: ProcStatus, now: ProcStatus) {
    assert!(now.rss_anon_kb <= rss_anon_max_kb(), "RssAnon: {now:?}");
    let growth = now.rss_anon_kb.saturating_sub(idle.rss_anon_kb);
    assert!(growth <= RSS_ANON_GROWTH_MAX_KB, "RssAnon: {idle:?}, then {now:?}");
    let mapped = now.vm_peak_kb - idle.vm_peak_kb;
    assert_eq!(mapped, 0, "maps memory after its init: {idle:?}, then {now:?}");
    assert_eq!(now.threads, 1, "{now:?}");
    assert!(now.open_files - inherited_count() <= OPEN_FILES_MAX, "{now:?}");
}
