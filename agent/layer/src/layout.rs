//! Decides which functions and constants of the agent lie side by side in its file.
//!
//! ```text
//! as the linker orders it              as this module orders it
//! | loop | TLS | loop | start | TLS |   | loop | loop | start | TLS | TLS |
//! `----- 64 KiB around each page -----'  `- resident -'  `- not resident -'
//! ```
//!
//! **Why.** The kernel maps a file in windows of 64 KiB around each page that is touched. Scattered
//! code therefore keeps its neighbours resident too. With this order the layer has 200 KiB RSS at
//! rest instead of 632, and a peak (VmHWM) of 212 KiB instead of 844.
//!
//! **How.** The linker runs twice (linker.rs). The first link keeps its relocations, which are the
//! references between sections. In: that program, and the linker's map. Out: a linker script for
//! the second link, with three groups: code that [`LOOP`] can reach, code that only the start can
//! reach, and the rest, which only a child that sends can reach. The part of the loop that a child
//! can reach too lies beside the start, so a child maps no window of the rest of the loop. It runs
//! nothing, and knows no function by name except the entry points below.
//!
//! **When it goes stale.** A missing entry point fails the build, and before that the test
//! `the_entry_points_exist_in_a_built_program`. The build also fails when the loop or the start can
//! reach TLS, which only a child may. If code is called through a pointer that no relocation shows,
//! it goes into the third group. Then the program still works, with a larger RSS.
//!
//! **Without it.** A plain `cargo build` links with `agent/loop.ld`, which lists crates by name.
//! `OOM_WITNESS_LAYOUT` (see `compile.rs`) tells `agent/build.rs` to leave that script out.

use std::collections::BTreeMap;
use std::fmt::{self, Write};

use object::Endianness;
use object::elf;
use object::read::elf::{ElfFile64, FileHeader, Rela, SectionHeader, Sym};
use oom_witness_layer::link_map::{Input, crate_of, inputs};

/// Where the agent waits: parts of the mangled name of `EventLoop::run`.
const LOOP: &str = "oom_witness10event_loop";
const LOOP_END: &str = "9EventLoop3run";

/// Where a child's work begins: part of its mangled names. The agent itself never runs this code.
const SEND: &str = "oom_witness5child";

/// Crates that only a child may reach, and the prefix of ring's C functions.
const CHILD_ONLY: [&str; 4] = ["rustls", "ring", "ureq", "webpki"];
const CHILD_ONLY_C: &str = "ring_core";

/// The linker folds functions with the same bytes into one, under the name of any of them. So this
/// many bytes under the name of a child's crate are no error.
const FOREIGN_MAX: u64 = 256;

/// A zeroed variable whose size is a multiple of this begins on a page, and is not packed.
const PAGE: u64 = 4096;

/// Places the data that libc's start reads after the variables, on the page in which the file ends.
/// The kernel itself writes that page. If the start read another page first, the kernel would map
/// more pages around it.
const READ_FIRST: &str = "\
SECTIONS
{
  .init_array : { KEEP(*(SORT_BY_INIT_PRIORITY(.init_array.*) .init_array)) }
  .fini_array : { KEEP(*(SORT_BY_INIT_PRIORITY(.fini_array.*) .fini_array)) }
  .tdata : { *(.tdata .tdata.*) }
  .tbss : { *(.tbss .tbss.*) }
}
INSERT AFTER .data;
";

/// The kinds of sections that are placed, and what the symbols call them.
const KINDS: [(&str, &str); 2] = [(".rodata", "constants"), (".text", "code")];

/// The symbols at the limits of the start group, which `agent/src/sys/memory.rs` declares.
pub(crate) fn symbols() -> impl Iterator<Item = String> {
    KINDS
        .iter()
        .flat_map(|(_, kind)| ["", "_end"].map(|end| format!("oom_witness_start_{kind}{end}")))
}

/// All sections, and the group of each.
pub(crate) struct Layout {
    sections: Vec<Section>,
    groups: Vec<Group>,
    /// Whether a child can reach the section too.
    of_child: Vec<bool>,
}

/// A piece that the linker can place: one function or one constant.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
struct Section {
    address: u64,
    size: u64,
    /// `name.o`, without its archive.
    file: String,
    name: String,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Group {
    Loop,
    Start,
    Rest,
}

impl Layout {
    /// Groups the sections of a program. `objects` are rustc's, by name. An error says what is
    /// wrong with the program.
    pub(crate) fn of(
        program: &[u8],
        map: &str,
        objects: &[(String, Vec<u8>)],
    ) -> Result<Self, String> {
        let sections = sections(map);
        let mut edges = edges(program, &sections)?;
        for (name, object) in objects {
            add_edges(object, name, &sections, &mut edges)?;
        }
        Self::of_graph(sections, &edges)
    }

    fn of_graph(
        sections: Vec<Section>,
        edges: &BTreeMap<usize, Vec<usize>>,
    ) -> Result<Self, String> {
        let root = |wanted: &dyn Fn(&str) -> bool, what: &str| {
            let found = sections.iter().position(|section| wanted(&section.name));
            found.ok_or_else(|| format!("the program has no {what}: agent/layer/src/layout.rs"))
        };
        let is_loop = |name: &str| {
            name.starts_with(".text.") && name.contains(LOOP) && name.ends_with(LOOP_END)
        };
        let main = root(&|name| name == ".text.main", "main")?;
        // libc's way to `main`.
        let entry = root(&|name| name == ".text._start_c", "start").unwrap_or(main);
        let event_loop = root(&is_loop, "function EventLoop::run")?;
        let mut groups = vec![Group::Rest; sections.len()];
        mark(&[event_loop], Group::Loop, &sections, edges, &mut groups)?;
        mark(&[entry, main], Group::Start, &sections, edges, &mut groups)?;
        let of_child = reached_by_child(&sections, edges);
        Ok(Self { sections, groups, of_child })
    }

    /// The linker script, for `-T`. Sections that it does not name stay where the linker puts them.
    pub(crate) fn script(&self) -> String {
        let mut script = String::new();
        for (kind, symbol) in KINDS {
            // Nothing unwinds, so the tables of C and of the start-up code are left out.
            script.push_str("SECTIONS\n{\n  /DISCARD/ : { *(.eh_frame) }\n");
            for (group, name) in [(Group::Loop, "loop"), (Group::Start, "start")] {
                let _ = writeln!(script, "  {kind}.{name} :\n  {{");
                let _ = writeln!(script, "    oom_witness_{name}_{symbol} = .;");
                for section in self.of_group(group, kind) {
                    let _ = writeln!(script, "    *{}({})", section.file, section.name);
                }
                let _ = writeln!(script, "    oom_witness_{name}_{symbol}_end = .;\n  }}");
            }
            if kind == ".text" {
                // These have three bytes each. At the far end they would cost a window.
                script.push_str("  .init : { KEEP(*(.init)) }\n  .fini : { KEEP(*(.fini)) }\n");
            }
            let _ = writeln!(script, "}}\nINSERT BEFORE {kind};");
        }
        // Zeroed variables lie beside the initialised ones, libc's own (COMMON) first, then by
        // size. So the heap, which is mostly unused, comes last.
        script.push_str("SECTIONS\n{\n  .bss.packed (NOLOAD) :\n  {\n    *(COMMON)\n");
        let is_packed =
            |section: &&Section| section.is(".bss") && !section.size.is_multiple_of(PAGE);
        let mut packed: Vec<_> = self.sections.iter().filter(is_packed).collect();
        packed.sort_by_key(|section| section.size);
        for section in packed {
            let _ = writeln!(script, "    *{}({})", section.file, section.name);
        }
        script.push_str("  }\n}\nINSERT BEFORE .bss;\n");
        script.push_str(READ_FIRST);
        script
    }

    fn of_group(&self, group: Group, kind: &str) -> impl Iterator<Item = &Section> {
        let pairs = self.sections.iter().zip(&self.groups).zip(&self.of_child);
        let mut found: Vec<_> = pairs
            .filter(|((section, of), _)| **of == group && section.is(kind))
            .map(|((section, _), of_child)| (*of_child, section))
            .collect();
        // The child's part of the loop lies beside the start, which a child runs too. In each part,
        // code that the compiler calls unlikely comes last.
        found.sort_by_key(|(of_child, section)| {
            (*of_child && group == Group::Loop, section.is_unlikely())
        });
        found.dedup_by(|(_, a), (_, b)| (&a.file, &a.name) == (&b.file, &b.name));
        found.into_iter().map(|(_, section)| section)
    }

    fn bytes(&self, group: Group, kind: &str) -> u64 {
        let pairs = self.sections.iter().zip(&self.groups);
        pairs
            .filter(|(section, of)| **of == group && section.is(kind))
            .map(|(section, _)| section.size)
            .sum()
    }
}

/// One line for each group.
impl fmt::Display for Layout {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (group, name) in [
            (Group::Loop, "the loop can reach"),
            (Group::Start, "only the start can reach"),
            (Group::Rest, "only a child can reach"),
        ] {
            let (code, constants) = (self.bytes(group, ".text"), self.bytes(group, ".rodata"));
            writeln!(formatter, "{name}: {code} bytes of code, {constants} of constants")?;
        }
        Ok(())
    }
}

impl Section {
    fn is(&self, kind: &str) -> bool {
        self.name == kind || self.name.strip_prefix(kind).is_some_and(|rest| rest.starts_with('.'))
    }

    fn is_unlikely(&self) -> bool {
        self.name.contains(".unlikely.")
    }
}

/// Puts the sections that the roots can reach, and that have no group yet, into this group.
fn mark(
    roots: &[usize],
    group: Group,
    sections: &[Section],
    edges: &BTreeMap<usize, Vec<usize>>,
    groups: &mut [Group],
) -> Result<(), String> {
    let mut from: BTreeMap<usize, usize> = BTreeMap::new();
    let mut waiting = roots.to_vec();
    let mut foreign = 0;
    while let Some(index) = waiting.pop() {
        let name = &sections[index].name;
        if groups[index] != Group::Rest || name.contains(SEND) {
            continue;
        }
        if is_child_only(name) {
            foreign += sections[index].size;
            if foreign > FOREIGN_MAX {
                return Err(path_to(index, &from, sections));
            }
        }
        groups[index] = group;
        for &next in edges.get(&index).into_iter().flatten() {
            if groups[next] == Group::Rest {
                from.entry(next).or_insert(index);
                waiting.push(next);
            }
        }
    }
    Ok(())
}

/// Whether a child's own code can reach each section.
fn reached_by_child(sections: &[Section], edges: &BTreeMap<usize, Vec<usize>>) -> Vec<bool> {
    let mut reached = vec![false; sections.len()];
    let mut waiting: Vec<usize> =
        (0..sections.len()).filter(|index| sections[*index].name.contains(SEND)).collect();
    while let Some(index) = waiting.pop() {
        if !std::mem::replace(&mut reached[index], true) {
            waiting.extend(edges.get(&index).into_iter().flatten());
        }
    }
    reached
}

fn is_child_only(name: &str) -> bool {
    crate_of(name).is_some_and(|name| CHILD_ONLY.contains(&name)) || name.contains(CHILD_ONLY_C)
}

fn path_to(index: usize, from: &BTreeMap<usize, usize>, sections: &[Section]) -> String {
    let mut text = String::from("the agent itself can reach what only a child may:");
    let mut next = Some(index);
    while let Some(index) = next {
        let _ = write!(text, "\n  {}", sections[index].name);
        next = from.get(&index).copied().filter(|before| *before != index);
    }
    text
}

/// The input sections that are loaded, by address.
fn sections(map: &str) -> Vec<Section> {
    let mut sections: Vec<_> = inputs(map).filter_map(section).collect();
    sections.sort();
    sections
}

fn section(input: Input<'_>) -> Option<Section> {
    let Input { address, file, section: name, size, .. } = input;
    if !LOADED.iter().any(|prefix| name.starts_with(prefix)) {
        return None;
    }
    let file = file.rsplit('(').next()?.trim_end_matches(')');
    // Merged pieces have the name of the first one, and lie in no file.
    let (file, name) = match (file, name.rsplit_once(".str")) {
        ("<internal>", Some((_, width))) => ("", format!(".rodata.*str{width}")),
        ("<internal>", None) => ("", name.into()),
        _ => (file, name.into()),
    };
    Some(Section { address, size, file: file.into(), name })
}

/// The prefixes of the sections that are loaded. The addresses of others mean nothing.
const LOADED: [&str; 7] = [".text", ".rodata", ".data", ".bss", ".init", ".fini", ".preinit_array"];

/// Which section refers to which, by the program's relocations.
fn edges(program: &[u8], sections: &[Section]) -> Result<BTreeMap<usize, Vec<usize>>, String> {
    let wrong = |error: object::Error| format!("the first link: {error}");
    let file = ElfFile64::<Endianness>::parse(program).map_err(wrong)?;
    let endian = file.elf_header().endian().map_err(wrong)?;
    let is_x86 = file.elf_header().e_machine(endian) == elf::EM_X86_64;
    let symbols = file.elf_symbol_table();
    let mut edges: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    for header in file.elf_section_table().iter() {
        let Some((relocations, _)) = header.rela(endian, program).map_err(wrong)? else { continue };
        for relocation in relocations {
            let Some(index) = relocation.symbol(endian, false) else { continue };
            let Ok(symbol) = symbols.symbol(index) else { continue };
            if symbol.st_type() == elf::STT_TLS {
                continue;
            }
            let mut target =
                symbol.st_value(endian).wrapping_add_signed(relocation.r_addend(endian));
            if is_x86 && is_from_next_instruction(relocation.r_type(endian, false)) {
                target = target.wrapping_add(4);
            }
            let (Some(from), Some(to)) =
                (at(sections, relocation.r_offset(endian)), at(sections, target))
            else {
                continue;
            };
            edges.entry(from).or_default().push(to);
        }
    }
    Ok(edges)
}

/// Adds the references of an object as rustc made it, where a relocation names its target section.
/// A linked program has only an address, which may lie in another section: that of `table - 388`,
/// for a table that is indexed from 97 on.
fn add_edges(
    object: &[u8],
    name: &str,
    sections: &[Section],
    edges: &mut BTreeMap<usize, Vec<usize>>,
) -> Result<(), String> {
    let wrong = |error: object::Error| format!("{name}: {error}");
    let file = ElfFile64::<Endianness>::parse(object).map_err(wrong)?;
    let endian = file.elf_header().endian().map_err(wrong)?;
    let (table, symbols) = (file.elf_section_table(), file.elf_symbol_table());
    let of_this = sections.iter().enumerate().filter(|(_, section)| section.file == name);
    let by_name: BTreeMap<&[u8], usize> =
        of_this.map(|(index, section)| (section.name.as_bytes(), index)).collect();
    let known = |index| {
        let header = table.section(index).ok()?;
        by_name.get(table.section_name(endian, header).ok()?).copied()
    };
    for header in table.iter() {
        let Some((relocations, _)) = header.rela(endian, object).map_err(wrong)? else { continue };
        let Some(from) = known(header.info_link(endian)) else { continue };
        for relocation in relocations {
            let Some(index) = relocation.symbol(endian, false) else { continue };
            let Ok(symbol) = symbols.symbol(index) else { continue };
            let section = symbols.symbol_section(endian, symbol, index).map_err(wrong)?;
            if let Some(to) = section.and_then(known) {
                edges.entry(from).or_default().push(to);
            }
        }
    }
    Ok(())
}

/// Whether a distance counts from its end, four bytes after the relocation.
fn is_from_next_instruction(kind: u32) -> bool {
    [
        elf::R_X86_64_PC32,
        elf::R_X86_64_PLT32,
        elf::R_X86_64_GOTPCREL,
        elf::R_X86_64_GOTPCRELX,
        elf::R_X86_64_REX_GOTPCRELX,
    ]
    .contains(&kind)
}

/// The section at an address.
fn at(sections: &[Section], address: u64) -> Option<usize> {
    let index = sections.partition_point(|section| section.address <= address).checked_sub(1)?;
    let section = &sections[index];
    (address < section.address + section.size).then_some(index)
}

#[cfg(test)]
mod tests;
