//! The sinks: the places that detections go to. One file for each, and the list of them.
//!
//! In: the name of a sink, and the variables that configure it. Out: whether it is configured, the
//! body of a request, and for the child the request itself and what a status means. Nothing here
//! opens a connection: a child process sends (`child/`), when the outbox says so.
//!
//! To add a sink, write its file and add a line to the list below. The compiler then asks for each
//! point of [`Definition`], and a test for the sink's bit in the journal.

use std::ffi::CStr;
use std::io;
use std::net::SocketAddr;

use oom_witness_core::{Error, Metric};

use crate::delivery::send_result::SendResult;
use crate::variable::{InvalidVariable, VariableRow, Variables, Warning};

#[cfg(feature = "dogstatsd")]
mod datagram;
mod request;
mod set;
mod settings;

pub(crate) use self::request::{Answer, RequestContext, SinkRequest};
pub(crate) use self::set::SinkSet;
pub(crate) use self::settings::{SinkContext, SinkSettings, SinkUse};

/// Declares the sinks: each with the feature that builds it, its definition, and its bit in the
/// journal. A bit never changes, and is never used again.
macro_rules! sinks {
    ($($(#[$feature:meta])* $module:ident::$sink:ident = $bit:literal,)+) => {
        $($(#[$feature])* pub(crate) mod $module;)+

        /// A destination of detections.
        #[derive(Clone, Copy, Debug, Eq, PartialEq)]
        pub(crate) enum Sink {
            $($(#[$feature])* $sink,)+
        }

        impl Sink {
            /// All sinks of this build. A sink's place in it is `sink as usize`.
            pub(crate) const ALL: &[Self] = &[$($(#[$feature])* Self::$sink,)+];

            /// The bit numbers of all sinks, also of those that this build does not have.
            const BITS: &[u8] = &[$($bit,)+];

            /// Its bit in the journal.
            const fn bit(self) -> u8 {
                match self {
                    $($(#[$feature])* Self::$sink => 1 << $bit,)+
                }
            }

            /// Its name, for the command line of a child.
            pub(crate) const fn c_name(self) -> &'static CStr {
                match self {
                    $($(#[$feature])* Self::$sink => $module::$sink::NAME,)+
                }
            }

            /// What `OOM_WITNESS_SINKS` takes, in the order of [`Sink::ALL`].
            pub(crate) const TAKES: &[&str] = &[$($(#[$feature])* $module::$sink::TAKES,)+];

            /// Its own variables.
            pub(crate) const fn variables(self) -> &'static [VariableRow] {
                match self {
                    $($(#[$feature])* Self::$sink => $module::$sink::VARIABLES,)+
                }
            }

            /// True if it needs a network, and so a child that sends.
            pub(crate) const fn is_network(self) -> bool {
                match self {
                    $($(#[$feature])* Self::$sink => RequestsOf::<$module::$sink>::NEED_NETWORK,)+
                }
            }

            /// Where its writes go, for a warning.
            pub(crate) const fn place(self) -> &'static str {
                match self {
                    $($(#[$feature])* Self::$sink => WritesOf::<$module::$sink>::PLACE,)+
                }
            }

            /// Where its datagrams go. `None` if it sends none.
            pub(crate) fn address(self, settings: &SinkSettings) -> Option<SocketAddr> {
                match self {
                    $(
                        $(#[$feature])*
                        Self::$sink => WritesOf::<$module::$sink>::address(settings),
                    )+
                }
            }

            /// True if a write that finds no room waits until stdout has room.
            pub(crate) const fn waits_for_stdout(self) -> bool {
                match self {
                    $(
                        $(#[$feature])*
                        Self::$sink => WritesOf::<$module::$sink>::WAIT_FOR_STDOUT,
                    )+
                }
            }

            /// The file in `/opt/extensions` of the extension that sends the same metric to the
            /// same place.
            pub(crate) const fn other_extension(self) -> Option<&'static str> {
                match self {
                    $($(#[$feature])* Self::$sink => $module::$sink::OTHER_EXTENSION,)+
                }
            }

            /// The file in `/opt/extensions` of the extension that it writes to. It is used where
            /// that extension is.
            pub(crate) const fn receiver(self) -> Option<&'static str> {
                match self {
                    $($(#[$feature])* Self::$sink => $module::$sink::RECEIVER,)+
                }
            }

            /// What its own variables allow.
            ///
            /// # Errors
            /// The variable that cannot be used.
            pub(crate) fn usable(self, get: Variables<'_>) -> Result<SinkUse, InvalidVariable> {
                match self {
                    $($(#[$feature])* Self::$sink => $module::$sink::usable(get),)+
                }
            }

            /// Warns where its variables can be used, but will not do what the user may expect.
            pub(crate) fn check(self, get: Variables<'_>, warn: &mut dyn FnMut(Warning)) {
                match self {
                    $($(#[$feature])* Self::$sink => $module::$sink::check(get, warn),)+
                }
            }

            /// Reads those of its variables that the agent keeps. Warns only of a value that is not
            /// text, unless the sink `is_used`.
            pub(crate) fn read(
                self,
                get: Variables<'_>,
                is_used: bool,
                settings: &mut SinkSettings,
                warn: &mut dyn FnMut(Warning),
            ) {
                match self {
                    $(
                        $(#[$feature])*
                        Self::$sink => $module::$sink::read(get, is_used, settings, warn),
                    )+
                }
            }

            /// Writes a metric at once, for a sink that needs no child.
            ///
            /// # Errors
            /// Those of [`Writes::write`].
            pub(crate) fn write(
                self,
                metric: &Metric<'_>,
                settings: &SinkSettings,
            ) -> io::Result<()> {
                match self {
                    $(
                        $(#[$feature])*
                        Self::$sink => WritesOf::<$module::$sink>::write(metric, settings),
                    )+
                }
            }

            /// Writes the body of a request that reports all of `metrics`. Returns its length. A
            /// metric that is too old for the sink becomes a late one of now.
            ///
            /// # Errors
            /// The body does not fit into `buffer`.
            pub(crate) fn body(
                self,
                metrics: &mut [Metric<'_>],
                context: &RequestContext<'_>,
                buffer: &mut [u8],
            ) -> Result<usize, Error> {
                match self {
                    $(
                        $(#[$feature])*
                        Self::$sink => RequestsOf::<$module::$sink>::body(metrics, context, buffer),
                    )+
                }
            }

            /// The request that sends a body, for the child. `None` if the sink needs no child.
            ///
            /// # Errors
            /// The variable that cannot be used.
            #[cfg_attr(not(feature = "network"), allow(dead_code, reason = "no child is built"))]
            pub(crate) fn request(
                self,
                get: Variables<'_>,
            ) -> Result<Option<SinkRequest>, InvalidVariable> {
                match self {
                    $($(#[$feature])* Self::$sink => RequestsOf::<$module::$sink>::request(get),)+
                }
            }

            /// What an answer means, and what to log about it. If that is empty, the sink has taken
            /// everything.
            #[cfg_attr(not(feature = "network"), allow(dead_code, reason = "no child is built"))]
            pub(crate) fn result_of(self, answer: &Answer<'_>) -> (SendResult, String) {
                match self {
                    $(
                        $(#[$feature])*
                        Self::$sink => RequestsOf::<$module::$sink>::result_of(answer),
                    )+
                }
            }
        }
    };
}

sinks! {
    #[cfg(feature = "datadog")]
    datadog::Datadog = 0,
    emf::Emf = 1,
    #[cfg(feature = "dogstatsd")]
    dogstatsd::Dogstatsd = 2,
    #[cfg(feature = "dogstatsd")]
    statsd::Statsd = 3,
    #[cfg(feature = "otlp")]
    otlp::Otlp = 4,
}

/// Everything about one sink. It has no defaults, so that each sink decides each point.
pub(crate) trait Definition {
    /// The requests by which a child sends to it. [`NoRequests`] if the agent writes to it itself.
    type Requests: Requests;
    /// How the agent writes to it itself. [`NoWrites`] if a child sends.
    type Writes: Writes;

    /// Its name in `OOM_WITNESS_SINKS`, and on the command line of a child.
    const NAME: &CStr;
    /// What `OOM_WITNESS_SINKS` takes for it, such as `datadog (with DD_API_KEY)`.
    const TAKES: &str;
    /// Its own variables, for `--help` and `--check`.
    const VARIABLES: &[VariableRow];
    /// The file in `/opt/extensions` of the extension that sends the same metric to the same place.
    const OTHER_EXTENSION: Option<&str>;
    /// The file in `/opt/extensions` of the extension that it writes to. It is used where that
    /// extension is, unless `OOM_WITNESS_SINKS` names others.
    const RECEIVER: Option<&str>;

    /// What its own variables allow.
    fn usable(get: Variables<'_>) -> Result<SinkUse, InvalidVariable>;

    /// Warns where its variables can be used, but will not do what the user may expect.
    fn check(get: Variables<'_>, warn: &mut dyn FnMut(Warning));

    /// Reads those of its variables that the agent keeps. Warns only of a value that is not text,
    /// unless the sink `is_used`.
    fn read(
        get: Variables<'_>,
        is_used: bool,
        settings: &mut SinkSettings,
        warn: &mut dyn FnMut(Warning),
    );
}

/// The requests by which a child sends to a sink.
pub(crate) trait Requests {
    /// True if there are any.
    const NEED_NETWORK: bool;

    /// Writes the body of a request that reports all of `metrics`. Returns its length. A metric
    /// that is too old for the sink becomes a late one of now.
    fn body(
        metrics: &mut [Metric<'_>],
        context: &RequestContext<'_>,
        buffer: &mut [u8],
    ) -> Result<usize, Error>;

    /// The request that sends a body. A missing variable is an error too. `None` if the sink needs
    /// no child.
    fn request(get: Variables<'_>) -> Result<Option<SinkRequest>, InvalidVariable>;

    /// What an answer means, and what to log about it. If that is empty, the sink has taken
    /// everything.
    fn result_of(answer: &Answer<'_>) -> (SendResult, String);
}

/// How the agent itself writes to a sink: at once, without a child.
pub(crate) trait Writes {
    /// Where writes go, for a warning.
    const PLACE: &str;
    /// True if a write that finds no room waits until stdout has room. Else it is repeated with a
    /// later event.
    const WAIT_FOR_STDOUT: bool;

    /// Where datagrams go. `None` if it sends none.
    fn address(settings: &SinkSettings) -> Option<SocketAddr>;

    /// Writes a metric. It never waits.
    ///
    /// # Errors
    /// `InvalidInput` if the metric is too long. `WriteZero` if the sink may have taken it. In all
    /// other cases the sink has taken nothing: `WouldBlock` if there is no room.
    fn write(metric: &Metric<'_>, settings: &SinkSettings) -> io::Result<()>;
}

/// The requests of the sink `S`.
type RequestsOf<S> = <S as Definition>::Requests;

/// The writes of the sink `S`.
type WritesOf<S> = <S as Definition>::Writes;

/// For a sink to which a child sends. Nothing is ever written.
#[cfg(feature = "network")]
pub(crate) struct NoWrites;

#[cfg(feature = "network")]
impl Writes for NoWrites {
    const PLACE: &str = "";
    const WAIT_FOR_STDOUT: bool = false;

    fn address(_: &SinkSettings) -> Option<SocketAddr> {
        None
    }

    fn write(_: &Metric<'_>, _: &SinkSettings) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

/// For a sink to which the agent writes itself. No request is ever made.
pub(crate) struct NoRequests;

impl Requests for NoRequests {
    const NEED_NETWORK: bool = false;

    fn body(_: &mut [Metric<'_>], _: &RequestContext<'_>, _: &mut [u8]) -> Result<usize, Error> {
        Err(Error::BufferFull)
    }

    fn request(_: Variables<'_>) -> Result<Option<SinkRequest>, InvalidVariable> {
        Ok(None)
    }

    fn result_of(_: &Answer<'_>) -> (SendResult, String) {
        (SendResult::Refused, String::new())
    }
}

// Two sinks with one bit would be one sink in the journal.
const _: () = {
    let (mut used, mut index) = (0_u8, 0);
    while index < Sink::BITS.len() {
        let bit = 1 << Sink::BITS[index];
        assert!(used & bit == 0, "two sinks have one bit");
        used |= bit;
        index += 1;
    }
};

impl Sink {
    pub(crate) const COUNT: usize = Self::ALL.len();

    /// Its name in `OOM_WITNESS_SINKS`, and on the command line of a child.
    pub(crate) fn name(self) -> &'static str {
        self.c_name().to_str().unwrap_or_default()
    }

    /// The sinks that the agent writes to itself.
    pub(crate) fn direct() -> impl Iterator<Item = Self> {
        Self::ALL.iter().copied().filter(|sink| !sink.is_network())
    }

    /// The sink of this name, if this build has it.
    pub(crate) fn named(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|sink| sink.name() == name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sink_keeps_its_bit_in_the_journal_for_ever() {
        let bits = |sink: &Sink| (sink.name(), sink.bit());
        for (name, bit) in Sink::ALL.iter().map(bits) {
            assert_eq!(
                bit,
                match name {
                    "datadog" => 1,
                    "emf" => 2,
                    "dogstatsd" => 4,
                    "statsd" => 8,
                    "otlp" => 16,
                    other => panic!("give {other} a bit of its own here"),
                }
            );
        }
    }
}
