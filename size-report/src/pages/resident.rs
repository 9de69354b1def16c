//! The resident pages of a process, one by one, by `/proc/PID`.
//!
//! In: a pid. Out: each page with its mapping, and whether it is the process's own. It writes and
//! stops nothing. The kernel does not count pages that it shares with every process (vdso) as
//! resident, so they are left out.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;

/// One resident page.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Page {
    pub(super) address: u64,
    /// `r-xp`
    pub(super) rights: String,
    /// The file's path, `[stack]`, `[heap]`, or nothing.
    pub(super) mapping: String,
    /// Where in the file.
    pub(super) offset: u64,
    pub(super) kind: Kind,
}

#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Kind {
    /// The file's. The kernel can drop it and read it again.
    File,
    /// The process's own (RssAnon), with its bytes. Empty if they cannot be read.
    Own(Vec<u8>),
}

/// How many bytes are not zero, and so surely in use.
pub(super) fn used(bytes: &[u8]) -> usize {
    bytes.iter().filter(|byte| **byte != 0).count()
}

/// A line of `maps`.
#[derive(Clone, Debug, Eq, PartialEq)]
struct Mapping {
    start: u64,
    end: u64,
    rights: String,
    offset: u64,
    name: String,
}

/// All resident pages, by address.
pub(super) fn pages(pid: u32) -> io::Result<Vec<Page>> {
    let maps = fs::read_to_string(format!("/proc/{pid}/maps"))?;
    let flags = File::open(format!("/proc/{pid}/pagemap"))?;
    let memory = File::open(format!("/proc/{pid}/mem")).ok();
    let mut pages = Vec::new();
    for mapping in maps.lines().filter_map(mapping) {
        if KERNELS.contains(&mapping.name.as_str()) {
            continue;
        }
        for address in (mapping.start..mapping.end).step_by(PAGE_SIZE) {
            let mut entry = [0; 8];
            flags.read_exact_at(&mut entry, address / PAGE_SIZE as u64 * 8)?;
            let entry = u64::from_le_bytes(entry);
            if entry & PRESENT == 0 {
                continue;
            }
            let kind = if entry & FILE_OR_SHARED != 0 {
                Kind::File
            } else {
                Kind::Own(memory.as_ref().map_or_else(Vec::new, |memory| bytes(memory, address)))
            };
            pages.push(Page {
                address,
                rights: mapping.rights.clone(),
                mapping: mapping.name.clone(),
                offset: mapping.offset + (address - mapping.start),
                kind,
            });
        }
    }
    Ok(pages)
}

fn bytes(memory: &File, address: u64) -> Vec<u8> {
    let mut bytes = vec![0; PAGE_SIZE];
    memory.read_exact_at(&mut bytes, address).map_or_else(|_| Vec::new(), |()| bytes)
}

/// `00254000-0030b000 r-xp 00053000 fe:00 1234    /opt/extensions/oom-witness`
fn mapping(line: &str) -> Option<Mapping> {
    let mut words = line.splitn(6, ' ');
    let (start, end) = words.next()?.split_once('-')?;
    let rights = words.next()?.to_string();
    let offset = u64::from_str_radix(words.next()?, 16).ok()?;
    let (start, end) = (u64::from_str_radix(start, 16).ok()?, u64::from_str_radix(end, 16).ok()?);
    let name = words.nth(2).unwrap_or_default().trim().to_string();
    Some(Mapping { start, end, rights, offset, name })
}

pub(super) const PAGE_SIZE: usize = 4096;

/// <https://docs.kernel.org/admin-guide/mm/pagemap.html>
const PRESENT: u64 = 1 << 63;
const FILE_OR_SHARED: u64 = 1 << 61;

/// Mappings of the kernel, which are not in the RSS.
const KERNELS: [&str; 4] = ["[vdso]", "[vvar]", "[vvar_vclock]", "[vsyscall]"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_maps() {
        let line = "00254000-0030b000 r-xp 00053000 fe:00 1234       /opt/a b/oom-witness";
        let expected = Mapping {
            start: 0x25_4000,
            end: 0x30_b000,
            rights: "r-xp".into(),
            offset: 0x5_3000,
            name: "/opt/a b/oom-witness".into(),
        };
        assert_eq!(mapping(line), Some(expected));
        let unnamed = mapping("7f0000000000-7f0000001000 rw-p 00000000 00:00 0 ").expect("a line");
        assert_eq!(unnamed.name, "");
        assert_eq!(mapping("no mapping"), None);
    }

    #[test]
    fn this_program_has_pages_of_both_kinds() {
        let written = vec![7_u8; 3 * PAGE_SIZE];
        let pages = pages(std::process::id()).expect("its pages");
        let middle = (written.as_ptr().addr() as u64).next_multiple_of(PAGE_SIZE as u64);
        let page = pages.iter().find(|page| page.address == middle).expect("it was written");
        assert_eq!(page.kind, Kind::Own(vec![7; PAGE_SIZE]));
        let program = std::env::current_exe().expect("a path").display().to_string();
        let is_code = |page: &Page| page.mapping == program && page.rights == "r-xp";
        assert!(pages.iter().any(|page| is_code(page) && page.kind == Kind::File));
    }
}
