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
use object::elf::{PT_GNU_RELRO, SHF_ALLOC, SHF_EXECINSTR, SHF_WRITE, SHT_NOBITS};
use object::read::elf::{ElfFile64, ProgramHeader, SectionHeader};
use object::{Architecture, Object};
use rustix::fs::{Advice, fadvise};

use crate::build::{ExtensionFile, OWN_PROCESSOR};
use crate::crates::crate_bytes;
use crate::figure::{self, CostScenario, Figure};
use crate::report::CostReport;

/// The processor that a program is for, by AWS's name, if this machine has another.
pub(crate) fn foreign_processor(path: &Path) -> io::Result<Option<&'static str>> {
    Ok(processor(&std::fs::read(path)?).filter(|name| *name != OWN_PROCESSOR))
}

fn processor(bytes: &[u8]) -> Option<&'static str> {
    match ElfFile64::<LittleEndian>::parse(bytes).ok()?.architecture() {
        Architecture::Aarch64 => Some("arm64"),
        Architecture::X86_64 => Some("x86_64"),
        _ => None,
    }
}

/// Adds the figures of the file.
pub(crate) fn measure(report: &mut CostReport, extension: &ExtensionFile) -> io::Result<()> {
    let bytes = read_uncached(&extension.path)?;
    report.add(CostScenario::Binary, figure::FILE, bytes.len());
    report.add(CostScenario::Binary, figure::GZIP, gzip(&bytes)?);
    if let Some(zip) = &extension.zip {
        report.add(CostScenario::Binary, figure::ZIP, std::fs::metadata(zip)?.len());
    }
    if let Some(map) = &extension.map {
        report.crates = crate_bytes(&std::fs::read_to_string(map)?);
    }
    let Some((sums, has_symbols)) = section_sums(&bytes) else {
        report.remark("binary: not a 64-bit ELF file, so there are no sections to add up");
        return Ok(());
    };
    for (figure, bytes) in sums {
        report.add(CostScenario::Binary, figure, bytes);
    }
    if has_symbols {
        report.remark("binary: not stripped, so the file holds symbols that no run needs");
    }
    Ok(())
}

/// Reads a file from the disk, so that the page cache holds it as on Lambda.
///
/// The kernel caches a file in pieces that depend on how it was written, and maps a whole piece
/// when one of its pages is touched. A copy of the same extension had 150 KiB more RSS. So the
/// file's cached pages are dropped first.
pub(crate) fn read_uncached(path: &Path) -> io::Result<Vec<u8>> {
    let mut file = File::open(path)?;
    // This has no effect on a file system that cannot do it, or on pages in use.
    let _ = file.sync_data().and_then(|()| Ok(fadvise(&file, 0, None, Advice::DontNeed)?));
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// The bytes of the sections that each figure adds up, and whether there are symbols. `None`: not a
/// 64-bit ELF file.
fn section_sums(bytes: &[u8]) -> Option<([(Figure, u64); 5], bool)> {
    let endian = LittleEndian;
    let file = ElfFile64::<LittleEndian>::parse(bytes).ok()?;
    let mut headers = file.elf_program_headers().iter();
    let relro = headers.find(|header| header.p_type(endian) == PT_GNU_RELRO);
    let relro = relro.map_or(0..0, |header| {
        let start = header.p_vaddr(endian);
        start..start + header.p_memsz(endian)
    });
    let mut sums = SECTION_FIGURES.map(|figure| (figure, 0));
    for section in file.elf_section_table().iter() {
        let flags = u32::try_from(section.sh_flags(endian)).unwrap_or(0);
        let in_relro = relro.contains(&section.sh_addr(endian));
        let figure = figure_of(flags, section.sh_type(endian), in_relro);
        for (_, sum) in sums.iter_mut().filter(|(known, _)| Some(*known) == figure) {
            *sum += section.sh_size(endian);
        }
    }
    Some((sums, file.symbol_table().is_some()))
}

/// The figure that a section adds to. `None`: the section is not loaded.
fn figure_of(flags: u32, kind: u32, in_relro: bool) -> Option<Figure> {
    let has = |flag| flags & flag != 0;
    if !has(SHF_ALLOC) {
        None
    } else if kind == SHT_NOBITS {
        Some(figure::BSS)
    } else if has(SHF_EXECINSTR) {
        Some(figure::TEXT)
    } else if !has(SHF_WRITE) {
        Some(figure::RODATA)
    } else if in_relro {
        Some(figure::RELRO)
    } else {
        Some(figure::DATA)
    }
}

/// All that [`figure_of`] returns.
const SECTION_FIGURES: [Figure; 5] =
    [figure::TEXT, figure::RODATA, figure::RELRO, figure::DATA, figure::BSS];

fn gzip(bytes: &[u8]) -> io::Result<usize> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes)?;
    Ok(encoder.finish()?.len())
}

#[cfg(test)]
mod tests {
    use object::elf::{EM_AARCH64, EM_X86_64, SHT_PROGBITS};

    use super::*;

    #[test]
    fn the_flags_of_a_section_name_its_figure() {
        let (code, variable) = (SHF_ALLOC | SHF_EXECINSTR, SHF_ALLOC | SHF_WRITE);
        for (flags, kind, in_relro, expected) in [
            (code, SHT_PROGBITS, false, Some(figure::TEXT)),
            (SHF_ALLOC, SHT_PROGBITS, false, Some(figure::RODATA)),
            (variable, SHT_PROGBITS, true, Some(figure::RELRO)),
            (variable, SHT_PROGBITS, false, Some(figure::DATA)),
            (variable, SHT_NOBITS, false, Some(figure::BSS)),
            // .tbss lies where .data.rel.ro begins and takes no room there.
            (variable, SHT_NOBITS, true, Some(figure::BSS)),
            (0, SHT_PROGBITS, false, None),
        ] {
            assert_eq!(figure_of(flags, kind, in_relro), expected);
            assert!(expected.is_none_or(|figure| SECTION_FIGURES.contains(&figure)));
        }
    }

    #[test]
    fn the_sums_of_this_program_are_its_loaded_sections() {
        let bytes = std::env::current_exe().and_then(std::fs::read).expect("its bytes");
        let (sums, _) = section_sums(&bytes).expect("an ELF file");
        let [text, rodata, relro, data, bss] = sums.map(|(_, bytes)| bytes);
        assert!(text > 0 && rodata > 0 && relro > 0);
        assert!(text + rodata + relro + data < u64::try_from(bytes.len()).expect("a length"));
        let file = ElfFile64::<LittleEndian>::parse(bytes.as_slice()).expect("an ELF file");
        let sections = file.elf_section_table().iter();
        let loaded =
            sections.filter(|section| section.sh_flags(LittleEndian) & u64::from(SHF_ALLOC) != 0);
        let all: u64 = loaded.map(|section| section.sh_size(LittleEndian)).sum();
        assert_eq!(text + rodata + relro + data + bss, all);
    }

    #[test]
    fn a_program_for_the_other_processor_is_foreign() {
        let path = std::env::current_exe().expect("a path");
        let mut bytes = std::fs::read(&path).expect("its bytes");
        assert_eq!(foreign_processor(&path).expect("an answer"), None);
        assert_eq!(processor(&bytes), Some(OWN_PROCESSOR));
        // The field e_machine.
        let other = if OWN_PROCESSOR == "arm64" { EM_X86_64 } else { EM_AARCH64 };
        bytes[18..20].copy_from_slice(&other.to_le_bytes());
        assert!(processor(&bytes).is_some_and(|other| other != OWN_PROCESSOR));
    }

    #[test]
    fn a_file_that_is_no_elf_file_has_no_sections() {
        assert_eq!(section_sums(b"#!/bin/sh\nexec true\n"), None);
        assert!(gzip(&[0; 10_000]).expect("no I/O") < 100);
    }
}
