//! `size-report survival`: who dies when a function runs out of memory, and what is counted.
//!
//! In: extensions, functions, memory sizes and numbers of workers. Out: for each, how often the
//! extension lived on and how often it counted exactly one. Beside the extension that is asked for,
//! the sandbox's test extension with so much memory resident as others have. Every kill is the
//! kernel's.

use std::io::{self, Write};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use sandbox::{
    Environment, Extension, Function, Memory, Place, Runtime, ShutdownReason, count_emf,
};
use serde_json::{Value, json};

use crate::args::Survival;
use crate::build;
use crate::table;

/// An extension of the matrix.
struct Subject {
    name: String,
    extension: Extension,
    runs: u32,
    /// Whether anything less than always is a failure.
    is_held: bool,
}

/// A function of the matrix.
struct Victim {
    name: String,
    runtime: Option<Runtime>,
}

/// What the runs of one extension in one place add up to.
#[derive(Clone, Debug, Default)]
struct Tally {
    runs: u32,
    function_killed: u32,
    alive: u32,
    once: u32,
    kernel_kills: u64,
    rss_kib: u64,
}

/// One line of the result.
struct Row {
    subject: usize,
    function: String,
    memory_mb: u64,
    workers: u32,
    tally: Tally,
}

/// True: the extension that was asked for always lived and always counted one.
pub(crate) fn main(args: &Survival) -> io::Result<bool> {
    let place = match sandbox::access().place() {
        Ok(place) => place,
        Err(why) if std::env::var("OOM_WITNESS_REQUIRE").is_ok_and(|value| value == "all") => {
            return Err(io::Error::other(why.to_string()));
        }
        Err(why) => {
            eprintln!("skipped: {why}");
            return Ok(true);
        }
    };
    sandbox::clean_leftovers(&place);
    let subjects = subjects(args)?;
    let victims = victims(args)?;
    let cells = victims.len() * args.memory.len() * args.workers.len();
    let runs: u64 = subjects.iter().map(|subject| u64::from(subject.runs)).sum();
    let bar = bar(runs * cells as u64);
    let mut rows = Vec::new();
    for (index, subject) in subjects.iter().enumerate() {
        for victim in &victims {
            for &memory_mb in &args.memory {
                for &workers in &args.workers {
                    bar.set_message(format!(
                        "{}: {} {memory_mb} MB x {workers}",
                        subject.name, victim.name
                    ));
                    let mut tally = Tally::default();
                    for _ in 0..subject.runs {
                        tally.add(subject, victim, memory_mb, workers, &place)?;
                        bar.inc(1);
                    }
                    let function = victim.name.clone();
                    rows.push(Row { subject: index, function, memory_mb, workers, tally });
                }
            }
        }
    }
    bar.finish_and_clear();
    let text = if args.json {
        format!("{:#}", document(&subjects, &rows))
    } else {
        shown(&subjects, &rows, args.each)
    };
    writeln!(io::stdout(), "{text}")?;
    let held = |row: &&Row| subjects[row.subject].is_held;
    Ok(rows.iter().filter(held).all(|row| row.tally.is_perfect()))
}

fn subjects(args: &Survival) -> io::Result<Vec<Subject>> {
    let ours = build::subject(&args.subject)?;
    let mut subjects = vec![Subject {
        name: ours.words,
        extension: Extension::new(ours.path),
        runs: args.runs,
        is_held: true,
    }];
    let this = std::env::current_exe()?;
    for mb in &args.beside {
        let kib = format!("{:.0}", mb * 1024.0);
        subjects.push(Subject {
            name: format!("{mb} MB resident"),
            extension: Extension::test(&this, "").variable("SANDBOX_TEST_RESIDENT_KIB", kib),
            runs: args.beside_runs,
            is_held: false,
        });
    }
    Ok(subjects)
}

fn victims(args: &Survival) -> io::Result<Vec<Victim>> {
    let mut victims = Vec::new();
    for name in &args.functions {
        let runtime = if name == "builtin" {
            None
        } else {
            let ready = Runtime::ready(name, |step| eprintln!("{name}: {step}"));
            Some(ready.map_err(|missing| {
                let text = format!("{name} needs {}: {}", missing.what, missing.command);
                io::Error::other(text)
            })?)
        };
        victims.push(Victim { name: name.clone(), runtime });
    }
    Ok(victims)
}

impl Tally {
    fn add(
        &mut self,
        subject: &Subject,
        victim: &Victim,
        memory_mb: u64,
        workers: u32,
        place: &Place,
    ) -> io::Result<()> {
        let function = match &victim.runtime {
            Some(runtime) => Function::Command(runtime.function()),
            None => Function::BuiltIn,
        };
        let mut environment = Environment::builder()
            .memory(Memory::Limited(place.clone()))
            .memory_mb(memory_mb)
            .function(function)
            .extension(subject.extension.clone())
            .timeout(Duration::from_secs(60))
            .start()?;
        let payload = json!({"behavior": "grow", "workers": workers}).to_string();
        let outcome = environment.invoke(&payload)?;
        environment.shutdown(ShutdownReason::Spindown)?;
        let ended_well =
            |exit: &Option<std::process::ExitStatus>| exit.is_some_and(|e| e.success());
        let alive = !outcome.extension_killed()
            && outcome.extension_exits.iter().all(|(_, exit)| ended_well(exit));
        self.runs += 1;
        self.function_killed += u32::from(outcome.function_killed());
        self.alive += u32::from(alive);
        self.once += u32::from(count_emf(&environment.extension_lines()) == 1.0);
        self.kernel_kills += outcome.oom_kills;
        self.rss_kib = self.rss_kib.max(environment.peak().map_or(0, |peak| peak.vm_hwm_kb));
        Ok(())
    }

    fn join(&mut self, other: &Self) {
        self.runs += other.runs;
        self.function_killed += other.function_killed;
        self.alive += other.alive;
        self.once += other.once;
        self.kernel_kills += other.kernel_kills;
        self.rss_kib = self.rss_kib.max(other.rss_kib);
    }

    fn is_perfect(&self) -> bool {
        self.alive == self.runs && self.once == self.runs
    }

    fn cells(&self) -> [String; 6] {
        let percent = |part: u32| {
            let share = f64::from(part) * 100.0 / f64::from(self.runs.max(1));
            // 999 of 1,000 are not all.
            format!("{:.1} %", if part < self.runs { share.min(99.9) } else { share })
        };
        [
            self.runs.to_string(),
            percent(self.function_killed),
            percent(self.alive),
            percent(self.once),
            self.kernel_kills.to_string(),
            self.rss_kib.to_string(),
        ]
    }
}

/// By extension, memory size and workers; each function in a row of its own where asked.
fn shown(subjects: &[Subject], rows: &[Row], each: bool) -> String {
    let mut table = table::table(&[
        "extension",
        "function",
        "MB",
        "workers",
        "runs",
        "function killed",
        "extension alive",
        "counted once",
        "kernel kills",
        "VmHWM, KiB",
    ]);
    for (index, subject) in subjects.iter().enumerate() {
        let mut total = Tally::default();
        for row in rows.iter().filter(|row| row.subject == index) {
            total.join(&row.tally);
            if each || !row.tally.is_perfect() {
                let (mb, workers) = (row.memory_mb.to_string(), row.workers.to_string());
                let place = [subject.name.clone(), row.function.clone(), mb, workers];
                table.add_row(place.into_iter().chain(row.tally.cells()));
            }
        }
        let all = [subject.name.clone(), "all".into(), "all".into(), "all".into()];
        table.add_row(all.into_iter().chain(total.cells()));
    }
    table::numbers(&mut table, 2..=9);
    let note = if each { "" } else { "\nRows that are all 100 % are in the last one of each." };
    format!("{table}{note}\n{CANNOT_TELL}")
}

fn document(subjects: &[Subject], rows: &[Row]) -> Value {
    let row = |row: &Row| {
        json!({
            "extension": subjects[row.subject].name, "function": row.function,
            "memoryMB": row.memory_mb, "workers": row.workers, "runs": row.tally.runs,
            "functionKilled": row.tally.function_killed, "extensionAlive": row.tally.alive,
            "countedOnce": row.tally.once, "kernelKills": row.tally.kernel_kills,
            "vmHwmKiB": row.tally.rss_kib,
        })
    };
    rows.iter().map(row).collect()
}

fn bar(steps: u64) -> ProgressBar {
    let bar = ProgressBar::new(steps);
    let template = "{spinner} [{bar:30}] {pos}/{len} {elapsed} of {duration} {wide_msg}";
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    bar
}

const CANNOT_TELL: &str = "\
What this table cannot tell: the kernel kills whoever holds the most pages at that moment, so a share\n\
of few runs is a rough one; on Lambda the runtime itself holds more than here; nothing here ran on AWS.";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_whole_only_if_all_are() {
        let tally = Tally { runs: 10_000, alive: 9_999, once: 10_000, ..Tally::default() };
        assert_eq!(tally.cells()[2..4], ["99.9 %", "100.0 %"]);
        assert!(!tally.is_perfect());
    }

    #[test]
    fn the_last_row_of_an_extension_has_all_runs() {
        let subject = |name: &str| Subject {
            name: name.into(),
            extension: Extension::new("/x"),
            runs: 2,
            is_held: true,
        };
        let row = |subject, alive| Row {
            subject,
            function: "builtin".into(),
            memory_mb: 128,
            workers: 4,
            tally: Tally { runs: 2, alive, once: 2, ..Tally::default() },
        };
        let rows = [row(0, 2), row(0, 1), row(1, 2)];
        let text = shown(&[subject("small"), subject("large")], &rows, false);
        let of = |name: &str| text.lines().filter(|line| line.contains(name)).count();
        assert_eq!((of("small"), of("large")), (2, 1), "{text}");
        assert!(text.contains("75.0 %") && text.contains("50.0 %"), "{text}");
    }
}
