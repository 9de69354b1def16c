//! Plain `StatsD`: one datagram with a counter, without tags.
//!
//! In: a metric. Out: one datagram, at the moment of the detection, as for `dogstatsd`. It is only
//! used if `OOM_WITNESS_SINKS` names it.

use std::ffi::CStr;
use std::io;
use std::net::SocketAddr;

use oom_witness_core::sizes::DATAGRAM_SIZE;
use oom_witness_core::{Metric, format};

use super::{Definition, NoRequests, SinkSettings, SinkUse, Writes, datagram};
use crate::variable::{InvalidVariable, VariableRow, Variables, Warning, variables};

/// The sink.
pub(crate) struct Statsd;

impl Definition for Statsd {
    type Requests = NoRequests;
    type Writes = Self;

    const NAME: &CStr = c"statsd";
    const TAKES: &str = "statsd";
    const VARIABLES: &[VariableRow] = variables![
        ["STATSD_HOST", "STATSD_PORT"] All
            "where statsd sends datagrams; 127.0.0.1 and 8125 by default",
    ];
    const OTHER_EXTENSION: Option<&str> = None;
    const RECEIVER: Option<&str> = None;

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
        let names = ["STATSD_HOST", "STATSD_PORT"];
        datagram::read_receiver(get, names, is_used, &mut settings.receivers.statsd, warn);
    }
}

impl Writes for Statsd {
    const PLACE: &str = "StatsD";
    const WAIT_FOR_STDOUT: bool = false;

    fn address(settings: &SinkSettings) -> Option<SocketAddr> {
        Some(settings.receivers.statsd)
    }

    #[cold]
    #[inline(never)]
    fn write(metric: &Metric<'_>, settings: &SinkSettings) -> io::Result<()> {
        let mut bytes = [0; DATAGRAM_SIZE];
        let length = format::dogstatsd::write_statsd(metric, &mut bytes)
            .map_err(|_| io::ErrorKind::InvalidInput)?;
        datagram::send(settings.receivers.statsd, bytes.get(..length).unwrap_or_default())
    }
}
