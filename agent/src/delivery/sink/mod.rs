//! The sinks: the places that detections go to. One file for each, and the list of them.
//!
//! In: the name of a sink, and the variables that configure it. Out: whether it is configured, the
//! body of a request, and for the child the request itself and what a status means. Nothing here
//! opens a connection: a child process sends (`child/`), when the outbox says so.
//!
//! To add a sink, write its file and add a line to the list below.

use std::ffi::CStr;

use oom_witness_core::{Error, Metric};

use crate::delivery::send_result::SendResult;
use crate::variable::{InvalidVariable, Variables, Warning};

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

            /// Its bit in the journal.
            const fn bit(self) -> u8 {
                match self {
                    $($(#[$feature])* Self::$sink => 1 << $bit,)+
                }
            }

            pub(crate) const fn c_name(self) -> &'static CStr {
                match self {
                    $($(#[$feature])* Self::$sink => $module::$sink::NAME,)+
                }
            }

            /// What `OOM_WITNESS_SINKS` takes, in the order of [`Sink::ALL`].
            pub(crate) const TAKES: &[&str] = &[$($(#[$feature])* $module::$sink::TAKES,)+];

            /// Its own lines of `--help`.
            pub(crate) const fn help(self) -> &'static str {
                match self {
                    $($(#[$feature])* Self::$sink => $module::$sink::HELP,)+
                }
            }

            pub(crate) const fn is_network(self) -> bool {
                match self {
                    $($(#[$feature])* Self::$sink => $module::$sink::IS_NETWORK,)+
                }
            }

            /// The file in `/opt/extensions` of the extension that sends the same metric to the
            /// same place.
            pub(crate) const fn other_extension(self) -> Option<&'static str> {
                match self {
                    $($(#[$feature])* Self::$sink => $module::$sink::OTHER_EXTENSION,)+
                }
            }

            /// True if its own variables ask for it.
            ///
            /// # Errors
            /// The variable that cannot be used.
            pub(crate) fn is_configured(self, get: Variables<'_>) -> Result<bool, InvalidVariable> {
                match self {
                    $($(#[$feature])* Self::$sink => $module::$sink::is_configured(get),)+
                }
            }

            /// Warns where its variables can be used, but will not do what the user may expect.
            pub(crate) fn check(self, get: Variables<'_>, warn: &mut dyn FnMut(Warning)) {
                match self {
                    $($(#[$feature])* Self::$sink => $module::$sink::check(get, warn),)+
                }
            }

            /// Writes the body of a request that reports all of `metrics`. Returns its length.
            ///
            /// # Errors
            /// The body does not fit into `buffer`.
            pub(crate) fn body(
                self,
                metrics: &[Metric<'_>],
                now_ms: u64,
                buffer: &mut [u8],
            ) -> Result<usize, Error> {
                match self {
                    $(
                        $(#[$feature])*
                        Self::$sink => $module::$sink::body(metrics, now_ms, buffer),
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
            ) -> Result<Option<Request>, InvalidVariable> {
                match self {
                    $($(#[$feature])* Self::$sink => $module::$sink::request(get),)+
                }
            }

            /// What the status of an answer means.
            #[cfg_attr(not(feature = "network"), allow(dead_code, reason = "no child is built"))]
            pub(crate) fn result_of(self, status: u16) -> SendResult {
                match self {
                    $($(#[$feature])* Self::$sink => $module::$sink::result_of(status),)+
                }
            }
        }
    };
}

sinks! {
    #[cfg(feature = "datadog")]
    datadog::Datadog = 0,
    emf::Emf = 1,
}

/// Everything about one sink. It has no defaults, so that each sink decides each point.
pub(crate) trait Definition {
    /// Its name in `OOM_WITNESS_SINKS`, and on the command line of a child.
    const NAME: &CStr;
    /// What `OOM_WITNESS_SINKS` takes for it, such as `datadog (with DD_API_KEY)`.
    const TAKES: &str;
    /// Its own lines of `--help`, with its variables.
    const HELP: &str;
    /// True if it needs a network, and so a child that sends.
    const IS_NETWORK: bool;
    /// The file in `/opt/extensions` of the extension that sends the same metric to the same place.
    const OTHER_EXTENSION: Option<&str>;

    /// True if its own variables ask for it.
    fn is_configured(get: Variables<'_>) -> Result<bool, InvalidVariable>;

    /// Warns where its variables can be used, but will not do what the user may expect.
    fn check(get: Variables<'_>, warn: &mut dyn FnMut(Warning));

    /// Writes the body of a request that reports all of `metrics`. Returns its length.
    fn body(metrics: &[Metric<'_>], now_ms: u64, buffer: &mut [u8]) -> Result<usize, Error>;

    /// The request that sends a body. `None` if the sink needs no child. A missing variable is an
    /// error too.
    fn request(get: Variables<'_>) -> Result<Option<Request>, InvalidVariable>;

    /// What the status of an answer means.
    fn result_of(status: u16) -> SendResult;
}

// Two sinks with one bit would be one sink in the journal.
const _: () = {
    let (mut used, mut index) = (0, 0);
    while index < Sink::ALL.len() {
        let bit = Sink::ALL[index].bit();
        assert!(used & bit == 0, "two sinks have one bit");
        used |= bit;
        index += 1;
    }
};

/// A POST request without its body.
#[derive(Debug, Eq, PartialEq)]
pub(crate) struct Request {
    pub(crate) url: String,
    /// Names and values, without `Content-Length`.
    pub(crate) headers: Vec<(&'static str, String)>,
}

#[cfg_attr(not(feature = "network"), allow(dead_code, reason = "no child is built"))]
impl Request {
    /// The host that the address names, without its port.
    pub(crate) fn host(&self) -> &str {
        let rest = self.url.split_once("://").map_or(self.url.as_str(), |(_, rest)| rest);
        let place = rest.split('/').next().unwrap_or_default();
        match place.split_once(']') {
            Some((address, _)) => place.get(..=address.len()).unwrap_or_default(),
            None => place.split(':').next().unwrap_or_default(),
        }
    }
}

impl Sink {
    pub(crate) const COUNT: usize = Self::ALL.len();

    /// Its name in `OOM_WITNESS_SINKS`, and on the command line of a child.
    pub(crate) fn name(self) -> &'static str {
        self.c_name().to_str().unwrap_or_default()
    }

    /// The sink of this name, if this build has it.
    pub(crate) fn named(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|sink| sink.name() == name)
    }
}

/// Some of the sinks.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct SinkSet(u8);

impl SinkSet {
    pub(crate) const EMPTY: Self = Self(0);

    pub(crate) const fn insert(&mut self, sink: Sink) {
        self.0 |= sink.bit();
    }

    pub(crate) const fn remove(&mut self, sink: Sink) {
        self.0 &= !sink.bit();
    }

    pub(crate) const fn contains(self, sink: Sink) -> bool {
        self.0 & sink.bit() != 0
    }

    pub(crate) const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Those that need a network.
    pub(crate) fn network(self) -> Self {
        self.filter(Sink::is_network)
    }

    /// Those that this build has.
    pub(crate) fn built(self) -> Self {
        self.filter(|_| true)
    }

    fn filter(self, is_wanted: impl Fn(Sink) -> bool) -> Self {
        let mut set = Self::EMPTY;
        for sink in self.iter().filter(|sink| is_wanted(*sink)) {
            set.insert(sink);
        }
        set
    }

    /// The sinks of this build that are in it.
    pub(crate) fn iter(self) -> impl Iterator<Item = Sink> {
        Sink::ALL.iter().copied().filter(move |sink| self.contains(*sink))
    }

    /// The set as one byte, for the journal.
    pub(crate) const fn to_bits(self) -> u8 {
        self.0
    }

    /// The set from one byte, also with sinks that only another build has.
    pub(crate) const fn from_bits(bits: u8) -> Self {
        Self(bits)
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
                    other => panic!("give {other} a bit of its own here"),
                }
            );
        }
    }

    #[test]
    fn a_sink_of_another_build_stays_in_a_set_until_it_is_asked_for() {
        let set = SinkSet::from_bits(0x82);
        assert_eq!(set.iter().collect::<Vec<_>>(), [Sink::Emf]);
        assert_eq!((set.to_bits(), set.built().to_bits()), (0x82, 2));
    }

    #[test]
    fn the_host_of_an_address() {
        for (url, expected) in [
            ("https://api.datadoghq.com/path", "api.datadoghq.com"),
            ("http://127.0.0.1:8080/path", "127.0.0.1"),
            ("http://[::1]:8080/path", "[::1]"),
        ] {
            let request = Request { url: url.to_owned(), headers: Vec::new() };
            assert_eq!(request.host(), expected, "{url}");
        }
    }
}
