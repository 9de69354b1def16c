//! Which pieces of the program lie together.
//!
//! In: a program linked with its relocations, and the linker's map. Out: a linker script with three
//! groups: what [`LOOP`] can reach, what else the start can reach, and the rest, which only a child
//! that sends can reach. The kernel maps a file in windows of 64 KiB around each page that is
//! touched, so that what lies apart is not resident. Nothing is left to a list of names: what can
//! be reached is read from the program itself.
//!
//! It refuses a program whose living part can reach TLS: only the child may.

use std::collections::BTreeMap;
use std::fmt::{self, Write};

use object::Endianness;
use object::elf;
use object::read::elf::{ElfFile64, FileHeader, Rela, SectionHeader, Sym};

/// Where the agent waits: part of the mangled name of `EventLoop::run`.
const LOOP: &str = "oom_witness10event_loop";
const LOOP_END: &str = "9EventLoop3run";

/// Where a child's work begins; nothing behind it is the agent's.
const SEND: &str = "oom_witness5child";

/// What only a child may reach: crates, and the names of ring's C.
const CHILD_ONLY: [&str; 4] = ["rustls", "ring", "ureq", "webpki"];
const CHILD_ONLY_C: &str = "ring_core";

/// Functions of the same bytes are one function, under the name of any: so many bytes of them.
const FOREIGN_MAX: u64 = 256;

/// Of zeroed variables, one whose size is a multiple of it begins with a page, and stays apart.
const PAGE: u64 = 4096;

/// What libc's start reads, behind the variables, on the page that the kernel itself writes (the file
/// ends in it): a page that is read before it is written would have all others mapped around it.
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

/// Kinds of sections that are placed, and what their groups' limits are called.
const KINDS: [(&str, &str); 2] = [(".rodata", "constants"), (".text", "code")];

/// The limits of the groups, as `agent/src/sys.rs` knows them.
pub(crate) fn symbols() -> impl Iterator<Item = String> {
    KINDS
        .iter()
        .flat_map(|(_, kind)| ["", "_end"].map(|end| format!("oom_witness_start_{kind}{end}")))
}

/// The three groups, and what is in them.
pub(crate) struct Layout {
    sections: Vec<Section>,
    groups: Vec<Group>,
}

/// A piece that the linker can place: one function or one constant.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
struct Section {
    address: u64,
    size: u64,
    /// `name.o`, in whatever archive.
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
    /// Reads it all and decides. `objects` are those of rustc, by name. An error says what is wrong
    /// with the program.
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
        // libc's own way to it.
        let entry = root(&|name| name == ".text._start_c", "start").unwrap_or(main);
        let lives = root(&is_loop, "function EventLoop::run")?;
        let mut groups = vec![Group::Rest; sections.len()];
        mark(&[lives], Group::Loop, &sections, edges, &mut groups)?;
        mark(&[entry, main], Group::Start, &sections, edges, &mut groups)?;
        Ok(Self { sections, groups })
    }

    /// For `-T`: what it does not name stays where the linker puts it.
    pub(crate) fn script(&self) -> String {
        let mut script = String::new();
        for (kind, symbol) in KINDS {
            // Nothing unwinds: what C and the start-up code bring for it is left out.
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
                // The start-up code's own, of three bytes each, would have a window at the far end.
                script.push_str("  .init : { KEEP(*(.init)) }\n  .fini : { KEEP(*(.fini)) }\n");
            }
            let _ = writeln!(script, "}}\nINSERT BEFORE {kind};");
        }
        // Zeroed variables beside the initialised ones, the smallest first: libc's own (COMMON) among
        // them, the heap at the end, of which most is unused.
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
        let pairs = self.sections.iter().zip(&self.groups);
        let mut found: Vec<_> = pairs
            .filter(|(section, of)| **of == group && section.is(kind))
            .map(|(section, _)| section)
            .collect();
        // What the compiler calls unlikely, behind what runs each time.
        found.sort_by_key(|section| section.is_unlikely());
        found.dedup_by(|a, b| (&a.file, &a.name) == (&b.file, &b.name));
        found.into_iter()
    }

    fn bytes(&self, group: Group, kind: &str) -> u64 {
        let pairs = self.sections.iter().zip(&self.groups);
        pairs
            .filter(|(section, of)| **of == group && section.is(kind))
            .map(|(section, _)| section.size)
            .sum()
    }
}

/// What was decided, in a sentence a group.
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

/// Marks what can be reached and has no group yet.
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

fn is_child_only(name: &str) -> bool {
    crate_of(name).is_some_and(|name| CHILD_ONLY.contains(&name)) || name.contains(CHILD_ONLY_C)
}

/// The crate that defines what a mangled name is for: `_RNv...Cs4RSRkBj9y30_6rustls4msgs...`.
fn crate_of(name: &str) -> Option<&str> {
    let (_, path) = name.split_once("_R")?;
    let (_, root) = path.split_once("Cs")?;
    let (_, named) = root.split_once('_')?;
    let digits = named.find(|byte: char| !byte.is_ascii_digit())?;
    let (length, text) = named.split_at(digits);
    text.get(..length.parse().ok()?)
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

/// The input sections of lld's map that are loaded, by address.
///
/// ```text
///   201000   201000   20   8         /tmp/x/libring.rlib(abc-curve25519.o):(.rodata.d)
/// ```
fn sections(map: &str) -> Vec<Section> {
    let mut sections: Vec<_> = map.lines().filter_map(section).collect();
    sections.sort();
    sections
}

fn section(line: &str) -> Option<Section> {
    let mut words = line.split_ascii_whitespace();
    let address = u64::from_str_radix(words.next()?, 16).ok()?;
    let size = u64::from_str_radix(words.nth(1)?, 16).ok()?;
    // Columns are padded; a path may have spaces.
    let (path, name) = line.rsplit_once(":(")?;
    let name = name.strip_suffix(')')?;
    let is_loaded = LOADED.iter().any(|prefix| name.starts_with(prefix));
    if size == 0 || !is_loaded {
        return None;
    }
    let file = path.rsplit(['/', '(', ' ']).next()?.trim_end_matches(')');
    // Pieces that the linker has merged, under the name of the first, lie in no file.
    let (file, name) = match (file, name.rsplit_once(".str")) {
        ("<internal>", Some((_, width))) => ("", format!(".rodata.*str{width}")),
        ("<internal>", None) => ("", name.into()),
        _ => (file, name.into()),
    };
    Some(Section { address, size, file: file.into(), name })
}

/// What is neither loaded nor refers to anything that runs has addresses of its own.
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

/// The same from an object as rustc made it, where a relocation names the section that is meant. A
/// linked program has an address instead: of `table - 388`, which is indexed from 97 on, another's.
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

/// The processor counts from behind the four bytes of the distance.
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
mod tests {
    use super::*;

    /// One section of ten bytes for each name, side by side.
    fn all(names: &[&str]) -> Vec<Section> {
        let section = |(index, name): (usize, &&str)| Section {
            address: 1000 + 10 * index as u64,
            size: 10,
            file: "x.o".into(),
            name: (*name).into(),
        };
        names.iter().enumerate().map(section).collect()
    }

    fn layout(names: &[&str], edges: &[(usize, usize)]) -> Result<Layout, String> {
        let mut lists: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
        for (from, to) in edges {
            lists.entry(*from).or_default().push(*to);
        }
        Layout::of_graph(all(names), &lists)
    }

    const RUN: &str = ".text._RNvMNtCsx_11oom_witness10event_loopNtB2_9EventLoop3run";
    const SENDS: &str = ".text._RNvNtCsx_11oom_witness5child3run";
    const TLS: &str = ".text._RNvCsy_6rustls9handshake";

    #[test]
    fn three_groups_by_what_reaches_what() {
        let names = [".text.main", RUN, ".text.both", ".rodata.first", SENDS, TLS, ".text.none"];
        let edges = [(0, 1), (0, 2), (1, 2), (0, 3), (0, 4), (4, 5), (4, 2)];
        let layout = layout(&names, &edges).expect("a layout");
        let Layout { groups, .. } = &layout;
        let (rest, start) = (Group::Rest, Group::Start);
        assert_eq!(*groups, [start, Group::Loop, Group::Loop, start, rest, rest, rest]);
        let script = layout.script();
        let place = |text: &str| script.find(text).unwrap_or_else(|| panic!("{text}: {script}"));
        assert!(place("*x.o(.text.both)") < place("oom_witness_start_code ="));
        assert!(place("oom_witness_start_code =") < place("*x.o(.text.main)"));
        assert!(place("*x.o(.rodata.first)") < place("INSERT BEFORE .rodata;"));
        assert!(!script.contains("rustls") && !script.contains(".text.none"));
        assert!(symbols().all(|symbol| script.contains(&format!("{symbol} = ."))));
    }

    #[test]
    fn tls_within_reach_of_the_agent_is_an_error_that_names_the_way() {
        let names = [".text.main", RUN, ".text.middle", TLS, ".text.ring_core_mul"];
        let mut sections = all(&names);
        sections[3].size = FOREIGN_MAX + 1;
        let edges = BTreeMap::from([(1, vec![2]), (2, vec![3])]);
        let error = Layout::of_graph(sections, &edges).err().expect("an error");
        let way: Vec<_> = error.lines().skip(1).map(str::trim).collect();
        assert_eq!(way, [TLS, ".text.middle", RUN]);
    }

    #[test]
    fn a_program_without_the_loop_is_an_error() {
        let error = layout(&[".text.main", SENDS], &[]).err().expect("an error");
        assert!(error.contains("EventLoop::run"), "{error}");
    }

    #[test]
    fn lines_of_a_map() {
        let line = "  227920  227920  6000  32   /a b/libring.rlib(9f-curve.o):(.rodata.k25519)";
        let expected = Section {
            address: 0x22_7920,
            size: 0x6000,
            file: "9f-curve.o".into(),
            name: ".rodata.k25519".into(),
        };
        assert_eq!(section(line), Some(expected));
        let merged = section("2555c8 2555c8 f1 1 <internal>:(.rodata.__init_libc.str1.1)");
        let merged = merged.expect("a section");
        assert_eq!((merged.file.as_str(), merged.name.as_str()), ("", ".rodata.*str1.1"));
        for line in [
            "             VMA              LMA     Size Align Out     In      Symbol",
            "  200238  200238  23f0  8 .eh_frame",
            "  2555c8  2555c8  8  1   app_mask",
            "  200288  200288  7b0  1   /x/libring.rlib(a.o):(.eh_frame+0x18)",
            "  200288  200288  7b0  1   /x/a.o:(.rela.text.main)",
            "  200288  200288  0  1   /x/a.o:(.text.main)",
            "",
        ] {
            assert_eq!(section(line), None, "{line}");
        }
    }

    #[test]
    fn an_address_lies_in_one_section_or_none() {
        let sections = all(&[".text.a", ".text.b"]);
        let at = |address| at(&sections, address);
        assert_eq!([at(999), at(1000), at(1009), at(1010)], [None, Some(0), Some(0), Some(1)]);
        assert_eq!(at(1020), None);
    }

    #[test]
    fn the_crate_of_a_name_is_the_one_that_defines_it() {
        for (name, expected) in [
            (TLS, Some("rustls")),
            (".text._RINvNtCs5P_3log13___private_api3loguECsax_6rustls", Some("log")),
            (".text.unlikely._RNvXs_NtCsaxQ_11oom_witness5error", Some("oom_witness")),
            (".text.memcpy", None),
            (".text._R", None),
        ] {
            assert_eq!(crate_of(name), expected, "{name}");
        }
        assert!(is_child_only(".text.ring_core_0_17_14__x25519") && !is_child_only(RUN));
    }
}
