//! From bytes to events.
//!
//! In: the bytes of a telemetry body, or of an answer of the Extensions API, in pieces of any size.
//! Out: [`Event`](event::Event)s, reduced to what concerns memory.
//!
//! Nothing here knows attempts, verdicts or metrics, and no body or record is ever held whole.
//!
//! | File | What it does |
//! |---|---|
//! | `scanner` | finds the events of a body, also after a cut or broken record |
//! | `extensions` | reads the answers of the Extensions API |
//! | `event`, `evidence` | define the events, and the kinds of evidence in them |
//! | `runtime` | the name of the runtime, from its version |
//! | `signature`, `mention` | say which log records are evidence: one row for each text |
//! | `log_record` | keeps the parts of a function record that signatures look at |
//! | `prune` | keeps the members of a platform record that events are made of |
//! | `lexer`, `compact`, `find` | read JSON: token by token, whole members, sixteen bytes at once |

pub(crate) mod find;

pub(crate) mod lexer;

pub(crate) mod compact;

pub(crate) mod prune;

pub(crate) mod event;
pub(crate) mod evidence;
pub(crate) mod runtime;

pub(crate) mod log_record;
pub(crate) mod mention;
pub(crate) mod signature;

pub(crate) mod scanner;

pub mod extensions;
