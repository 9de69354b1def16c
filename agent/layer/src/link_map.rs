//! Reads the map that the linker wrote: which bytes of the program come from where.
//!
//! In: lld's map, whose columns are fixed. Out: either each section of each input file
//! ([`inputs`]), or the symbols by address and the sections around them ([`LinkMap`]).
//!
//! ```text
//!              VMA              LMA     Size Align Out     In      Symbol
//!           254560           254560    1a2bf     1 .text.loop
//!           254560           254560      62f     1         a.o:(.text.run)
//!           254560           254560      62f     1                 <a::EventLoop>::run
//! ```

use std::ops::Range;

/// The symbols and the sections of a program.
#[derive(Debug, Default)]
pub struct LinkMap {
    sections: Vec<Piece>,
    symbols: Vec<Piece>,
}

/// Bytes that have a name.
#[derive(Clone, Debug, Eq, PartialEq)]
struct Piece {
    range: Range<u64>,
    name: String,
}

/// A symbol in a range of addresses.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct SymbolPart<'a> {
    /// The symbol's name.
    pub name: &'a str,
    /// Where it lies, counted from the start of the range.
    pub range: Range<usize>,
}

impl LinkMap {
    /// Reads a map. A line that is not one of a map is left out.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let mut map = Self::default();
        // If no symbol of an input section has a size, the section itself counts as one.
        let mut input: Option<Piece> = None;
        let mut is_named = false;
        for (column, piece) in text.lines().filter_map(piece) {
            if column == Column::Symbol {
                let range = input.as_ref().map_or(0..0, |input| input.range.clone());
                if range.contains(&piece.range.start) {
                    is_named = true;
                    map.symbols.push(piece);
                }
                continue;
            }
            map.symbols.extend(input.take().filter(|_| !is_named));
            is_named = false;
            match column {
                Column::In => input = Some(piece),
                _ => map.sections.push(piece),
            }
        }
        map.symbols.extend(input.filter(|_| !is_named));
        map
    }

    /// The section of the program that has the most of a range.
    #[must_use]
    pub fn section(&self, range: &Range<u64>) -> Option<&str> {
        let most = self.sections.iter().max_by_key(|section| overlap(&section.range, range))?;
        (overlap(&most.range, range) > 0).then_some(most.name.as_str())
    }

    /// The symbols in a range, the largest part first.
    #[must_use]
    pub fn parts(&self, range: &Range<u64>) -> Vec<SymbolPart<'_>> {
        let within = |address: u64| {
            let offset = address.clamp(range.start, range.end) - range.start;
            usize::try_from(offset).unwrap_or(usize::MAX)
        };
        let parts = self.symbols.iter().map(|Piece { range, name }| SymbolPart {
            name,
            range: within(range.start)..within(range.end),
        });
        let mut parts: Vec<_> = parts.filter(|part| !part.range.is_empty()).collect();
        parts.sort_by_key(|part| std::cmp::Reverse(part.range.len()));
        parts
    }
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Column {
    Out,
    In,
    Symbol,
}

/// One section of one of the linker's input files.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Input<'a> {
    /// Its address in the program.
    pub address: u64,
    /// The program's section that it is in.
    pub out: &'a str,
    /// Without its folders: `a.rcgu.o`, `libc.a(memcpy.lo)`, `<internal>`.
    pub file: &'a str,
    /// The section's name.
    pub section: &'a str,
    /// In bytes.
    pub size: u64,
}

/// Every input that takes room, in the map's order.
pub fn inputs(map: &str) -> impl Iterator<Item = Input<'_>> {
    let mut out = "";
    map.lines().filter_map(columns).filter_map(move |(column, range, name)| match column {
        Column::Out => {
            out = name;
            None
        }
        Column::In => {
            let (file, section) = file_and_section(name)?;
            let (address, size) = (range.start, range.end - range.start);
            Some(Input { address, out, file, section, size })
        }
        Column::Symbol => None,
    })
}

/// The crate in a mangled name: rustls in `_RNv...Cs4RSRkBj9y30_6rustls4msgs...`.
#[must_use]
pub fn crate_of(name: &str) -> Option<&str> {
    let (_, path) = name.split_once("_R")?;
    let (_, root) = path.split_once("Cs")?;
    let (_, named) = root.split_once('_')?;
    let digits = named.find(|byte: char| !byte.is_ascii_digit())?;
    let (length, text) = named.split_at(digits);
    text.get(..length.parse().ok()?)
}

fn piece(line: &str) -> Option<(Column, Piece)> {
    let (column, range, name) = columns(line)?;
    let name = if column == Column::In { input_name(name) } else { name.to_string() };
    Some((column, Piece { range, name }))
}

/// Reads a line. Its indentation says what it is. A line without a size is left out.
fn columns(line: &str) -> Option<(Column, Range<u64>, &str)> {
    let (numbers, text) = line.split_at_checked(NUMBERS_WIDTH)?;
    let mut words = numbers.split_ascii_whitespace();
    let address = u64::from_str_radix(words.next()?, 16).ok()?;
    let size = u64::from_str_radix(words.nth(1)?, 16).ok().filter(|size| *size > 0)?;
    let name = text.trim_start();
    let column = match text.len() - name.len() {
        0 => Column::Out,
        INDENT => Column::In,
        _ => Column::Symbol,
    };
    Some((column, address..address.saturating_add(size), name))
}

/// `/x/libc.a(memcpy.lo):(.text.memcpy)` without the folders; `/x/a.rcgu.o:(.rodata._RNv...)` by
/// the function that it is of.
fn input_name(text: &str) -> String {
    let Some((file, section)) = file_and_section(text) else { return text.into() };
    if file.ends_with(".rcgu.o") {
        return match section.find("_R").map(|start| section.split_at(start)) {
            Some((kind, mangled)) => format!("{kind}{:#}", rustc_demangle::demangle(mangled)),
            None => section.into(),
        };
    }
    format!("{file}:{section}")
}

/// `/x/libc.a(memcpy.lo):(.text.memcpy)` as `libc.a(memcpy.lo)` and `.text.memcpy`.
fn file_and_section(text: &str) -> Option<(&str, &str)> {
    let (path, section) = text.rsplit_once(":(")?;
    let file = path.rsplit('/').next().unwrap_or(path);
    Some((file, section.trim_end_matches(')')))
}

fn overlap(one: &Range<u64>, other: &Range<u64>) -> u64 {
    one.end.min(other.end).saturating_sub(one.start.max(other.start))
}

/// The columns before `Out`.
const NUMBERS_WIDTH: usize = 49;

const INDENT: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;

    const MAP: &str = "\
             VMA              LMA     Size Align Out     In      Symbol
            1000             1000       80     1 .text.loop
            1000             1000        0     1         begin = .
            1000             1000       30     1         /x/libring.rlib(a.o):(.text.run)
            1000             1000       20     1                 <a::Loop>::run
            1020             1020       10     1                 tail
            1030             1030       50     1         <internal>:(.rodata.cst16)
            2000             2000        8     8 .tdata
            2000             2000        8     8         /x/b.o:(.tdata.KEY)
               0                0        8     1                 KEY
";

    fn parts(range: Range<u64>) -> Vec<(String, Range<usize>)> {
        let map = LinkMap::parse(MAP);
        map.parts(&range).into_iter().map(|part| (part.name.to_string(), part.range)).collect()
    }

    #[test]
    fn what_lies_on_a_page_and_how_much_of_it() {
        let expected = [
            ("<internal>:.rodata.cst16", 0x30..0x80),
            ("<a::Loop>::run", 0..0x20),
            ("tail", 0x20..0x30),
        ];
        assert_eq!(parts(0x1000..0x2000), expected.map(|(name, range)| (name.into(), range)));
        let expected = [("tail", 0..8), ("<internal>:.rodata.cst16", 8..9)];
        assert_eq!(parts(0x1028..0x1031), expected.map(|(name, range)| (name.into(), range)));
        assert_eq!(parts(0x2000..0x3000), [("b.o:.tdata.KEY".to_string(), 0..8)]);
        assert!(parts(0x3000..0x4000).is_empty());
    }

    #[test]
    fn each_input_has_its_file_and_section() {
        let inputs: Vec<_> = inputs(MAP).map(|i| (i.out, i.file, i.section, i.size)).collect();
        let expected = [
            (".text.loop", "libring.rlib(a.o)", ".text.run", 0x30),
            (".text.loop", "<internal>", ".rodata.cst16", 0x50),
            (".tdata", "b.o", ".tdata.KEY", 8),
        ];
        assert_eq!(inputs, expected);
    }

    #[test]
    fn a_mangled_section_has_a_readable_name() {
        let name = "/x/a-1.rcgu.o:(.rodata._RNvNtCskxF5Y0qFWFm_11oom_witness3sys4poll)";
        assert_eq!(input_name(name), ".rodata.oom_witness::sys::poll");
        assert_eq!(input_name("/x/a-1.rcgu.o:(.rodata..Lanon.1)"), ".rodata..Lanon.1");
        assert_eq!(input_name("/x y/libc.a(a.lo):(.text.a)"), "libc.a(a.lo):.text.a");
    }

    #[test]
    fn a_range_is_in_the_section_with_most_of_it() {
        let map = LinkMap::parse(MAP);
        assert_eq!(map.section(&(0x1000..0x2001)), Some(".text.loop"));
        assert_eq!(map.section(&(0x107f..0x2010)), Some(".tdata"));
        assert_eq!(map.section(&(0x3000..0x4000)), None);
    }

    #[test]
    fn a_text_that_is_no_map_has_no_symbols() {
        let map = LinkMap::parse("#!/bin/sh\n\u{fc}ber\n");
        assert!(map.symbols.is_empty() && map.sections.is_empty());
    }

    #[test]
    fn the_crate_is_read_from_a_mangled_name() {
        for (name, expected) in [
            (".text._RNvCsy_6rustls9handshake", Some("rustls")),
            (".text._RINvNtCs5P_3log13___private_api3loguECsax_6rustls", Some("log")),
            (".text.unlikely._RNvXs_NtCsaxQ_11oom_witness5error", Some("oom_witness")),
            // <&mut std::fs::File as core::fmt::Debug>::fmt, <str as core::fmt::Display>::fmt
            ("_RNvXs1e_NtCs5Q_4core3fmtQNtNtCs1S_3std2fs4FileNtB5_5Debug3fmt", Some("core")),
            ("_RNvXse_NtCs5Q_4core3fmteNtB5_7Display3fmt", Some("core")),
            (".text.memcpy", None),
            (".text._R", None),
            ("", None),
        ] {
            assert_eq!(crate_of(name), expected, "{name}");
        }
    }
}
