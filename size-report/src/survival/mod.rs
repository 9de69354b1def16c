//! `size-report survival`: which process dies when a function runs out of memory, and what the
//! extension counts.
//!
//! In: extensions, functions, memory sizes and numbers of workers. Out: for each combination, how
//! often the extension survived and how often it counted exactly one, on the screen and in a
//! history. Every kill is the kernel's.

mod cell;
mod chart;
mod kill;
mod table;

use std::collections::HashMap;
use std::io::{self, Write};
use std::path::Path;
use std::time::Instant;

use sandbox::{Extension, Place, Runtime};

use crate::args::{Beside, Build, Survival};
use crate::build;
use crate::history::{self, Stamp};
use crate::progress::Progress;
use cell::{Cell, Spot, Tally};

pub(crate) use chart::of_history as chart;

/// An extension of the matrix.
struct Subject {
    name: String,
    extension: Extension,
    /// The checksum of its file: another file is another extension.
    crc32: String,
    runs: u32,
    /// It must survive and count one in each run.
    is_held: bool,
}

/// A function of the matrix, which the kernel kills.
struct MatrixFunction {
    name: String,
    runtime: Option<Runtime>,
}

/// True: in each run the kernel killed the function, and the extension that was asked for survived
/// and counted one.
pub(crate) fn main(args: &Survival) -> io::Result<bool> {
    let place = match sandbox::place() {
        Ok(place) => place,
        Err(why) if sandbox::require_all() => return Err(io::Error::other(why.to_string())),
        Err(why) => {
            log::warn!("skipped: {why}");
            return Ok(true);
        }
    };
    sandbox::clean_leftovers(&place);
    let subjects = subjects(args)?;
    let functions = functions(args)?;
    let known = match args.history.as_deref() {
        Some(file) if file.exists() => cell::read(&std::fs::read_to_string(file)?),
        _ => Vec::new(),
    };
    let plan = plan(args, &subjects, &functions);
    let cells = run_all(&plan, &known, &place, args.history.as_deref())?;
    writeln!(io::stdout(), "{}", table::of_cells(&cells, args.each))?;
    let held = cells.iter().zip(&plan).filter(|(_, place)| place.subject.is_held);
    Ok(held.into_iter().all(|(cell, _)| cell.tally.is_perfect()))
}

/// A cell to run.
struct PlannedCell<'a> {
    subject: &'a Subject,
    function: &'a MatrixFunction,
    spot: Spot,
}

/// All cells. Those of the extension that must survive come first.
fn plan<'a>(
    args: &Survival,
    subjects: &'a [Subject],
    functions: &'a [MatrixFunction],
) -> Vec<PlannedCell<'a>> {
    let mut plan = Vec::new();
    for subject in subjects {
        for function in functions {
            for &memory_mb in &args.memory {
                for &workers in &args.workers {
                    let spot = Spot {
                        extension: subject.name.clone(),
                        function: function.name.clone(),
                        memory_mb,
                        workers,
                        then_succeed: args.then_succeed,
                    };
                    plan.push(PlannedCell { subject, function, spot });
                }
            }
        }
    }
    plan
}

/// Runs the cells that the history does not have, and writes each when it ends.
fn run_all(
    plan: &[PlannedCell<'_>],
    known: &[Cell],
    place: &Place,
    file: Option<&Path>,
) -> io::Result<Vec<Cell>> {
    let known: HashMap<&Spot, &Cell> = known.iter().map(|cell| (&cell.spot, cell)).collect();
    let known_of = |planned: &PlannedCell<'_>| {
        let cell = known.get(&planned.spot).filter(|cell| planned.is_in(cell));
        cell.map(|cell| (*cell).clone())
    };
    let left: u64 = plan
        .iter()
        .map(|planned| match known_of(planned) {
            Some(_) => 0,
            None => u64::from(planned.subject.runs),
        })
        .sum();
    let progress = Progress::new(left);
    let stamp = Stamp::now();
    let mut done = 0;
    let mut cells = Vec::new();
    for planned in plan {
        if let Some(cell) = known_of(planned) {
            cells.push(cell);
            continue;
        }
        let cell = planned.run(place, &progress)?;
        if let Some(file) = file {
            history::append_line(file, &stamp.line(cell.json()))?;
        }
        done += u64::from(cell.tally.runs);
        progress.tells(&format!("{done}/{left} {cell}"));
        cells.push(cell);
    }
    progress.ends();
    Ok(cells)
}

impl PlannedCell<'_> {
    /// Whether a cell of the history makes this run unnecessary.
    fn is_in(&self, cell: &Cell) -> bool {
        cell.crc32 == self.subject.crc32 && cell.tally.runs >= self.subject.runs
    }

    fn run(&self, place: &Place, progress: &Progress) -> io::Result<Cell> {
        let begun = Instant::now();
        let mut tally = Tally::default();
        for run in 1..=self.subject.runs {
            progress.says(format!("{}, run {run}", self.spot));
            let killed = kill::run(self.subject, self.function, &self.spot, place)
                .map_err(|error| io::Error::other(format!("{}: {error}", self.spot)))?;
            if let Some(problem) = killed.problem().filter(|_| self.subject.is_held) {
                progress.warns(&format!("{}, run {run}: {problem:#}", self.spot));
                tally.problems.push(problem);
            }
            killed.add_to(&mut tally);
            progress.advance();
        }
        tally.seconds = begun.elapsed().as_secs();
        Ok(Cell { spot: self.spot.clone(), crc32: self.subject.crc32.clone(), tally })
    }
}

fn subjects(args: &Survival) -> io::Result<Vec<Subject>> {
    let ours = build::subject(&args.subject)?;
    let name = match (ours.ours, args.subject.build) {
        (false, _) => ours.words,
        (true, Build::LayerEmf) => build::OURS_EMF.into(),
        (true, Build::Gnu | Build::Layer | Build::LayerArm64) => build::OURS.into(),
    };
    let mut subjects = vec![subject(name, Extension::new(ours.path), args.runs)?];
    subjects[0].is_held = true;
    for other in args.beside.iter().filter(|_| args.beside_runs > 0) {
        let (name, extension) = match other {
            Beside::Crate => (build::CRATE.to_string(), Extension::new(build::crate_peer()?)),
            Beside::Resident(mb) => {
                let kib = format!("{:.0}", mb * 1024.0);
                let extension = Extension::test(std::env::current_exe()?, "");
                let extension = extension.variable("SANDBOX_TEST_RESIDENT_KIB", kib);
                (format!("{mb} MB resident"), extension)
            }
        };
        subjects.push(subject(name, extension, args.beside_runs)?);
    }
    Ok(subjects)
}

fn subject(name: String, extension: Extension, runs: u32) -> io::Result<Subject> {
    let mut crc = flate2::Crc::new();
    crc.update(&std::fs::read(&extension.path)?);
    let crc32 = format!("{:08x}", crc.sum());
    Ok(Subject { name, extension, crc32, runs, is_held: false })
}

fn functions(args: &Survival) -> io::Result<Vec<MatrixFunction>> {
    let mut functions = Vec::new();
    for name in &args.functions {
        let runtime = if name == "builtin" { None } else { Some(Runtime::ready(name)?) };
        functions.push(MatrixFunction { name: name.clone(), runtime });
    }
    Ok(functions)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_is_run_again_for_another_file_or_more_runs() {
        let spot = Spot::of("x", "python", 128, 4);
        let tally = Tally { runs: 3, ..Tally::default() };
        let cell = Cell { spot: spot.clone(), crc32: "0a".into(), tally };
        let function = MatrixFunction { name: "python".into(), runtime: None };
        let is_in = |crc32: &str, runs| {
            let (crc32, extension) = (crc32.to_string(), Extension::new("/x"));
            let subject = Subject { name: "x".into(), extension, crc32, runs, is_held: true };
            PlannedCell { subject: &subject, function: &function, spot: spot.clone() }.is_in(&cell)
        };
        assert!(is_in("0a", 3) && is_in("0a", 1));
        assert!(!is_in("0a", 4) && !is_in("0b", 3));
    }
}
