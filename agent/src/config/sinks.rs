//! Which of the sinks the agent uses.
//!
//! In: `OOM_WITNESS_SINKS`, the sinks' own variables, and whether another extension is here. Out:
//! at least one sink.

use std::path::Path;

use super::{VariableReader, place};
use crate::delivery::sink::{Sink, SinkSet};
use crate::variable::{Warning, text};

impl VariableReader<'_> {
    /// The sinks that `OOM_WITNESS_SINKS` names and that can work. If there are none, the
    /// configured sinks, except one whose own extension is here and counts the same. If none is
    /// left, `emf`. Also returns the sink that was excepted.
    pub(super) fn sinks(&mut self, exists: &dyn Fn(&Path) -> bool) -> (SinkSet, Option<Sink>) {
        let mut configured = SinkSet::EMPTY;
        for sink in Sink::ALL {
            match sink.is_configured(self.get) {
                Ok(true) => configured.insert(*sink),
                Ok(false) => {}
                Err(invalid) => self.warn(Warning::NotUsed(invalid, "its sink is not used")),
            }
        }
        let mut sinks = self.named_sinks(configured);
        let mut left_to_other = None;
        if sinks.is_empty() && !configured.is_empty() {
            (sinks, left_to_other) = self.without_others(configured, exists);
        }
        if sinks.is_empty() {
            sinks.insert(Sink::Emf);
        }
        for sink in sinks.iter() {
            sink.check(self.get, &mut |warning| self.warn(warning));
        }
        (sinks, left_to_other)
    }

    /// The configured sinks whose own extension is not here, and one whose extension is here.
    fn without_others(
        &self,
        configured: SinkSet,
        exists: &dyn Fn(&Path) -> bool,
    ) -> (SinkSet, Option<Sink>) {
        let (mut sinks, mut left_to_other) = (SinkSet::EMPTY, None);
        let extensions = place(self.get, "OOM_WITNESS_EXTENSIONS", "/opt/extensions");
        for sink in configured.iter() {
            let other = sink.other_extension();
            let file = extensions.as_ref().zip(other).map(|(folder, name)| folder.join(name));
            if file.is_some_and(|file| exists(&file)) {
                left_to_other = Some(sink);
            } else {
                sinks.insert(sink);
            }
        }
        (sinks, left_to_other)
    }

    /// The sinks that `OOM_WITNESS_SINKS` names and that can work.
    fn named_sinks(&mut self, configured: SinkSet) -> SinkSet {
        let mut named = SinkSet::EMPTY;
        let mut is_wrong = false;
        let name = "OOM_WITNESS_SINKS";
        let text = text(self.get, name).unwrap_or_else(|_| {
            is_wrong = true;
            String::new()
        });
        for name in text.split(',').map(str::trim).filter(|name| !name.is_empty()) {
            match Sink::named(name) {
                Some(sink) if sink == Sink::Emf || configured.contains(sink) => named.insert(sink),
                _ => is_wrong = true,
            }
        }
        if is_wrong {
            let instead =
                if named.is_empty() { "the default is used" } else { "the other names are used" };
            self.warn(Warning::NotListed { name, takes: Sink::TAKES, instead });
        }
        named
    }
}
