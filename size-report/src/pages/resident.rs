//! The resident pages of a process, one by one, from `/proc/PID`.
//!
//! In: a pid. Out: each page with its mapping, and whether it is the process's own. It never writes
//! to the process or stops it. Pages that the kernel shares with every process (vdso) are left out,
//! because the kernel does not count them as resident.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::Path;

use procfs::ProcResult;
use procfs::process::{MMPermissions, MMapPath, MemoryPageFlags, PageInfo, Process};

/// One resident page.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Page {
    pub(super) address: u64,
    pub(super) rights: MMPermissions,
    /// The file, the stack, the heap, or nothing that has a name.
    pub(super) mapping: MMapPath,
    /// Where in the file.
    pub(super) offset: u64,
    /// The bytes of a page that is the process's own (RssAnon). Empty if they cannot be read.
    /// `None`: the page is the file's, so the kernel can drop it and read it again.
    pub(super) own: Option<Vec<u8>>,
}

impl Page {
    /// Whether it is mapped from this file.
    pub(super) fn is_of(&self, path: &Path) -> bool {
        matches!(&self.mapping, MMapPath::Path(mapped) if mapped == path)
    }

    /// Its addresses.
    pub(super) fn range(&self) -> Range<u64> {
        self.address..self.address + PAGE_SIZE as u64
    }
}

/// How many bytes are not zero, and so are surely in use.
pub(super) fn used(bytes: &[u8]) -> usize {
    bytes.iter().filter(|byte| **byte != 0).count()
}

/// All resident pages, by address.
pub(super) fn pages(pid: u32) -> io::Result<Vec<Page>> {
    let process = Process::new(i32::try_from(pid).map_err(io::Error::other)?);
    process.and_then(|process| pages_of(&process)).map_err(io::Error::other)
}

fn pages_of(process: &Process) -> ProcResult<Vec<Page>> {
    let mut flags = process.pagemap()?;
    let memory = process.mem().ok();
    let mut pages = Vec::new();
    for map in process.maps()?.into_iter().filter(|map| !is_shared_with_all(&map.pathname)) {
        let (start, end) = map.address;
        for address in (start..end).step_by(PAGE_SIZE) {
            let index = usize::try_from(address).unwrap_or(usize::MAX) / PAGE_SIZE;
            let PageInfo::MemoryPage(flags) = flags.get_info(index)? else { continue };
            if flags.contains(MemoryPageFlags::PRESENT) {
                let is_own = !flags.contains(MemoryPageFlags::FILE);
                let own = is_own.then(|| bytes(memory.as_ref(), address).unwrap_or_default());
                let (rights, mapping) = (map.perms, map.pathname.clone());
                let offset = map.offset + (address - start);
                pages.push(Page { address, rights, mapping, offset, own });
            }
        }
    }
    Ok(pages)
}

fn bytes(memory: Option<&File>, address: u64) -> Option<Vec<u8>> {
    let mut bytes = vec![0; PAGE_SIZE];
    memory?.read_exact_at(&mut bytes, address).ok()?;
    Some(bytes)
}

/// Mappings of the kernel, which are not in the RSS.
fn is_shared_with_all(mapping: &MMapPath) -> bool {
    match mapping {
        MMapPath::Vdso | MMapPath::Vvar | MMapPath::Vsyscall => true,
        MMapPath::Other(name) => name == "vvar_vclock",
        _ => false,
    }
}

pub(super) const PAGE_SIZE: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_program_has_pages_of_both_kinds() {
        let written = vec![7_u8; 3 * PAGE_SIZE];
        let pages = pages(std::process::id()).expect("its pages");
        let middle = (written.as_ptr().addr() as u64).next_multiple_of(PAGE_SIZE as u64);
        let page = pages.iter().find(|page| page.address == middle).expect("it was written");
        assert_eq!(page.own, Some(vec![7; PAGE_SIZE]));
        let program = MMapPath::Path(std::env::current_exe().expect("a path"));
        let is_code =
            |page: &Page| page.mapping == program && page.rights.contains(MMPermissions::EXECUTE);
        assert!(pages.iter().any(|page| is_code(page) && page.own.is_none()));
    }
}
