//! What `cargo layer` shares with the programs that read what it writes: the linker's map.

pub mod link_map;
