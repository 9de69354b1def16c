//! Makes a copy of a program in which each page is a mapping of its own.
//!
//! In: the bytes of an ELF file. Out: the same program with other headers. The kernel maps up to 64
//! KiB of a file around each touched page, but not beyond a mapping. So each resident page of the
//! copy was touched. The kernel would join adjacent mappings of the same kind, so every second page
//! is also writable, although nothing writes to it.

use object::elf::{PF_R, PF_W, PF_X, PT_LOAD, PT_PHDR, ProgramHeader64};
use object::read::elf::{ElfFile64, FileHeader, ProgramHeader};
use object::{LittleEndian, U16, U32, U64, bytes_of, bytes_of_slice};

use super::resident::PAGE_SIZE;

/// The bytes of the copy. An error says why there can be none.
pub(super) fn of(bytes: &[u8]) -> Result<Vec<u8>, String> {
    let wrong = |error: object::Error| error.to_string();
    let file = ElfFile64::<LittleEndian>::parse(bytes).map_err(wrong)?;
    let endian = file.elf_header().endian().map_err(wrong)?;
    let mut headers = Vec::new();
    let mut lowest = u64::MAX;
    for header in file.elf_program_headers() {
        if header.p_type(endian) == PT_LOAD {
            lowest = lowest.min(header.p_vaddr(endian));
            split(header, &mut headers);
        } else if header.p_type(endian) != PT_PHDR {
            headers.push(*header);
        }
    }
    // The new table lies after the end of the file, and in memory before the program, whose
    // start-up code reads it.
    let room = (headers.len() + 1) * size_of::<ProgramHeader64<LittleEndian>>();
    let address = (lowest & !(PAGE - 1)).checked_sub(room.next_multiple_of(PAGE_SIZE) as u64);
    let address = address.filter(|address| *address >= LOWEST);
    let address = address.ok_or("the program has no fixed address with room before it")?;
    let mut copy = bytes.to_vec();
    copy.resize(bytes.len().next_multiple_of(PAGE_SIZE), 0);
    let offset = copy.len() as u64;
    headers.insert(0, load(PF_R, offset, address, room as u64, room as u64));
    copy.extend_from_slice(bytes_of_slice(&headers));
    let mut header = *file.elf_header();
    header.e_phoff = U64::new(LittleEndian, offset);
    let count = u16::try_from(headers.len()).map_err(|_| "the program is too large")?;
    header.e_phnum = U16::new(LittleEndian, count);
    let header = bytes_of(&header);
    copy.get_mut(..header.len()).ok_or("the file is too short")?.copy_from_slice(header);
    Ok(copy)
}

/// One header for each page of a segment. Memory that is not in the file stays with the last one.
fn split(header: &ProgramHeader64<LittleEndian>, headers: &mut Vec<ProgramHeader64<LittleEndian>>) {
    let of = |field: U64<LittleEndian>| field.get(LittleEndian);
    let flags = header.p_flags.get(LittleEndian);
    let other = if flags & PF_W == 0 { flags | PF_W } else { flags | PF_X };
    let (mut offset, mut address) = (of(header.p_offset), of(header.p_vaddr));
    let (end, end_in_memory) = (address + of(header.p_filesz), address + of(header.p_memsz));
    while address < end {
        let next = (address / PAGE + 1) * PAGE;
        let length = next.min(end) - address;
        let in_memory = if next < end { length } else { end_in_memory - address };
        let flags = if (address / PAGE).is_multiple_of(2) { flags } else { other };
        headers.push(load(flags, offset, address, length, in_memory));
        (offset, address) = (offset + length, address + length);
    }
}

fn load(
    flags: u32,
    offset: u64,
    address: u64,
    length: u64,
    in_memory: u64,
) -> ProgramHeader64<LittleEndian> {
    let wide = |value| U64::new(LittleEndian, value);
    ProgramHeader64 {
        p_type: U32::new(LittleEndian, PT_LOAD),
        p_flags: U32::new(LittleEndian, flags),
        p_offset: wide(offset),
        p_vaddr: wide(address),
        p_paddr: wide(address),
        p_filesz: wide(length),
        p_memsz: wide(in_memory),
        p_align: wide(PAGE),
    }
}

const PAGE: u64 = PAGE_SIZE as u64;

/// The lowest address that the kernel lets a process map (`vm.mmap_min_addr`).
const LOWEST: u64 = 64 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_page_of_a_segment_has_a_header() {
        let mut headers = Vec::new();
        split(&load(PF_R | PF_X, 0x345c, 0x25_445c, 0x1c00, 0x1c00), &mut headers);
        split(&load(PF_R | PF_W, 0x5ec0, 0x25_7ec0, 0x240, 0x3000), &mut headers);
        let expected = [
            load(PF_R | PF_X, 0x345c, 0x25_445c, 0xba4, 0xba4),
            load(PF_R | PF_X | PF_W, 0x4000, 0x25_5000, 0x1000, 0x1000),
            load(PF_R | PF_X, 0x5000, 0x25_6000, 0x5c, 0x5c),
            load(PF_R | PF_W | PF_X, 0x5ec0, 0x25_7ec0, 0x140, 0x140),
            load(PF_R | PF_W, 0x6000, 0x25_8000, 0x100, 0x2ec0),
        ];
        let bytes = |headers: &[_]| bytes_of_slice(headers).to_vec();
        assert_eq!(bytes(&headers), bytes(&expected));
    }

    /// Such a program begins at 0, so there is no room before it.
    #[test]
    fn a_program_without_a_fixed_address_is_an_error() {
        let program = std::env::current_exe().and_then(std::fs::read).expect("its bytes");
        let file = ElfFile64::<LittleEndian>::parse(program.as_slice()).expect("an ELF file");
        let mut headers = file.elf_program_headers().iter();
        let at_zero = |header: &ProgramHeader64<_>| header.p_vaddr.get(LittleEndian) == 0;
        assert!(headers.any(|header| header.p_type(LittleEndian) == PT_LOAD && at_zero(header)));
        assert!(of(&program).expect_err("no copy").contains("room"));
        assert!(of(b"#!/bin/sh\n").is_err());
    }
}
