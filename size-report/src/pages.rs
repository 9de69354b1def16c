//! `size-report pages`: each page that an extension has resident, and what lies on it.
//!
//! In: a running extension at rest, or the agent's child during a request. Out: one line for each
//! page: its section, whether it was touched or only mapped around a touched one, and its symbols.
//! The first run uses the program itself. The second uses a [`split_copy`], of which only touched
//! pages become resident.

mod resident;
mod split_copy;

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Child;
use std::thread;
use std::time::{Duration, Instant};

use oom_witness_layer::link_map::{LinkMap, SymbolPart};
use procfs::process::MMapPath;
use sandbox::{Behavior, Environment, Extension, Intake, IntakeAnswer, Work};

use crate::args::Pages;
use crate::build;
use crate::scenario::{child, oom, rest, with_extension};
use crate::{binary, process};
use resident::{PAGE_SIZE, Page, used};

/// Prints the pages.
pub(crate) fn main(args: &Pages) -> io::Result<bool> {
    let extension = build::extension(&args.extension)?;
    let map = match &extension.map {
        Some(path) => LinkMap::parse(&fs::read_to_string(path)?),
        None => LinkMap::default(),
    };
    binary::read_uncached(&extension.path)?;
    if let Some(processor) = binary::foreign_processor(&extension.path)? {
        return Err(io::Error::other(format!("a program for {processor}: it cannot run here")));
    }
    let pages = pages_of(args, &extension.path)?;
    let touched = touched(args, &extension.path);
    let list = PageList { program: &extension.path, map: &map, touched: touched.as_ref().ok() };
    let mut out = io::stdout().lock();
    writeln!(out, "{}{}", extension.title, if args.child { ", its child" } else { "" })?;
    list.write(&pages, &mut out)?;
    if let Err(why) = &touched {
        writeln!(out, "\nWhich pages were touched is not known: {why}")?;
    }
    Ok(true)
}

/// The offset in the file of each touched page.
fn touched(args: &Pages, program: &Path) -> io::Result<Vec<u64>> {
    let copy = split_copy::of(&fs::read(program)?).map_err(io::Error::other)?;
    let folder = tempfile::tempdir()?;
    // An extension registers under its file's name.
    let path = folder.path().join(program.file_name().unwrap_or_default());
    fs::write(&path, copy)?;
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755))?;
    let mut pages = pages_of(args, &path)?;
    pages.retain(|page| page.own.is_none() && page.is_of(&path));
    Ok(pages.iter().map(|page| page.offset).collect())
}

fn pages_of(args: &Pages, program: &Path) -> io::Result<Vec<Page>> {
    if args.child { of_child(program) } else { of_agent(args, program) }
}

fn of_agent(args: &Pages, program: &Path) -> io::Result<Vec<Page>> {
    let mut extension = Extension::new(program);
    let intake = if args.counted { Some(Intake::start()?) } else { None };
    if let Some(intake) = &intake {
        extension.variables.extend(oom::variables(intake));
        extension.variables.push(("OOM_WITNESS_SINKS".into(), "emf,datadog".into()));
    }
    with_extension(extension, |environment, pid| {
        rest::invoke(environment, 1..=args.invocations)?;
        match &intake {
            Some(intake) => of_sender(environment, intake, pid),
            None => process::settled(pid).and_then(|_| resident::pages(pid)),
        }
    })
}

/// The agent after a function ran out of memory. It has written its line, and its child waits for
/// the answer to its request.
fn of_sender(environment: &mut Environment, intake: &Intake, pid: u32) -> io::Result<Vec<Page>> {
    intake.answer_all(IntakeAnswer { delay: SHORT_HOLD, ..IntakeAnswer::default() });
    let work = Work::new(Behavior::Crash).lines([NODES_LAST_LINE]);
    thread::scope(|scope| {
        let pages = scope.spawn(|| {
            wait_for_request(intake)?;
            resident::pages(pid)
        });
        environment.invoke(&work.payload())?;
        pages.join().unwrap_or_else(|_| Err(process::gone()))
    })
}

fn wait_for_request(intake: &Intake) -> io::Result<()> {
    let begun = Instant::now();
    while intake.requests().is_empty() {
        if begun.elapsed() > HOLD {
            return Err(io::Error::other("no request was sent"));
        }
        thread::sleep(Duration::from_millis(1));
    }
    Ok(())
}

/// The agent's child alone, while it waits for the answer to its request.
fn of_child(program: &Path) -> io::Result<Vec<Page>> {
    let intake = Intake::start()?;
    intake.answer_all(IntakeAnswer { delay: HOLD, ..IntakeAnswer::default() });
    let mut child = child::command(program, ["send", "datadog"], &intake).spawn()?;
    let pages = waiting_pages(&mut child, &intake);
    // The child has no other task.
    let _ = child.kill();
    child.wait()?;
    pages
}

fn waiting_pages(child: &mut Child, intake: &Intake) -> io::Result<Vec<Page>> {
    child.stdin.take().map_or(Ok(()), |mut stdin| stdin.write_all(b"{\"series\":[]}"))?;
    wait_for_request(intake)?;
    resident::pages(child.id())
}

/// Prints pages. Its fields say what lies on them.
struct PageList<'a> {
    program: &'a Path,
    map: &'a LinkMap,
    touched: Option<&'a Vec<u64>>,
}

impl PageList<'_> {
    fn write(&self, pages: &[Page], out: &mut impl Write) -> io::Result<()> {
        let mut sums: BTreeMap<String, u64> = BTreeMap::new();
        for page in pages {
            let (place, how) = (self.place(page), self.how(page));
            writeln!(out, "{:#x} {place:<14} {how:<14} {}", page.address, self.contents(page))?;
            let what = how.split_once(' ').map_or(how.as_str(), |(what, _)| what);
            *sums.entry(format!("{what:<8} {place}")).or_default() += PAGE_SIZE as u64;
        }
        let own = pages.iter().filter(|page| page.own.is_some()).count();
        let (all, own) = (pages.len() * PAGE_SIZE / 1024, own * PAGE_SIZE / 1024);
        writeln!(out, "\n{all} KiB resident, {own} KiB of them its own (RssAnon):")?;
        for (name, bytes) in sums {
            writeln!(out, "{:>6} KiB  {name}", bytes / 1024)?;
        }
        Ok(())
    }

    /// The program's section, or the mapping.
    fn place(&self, page: &Page) -> String {
        let section = self.map.section(&page.range());
        match (&page.mapping, section) {
            // Memory after the end of the file has no name.
            (MMapPath::Anonymous, section) => section.unwrap_or("unnamed").into(),
            (MMapPath::Path(path), _) if path != self.program => {
                path.file_name().unwrap_or_default().to_string_lossy().into()
            }
            (MMapPath::Path(_), section) => section.unwrap_or(&page.rights.as_str()).into(),
            (MMapPath::Heap, _) => "[heap]".into(),
            (MMapPath::Stack, _) => "[stack]".into(),
            (other, _) => format!("{other:?}"),
        }
    }

    fn how(&self, page: &Page) -> String {
        match (&page.own, self.touched) {
            (Some(bytes), _) => format!("own {}", used(bytes)),
            (None, Some(touched)) if page.is_of(self.program) => {
                if touched.contains(&page.offset) { "touched" } else { "around" }.into()
            }
            (None, _) => "file".into(),
        }
    }

    fn contents(&self, page: &Page) -> String {
        if !page.is_of(self.program) && page.mapping != MMapPath::Anonymous {
            return String::new();
        }
        let parts = self.map.parts(&page.range());
        let words = parts.iter().filter_map(|SymbolPart { name, range }| match &page.own {
            None => Some(format!("{} {name}", range.len())),
            Some(bytes) => {
                let used = used(bytes.get(range.clone()).unwrap_or_default());
                (used > 0).then(|| format!("{used} of {} {name}", range.len()))
            }
        });
        let mut words: Vec<_> = words.take(PARTS).collect();
        if let Some(rest) = parts.len().checked_sub(PARTS).filter(|rest| *rest > 0) {
            words.push(format!("{rest} more"));
        }
        words.join(", ")
    }
}

/// How many symbols of a page are named.
const PARTS: usize = 4;

/// The agent's only evidence that the failed function ran out of memory.
const NODES_LAST_LINE: &str =
    "FATAL ERROR: Reached heap limit Allocation failed - JavaScript heap out of memory";

/// Shorter than the second that the agent gives its child.
const SHORT_HOLD: Duration = Duration::from_millis(500);

/// How long the intake waits before it answers.
const HOLD: Duration = Duration::from_secs(5);
