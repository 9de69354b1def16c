//! The element of a batch that is being read, and the event that it gives.

use super::FUNCTION;
use super::record::{NoEvent, PlatformRecord};
use crate::buffer::Bytes;
use crate::scan::event::EventKind;
use crate::scan::log_record::LogRecord;
use crate::scan::prune::Pruner;
use crate::scan::signature;
use crate::sizes::{EVENT_KEY_SIZE, EVENT_TYPE_SIZE, TIME_SIZE};

/// The element that is being read.
pub(super) struct EventParts {
    /// Inside an element that is an object.
    pub(super) is_open: bool,
    /// Its record has begun.
    pub(super) has_record: bool,
    /// Its record may be a platform event's.
    pub(super) is_for_pruner: bool,
    /// Its record may be what a function printed, or the text of a fault.
    pub(super) is_for_log: bool,
    pub(super) member: Member,
    pub(super) key: Bytes<EVENT_KEY_SIZE>,
    pub(super) time: Bytes<TIME_SIZE>,
    pub(super) kind_name: Bytes<EVENT_TYPE_SIZE>,
    pub(super) pruner: Pruner,
    pub(super) log: LogRecord,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Member {
    Key,
    Other,
    Record,
    RecordStart,
    Time,
    Type,
}

impl EventParts {
    pub(super) const fn new() -> Self {
        Self {
            is_open: false,
            has_record: false,
            is_for_pruner: false,
            is_for_log: false,
            member: Member::Other,
            key: Bytes::new(),
            time: Bytes::new(),
            kind_name: Bytes::new(),
            pruner: Pruner::new(),
            log: LogRecord::new(),
        }
    }

    pub(super) fn open(&mut self) {
        self.is_open = true;
        self.has_record = false;
        self.member = Member::Other;
        self.time.clear();
        self.kind_name.clear();
    }

    pub(super) fn start_record(&mut self) {
        self.has_record = true;
        self.member = Member::Record;
        (self.is_for_pruner, self.is_for_log) = match &*self.kind_name {
            b"" => (true, true),
            FUNCTION | b"platform.fault" => (false, true),
            _ => (true, false),
        };
        self.pruner.start::<PlatformRecord>(RECORD_DEPTH);
        self.log.start(RECORD_DEPTH);
    }

    /// True in the record of a function or of a fault.
    pub(super) fn is_in_log(&self) -> bool {
        self.member == Member::Record && self.is_for_log && !self.is_for_pruner
    }

    /// True in the record of a platform event.
    pub(super) fn is_in_platform_record(&self) -> bool {
        self.member == Member::Record && self.is_for_pruner && !self.is_for_log
    }

    /// Takes text of the element's own members. A clipped text fills its buffer, so it equals no
    /// text that it is compared with.
    pub(super) fn text(&mut self, member: Member, run: &[u8]) {
        match member {
            Member::Key => self.key.append(run),
            Member::Time => self.time.append(run),
            Member::Type => self.kind_name.append(run),
            Member::Other | Member::Record | Member::RecordStart => {}
        }
    }

    /// The event, if it concerns memory.
    pub(super) fn kind(&mut self) -> Result<Option<EventKind>, NoEvent> {
        let name = &*self.kind_name;
        if !self.has_record {
            return Err(NoEvent::Malformed);
        }
        if matches!(name, FUNCTION | b"platform.fault") {
            let line = signature::read(&self.log);
            let kind = if name == FUNCTION { EventKind::Function } else { EventKind::Fault };
            return Ok(line.map(kind));
        }
        if matches!(name, b"extension" | b"platform.end" | b"platform.telemetrySubscription") {
            return Ok(None);
        }
        let mut record = PlatformRecord::default();
        self.pruner.read(&mut record).ok_or(NoEvent::Malformed)?;
        record.kind(name).map(Some)
    }
}

/// Depth of a record's own members.
const RECORD_DEPTH: u32 = 3;
