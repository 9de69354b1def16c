//! `size-report survival`: which process dies when a function runs out of memory, and what the
//! extension counts.
//!
//! In: extensions, functions, memory sizes and numbers of workers. Out: for each combination, which
//! is a cell of the matrix, how often the extension survived and how often it counted exactly one.
//! The result is a table and a history. Every kill is the kernel's.

mod cell;
mod chart;
mod kill;
mod table;

use std::io::{self, Write};
use std::path::Path;
use std::time::Instant;

use sandbox::{Extension, Function, Place, Runtime};

use crate::args::{Beside, Survival};
use crate::build;
use crate::history::Stamp;
use cell::{CellKey, CellSums, MatrixCell};

pub(crate) use chart::of_history as chart;

/// An extension of the matrix.
struct MatrixExtension {
    name: String,
    extension: Extension,
    /// The checksum of its file: another file is another extension.
    crc32: String,
    runs: u32,
    /// It must survive and count one in each run.
    is_held: bool,
}

/// A cell to run.
struct PlannedCell<'a> {
    extension: &'a MatrixExtension,
    function: &'a Function,
    key: CellKey,
}

/// Runs the matrix and prints it. True: in each run the kernel killed the function, and the
/// extension that was asked for survived and counted one.
pub(crate) fn main(args: &Survival) -> io::Result<bool> {
    let place = match sandbox::place() {
        Ok(place) => place,
        Err(why) if sandbox::require_all() => return Err(io::Error::other(why)),
        Err(why) => {
            log::warn!("skipped: {why}");
            return Ok(true);
        }
    };
    sandbox::clean_leftovers(&place);
    let (extensions, functions) = (extensions(args)?, functions(args)?);
    let known = match args.history.as_deref() {
        Some(file) if file.exists() => cell::read(&std::fs::read_to_string(file)?),
        _ => Vec::new(),
    };
    let plan = plan(args, &extensions, &functions);
    let cells = run_all(&plan, &known, &place, args.history.as_deref())?;
    writeln!(io::stdout(), "{}", table::of_cells(&cells, args.each))?;
    let mut held = cells.iter().zip(&plan).filter(|(_, planned)| planned.extension.is_held);
    Ok(held.all(|(cell, _)| cell.sums.is_perfect()))
}

/// All cells. Those of the extension that must survive come first.
fn plan<'a>(
    args: &Survival,
    extensions: &'a [MatrixExtension],
    functions: &'a [Function],
) -> Vec<PlannedCell<'a>> {
    let mut plan = Vec::new();
    for extension in extensions {
        for (name, function) in args.functions.iter().zip(functions) {
            for &memory_mb in &args.memory {
                for &workers in &args.workers {
                    let key = CellKey {
                        extension: extension.name.clone(),
                        function: name.clone(),
                        memory_mb,
                        workers,
                        then_succeed: args.then_succeed,
                    };
                    plan.push(PlannedCell { extension, function, key });
                }
            }
        }
    }
    plan
}

/// Runs the cells that the history does not have, and writes each when it ends.
fn run_all(
    plan: &[PlannedCell<'_>],
    known: &[MatrixCell],
    place: &Place,
    file: Option<&Path>,
) -> io::Result<Vec<MatrixCell>> {
    let find = |planned: &PlannedCell<'_>| known.iter().find(|cell| planned.is(cell)).cloned();
    let missing = plan.iter().filter(|planned| find(planned).is_none());
    let all: u32 = missing.map(|planned| planned.extension.runs).sum();
    let stamp = Stamp::now();
    let mut done = 0;
    let mut run = |planned: &PlannedCell<'_>| {
        let cell = planned.run(place)?;
        if let Some(file) = file {
            stamp.append(file, &cell)?;
        }
        let CellSums { runs, alive, once, seconds, .. } = cell.sums;
        done += runs;
        let key = &cell.key;
        log::info!("{done}/{all} {key}: {alive} of {runs} alive, {once} counted once, {seconds} s");
        Ok(cell)
    };
    plan.iter().map(|planned| find(planned).map_or_else(|| run(planned), Ok)).collect()
}

impl PlannedCell<'_> {
    /// Whether a cell of the history makes this run unnecessary.
    fn is(&self, cell: &MatrixCell) -> bool {
        let Self { extension, key, .. } = self;
        *key == cell.key && cell.crc32 == extension.crc32 && cell.sums.runs >= extension.runs
    }

    fn run(&self, place: &Place) -> io::Result<MatrixCell> {
        let (begun, key) = (Instant::now(), &self.key);
        let mut sums = CellSums::default();
        for run in 1..=self.extension.runs {
            log::debug!("{key}, run {run}");
            let mut killed = kill::run(self, place)
                .map_err(|error| io::Error::other(format!("{key}: {error}")))?;
            killed.problems.retain(|_| self.extension.is_held);
            for problem in &killed.problems {
                log::warn!("{key}, run {run}: {problem:#}");
            }
            sums.add(&killed);
        }
        sums.seconds = begun.elapsed().as_secs();
        Ok(MatrixCell { key: key.clone(), crc32: self.extension.crc32.clone(), sums })
    }
}

fn extensions(args: &Survival) -> io::Result<Vec<MatrixExtension>> {
    let ours = build::extension(&args.extension)?;
    let mut extensions = vec![MatrixExtension {
        is_held: true,
        ..extension(ours.name, Extension::new(ours.path), args.runs)?
    }];
    for other in args.beside.iter().filter(|_| args.beside_runs > 0) {
        let (name, file) = match other {
            Beside::Crate => {
                let peer = build::crate_peer()?;
                (peer.name, Extension::new(peer.path))
            }
            Beside::Resident(mb) => {
                let kib = format!("{:.0}", mb * 1024.0);
                let file = Extension::test(std::env::current_exe()?, "");
                (format!("{mb} MB resident"), file.variable("SANDBOX_TEST_RESIDENT_KIB", kib))
            }
        };
        extensions.push(extension(name, file, args.beside_runs)?);
    }
    Ok(extensions)
}

fn extension(name: String, extension: Extension, runs: u32) -> io::Result<MatrixExtension> {
    let mut crc = flate2::Crc::new();
    crc.update(&std::fs::read(&extension.path)?);
    let crc32 = format!("{:08x}", crc.sum());
    Ok(MatrixExtension { name, extension, crc32, runs, is_held: false })
}

fn functions(args: &Survival) -> io::Result<Vec<Function>> {
    let function = |name: &String| {
        if name == "builtin" {
            return Ok(Function::BuiltIn);
        }
        let runtime = Runtime::ready(name)?;
        Ok(Function::Command(runtime.function()))
    };
    args.functions.iter().map(function).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_runs_again_for_another_file_or_more_runs() {
        let key = CellKey::of("x", "python", 128, 4);
        let sums = CellSums { runs: 3, ..CellSums::default() };
        let cell = MatrixCell { key: key.clone(), crc32: "0a".into(), sums };
        let is_known = |crc32: &str, runs| {
            let (name, crc32, extension) = ("x".into(), crc32.into(), Extension::new("/x"));
            let extension = MatrixExtension { name, extension, crc32, runs, is_held: true };
            let function = &Function::BuiltIn;
            PlannedCell { extension: &extension, function, key: key.clone() }.is(&cell)
        };
        assert!(is_known("0a", 3) && is_known("0a", 1));
        assert!(!is_known("0a", 4) && !is_known("0b", 3));
    }
}
