//! Several processes of the agent in one environment. What one knew survives, and nothing counts
//! twice.

use std::fs;
use std::process::Command;

use sandbox::{Intake, IntakeAnswer, ShutdownReason};

use super::support::sandboxed_agent::{Life, OOM, bodies};
use super::support::script::{INVOKE, Script};

const BEGIN: &str = "100 start A\n 200 done A error Runtime.ExitError";
const REPORT: &str = "210 report A error 192/192 Runtime.OutOfMemory";

#[test]
fn a_report_that_comes_again_after_a_restart_counts_one() {
    let mut life = Life::start();
    life.invoke("A");
    life.tell(OOM);
    life.restart(ShutdownReason::Failure);
    life.tell(OOM);
    life.restart(ShutdownReason::Failure);
    life.tell(OOM);
    life.end(1).quietly();
}

/// The usual order after a kill: the report reaches the next process.
#[test]
fn a_report_that_comes_after_a_restart_counts_one() {
    let mut life = Life::start();
    life.invoke("A");
    life.tell(BEGIN);
    life.restart(ShutdownReason::Failure);
    life.tell(REPORT);
    life.end(1).quietly();
}

#[test]
fn an_agent_that_was_killed_goes_on_and_says_so_once() {
    let mut life = Life::start();
    life.invoke("A");
    life.tell(OOM);
    life.kill();
    life.tell(OOM);
    life.tell(&OOM.replace(" A", " B"));
    life.restart(ShutdownReason::Spindown);
    life.end(2).once("WARN").once("was killed in this environment");
}

#[test]
fn an_untaken_detection_goes_out_after_a_restart() {
    let intake = Intake::start().expect("an intake");
    intake.answer_all(IntakeAnswer::status(503));
    let limit = std::time::Duration::from_millis(500);
    let mut life = Life::with(|builder| {
        builder
            .switches(sandbox::Switches { shutdown_limit: limit, ..Default::default() })
            .variable("DD_API_KEY", "the-key")
            .variable("DD_URL", intake.http_url())
    });
    life.invoke("A");
    life.tell(OOM);
    life.restart(ShutdownReason::Failure);
    intake.answer_all(IntakeAnswer::default());
    life.invoke("B");
    assert!((intake.points() - 1.0).abs() < f64::EPSILON, "{:?}", intake.requests());
    let taken = intake.requests().len();
    life.restart(ShutdownReason::Spindown);
    life.invoke("C");
    let said = life.end(0);
    assert_eq!((intake.requests().len(), said.sentences()), (taken, 1));
}

/// A torn or foreign journal, or another kind of file, does not stop the agent.
#[test]
fn a_journal_that_cannot_be_read() {
    let mut life = Life::start();
    life.invoke("A");
    life.tell(OOM);
    let path = life.environment.folder().join("oom-witness");
    let whole = fs::read(&path).expect("a journal");
    for torn in [&b""[..], b"{}", &[0xff; 100_000], &whole[..whole.len() / 2], &whole[1..]] {
        life.restart(ShutdownReason::Spindown);
        fs::write(&path, torn).expect("a write");
    }
    life.restart(ShutdownReason::Spindown);
    life.tell(&OOM.replace(" A", " B"));
    life.end(2);
}

#[test]
fn a_function_that_empties_tmp_takes_nothing_away() {
    let mut life = Life::start();
    let path = life.environment.folder().join("oom-witness");
    life.invoke("A");
    fs::remove_file(&path).expect("a journal");
    life.tell(OOM);
    life.restart(ShutdownReason::Failure);
    life.tell(OOM);
    life.end(1).quietly();
}

#[test]
fn no_place_for_a_journal_is_one_warning() {
    let folder = tempfile::tempdir().expect("a folder");
    let at = |name: &str| folder.path().join(name).to_string_lossy().into_owned();
    let (pipe, link) = (at("pipe"), at("link"));
    assert!(Command::new("mkfifo").arg(&pipe).status().expect("mkfifo").success());
    std::os::unix::fs::symlink(at("elsewhere"), &link).expect("a link");
    for path in ["/dev/null/none", "/nowhere/journal", "/proc/journal", &at(""), &pipe, &link] {
        let mut script = Script::ready(&[("OOM_WITNESS_STATE", path)]);
        for scenario in [OOM, &OOM.replace(" A", " B")] {
            assert_eq!(script.sender().post(&bodies(scenario)[0]), 200, "{path}");
        }
        script.give(INVOKE);
        script.next();
        script.end(2).warnings(1).once("no journal at");
    }
    assert!(!folder.path().join("elsewhere").exists(), "links are not followed");
}
