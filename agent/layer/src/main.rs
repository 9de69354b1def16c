//! `cargo layer`: builds the Lambda layer, one zip for each of Lambda's processors.
//!
//! In: this workspace and a Rust toolchain by rustup. Out, in `dist/`: `oom-witness-x86_64.zip` and
//! `oom-witness-arm64.zip`, each with `extensions/oom-witness` and the licenses of what is linked
//! (`third-party` writes them). Beside each zip lie its SHA-256, the same files unpacked, and the
//! linker's map. The same sources and toolchain give the same bytes, in any folder. It runs nothing
//! that it builds.

mod compile;
mod layout;
mod linker;
mod package;

use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, ValueEnum};

use compile::{Recipe, Std};

/// Builds the Lambda layer: dist/oom-witness-x86_64.zip and dist/oom-witness-arm64.zip.
#[derive(Debug, Parser)]
#[command(
    name = "cargo layer",
    version,
    after_help = "Examples:\n  \
        cargo layer                       both processors, every sink\n  \
        cargo layer --arch arm64\n  \
        cargo layer --emf-only            without a network: no TLS, a fifth of the size\n  \
        cargo layer --std stock           with the standard library as rustup brings it"
)]
struct LayerArgs {
    /// Only this processor.
    #[arg(long, value_enum)]
    arch: Option<Arch>,
    /// Only the sink that writes to standard output.
    #[arg(long)]
    emf_only: bool,
    /// The standard library. The default is rebuilt for size if its source is there (the component
    /// rust-src), else stock.
    #[arg(long, value_enum, value_name = "WHICH")]
    std: Option<Std>,
    /// Where the files go. The default is dist in this workspace.
    #[arg(long, value_name = "FOLDER")]
    out: Option<PathBuf>,
}

/// One of Lambda's processors, by AWS's name.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub(crate) enum Arch {
    Arm64,
    #[value(name = "x86_64")]
    X86,
}

impl Arch {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Arm64 => "arm64",
            Self::X86 => "x86_64",
        }
    }

    pub(crate) const fn target(self) -> &'static str {
        match self {
            Self::Arm64 => "aarch64-unknown-linux-musl",
            Self::X86 => "x86_64-unknown-linux-musl",
        }
    }
}

fn main() -> ExitCode {
    // rustc starts this program as its linker: see linker.rs.
    if let Some(report) = std::env::var_os(compile::LAYOUT) {
        return exit_code(linker::main(std::env::args_os().skip(1).collect(), Path::new(&report)));
    }
    exit_code(build(&LayerArgs::parse()))
}

fn build(args: &LayerArgs) -> io::Result<()> {
    let recipe = Recipe::new(args.std, args.emf_only)?;
    let out = args.out.clone().unwrap_or_else(|| recipe.workspace.join("dist"));
    let licenses = recipe.workspace.join("agent/layer/THIRD-PARTY.md");
    let archs: &[Arch] = match &args.arch {
        Some(arch) => std::slice::from_ref(arch),
        None => &[Arch::X86, Arch::Arm64],
    };
    for arch in archs {
        let built = recipe.build(*arch)?;
        let name = if args.emf_only { "oom-witness-emf" } else { "oom-witness" };
        let name = format!("{name}-{}", arch.name());
        let package = package::write(&built.program, &licenses, &out, &name)?;
        std::fs::copy(&built.map, out.join(format!("{name}.map")))?;
        eprintln!("{}", built.layout);
        println!("{package}");
    }
    if recipe.std == Std::Stock {
        eprintln!("{STOCK_COSTS}");
    }
    Ok(())
}

fn exit_code(result: io::Result<()>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("cargo layer: {error}");
            ExitCode::FAILURE
        }
    }
}

const STOCK_COSTS: &str = "\
This build has the standard library of rustup, which is not rebuilt for size. That costs 385 kB of
file, 230 KiB of memory at rest and 250 KiB at the peak (measured on x86_64). For the smaller build:
rustup component add rust-src";
