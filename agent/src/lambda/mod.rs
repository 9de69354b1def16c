//! Lambda's local APIs: the Extensions API and the Telemetry API, and the HTTP that they speak.
//!
//! In: bytes on the connections to and from Lambda. Out: events, for the event loop to judge.
//! Nothing here knows what an out-of-memory verdict is, or where metrics go.

pub(crate) mod extensions_api;
pub(crate) mod http;
pub(crate) mod http_client;
pub(crate) mod telemetry_api;
