//! Places the agent's own code side by side (`loop.ld`), for linkers that read GNU's scripts.
//!
//! The kernel maps a file in windows of 64 KiB around each page that is touched. The linker would
//! scatter the agent's 100 KiB of code among TLS, which keeps 700 KiB resident instead of 200. For
//! the layer `cargo layer` does this better: see `layer/src/layout.rs`.

use std::env;

fn main() {
    println!("cargo:rerun-if-changed=loop.ld");
    println!("cargo:rerun-if-env-changed=OOM_WITNESS_LAYOUT");
    // `cargo layer` links with a script of its own.
    if env::var_os("OOM_WITNESS_LAYOUT").is_some() {
        return;
    }
    let is_linux = env::var("CARGO_CFG_TARGET_OS").is_ok_and(|os| os == "linux");
    if let (true, Ok(folder)) = (is_linux, env::var("CARGO_MANIFEST_DIR")) {
        // Without `-Wl`: compilers pass it on, and a linker that is called by itself knows it too.
        println!("cargo:rustc-link-arg-bins=-T{folder}/loop.ld");
    }
}
