//! Which of the sinks the agent uses.
//!
//! In: `OOM_WITNESS_SINKS`, the sinks' own variables, and whether another extension is here. Out:
//! at least one sink.

use std::path::Path;

use super::{VariableReader, place};
use crate::delivery::sink::{Sink, SinkSet, SinkUse};
use crate::variable::{Variables, Warning, text};

/// Those of `sinks` whose key a child first fetches from AWS.
#[cfg(feature = "network")]
pub(super) fn with_key_source(get: Variables<'_>, sinks: SinkSet) -> SinkSet {
    let mut found = SinkSet::EMPTY;
    for sink in sinks.network().iter() {
        if sink.request(get).is_ok_and(|request| request.is_some_and(|it| it.key.is_some())) {
            found.insert(sink);
        }
    }
    found
}

/// No sink needs a key.
#[cfg(not(feature = "network"))]
pub(super) const fn with_key_source(_: Variables<'_>, _: SinkSet) -> SinkSet {
    SinkSet::EMPTY
}

impl VariableReader<'_> {
    /// The sinks that `OOM_WITNESS_SINKS` names and that can work. If there are none, the
    /// configured sinks, except one whose own extension is here and counts the same, and a sink
    /// that writes to an extension that is here. If none is left, `emf`. Also returns the sink that
    /// was excepted.
    pub(super) fn sinks(&mut self, exists: &dyn Fn(&Path) -> bool) -> (SinkSet, Option<Sink>) {
        let (mut usable, mut configured) = (SinkSet::EMPTY, SinkSet::EMPTY);
        for sink in Sink::ALL {
            match sink.usable(self.get) {
                Ok(SinkUse::Unusable) => {}
                Ok(SinkUse::IfNamed) => usable.insert(*sink),
                Ok(SinkUse::Configured) => {
                    usable.insert(*sink);
                    configured.insert(*sink);
                }
                Err(invalid) => self.warn(Warning::NotUsed(invalid, "its sink is not used")),
            }
        }
        let mut sinks = self.named_sinks(usable);
        let mut left_to_other = None;
        if sinks.is_empty() {
            (sinks, left_to_other) = self.default_sinks(configured, exists);
        }
        for sink in sinks.iter() {
            sink.check(self.get, &mut |warning| self.warn(warning));
        }
        (sinks, left_to_other)
    }

    /// The sinks where none is named, and one that is left to its own extension.
    fn default_sinks(
        &self,
        configured: SinkSet,
        exists: &dyn Fn(&Path) -> bool,
    ) -> (SinkSet, Option<Sink>) {
        let extensions = place(self.get, "OOM_WITNESS_EXTENSIONS", "/opt/extensions");
        let is_here = |name: Option<&str>| {
            let file = extensions.as_ref().zip(name).map(|(folder, name)| folder.join(name));
            file.is_some_and(|file| exists(&file))
        };
        let (mut sinks, mut left_to_other) = (SinkSet::EMPTY, None);
        for sink in Sink::ALL.iter().copied() {
            if configured.contains(sink) && is_here(sink.other_extension()) {
                left_to_other = Some(sink);
            } else if configured.contains(sink) || is_here(sink.receiver()) {
                sinks.insert(sink);
            }
        }
        if sinks.is_empty() {
            sinks.insert(Sink::Emf);
        }
        (sinks, left_to_other)
    }

    /// The sinks that `OOM_WITNESS_SINKS` names and that can work.
    fn named_sinks(&mut self, usable: SinkSet) -> SinkSet {
        let mut named = SinkSet::EMPTY;
        let mut is_wrong = false;
        let name = "OOM_WITNESS_SINKS";
        let text = text(self.get, name).unwrap_or_else(|_| {
            is_wrong = true;
            String::new()
        });
        for name in text.split(',').map(str::trim).filter(|name| !name.is_empty()) {
            match Sink::named(name) {
                Some(sink) if usable.contains(sink) => named.insert(sink),
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
