//! `DogStatsD`: one datagram to Datadog's extension, which adds the function's tags and sends it
//! on.
//!
//! In: a metric. Out: one datagram, at the moment of the detection. It needs no child, no TLS, no
//! key and no allocation. While nobody listens, the metric waits.

use std::ffi::CStr;
use std::io;
use std::net::SocketAddr;

use oom_witness_core::sizes::DATAGRAM_SIZE;
use oom_witness_core::{Metric, format};

use super::{Definition, NoRequests, SinkSettings, SinkUse, Writes, datagram};
use crate::clock::now_ms;
use crate::variable::{InvalidVariable, VariableRow, Variables, Warning, variables};

/// A metric that is older is marked late: a datagram has no time of its own.
const AGE_MAX_MS: u64 = 60 * 1000;

/// The sink.
pub(crate) struct Dogstatsd;

impl Definition for Dogstatsd {
    type Requests = NoRequests;
    type Writes = Self;

    const NAME: &CStr = c"dogstatsd";
    const TAKES: &str = "dogstatsd";
    const VARIABLES: &[VariableRow] = variables![
        ["DD_AGENT_HOST", "DD_DOGSTATSD_PORT"] All
            "where dogstatsd sends datagrams; 127.0.0.1 and 8125 by default; used if Datadog's \
             extension is in /opt/extensions",
    ];
    const OTHER_EXTENSION: Option<&str> = None;
    const RECEIVER: Option<&str> = Some("datadog-agent");

    fn usable(_: Variables<'_>) -> Result<SinkUse, InvalidVariable> {
        Ok(SinkUse::IfNamed)
    }

    fn check(_: Variables<'_>, _: &mut dyn FnMut(Warning)) {}

    fn read(
        get: Variables<'_>,
        is_used: bool,
        settings: &mut SinkSettings,
        warn: &mut dyn FnMut(Warning),
    ) {
        let names = ["DD_AGENT_HOST", "DD_DOGSTATSD_PORT"];
        datagram::read_receiver(get, names, is_used, &mut settings.receivers.dogstatsd, warn);
    }
}

impl Writes for Dogstatsd {
    const PLACE: &str = "DogStatsD";
    const WAIT_FOR_STDOUT: bool = false;

    fn address(settings: &SinkSettings) -> Option<SocketAddr> {
        Some(settings.receivers.dogstatsd)
    }

    #[cold]
    #[inline(never)]
    fn write(metric: &Metric<'_>, settings: &SinkSettings) -> io::Result<()> {
        let mut bytes = [0; DATAGRAM_SIZE];
        let metric = metric.not_older(now_ms(), AGE_MAX_MS);
        let length = format::dogstatsd::write(&metric, &mut bytes)
            .map_err(|_| io::ErrorKind::InvalidInput)?;
        datagram::send(settings.receivers.dogstatsd, bytes.get(..length).unwrap_or_default())
    }
}
