//! The files of `dist/`: a zip, its digest, and the same files unpacked.

use std::fmt;
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, DateTime, ZipWriter};

/// The files that were written.
pub(crate) struct Package {
    zip: PathBuf,
    zip_bytes: usize,
    program: PathBuf,
    program_bytes: usize,
    digest: String,
}

/// Writes `out/NAME.zip`, `out/NAME.zip.sha256`, and in `out/NAME` what the zip holds: the program
/// and `licenses`, the list of what is linked.
pub(crate) fn write(
    program: &Path,
    licenses: &Path,
    out: &Path,
    name: &str,
) -> io::Result<Package> {
    let bytes = fs::read(program)?;
    let licenses = fs::read(licenses)?;
    let packed = pack(&bytes, &licenses)?;
    let unpacked = out.join(name).join(ENTRY);
    unpack(&bytes, &unpacked, MODE)?;
    unpack(&licenses, &out.join(name).join(LICENSES_ENTRY), LICENSES_MODE)?;
    let zip = out.join(format!("{name}.zip"));
    fs::write(&zip, &packed)?;
    let digest = digest(&packed);
    // The form that `sha256sum --check` reads.
    let mut sum = File::create(out.join(format!("{name}.zip.sha256")))?;
    writeln!(sum, "{digest}  {name}.zip")?;
    let (program_bytes, zip_bytes) = (bytes.len(), packed.len());
    Ok(Package { zip, zip_bytes, program: unpacked, program_bytes, digest })
}

fn unpack(bytes: &[u8], path: &Path, mode: u32) -> io::Result<()> {
    fs::create_dir_all(path.parent().unwrap_or(path))?;
    fs::write(path, bytes)?;
    fs::set_permissions(path, fs::Permissions::from_mode(mode))
}

/// SHA-256, in hexadecimal digits.
pub(crate) fn digest(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Packs a program and its licenses. The zip has no time and no owner, so the same files give the
/// same bytes.
fn pack(program: &[u8], licenses: &[u8]) -> io::Result<Vec<u8>> {
    let options = SimpleFileOptions::default()
        .compression_method(CompressionMethod::Deflated)
        .compression_level(Some(ZOPFLI_ROUNDS))
        .last_modified_time(DateTime::default())
        .unix_permissions(MODE);
    let mut zip = ZipWriter::new(io::Cursor::new(Vec::new()));
    zip.start_file(ENTRY, options)?;
    zip.write_all(program)?;
    zip.start_file(LICENSES_ENTRY, options.unix_permissions(LICENSES_MODE))?;
    zip.write_all(licenses)?;
    Ok(zip.finish()?.into_inner())
}

impl fmt::Display for Package {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { zip, zip_bytes, program, program_bytes, digest } = self;
        let (zip, program) = (zip.display(), program.display());
        write!(
            formatter,
            "{program}  {program_bytes} bytes\n{zip}  {zip_bytes} bytes  sha256 {digest}"
        )
    }
}

/// Lambda starts every file of this folder of a layer.
const ENTRY: &str = "extensions/oom-witness";

/// rwxr-xr-x
const MODE: u32 = 0o755;

/// Outside the folder above: Lambda would try to start it.
const LICENSES_ENTRY: &str = "oom-witness/THIRD-PARTY.md";

/// rw-r--r--
const LICENSES_MODE: u32 = 0o644;

/// A level above 9 is the number of rounds of zopfli. More rounds make this zip no smaller.
const ZOPFLI_ROUNDS: i64 = 15;

#[cfg(test)]
mod tests {
    use std::io::Read;

    use flate2::read::DeflateDecoder;

    use super::*;

    #[test]
    fn a_zip_has_one_program_and_its_licenses_and_no_time() {
        let program = b"\x7fELF and more".repeat(100);
        let licenses = b"Apache-2.0".repeat(100);
        let packed = pack(&program, &licenses).expect("a zip");
        assert_eq!(packed, pack(&program, &licenses).expect("the same zip"));
        assert!(packed.len() < program.len());
        let mut zip = zip::ZipArchive::new(io::Cursor::new(packed)).expect("it can be read");
        assert_eq!(zip.len(), 2);
        for (index, name, mode, expected) in [
            (0, "extensions/oom-witness", 0o755, &program),
            (1, "oom-witness/THIRD-PARTY.md", 0o644, &licenses),
        ] {
            let entry = zip.by_index_raw(index).expect("an entry");
            assert_eq!(entry.name(), name);
            assert_eq!(entry.compression(), CompressionMethod::Deflated);
            assert_eq!(entry.unix_mode().map(|mode| mode & 0o777), Some(mode));
            assert_eq!(entry.last_modified(), Some(DateTime::default()));
            let mut bytes = Vec::new();
            DeflateDecoder::new(entry).read_to_end(&mut bytes).expect("its bytes");
            assert_eq!(bytes, *expected);
        }
    }
}
