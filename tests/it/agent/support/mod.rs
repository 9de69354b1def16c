//! Tools of the agent's tests. No test lives here.
//!
//! | File | What it is for |
//! |---|---|
//! | `sandboxed_agent` | the agent in the sandbox's environment, which answers as Lambda does |
//! | `script` | Lambda's APIs by hand: the test reads each request and chooses each byte of the answer |
//! | `tolerant_lambda` | Lambda's APIs for an agent that fails or is killed: they answer whatever breaks |
//! | `agent_process` | the agent as a process: what it wrote, and how it ended |
//! | `bodies` | the telemetry that tests post, from the scenario language |
//! | `sender` | a connection that posts telemetry, byte by byte if the test wants |
//! | `receiver` | a receiver of datagrams |
//! | `destination` | the receiver of any sink, for an agent that fails or is killed |
//! | `intakes` | a network sink that never answers, and the points that one has received |
//! | `otlp_requests` | what an OTLP receiver has taken |
//! | `cost` | checks that the agent has one thread, at most ten open files and no new memory |
//! | `failing_calls` | lets each system call of a process fail, in one run each |
//! | `strace` | one run under strace(1), which traces system calls and makes them fail |
//! | `binary` | the program under test |
//! | `ports`, `requests`, `signals`, `wait` | free ports, HTTP requests as text, signals, waits |

pub(in crate::agent) mod agent_process;
pub(crate) mod binary;
pub(in crate::agent) mod bodies;
pub(in crate::agent) mod cost;
pub(in crate::agent) mod destination;
pub(in crate::agent) mod failing_calls;
pub(in crate::agent) mod intakes;
pub(in crate::agent) mod otlp_requests;
pub(in crate::agent) mod ports;
pub(in crate::agent) mod receiver;
pub(in crate::agent) mod requests;
pub(in crate::agent) mod sandboxed_agent;
pub(in crate::agent) mod script;
pub(in crate::agent) mod sender;
pub(in crate::agent) mod signals;
pub(in crate::agent) mod strace;
pub(in crate::agent) mod tolerant_lambda;
pub(in crate::agent) mod wait;
