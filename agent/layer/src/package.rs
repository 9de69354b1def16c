//! The files of `dist/`: a zip, its digest, and the same program unpacked.

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

/// Writes `out/NAME.zip`, `out/NAME.zip.sha256` and `out/NAME/extensions/oom-witness`.
pub(crate) fn write(program: &Path, out: &Path, name: &str) -> io::Result<Package> {
    let bytes = fs::read(program)?;
    let packed = pack(&bytes)?;
    let unpacked = out.join(name).join(ENTRY);
    fs::create_dir_all(unpacked.parent().unwrap_or(out))?;
    fs::write(&unpacked, &bytes)?;
    fs::set_permissions(&unpacked, fs::Permissions::from_mode(MODE))?;
    let zip = out.join(format!("{name}.zip"));
    fs::write(&zip, &packed)?;
    let digest = digest(&packed);
    // The form that `sha256sum --check` reads.
    let mut sum = File::create(out.join(format!("{name}.zip.sha256")))?;
    writeln!(sum, "{digest}  {name}.zip")?;
    let (program_bytes, zip_bytes) = (bytes.len(), packed.len());
    Ok(Package { zip, zip_bytes, program: unpacked, program_bytes, digest })
}

/// SHA-256, in hexadecimal digits.
pub(crate) fn digest(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Packs a program. The zip has no time and no owner, so the same program gives the same bytes.
fn pack(program: &[u8]) -> io::Result<Vec<u8>> {
    let options = SimpleFileOptions::default()
        .compression_method(CompressionMethod::Deflated)
        .compression_level(Some(ZOPFLI_ROUNDS))
        .last_modified_time(DateTime::default())
        .unix_permissions(MODE);
    let mut zip = ZipWriter::new(io::Cursor::new(Vec::new()));
    zip.start_file(ENTRY, options)?;
    zip.write_all(program)?;
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

/// A level above 9 is the number of rounds of zopfli. More rounds make this zip no smaller.
const ZOPFLI_ROUNDS: i64 = 15;

#[cfg(test)]
mod tests {
    use std::io::Read;

    use flate2::read::DeflateDecoder;

    use super::*;

    #[test]
    fn a_zip_has_one_program_and_no_time() {
        let program = b"\x7fELF and more".repeat(100);
        let packed = pack(&program).expect("a zip");
        assert_eq!(packed, pack(&program).expect("the same zip"));
        assert!(packed.len() < program.len());
        let mut zip = zip::ZipArchive::new(io::Cursor::new(packed)).expect("it can be read");
        assert_eq!(zip.len(), 1);
        let entry = zip.by_index_raw(0).expect("the program");
        assert_eq!(entry.name(), "extensions/oom-witness");
        assert_eq!(entry.compression(), CompressionMethod::Deflated);
        assert_eq!(entry.unix_mode().map(|mode| mode & 0o777), Some(0o755));
        assert_eq!(entry.last_modified(), Some(DateTime::default()));
        let mut bytes = Vec::new();
        DeflateDecoder::new(entry).read_to_end(&mut bytes).expect("its bytes");
        assert_eq!(bytes, program);
    }
}
