//! CloudWatch's Embedded Metric Format: one line of JSON on stdout, which is a metric and a log
//! line.
//!
//! In: a metric. Out: one write(2) of one line. It needs no network, no key and no allocation.

use std::ffi::CStr;
use std::io;
use std::net::SocketAddr;

use oom_witness_core::{Metric, format};

use super::{Definition, NoRequests, SinkSettings, SinkUse, Writes};
use crate::sys::{self, Stream};
use crate::variable::{InvalidVariable, VariableRow, Variables, Warning, text, variables};

/// The longest line.
const LINE_SIZE: usize = sys::LINE_MAX;

const NAMESPACE: &str = "OOM_WITNESS_NAMESPACE";

/// The sink.
pub(crate) struct Emf;

impl Definition for Emf {
    type Requests = NoRequests;
    type Writes = Self;

    const NAME: &CStr = c"emf";
    const TAKES: &str = "emf";
    const VARIABLES: &[VariableRow] = variables![
        ["OOM_WITNESS_NAMESPACE"] All "of the metric; OomWitness by default",
    ];
    const OTHER_EXTENSION: Option<&str> = None;
    const RECEIVER: Option<&str> = None;

    /// It needs no variable. It is also used where no other sink is.
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
        let value = text(get, NAMESPACE);
        match value {
            Ok(text) if is_namespace(&text) => settings.namespace = text,
            Ok(_) if !is_used => {}
            _ => {
                let takes = "1 to 256 letters, digits and .-_/#: or spaces";
                let invalid = InvalidVariable { name: NAMESPACE, takes };
                warn(Warning::NotUsed(invalid, "the default is OomWitness"));
            }
        }
    }
}

impl Writes for Emf {
    const PLACE: &str = "stdout";
    const WAIT_FOR_STDOUT: bool = true;

    fn address(_: &SinkSettings) -> Option<SocketAddr> {
        None
    }

    /// Writes the line of a metric, if stdout has room for it.
    #[cold]
    #[inline(never)]
    fn write(metric: &Metric<'_>, settings: &SinkSettings) -> io::Result<()> {
        let mut line = [0; LINE_SIZE];
        let room = line.get_mut(..LINE_SIZE - 1).unwrap_or_default();
        let length = format::emf::write(metric, settings.namespace(), room)
            .map_err(|_| io::ErrorKind::InvalidInput)?;
        if let Some(end) = line.get_mut(length) {
            *end = b'\n';
        }
        sys::write_line(Stream::Stdout, line.get(..=length).unwrap_or_default())
    }
}

/// CloudWatch's rule for the names of namespaces.
fn is_namespace(text: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b".-_/#: ".contains(&byte);
    text.len() <= 256 && text.bytes().all(allowed) && !text.starts_with(':')
}
