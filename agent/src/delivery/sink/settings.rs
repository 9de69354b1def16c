//! What the sinks' own variables say, as far as the agent keeps it. Each sink reads its own.

use oom_witness_core::Source;

/// The namespace of `emf`, unless the user names another.
const NAMESPACE: &str = "OomWitness";

/// What the sinks' own variables say. A text that no sink has read is empty.
#[derive(Debug, Default)]
pub(crate) struct SinkSettings {
    /// `OOM_WITNESS_NAMESPACE`, empty for the default: see [`SinkSettings::namespace`].
    pub(crate) namespace: String,
    #[cfg(feature = "dogstatsd")]
    pub(crate) receivers: super::datagram::Receivers,
    #[cfg(feature = "datadog")]
    pub(crate) datadog: super::datadog::DatadogTags,
    #[cfg(feature = "otlp")]
    pub(crate) otlp: super::otlp::OtlpSettings,
}

impl SinkSettings {
    /// The namespace of `emf`.
    pub(crate) fn namespace(&self) -> &str {
        if self.namespace.is_empty() { NAMESPACE } else { &self.namespace }
    }
}

/// What a sink gets with each detection.
#[derive(Clone, Copy)]
pub(crate) struct SinkContext<'a> {
    /// The function.
    pub(crate) source: Source<'a>,
    pub(crate) settings: &'a SinkSettings,
}

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
