//! The file itself: its size, its compressed size, and its ELF sections by purpose.
//!
//! In: the bytes of a file. Out: sums of bytes. It runs nothing, and reads only 64-bit ELF, which
//! both of Lambda's processors have.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::Path;

use flate2::Compression;
use flate2::write::GzEncoder;
use object::LittleEndian;
use object::elf::{
    EM_AARCH64, EM_X86_64, PT_GNU_RELRO, SHF_ALLOC, SHF_EXECINSTR, SHF_WRITE, SHT_NOBITS,
    SHT_SYMTAB,
};
use object::read::elf::{ElfFile64, FileHeader, ProgramHeader, SectionHeader};
use rustix::fs::{Advice, fadvise};

use crate::build::Subject;
use crate::crates::shares;
use crate::figure::{self, CostScenario};
use crate::report::Report;

/// The processor that a program is for, by AWS's name, if this machine has another.
pub(crate) fn foreign_processor(path: &Path) -> io::Result<Option<&'static str>> {
    Ok(processor(&std::fs::read(path)?).filter(|(_, is_own)| !is_own).map(|(name, _)| name))
}

fn processor(bytes: &[u8]) -> Option<(&'static str, bool)> {
    let file = ElfFile64::<LittleEndian>::parse(bytes).ok()?;
    match file.elf_header().e_machine(file.elf_header().endian().ok()?) {
        EM_AARCH64 => Some(("arm64", cfg!(target_arch = "aarch64"))),
        EM_X86_64 => Some(("x86_64", cfg!(target_arch = "x86_64"))),
        _ => None,
    }
}

/// Adds the figures of the file.
pub(crate) fn measure(report: &mut Report, subject: &Subject) -> io::Result<()> {
    let bytes = forget(&subject.path)?;
    report.add(CostScenario::Binary, figure::FILE, bytes.len());
    report.add(CostScenario::Binary, figure::GZIP, gzip(&bytes)?);
    if let Some(zip) = &subject.zip {
        report.add(CostScenario::Binary, figure::ZIP, std::fs::metadata(zip)?.len());
    }
    if let Some(map) = &subject.map {
        report.crates = shares(&std::fs::read_to_string(map)?);
    }
    let Some(sections) = Sections::of(&bytes) else {
        report.remark("binary: not a 64-bit ELF file, so there are no sections to add up");
        return Ok(());
    };
    for (figure, value) in [
        (figure::TEXT, sections.text),
        (figure::RODATA, sections.rodata),
        (figure::RELRO, sections.relro),
        (figure::DATA, sections.data),
        (figure::BSS, sections.bss),
    ] {
        report.add(CostScenario::Binary, figure, value);
    }
    if sections.has_symbols {
        report.remark("binary: not stripped, the file holds symbols that no run needs");
    }
    Ok(())
}

/// Reads a file from the disk, so that the page cache holds it as on Lambda.
///
/// The kernel caches a file in pieces that depend on how it was written, and maps a whole piece
/// when one of its pages is touched. A copy of the same extension had 150 KiB more RSS. So the
/// file's cached pages are dropped first.
pub(crate) fn forget(path: &Path) -> io::Result<Vec<u8>> {
    let mut file = File::open(path)?;
    // This has no effect on a file system that cannot do it, or on pages in use.
    let _ = file.sync_data().and_then(|()| Ok(fadvise(&file, 0, None, Advice::DontNeed)?));
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Sums of the sections that are loaded, by their flags.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
struct Sections {
    text: u64,
    rodata: u64,
    relro: u64,
    data: u64,
    bss: u64,
    has_symbols: bool,
}

/// What a section is for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Purpose {
    Text,
    Rodata,
    Relro,
    Data,
    Bss,
    NotLoaded,
}

impl Sections {
    fn of(bytes: &[u8]) -> Option<Self> {
        let file = ElfFile64::<LittleEndian>::parse(bytes).ok()?;
        let endian = file.elf_header().endian().ok()?;
        let relro: Vec<_> = file
            .elf_program_headers()
            .iter()
            .filter(|header| header.p_type(endian) == PT_GNU_RELRO)
            .map(|header| {
                let start = header.p_vaddr(endian);
                start..start.saturating_add(header.p_memsz(endian))
            })
            .collect();
        let mut sums = Self::default();
        for section in file.elf_section_table().iter() {
            let (kind, size) = (section.sh_type(endian), section.sh_size(endian));
            let in_relro = relro.iter().any(|range| range.contains(&section.sh_addr(endian)));
            let flags = u32::try_from(section.sh_flags(endian)).unwrap_or(0);
            sums.add(purpose(flags, kind, in_relro), size);
            sums.has_symbols |= kind == SHT_SYMTAB;
        }
        Some(sums)
    }

    fn add(&mut self, purpose: Purpose, size: u64) {
        let sum = match purpose {
            Purpose::Text => &mut self.text,
            Purpose::Rodata => &mut self.rodata,
            Purpose::Relro => &mut self.relro,
            Purpose::Data => &mut self.data,
            Purpose::Bss => &mut self.bss,
            Purpose::NotLoaded => return,
        };
        *sum += size;
    }
}

fn purpose(flags: u32, kind: u32, in_relro: bool) -> Purpose {
    let has = |flag| flags & flag != 0;
    if !has(SHF_ALLOC) {
        Purpose::NotLoaded
    } else if kind == SHT_NOBITS {
        Purpose::Bss
    } else if has(SHF_EXECINSTR) {
        Purpose::Text
    } else if !has(SHF_WRITE) {
        Purpose::Rodata
    } else if in_relro {
        Purpose::Relro
    } else {
        Purpose::Data
    }
}

fn gzip(bytes: &[u8]) -> io::Result<usize> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes)?;
    Ok(encoder.finish()?.len())
}

#[cfg(test)]
mod tests {
    use object::elf::SHT_PROGBITS;

    use super::*;

    #[test]
    fn sections_by_their_flags() {
        let (code, variable) = (SHF_ALLOC | SHF_EXECINSTR, SHF_ALLOC | SHF_WRITE);
        for (flags, kind, in_relro, expected) in [
            (code, SHT_PROGBITS, false, Purpose::Text),
            (SHF_ALLOC, SHT_PROGBITS, false, Purpose::Rodata),
            (variable, SHT_PROGBITS, true, Purpose::Relro),
            (variable, SHT_PROGBITS, false, Purpose::Data),
            (variable, SHT_NOBITS, false, Purpose::Bss),
            // .tbss lies where .data.rel.ro begins and takes no room there.
            (variable, SHT_NOBITS, true, Purpose::Bss),
            (0, SHT_PROGBITS, false, Purpose::NotLoaded),
        ] {
            assert_eq!(purpose(flags, kind, in_relro), expected);
        }
    }

    #[test]
    fn sums_are_by_purpose() {
        let mut sums = Sections::default();
        for (purpose, size) in
            [(Purpose::Text, 1), (Purpose::Text, 2), (Purpose::Bss, 4), (Purpose::NotLoaded, 8)]
        {
            sums.add(purpose, size);
        }
        assert_eq!(sums, Sections { text: 3, bss: 4, ..Sections::default() });
    }

    #[test]
    fn this_program() {
        let path = std::env::current_exe().expect("a path");
        let bytes = std::fs::read(path).expect("its bytes");
        let sums = Sections::of(&bytes).expect("an ELF file");
        assert!(sums.text > 0 && sums.rodata > 0 && sums.relro > 0);
        let loaded = sums.text + sums.rodata + sums.relro + sums.data;
        assert!(loaded < u64::try_from(bytes.len()).expect("a length"));
    }

    #[test]
    fn this_program_is_of_this_machine_and_one_of_the_other_is_not() {
        let path = std::env::current_exe().expect("a path");
        let mut bytes = std::fs::read(&path).expect("its bytes");
        assert_eq!(foreign_processor(&path).expect("an answer"), None);
        let (name, is_own) = processor(&bytes).expect("a processor");
        assert!(is_own);
        // The field e_machine.
        let other = if name == "arm64" { EM_X86_64 } else { EM_AARCH64 };
        bytes[18..20].copy_from_slice(&other.to_le_bytes());
        assert!(processor(&bytes).is_some_and(|(other, is_own)| other != name && !is_own));
    }

    #[test]
    fn what_is_no_elf_file_has_no_sections() {
        assert_eq!(Sections::of(b"#!/bin/sh\nexec true\n"), None);
        assert!(gzip(&[0; 10_000]).expect("no I/O") < 100);
    }
}
