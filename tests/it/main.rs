//! Tests across the packages.
//!
//! | File | What it tests |
//! |---|---|
//! | `detection` | the rules of what counts, one scenario each |
//! | `signatures` | texts of runtimes: a hit and a near miss for each |
//! | `scanner` | bytes to events: valid, broken and cut bodies |
//! | `formats` | detections to bytes, read back by other parsers |
//! | `orders` | each order and each repetition of a few events |
//! | `worlds` | random environments, compared with an oracle |
//! | `corpus` | recordings of real processes with labels |
//! | `scan` | the example of the core that reads exported logs |
//! | `agent` | the built agent as a process |
//! | `templates` | what people copy names what the agent writes |
//! | `pages` | each command of the pages that people read first is run |
//! | `release` | what refuses a release |
//! | `publish` | the script that publishes the layer, against moto's Lambda |
//! | `tidy` | documents and style |
//!
//! Tools that these tests share are in `tests/support/`. Private items of a package are tested in
//! the package. Allocations of core are counted in `tests/footprint/`.

mod agent;
mod build;
mod corpus;
mod detection;
mod formats;
mod orders;
mod pages;
mod publish;
mod release;
mod scan;
mod scanner;
mod signatures;
mod templates;
mod tidy;
mod worlds;
