//! What the sinks' own variables say, as far as the agent keeps it. Each sink reads its own.

use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};

use oom_witness_core::Source;

/// The port on this machine where a `StatsD` server listens by default.
const DATAGRAM_PORT: u16 = 8125;

/// The namespace of `emf`, unless the user names another.
const NAMESPACE: &str = "OomWitness";

/// What the sinks' own variables say. A text that no sink has read is empty.
#[derive(Debug, Default)]
pub(crate) struct SinkSettings {
    /// `OOM_WITNESS_NAMESPACE`, empty for the default: see [`SinkSettings::namespace`].
    pub(crate) namespace: String,
    /// Tags that the user adds to each metric, such as `key:value`, with commas between them.
    pub(crate) tags: String,
    pub(crate) env: String,
    pub(crate) service: String,
    pub(crate) version: String,
    pub(crate) receivers: Receivers,
    #[cfg(feature = "otlp")]
    pub(crate) otlp: super::otlp::OtlpSettings,
}

impl SinkSettings {
    /// The namespace of `emf`.
    pub(crate) fn namespace(&self) -> &str {
        if self.namespace.is_empty() { NAMESPACE } else { &self.namespace }
    }
}

/// What every sink is told beside a detection.
#[derive(Clone, Copy)]
pub(crate) struct SinkContext<'a> {
    /// The function.
    pub(crate) source: Source<'a>,
    pub(crate) settings: &'a SinkSettings,
}

/// Where datagrams go.
#[cfg_attr(not(feature = "dogstatsd"), allow(dead_code, reason = "no sink sends datagrams"))]
#[derive(Clone, Copy, Debug)]
pub(crate) struct Receivers {
    pub(crate) dogstatsd: SocketAddr,
    pub(crate) statsd: SocketAddr,
}

impl Default for Receivers {
    fn default() -> Self {
        Self { dogstatsd: DEFAULT, statsd: DEFAULT }
    }
}

const DEFAULT: SocketAddr = SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::LOCALHOST, DATAGRAM_PORT));

/// What a sink's variables allow.
#[cfg_attr(not(feature = "network"), allow(dead_code, reason = "each sink works without any"))]
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum SinkUse {
    /// A variable that it needs is not set.
    Unusable,
    /// It is used if `OOM_WITNESS_SINKS` names it.
    IfNamed,
    /// It is used unless `OOM_WITNESS_SINKS` names others.
    Configured,
}
