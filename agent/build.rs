//! Gives the linker a script (`loop.ld`) that places the agent's own code side by side.
//!
//! The kernel maps a file in windows of 64 KiB around each page that is touched. Without the script
//! the agent's 100 KiB of code lie scattered among TLS, and 700 KiB are resident instead of 200.
//! For the layer, `cargo layer` makes a better script: see `layer/src/layout.rs`.

use std::env;

fn main() {
    println!("cargo:rerun-if-changed=loop.ld");
    println!("cargo:rerun-if-env-changed=OOM_WITNESS_LAYOUT");
    // `cargo layer` links with its own script.
    if env::var_os("OOM_WITNESS_LAYOUT").is_some() {
        return;
    }
    let is_linux = env::var("CARGO_CFG_TARGET_OS").is_ok_and(|os| os == "linux");
    if let (true, Ok(folder)) = (is_linux, env::var("CARGO_MANIFEST_DIR")) {
        // Not with `-Wl`, because a linker that is called directly does not know that prefix.
        println!("cargo:rustc-link-arg-bins=-T{folder}/loop.ld");
    }
}
