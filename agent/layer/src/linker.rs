//! The linker that rustc starts. It runs rust-lld twice.
//!
//! The first link keeps its relocations. layout.rs makes a linker script from them. The second link
//! uses the script and makes the program.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::layout::{self, Layout};

/// Links with rustc's arguments. Writes the sizes of the groups to `report`, and the map beside it.
pub(crate) fn main(arguments: Vec<OsString>, report: &Path) -> io::Result<()> {
    let output = argument_after(&arguments, "-o")
        .ok_or_else(|| io::Error::other("rustc names no output"))?;
    let beside = |extension: &str| PathBuf::from(&output).with_extension(extension);
    let (first, map, script) = (beside("first"), beside("map"), beside("ld"));

    let mut keep: Vec<_> =
        arguments.iter().filter(|word| !STRIP.iter().any(|strip| word == strip)).cloned().collect();
    keep.extend(["-o".into(), first.clone().into(), "--emit-relocs".into()]);
    keep.push(joined("-Map=", &map));
    keep.extend(layout::symbols().map(|symbol| format!("--defsym={symbol}=0").into()));
    link(keep)?;
    let layout = Layout::of(&fs::read(&first)?, &fs::read_to_string(&map)?, &objects(&arguments)?)
        .map_err(io::Error::other)?;
    fs::write(&script, layout.script())?;
    fs::remove_file(&first)?;

    let mut place = arguments;
    place.push(joined("-T", &script));
    place.push(joined("-Map=", &map));
    link(place)?;
    fs::copy(&map, report.with_extension("map"))?;
    fs::write(report, layout.to_string())
}

fn link(arguments: Vec<OsString>) -> io::Result<()> {
    // rustc puts the folder with rust-lld on the path of the linker that it starts.
    let status = Command::new("rust-lld").args(arguments).status()?;
    if status.success() { Ok(()) } else { Err(io::Error::other("rust-lld failed")) }
}

/// The objects that rustc made from the agent itself, by name.
fn objects(arguments: &[OsString]) -> io::Result<Vec<(String, Vec<u8>)>> {
    let mut objects = Vec::new();
    for path in arguments.iter().map(Path::new) {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if name.ends_with(".rcgu.o") {
            objects.push((name.to_string(), fs::read(path)?));
        }
    }
    Ok(objects)
}

fn argument_after(arguments: &[OsString], word: &str) -> Option<OsString> {
    let place = arguments.iter().position(|argument| argument == word)?;
    arguments.get(place + 1).cloned()
}

fn joined(option: &str, path: &Path) -> OsString {
    let mut argument = OsString::from(option);
    argument.push(path);
    argument
}

/// With these, lld keeps neither names nor relocations.
const STRIP: [&str; 4] = ["--strip-all", "-s", "--strip-debug", "-S"];
