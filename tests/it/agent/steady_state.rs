//! The steady state: from one invocation to the next, the agent asks neither the kernel nor the
//! heap for memory, and does not grow.
//!
//! `cargo test` runs some hundreds of invocations. `OOM_WITNESS_INVOCATIONS` sets how many.

use std::collections::HashMap;
use std::fs;
use std::process::{Command, Stdio};

use sandbox::Intake;

use super::needs;
use super::support::binary::binary;
use super::support::bodies::{bodies, oom_body};
use super::support::script::Script;
use super::support::sender::TelemetrySender;
use super::support::strace::{self, Strace};

/// After this many invocations an agent has done everything once.
const WARM: usize = 10;

/// Suspicions do not count.
const IGNORE_SUSPECTED: (&str, &str) = ("OOM_WITNESS_SUSPECTED", "ignore");

/// How many invocations a test makes.
fn invocation_count() -> usize {
    let count = std::env::var("OOM_WITNESS_INVOCATIONS").ok();
    count.map_or(300, |count| count.parse().expect("a number"))
}

/// Sends INVOKE, then the invocation's telemetry in three bodies. One line means nothing and one is
/// suspicious.
fn invoke(script: &mut Script, sender: &mut TelemetrySender, number: usize) {
    script.invoke();
    let at = 1000 * number;
    let scenario = format!(
        "{} start r{number}
         --
         {} log nothing to see
         {} log RequestId: r{number} caught a MemoryError, and went on
         --
         {} done r{number} success
         {} report r{number} success 94/192",
        at + 100,
        at + 110,
        at + 120,
        at + 200,
        at + 210
    );
    for body in bodies(&scenario) {
        assert_eq!(sender.post(body), 200);
    }
}

/// Makes `count` invocations and calls `look` after each. Then one runs out of memory.
fn invoke_many(script: &mut Script, count: usize, mut look: impl FnMut(&Script, usize)) {
    let mut sender = script.connect();
    for number in 0..count {
        invoke(script, &mut sender, number);
        look(script, number);
    }
    assert_eq!(sender.post(oom_body()), 200);
    script.invoke();
}

/// It maps no memory, starts no thread, and no process but the one that sends.
#[test]
fn after_its_init_the_agent_asks_the_kernel_for_no_memory() {
    if !strace::available() {
        return;
    }
    let intake = Intake::start().expect("an intake");
    let (url, ca) = (intake.https_url(), intake.ca_file().to_string_lossy().into_owned());
    let network = [IGNORE_SUSPECTED, ("DD_API_KEY", "k"), ("DD_URL", &url), ("SSL_CERT_FILE", &ca)];
    for (variables, sent) in [(&[IGNORE_SUSPECTED][..], 0), (&network, 1)] {
        let calls = "trace=brk,mmap,mremap,madvise,clone,clone3,fork,vfork,execve";
        let strace = Strace::new(&["--seccomp-bpf", "-f", "-e", calls]);
        let mut script =
            Script::start_by(strace.command(), Stdio::piped(), variables).make_ready_unmeasured();
        invoke_many(&mut script, invocation_count(), |_, _| {});
        script.end(1 - sent).assert_warnings(0).assert_once(&format!("sent: {sent},"));
        let text = strace.text();
        let (pid, _) = text.split_once(' ').expect("a process");
        let own = text.lines().filter(|line| line.starts_with(&format!("{pid} ")));
        let mut after = own.skip_while(|line| !line.contains("MADV_DONTNEED"));
        assert!(after.next().is_some(), "the event loop starts with it: {text}");
        // Not the second half of a call, and not a line that is no call.
        let is_call =
            |line: &&str| !["resumed>", "--- ", "+++ "].iter().any(|mark| line.contains(mark));
        let after: Vec<&str> = after.filter(is_call).collect();
        assert_eq!(after.len(), sent, "{after:#?}");
        assert!(after.iter().all(|line| line.contains("clone(") && line.contains("CLONE_VFORK")));
    }
}

/// callgrind counts allocations in the program as it is. Its invocations have allocated what a
/// longer run allocates beyond a shorter one. A counting allocator would make another program, and
/// the agent's own heap does not call malloc(3).
#[test]
fn an_invocation_allocates_nothing() {
    let has_valgrind = Command::new("valgrind").arg("--version").output().is_ok();
    if !needs(has_valgrind, "valgrind") {
        return;
    }
    let allocations = |count: usize| {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("calls");
        let mut command = Command::new("valgrind");
        command.arg("--tool=callgrind").arg(format!("--callgrind-out-file={}", file.display()));
        command.arg(binary());
        let mut script =
            Script::start_by(command, Stdio::piped(), &[IGNORE_SUSPECTED]).make_ready_unmeasured();
        invoke_many(&mut script, count, |_, _| {});
        script.end(1);
        count_allocations(&fs::read_to_string(file).expect("what callgrind saw"))
    };
    let short = allocations(WARM);
    assert!(short > 0, "no allocation at its start: has the program no symbols?");
    // Under callgrind the agent takes a hundred times as long.
    assert_eq!(allocations(WARM + invocation_count() / 5), short);
}

/// Counts the calls of functions that allocate. A profile names a function as `cfn=(1) name`, later
/// as `cfn=(1)`, and then has `calls=N`.
fn count_allocations(profile: &str) -> u64 {
    let mut names = HashMap::new();
    let (mut callee, mut sum) = ("", 0);
    for line in profile.lines() {
        if let Some((key, name)) = line
            .split_once("fn=")
            .map(|(_, rest)| rest.split_at(rest.find(')').expect("an id") + 1))
        {
            if !name.is_empty() {
                names.insert(key, name.trim());
            }
            callee = names[key];
        } else if let Some(count) = line.strip_prefix("calls=") {
            let is_ours =
                ["__rust_alloc", "__rust_realloc"].iter().any(|name| callee.contains(name));
            let is_libc = ["malloc", "calloc", "realloc"].contains(&callee);
            let count = count.split(' ').next().and_then(|count| count.parse::<u64>().ok());
            sum += if is_ours || is_libc { count.expect("a count") } else { 0 };
        }
    }
    sum
}

/// The figures are the kernel's sums over all pages. The counters of /proc/PID/status lag.
#[test]
fn nothing_grows_from_one_invocation_to_the_next() {
    let resident = |script: &Script| {
        let text = fs::read_to_string(format!("/proc/{}/smaps_rollup", script.pid()));
        let text = text.expect("the agent lives");
        let kb = |name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name));
            let number = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
            number.expect("a figure")
        };
        (kb("Rss:"), kb("Anonymous:"))
    };
    let mut script = Script::start_ready(&[IGNORE_SUSPECTED]);
    let mut warm = None;
    let count = invocation_count();
    invoke_many(&mut script, count, |script, number| {
        if number == WARM {
            warm = Some(resident(script));
        }
        if number + 1 == count {
            assert_eq!(Some(resident(script)), warm, "after {count}, and after {WARM} invocations");
        }
    });
    script.end(1).assert_warnings(0);
}
