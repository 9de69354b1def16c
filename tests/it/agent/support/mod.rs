//! Tools of the agent's tests: no test lives here.
//!
//! | File | What it is for |
//! |---|---|
//! | `life` | the agent in the sandbox's environment, which answers as Lambda does |
//! | `script` | Lambda's APIs by hand: the test reads each request and chooses each byte of the answer |
//! | `lambda` | Lambda's APIs for an agent whose system calls fail: they answer whatever breaks |
//! | `sender` | a connection that posts telemetry, byte by byte if the test wants |
//! | `cost` | holds a process to one thread, ten open files and no new memory |
//! | `strace` | makes system calls of a process fail |
//! | `binary` | the program under test |

pub(crate) mod binary;
pub(in crate::agent) mod cost;
pub(in crate::agent) mod tolerant_lambda;
pub(in crate::agent) mod sandboxed_agent;
pub(in crate::agent) mod script;
pub(in crate::agent) mod sender;
pub(in crate::agent) mod strace;
