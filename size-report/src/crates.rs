//! How many bytes of a program's file come from each crate, by the linker's map.
//!
//! In: the map. Out: bytes by crate, largest first. A function belongs to the crate in its name. So
//! a generic function counts where it was written, not where it is used. C code and whole libraries
//! count for their library.

use std::collections::BTreeMap;

use oom_witness_layer::link_map::{Input, crate_of, inputs};
use serde::Serialize;

/// The bytes of one crate in the file.
#[derive(Clone, Debug, Default, Eq, PartialEq, Serialize)]
pub(crate) struct CrateBytes {
    pub(crate) name: String,
    pub(crate) code: u64,
    pub(crate) constants: u64,
    pub(crate) variables: u64,
}

impl CrateBytes {
    pub(crate) fn total(&self) -> u64 {
        self.code + self.constants + self.variables
    }

    /// The sum that a section of the program adds to. `None`: it is not in the file, or not loaded.
    fn part(&mut self, section: &str) -> Option<&mut u64> {
        let is_one_of = |kinds: &[&str]| kinds.iter().any(|kind| section.starts_with(kind));
        if is_one_of(&[".bss", ".tbss", ".comment", ".debug", ".symtab", ".strtab", ".shstrtab"]) {
            None
        } else if is_one_of(&[".text"]) || matches!(section, ".init" | ".fini") {
            Some(&mut self.code)
        } else if is_one_of(&[".rodata", ".eh_frame", ".gcc_except_table"]) {
            Some(&mut self.constants)
        } else {
            Some(&mut self.variables)
        }
    }
}

/// Every crate of a map.
pub(crate) fn crate_bytes(map: &str) -> Vec<CrateBytes> {
    let mut crates = BTreeMap::<String, CrateBytes>::new();
    for input in inputs(map) {
        let name = owner(&input);
        let bytes =
            crates.entry(name.clone()).or_insert(CrateBytes { name, ..CrateBytes::default() });
        if let Some(sum) = bytes.part(input.out) {
            *sum += input.size;
        }
    }
    let mut crates: Vec<_> = crates.into_values().filter(|bytes| bytes.total() > 0).collect();
    crates.sort_by(|a, b| b.total().cmp(&a.total()).then_with(|| a.name.cmp(&b.name)));
    crates
}

/// The crate or the library of an input.
fn owner(input: &Input<'_>) -> String {
    let (library, member) = input.file.split_once('(').unwrap_or((input.file, ""));
    if library.starts_with("libc.a") || library.starts_with("crt") {
        return "libc".into();
    }
    if let Some(name) = library.strip_suffix(".rlib").and_then(|name| name.strip_prefix("lib")) {
        let name = name.rsplit_once('-').map_or(name, |(name, _hash)| name);
        let is_rust = member.ends_with(".rcgu.o)");
        return if is_rust { name.into() } else { format!("{name}, C and assembly") };
    }
    crate_of(input.section).unwrap_or(NAMELESS).into()
}

/// Strings and tables that the compiler or the linker has merged.
const NAMELESS: &str = "constants without a name";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_add_up_by_crate_and_by_kind() {
        let map = "
            1000             1000       80     1 .text.loop
            1000             1000       30     1         /x/libring-0a.rlib(9e-aes.o):(.text.run)
            1000             1000       20     1                 run
            1030             1030       50     1         /x/a.1-cgu.0.rcgu.o:(.text._RNvNtCskxF5Y0qFWFm_11oom_witness3sys4poll)
            2000             2000        8     8 .rodata
            2000             2000        8     8         /x/a.1-cgu.0.rcgu.o:(.rodata._RNvNtCskxF5Y0qFWFm_11oom_witness3sys4poll)
            2008             2008       10     8         <internal>:(.rodata.cst16)
            3000             3000        8     8 .data
            3000             3000        8     8         /x/libc.a(malloc.lo):(.data.x)
            4000             4000     9000     8 .bss
            4000             4000     9000     8         /x/libc.a(malloc.lo):(.bss.x)
";
        let share = |name: &str, code, constants, variables| {
            let name = name.into();
            CrateBytes { name, code, constants, variables }
        };
        let expected = [
            share("oom_witness", 0x50, 8, 0),
            share("ring, C and assembly", 0x30, 0, 0),
            share(NAMELESS, 0, 0x10, 0),
            share("libc", 0, 0, 8),
        ];
        assert_eq!(crate_bytes(map), expected);
        assert!(crate_bytes("no map").is_empty());
    }
}
