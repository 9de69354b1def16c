//! Where detections go: the sinks by name, one file for each.
//!
//! Goes in: the name of a sink, and the variables that configure it. Comes out: what it needs to be
//! used: the body of a request for those behind a network. A network is never touched here: a child
//! process makes the request (`child/mod.rs`), when the outbox says so.

use std::ffi::{CStr, OsString};

use oom_witness_core::{Error, Metric};

use crate::variable::{Ignored, Warning};

#[cfg(feature = "datadog")]
pub(crate) mod datadog;
pub(crate) mod emf;

/// A destination.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Sink {
    /// Datadog's distribution points, over a network.
    #[cfg(feature = "datadog")]
    Datadog,
    /// CloudWatch's Embedded Metric Format, on stdout.
    Emf,
}

impl Sink {
    /// All of this build.
    pub(crate) const ALL: [Self; COUNT] = [
        #[cfg(feature = "datadog")]
        Self::Datadog,
        Self::Emf,
    ];

    /// What `OOM_WITNESS_SINKS` takes.
    #[cfg(feature = "datadog")]
    pub(crate) const TAKES: &str = "a list of emf and datadog (with DD_API_KEY)";
    #[cfg(not(feature = "datadog"))]
    pub(crate) const TAKES: &str = "emf, as this build has no other sink";

    /// Its name in `OOM_WITNESS_SINKS` and on the command line of a child.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            #[cfg(feature = "datadog")]
            Self::Datadog => "datadog",
            Self::Emf => "emf",
        }
    }

    /// True if its own variables ask for it.
    ///
    /// # Errors
    /// The variable that stands in the way.
    pub(crate) fn check(self, get: &dyn Fn(&str) -> Option<OsString>) -> Result<bool, Ignored> {
        match self {
            #[cfg(feature = "datadog")]
            Self::Datadog => datadog::Request::from_vars(get).map(|request| request.is_some()),
            Self::Emf => {
                let _ = get;
                Ok(false)
            }
        }
    }

    /// Warns of what its variables, which can be used, do not do as the user may expect.
    pub(crate) fn check_way(
        self,
        get: &dyn Fn(&str) -> Option<OsString>,
        warn: &mut dyn FnMut(Warning),
    ) {
        match self {
            #[cfg(feature = "datadog")]
            Self::Datadog => datadog::check_way(get, warn),
            Self::Emf => {
                let _ = (get, warn);
            }
        }
    }

    /// The file in `/opt/extensions` of the extension that sends the same metric to the same place.
    pub(crate) const fn other_extension(self) -> Option<&'static str> {
        match self {
            #[cfg(feature = "datadog")]
            Self::Datadog => Some("datadog-agent"),
            Self::Emf => None,
        }
    }

    pub(crate) const fn is_network(self) -> bool {
        !matches!(self, Self::Emf)
    }

    pub(crate) const fn argument(self) -> &'static CStr {
        match self {
            #[cfg(feature = "datadog")]
            Self::Datadog => c"datadog",
            Self::Emf => c"emf",
        }
    }

    /// Writes the body of a request that reports all of `metrics`; its length.
    pub(crate) fn body(
        self,
        metrics: &[Metric<'_>],
        now_ms: u64,
        buffer: &mut [u8],
    ) -> Result<usize, Error> {
        match self {
            #[cfg(feature = "datadog")]
            Self::Datadog => datadog::body(metrics, now_ms, buffer),
            Self::Emf => {
                let _ = (metrics, now_ms, buffer);
                Err(Error::BufferFull)
            }
        }
    }
}

#[cfg(feature = "datadog")]
pub(crate) const COUNT: usize = 2;
#[cfg(not(feature = "datadog"))]
pub(crate) const COUNT: usize = 1;

/// Some of the sinks.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct SinkSet(u8);

impl SinkSet {
    pub(crate) const EMPTY: Self = Self(0);

    pub(crate) const fn insert(&mut self, sink: Sink) {
        self.0 |= 1 << sink as u8;
    }

    pub(crate) const fn contains(self, sink: Sink) -> bool {
        self.0 & 1 << sink as u8 != 0
    }

    pub(crate) const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Those that need a network.
    pub(crate) fn network(self) -> Self {
        let mut set = Self::default();
        for sink in self.iter().filter(|sink| sink.is_network()) {
            set.insert(sink);
        }
        set
    }

    pub(crate) fn iter(self) -> impl Iterator<Item = Sink> {
        Sink::ALL.into_iter().filter(move |sink| self.contains(*sink))
    }

    /// The set as one byte, for the journal.
    pub(crate) const fn to_bits(self) -> u8 {
        self.0
    }

    /// The set from one byte; sinks that this build does not have are dropped.
    pub(crate) fn from_bits(bits: u8) -> Self {
        let mut set = Self::default();
        for sink in Self(bits).iter() {
            set.insert(sink);
        }
        set
    }

    pub(crate) const fn remove(&mut self, sink: Sink) {
        self.0 &= !(1 << sink as u8);
    }
}
