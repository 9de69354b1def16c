//! Runs cargo for one processor, with all options that make the program small.
//!
//! In: a processor and a standard library. Out: the program's path. Nothing of this machine gets
//! into the program: its paths are shortened, and the caller's compiler flags are not used.

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use clap::ValueEnum;

use crate::Arch;
use crate::package::digest;

/// The variable with which this program acts as the linker. It names the file for the linker's
/// report, and tells `agent/build.rs` that the linker places the code.
pub(crate) const LAYOUT: &str = "OOM_WITNESS_LAYOUT";

/// The kind of standard library.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub(crate) enum Std {
    /// Built from its source, for size, without unwinding and panic messages.
    Rebuilt,
    /// As rustup brings it.
    Stock,
}

/// How the program is built.
pub(crate) struct Recipe {
    pub(crate) workspace: PathBuf,
    pub(crate) std: Std,
    emf_only: bool,
    sysroot: PathBuf,
}

/// A built program.
pub(crate) struct BuiltProgram {
    pub(crate) program: PathBuf,
    /// The linker's map.
    pub(crate) map: PathBuf,
    /// The linker's report, for a reader.
    pub(crate) layout: String,
}

impl Recipe {
    pub(crate) fn new(std: Option<Std>, emf_only: bool) -> io::Result<Self> {
        let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize()?;
        let output = Command::new("rustc").args(["--print", "sysroot"]).output()?;
        let sysroot = PathBuf::from(String::from_utf8_lossy(&output.stdout).trim());
        let has_source = sysroot.join(STD_SOURCE).is_dir();
        let std = match std {
            Some(Std::Rebuilt) if !has_source => {
                let text = "no source of the standard library: rustup component add rust-src";
                return Err(io::Error::other(text));
            }
            Some(std) => std,
            None if has_source => Std::Rebuilt,
            None => Std::Stock,
        };
        Ok(Self { workspace, std, emf_only, sysroot })
    }

    pub(crate) fn build(&self, arch: Arch) -> io::Result<BuiltProgram> {
        let folder = self.target_folder();
        // The name has a digest of this program, so that cargo links again when the linker changes.
        let linker = digest(&std::fs::read(std::env::current_exe()?)?);
        let report = folder.join(format!("{}-{linker:.16}.layout", arch.target()));
        let status = self.command(arch, &folder, &report)?.status()?;
        if !status.success() {
            let hint = "if the target is missing: rustup target add";
            return Err(io::Error::other(format!("cargo failed; {hint} {}", arch.target())));
        }
        let program = folder.join(arch.target()).join("release/oom-witness");
        let layout = std::fs::read_to_string(&report)
            .map_err(|error| io::Error::other(format!("{}: {error}", report.display())))?;
        Ok(BuiltProgram { program, map: report.with_extension("map"), layout })
    }

    /// Each kind of build has a folder. Otherwise cargo would compile everything again when the
    /// kind changes.
    fn target_folder(&self) -> PathBuf {
        let target = std::env::var_os("CARGO_TARGET_DIR");
        let target = target.map_or_else(|| self.workspace.join("target"), PathBuf::from);
        let std = match self.std {
            Std::Rebuilt => "rebuilt",
            Std::Stock => "stock",
        };
        target.join("layer").join(if self.emf_only { format!("{std}-emf") } else { std.into() })
    }

    fn command(&self, arch: Arch, folder: &Path, report: &Path) -> io::Result<Command> {
        let target = arch.target();
        let mut cargo = Command::new("cargo");
        cargo
            .args(["build", "--release", "--locked", "--package", "oom-witness"])
            .args(["--target", target, "--target-dir"])
            .arg(folder)
            .current_dir(&self.workspace)
            .stdin(Stdio::null())
            .env_remove("RUSTFLAGS")
            .env("CARGO_ENCODED_RUSTFLAGS", self.rustflags(arch, folder))
            .env(format!("CARGO_TARGET_{}_LINKER", in_upper_case(target)), std::env::current_exe()?)
            .env(LAYOUT, report);
        if self.emf_only {
            cargo.arg("--no-default-features");
        }
        if self.std == Std::Rebuilt {
            cargo
                .args(["-Zbuild-std=std,panic_abort", "-Zbuild-std-features=optimize_for_size"])
                // These two options are unstable. The toolchain is a stable one, as in the tests.
                .env("RUSTC_BOOTSTRAP", "1");
        }
        // ring's C code needs a compiler, but no C library.
        let name = target.replace('-', "_");
        if std::env::var_os(format!("CC_{name}")).is_none() {
            let musl = format!("--target={}", target.replace("-unknown", ""));
            cargo.env(format!("CC_{name}"), "clang").env(format!("CFLAGS_{name}"), musl);
        }
        Ok(cargo)
    }

    /// In cargo's own form, with unit separators, so that paths may have spaces.
    fn rustflags(&self, arch: Arch, folder: &Path) -> OsString {
        let mut flags: Vec<OsString> = FLAGS.iter().map(Into::into).collect();
        if arch == Arch::X86 {
            flags.push(ALIGNED.into());
        }
        if self.std == Std::Rebuilt {
            flags.extend(REBUILT_FLAGS.iter().map(Into::into));
        }
        let home = std::env::var_os("CARGO_HOME").map(PathBuf::from);
        let home = home.or_else(|| Some(std::env::home_dir()?.join(".cargo")));
        let paths = [
            (Some(folder.to_path_buf()), "target"),
            (Some(self.workspace.clone()), "oom-witness"),
            (home, "cargo"),
            (Some(self.sysroot.join(STD_SOURCE)), "rust"),
        ];
        for (path, short) in paths {
            if let Some(path) = path {
                let mut flag = OsString::from("--remap-path-prefix=");
                flag.push(path);
                flag.push(format!("={short}"));
                flags.push(flag);
            }
        }
        flags.join(std::ffi::OsStr::new("\u{1f}"))
    }
}

/// The form in which a target is part of a variable: `X86_64_UNKNOWN_LINUX_MUSL`.
fn in_upper_case(target: &str) -> String {
    target.replace('-', "_").to_uppercase()
}

/// Where rustup's component rust-src lies, below the toolchain's folder.
const STD_SOURCE: &str = "lib/rustlib/src/rust";

const FLAGS: [&str; 6] = [
    // A fixed address needs no relocations. That saves 60 KiB of private memory and 54 kB of file.
    "-Crelocation-model=static",
    "-Ctarget-feature=+crt-static",
    // Without relocations no table is written at the start. musl would leave that section writable,
    // and its padding would cost a page of memory.
    "-Crelro-level=off",
    // This program speaks the linker's own command line.
    "-Clinker-flavor=ld.lld",
    // Nothing unwinds: a panic ends the process.
    "-Cforce-unwind-tables=no",
    // Mangled names with the name of the crate, which layout.rs reads.
    "-Csymbol-mangling-version=v0",
];

/// Variables begin on a page of their own, which saves a page of memory. Not on arm64: there the
/// linker assumes pages of 64 KiB, so this would add that much to the file.
const ALIGNED: &str = "-Clink-arg=-zseparate-loadable-segments";

const REBUILT_FLAGS: [&str; 4] = [
    "-Zunstable-options",
    // A panic ends the process without a message, so no source position is needed.
    "-Cpanic=immediate-abort",
    "-Zlocation-detail=none",
    // A derived `{:?}` prints only the name, for example that of a TLS error.
    "-Zfmt-debug=shallow",
];
