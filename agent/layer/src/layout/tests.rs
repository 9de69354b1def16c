//! Tests of the groups, and of the entry points in a built program.

use std::process::Command;

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
fn a_section_is_in_the_group_of_what_reaches_it() {
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
fn the_childs_part_of_the_loop_lies_beside_the_start() {
    let names = [".text.main", SENDS, ".text.both", ".text.unlikely.loop", RUN];
    let script = layout(&names, &[(0, 4), (4, 2), (4, 3), (1, 2)]).expect("a layout").script();
    let place = |text: &str| script.find(text).unwrap_or_else(|| panic!("{text}: {script}"));
    assert!(place("3run)") < place("*x.o(.text.unlikely.loop)"));
    assert!(place("*x.o(.text.unlikely.loop)") < place("*x.o(.text.both)"));
    assert!(place("*x.o(.text.both)") < place("oom_witness_start_code ="));
}

#[test]
fn tls_that_the_loop_can_reach_is_an_error_with_the_path() {
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
fn only_loaded_sections_are_placed() {
    let of = |file, name| {
        section(Input { address: 0x22_7920, out: ".rodata", file, section: name, size: 0x6000 })
    };
    let expected = Section {
        address: 0x22_7920,
        size: 0x6000,
        file: "9f-curve.o".into(),
        name: ".rodata.k25519".into(),
    };
    assert_eq!(of("libring.rlib(9f-curve.o)", ".rodata.k25519"), Some(expected));
    let merged = of("<internal>", ".rodata.__init_libc.str1.1").expect("a section");
    assert_eq!((merged.file.as_str(), merged.name.as_str()), ("", ".rodata.*str1.1"));
    for name in [".eh_frame+0x18", ".rela.text.main", ".comment"] {
        assert_eq!(of("a.o", name), None, "{name}");
    }
}

/// It needs no layer build, so a renamed function fails here and not in a release.
#[test]
fn the_entry_points_exist_in_a_built_program() {
    let this = std::env::current_exe().expect("this program");
    let target = this.ancestors().nth(3).expect("the target folder");
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.args(["build", "--locked", "-p", "oom-witness", "--target-dir"]).arg(target);
    cargo.current_dir(env!("CARGO_MANIFEST_DIR"));
    // Cargo sets these for this test. A build script that reads one would run again each time.
    let names = std::env::vars_os().map(|(name, _)| name.to_string_lossy().into_owned());
    for name in names.filter(|name| name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MA"))
    {
        cargo.env_remove(name);
    }
    assert!(cargo.status().expect("cargo").success(), "the agent does not build");
    let program = std::fs::read(target.join("debug/oom-witness")).expect("the agent");
    let file = ElfFile64::<Endianness>::parse(program.as_slice()).expect("an ELF file");
    let endian = file.elf_header().endian().expect("an order of bytes");
    let table = file.elf_symbol_table();
    let name = |symbol: &elf::Sym64<Endianness>| {
        let name = table.symbol_name(endian, symbol).unwrap_or_default();
        String::from_utf8_lossy(name).into_owned()
    };
    let defined = table.iter().filter(|symbol| !symbol.is_undefined(endian));
    let names: Vec<String> = defined.map(name).collect();
    let has = |wanted: &dyn Fn(&str) -> bool| names.iter().any(|name| wanted(name));
    assert!(has(&|name| name == "main"));
    assert!(has(&|name| name.contains(LOOP) && name.contains(LOOP_END)), "no EventLoop::run");
    assert!(has(&|name| name.contains(SEND)), "no {SEND}");
    for symbol in symbols() {
        assert!(has(&|name| name == symbol), "no {symbol}");
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
fn only_a_child_may_reach_tls() {
    assert!(is_child_only(TLS) && is_child_only(".text.ring_core_0_17_14__x25519"));
    assert!(!is_child_only(RUN));
}
