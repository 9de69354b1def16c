//! Some of the sinks, as the bits of one byte. The journal holds the same byte.

use super::Sink;

/// Some of the sinks. It may hold sinks of another build, which wrote the journal.
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

    /// The sinks in it that need a network.
    pub(crate) fn network(self) -> Self {
        self.filter(Sink::is_network)
    }

    /// The sinks in it that the agent writes to itself.
    pub(crate) fn direct(self) -> Self {
        self.filter(|sink| !sink.is_network())
    }

    /// The sinks in it that this build has.
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

    /// Each sink in it that this build has.
    pub(crate) fn iter(self) -> impl Iterator<Item = Sink> {
        Sink::ALL.iter().copied().filter(move |sink| self.contains(*sink))
    }

    /// The byte in the journal.
    pub(crate) const fn to_bits(self) -> u8 {
        self.0
    }

    /// The set from the byte in the journal.
    pub(crate) const fn from_bits(bits: u8) -> Self {
        Self(bits)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sink_of_another_build_stays_in_a_set_until_it_is_asked_for() {
        let set = SinkSet::from_bits(0x82);
        assert_eq!(set.iter().collect::<Vec<_>>(), [Sink::Emf]);
        assert_eq!((set.to_bits(), set.built().to_bits()), (0x82, 2));
    }
}
