//! The root certificates that the user names in `SSL_CERT_FILE` or in a variable of a sink.
//!
//! In: the environment. Out: the bytes of the file, for the child to parse. Only a regular file of
//! at most 1 MiB is read: a device or a pipe could be read without end.

use std::ffi::OsStr;
use std::fs::OpenOptions;
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;

use crate::variable::Variables;

/// The lines of `--help`.
pub(crate) const HELP: &str = "\
    SSL_CERT_FILE             root certificates, in PEM
";

/// The longest file. Mozilla's roots are 220 kB.
const SIZE_MAX: u64 = 1024 * 1024;

/// The first of the variables `names` that is set, and the content of the file that it names.
/// `None` if none is set.
///
/// # Errors
/// Why the file cannot be read, as a text that begins with the variable's name.
pub(crate) fn from_vars(
    get: Variables<'_>,
    names: &[&'static str],
) -> Result<Option<(&'static str, Vec<u8>)>, String> {
    let value = |name: &&'static str| Some((*name, get(name).filter(|path| !path.is_empty())?));
    let Some((name, path)) = names.iter().find_map(value) else { return Ok(None) };
    let error = |text: &str| [name, ": ", text].concat();
    match read(&path) {
        Ok(None) => Err(error("it takes a regular file of at most 1 MiB")),
        Ok(pem) => Ok(pem.map(|pem| (name, pem))),
        Err(reason) => Err(error(&reason.to_string())),
    }
}

/// Reads the file at `path`. `None` if it is not a regular file, or is too long.
fn read(path: &OsStr) -> io::Result<Option<Vec<u8>>> {
    // Opening must not wait for somebody to write to a pipe.
    let file = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path)?;
    let metadata = file.metadata()?;
    if !metadata.is_file() || metadata.len() > SIZE_MAX {
        return Ok(None);
    }
    let mut pem = Vec::new();
    // The file may grow meanwhile.
    file.take(SIZE_MAX + 1).read_to_end(&mut pem)?;
    Ok(Some(pem).filter(|pem| pem.len() as u64 <= SIZE_MAX))
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::path::PathBuf;
    use std::process;

    use super::*;

    /// A file that is removed when the test ends.
    struct TemporaryFile(PathBuf);

    impl Drop for TemporaryFile {
        fn drop(&mut self) {
            let _ = std::fs::remove_file(&self.0);
        }
    }

    #[test]
    fn only_a_regular_file_of_at_most_1_mib_is_read() {
        let path = std::env::temp_dir().join(format!("oom-witness-roots-{}", process::id()));
        let file = File::create(&path).unwrap();
        let path = TemporaryFile(path);
        let is_read = || read(path.0.as_os_str()).unwrap().is_some();
        for (size, expected) in [(0, true), (SIZE_MAX, true), (SIZE_MAX + 1, false)] {
            file.set_len(size).unwrap();
            assert_eq!(is_read(), expected, "{size}");
        }
        for other in ["/dev/null", "/dev/zero", "/"] {
            assert!(read(OsStr::new(other)).unwrap().is_none(), "{other}");
        }
        assert!(read(OsStr::new("/nowhere/at/all")).is_err());
    }
}
