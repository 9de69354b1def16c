//! Cross-crate tests, one file for each kind.

mod agent;
mod corpus;
mod detection;
mod formats;
mod orders;
mod signatures;
mod tidy;
mod scanner;
mod worlds;
