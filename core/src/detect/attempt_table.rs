//! The attempts being watched, and a memory of those that have left: fixed tables.
//!
//! In: a request id and the time of an event. Out: the row that the event belongs to. Which event
//! belongs to which attempt is decided here; what an attempt's evidence means is the detector's.
//!
//! | Event | Belongs to |
//! |---|---|
//! | `start` | the row with this id and start; else one without a known start that has not ended before it; else a new attempt (Lambda reuses the id when it retries) |
//! | `runtimeDone` | the one that ended then; else the latest of its id that has not ended; else a new attempt |
//! | a line with an id | the latest open attempt of the id that had started by then; else its latest |
//! | `report` | the one that has this report; else the oldest of its id that has ended and has none; else the open one; else a new attempt |
//! | `init*`, `restore*` | the one init or restore that is open |

use crate::detect::attempt::Attempt;
use crate::detect::detection::Subject;
use crate::detect::snapshot::{Decoder, Encoder};
use crate::detect::tombstone::{IdHash, Tombstone};
use crate::limits::{
    ATTEMPTS_MAX, ATTEMPTS_ON_DEMAND_MAX, SNAPSHOT_ROWS_MAX, SNAPSHOT_TOMBSTONES_MAX,
    TOMBSTONES_MAX,
};
use crate::scan::event::RequestId;

/// Rows by position: a position is good until the next [`AttemptTable::insert`].
// In this order: of the rows the first quarter is used on demand.
#[repr(C)]
pub(crate) struct AttemptTable {
    /// Oldest first.
    tombstones: heapless::Vec<Tombstone, TOMBSTONES_MAX>,
    /// The row that had to leave for the latest one, to be judged a last time and buried.
    leaver: Option<Attempt>,
    serial: u32,
    rows_max: usize,
    /// Rows that had to leave, or found no room in a snapshot.
    pub(crate) evicted: u32,
    rows: heapless::Vec<Attempt, ATTEMPTS_MAX>,
}

impl AttemptTable {
    pub(crate) const fn new() -> Self {
        Self {
            rows: heapless::Vec::new(),
            tombstones: heapless::Vec::new(),
            leaver: None,
            serial: 0,
            rows_max: ATTEMPTS_ON_DEMAND_MAX,
            evicted: 0,
        }
    }

    /// Forgets all attempts.
    pub(crate) fn clear(&mut self) {
        self.rows.clear();
        self.tombstones.clear();
        self.leaver = None;
        self.evicted = 0;
    }

    /// Several invocations run at once: use all of the table.
    pub(crate) const fn expect_concurrency(&mut self) {
        self.rows_max = ATTEMPTS_MAX;
    }

    pub(crate) fn rows(&self) -> &[Attempt] {
        &self.rows
    }

    pub(crate) fn rows_mut(&mut self) -> &mut [Attempt] {
        &mut self.rows
    }

    pub(crate) fn get(&self, at: usize) -> Option<&Attempt> {
        self.rows.get(at)
    }

    pub(crate) fn get_mut(&mut self, at: usize) -> Option<&mut Attempt> {
        self.rows.get_mut(at)
    }

    /// The row that a `start` belongs to, with its start set; `true` if it had none.
    pub(crate) fn start(&mut self, id: RequestId, time_ms: u64) -> Option<(usize, bool)> {
        let repeated = |row: &Attempt| row.has_id(&id) && row.start.is(time_ms);
        if let Some(at) = self.rows.iter().position(repeated) {
            return Some((at, false));
        }
        if self.remembered(IdHash::of(&id), |tombstone| tombstone.start.is(time_ms)).is_some() {
            return None;
        }
        let startless = |row: &Attempt| {
            let over_before = row.ended_ms().is_some_and(|end_ms| end_ms < time_ms);
            row.has_id(&id) && !row.start.is_known() && !over_before
        };
        let startless = self.rows.iter().position(startless);
        let at = startless.unwrap_or_else(|| self.insert(Attempt::new(Subject::Invocation(id))));
        self.get_mut(at)?.start(time_ms);
        Some((at, true))
    }

    /// The row that a line with this id belongs to, if the id is known.
    pub(crate) fn of_id(&mut self, id: &RequestId, time_ms: u64) -> Option<usize> {
        let repeated = |row: &Attempt| row.has_id(id) && row.end.is(time_ms);
        if let Some(at) = self.rows.iter().position(repeated) {
            return Some(at);
        }
        let rank = |row: &Attempt| {
            let has_begun = row.begin.get().is_some_and(|begin_ms| begin_ms <= time_ms);
            let may_run = row.runs_until(time_ms);
            (has_begun && may_run, !row.begin.is_known() && may_run, has_begun, row.serial)
        };
        let of_id = self.rows.iter().enumerate().filter(|(_, row)| row.has_id(id));
        let best = of_id.max_by_key(|(_, row)| rank(row)).map(|(at, _)| at);
        best.or_else(|| self.revive(id, IdHash::of(id), |_| true))
    }

    /// The row that a `runtimeDone` belongs to, made if there is none. An attempt ends once: an end
    /// at another time is that of a retry whose start is yet to come. Without a time, the latest.
    pub(crate) fn of_end(&mut self, id: RequestId, event_ms: Option<u64>, now_ms: u64) -> usize {
        let time_ms = event_ms.unwrap_or(now_ms);
        let repeated = |row: &Attempt| row.has_id(&id) && row.end.is(time_ms);
        if let Some(at) = self.rows.iter().position(repeated) {
            return at;
        }
        let rank = |row: &Attempt| (row.has_begun_by(time_ms), row.is_open(), row.serial);
        let of_id = self.rows.iter().enumerate().filter(|(_, row)| row.has_id(&id));
        let endless = of_id.filter(|(_, row)| !row.end.is_known());
        let best = endless.max_by_key(|(_, row)| rank(row)).map(|(at, _)| at);
        let best = best
            .or_else(|| self.revive(&id, IdHash::of(&id), |tombstone| tombstone.ends_at(time_ms)));
        let best = best.or_else(|| self.of_id(&id, time_ms).filter(|_| event_ms.is_none()));
        best.unwrap_or_else(|| self.insert(Attempt::new(Subject::Invocation(id))))
    }

    /// The row that a report belongs to, made if there is none; `None` for a repeated report of an
    /// attempt that has left the table. An attempt has one report, as it has one end.
    pub(crate) fn of_report(
        &mut self,
        id: RequestId,
        event_ms: Option<u64>,
        now_ms: u64,
    ) -> Option<usize> {
        let time_ms = event_ms.unwrap_or(now_ms);
        let repeated = |row: &Attempt| row.has_id(&id) && row.report.is(time_ms);
        if let Some(at) = self.rows.iter().position(repeated) {
            return Some(at);
        }
        let id_hash = IdHash::of(&id);
        if self.remembered(id_hash, |tombstone| tombstone.report.is(time_ms)).is_some() {
            return None;
        }
        if let Some(at) = self.revive(&id, id_hash, |tombstone| !tombstone.report.is_known()) {
            return Some(at);
        }
        let rank = |row: &Attempt| {
            let is_over = row.end.is_known() || row.is_before_restart;
            (!row.has_begun_by(time_ms), !is_over, row.serial)
        };
        let of_id = self.rows.iter().enumerate().filter(|(_, row)| row.has_id(&id));
        let reportless = of_id.filter(|(_, row)| !row.report.is_known());
        let best = reportless.min_by_key(|(_, row)| rank(row)).map(|(at, _)| at);
        let best = best.or_else(|| self.of_id(&id, time_ms).filter(|_| event_ms.is_none()));
        Some(best.unwrap_or_else(|| self.insert(Attempt::new(Subject::Invocation(id)))))
    }

    /// The latest init or restore, if there is one.
    pub(crate) fn latest_of(&self, subject: Subject) -> Option<usize> {
        let of_subject = self.rows.iter().enumerate().filter(|(_, row)| row.subject == subject);
        of_subject.max_by_key(|(_, row)| row.serial).map(|(at, _)| at)
    }

    /// The attempt that began last of those known to have begun by `time_ms`.
    pub(crate) fn latest_begun_by(&self, time_ms: u64) -> Option<usize> {
        let begun = |row: &Attempt| row.begin.get().filter(|begin_ms| *begin_ms <= time_ms);
        let rows = self.rows.iter().enumerate();
        let rows = rows.filter_map(|(at, row)| begun(row).map(|ms| ((ms, row.serial), at)));
        rows.max().map(|(_, at)| at)
    }

    /// True if an attempt is known to have begun after `time_ms`.
    pub(crate) fn has_begun_after(&self, time_ms: u64) -> bool {
        self.rows.iter().any(|row| row.begin.get().is_some_and(|begin_ms| begin_ms > time_ms))
    }

    /// The invocation without a known start that ended first of those that ended at or after
    /// `time_ms`.
    pub(crate) fn startless_ended_from(&self, time_ms: u64) -> Option<usize> {
        let ended = |row: &Attempt| row.ended_ms().filter(|end_ms| *end_ms >= time_ms);
        let rows = self.rows.iter().enumerate();
        let rows = rows.filter(|(_, row)| row.is_invocation() && !row.begin.is_known());
        let rows = rows.filter_map(|(at, row)| ended(row).map(|ms| ((ms, row.serial), at)));
        rows.min().map(|(_, at)| at)
    }

    /// The invocation with the earliest start at or after `time_ms`.
    pub(crate) fn earliest_started_from(&self, time_ms: u64) -> Option<usize> {
        let started = |row: &Attempt| row.start.get().filter(|start_ms| *start_ms >= time_ms);
        let rows = self.rows.iter().enumerate().filter(|(_, row)| row.is_invocation());
        let rows = rows.filter_map(|(at, row)| started(row).map(|ms| ((ms, row.serial), at)));
        rows.min().map(|(_, at)| at)
    }

    /// A row for a new attempt. Where there are `rows_max` of them, one leaves: the oldest that is
    /// over and done with, else the oldest that is over, else the oldest.
    pub(crate) fn insert(&mut self, mut attempt: Attempt) -> usize {
        self.serial = self.serial.wrapping_add(1);
        attempt.serial = self.serial;
        if self.rows.len() >= self.rows_max
            && let Some(at) = self.victim()
        {
            self.leaver = Some(self.rows.swap_remove(at));
            self.evicted = self.evicted.saturating_add(1);
        }
        let _ = self.rows.push(attempt);
        self.rows.len().saturating_sub(1)
    }

    /// The row that left for the latest one. The caller judges and buries it before the next
    /// insertion.
    pub(crate) fn take_leaver(&mut self) -> Option<Attempt> {
        self.leaver.take()
    }

    fn victim(&self) -> Option<usize> {
        let rank = |row: &Attempt| {
            let waits = row.has_waiting_evidence();
            let is_unreported = !row.is_open() && !row.report.is_known();
            (row.is_open(), waits && !row.is_open(), is_unreported, row.serial)
        };
        let rows = self.rows.iter().enumerate();
        rows.min_by_key(|(_, row)| rank(row)).map(|(at, _)| at)
    }

    /// Takes a row away without a trace: it has become part of another. The rows behind it move up.
    pub(crate) fn remove(&mut self, at: usize) {
        let mut index = 0_usize;
        self.rows.retain(|_| {
            let is_kept = index != at;
            index = index.saturating_add(1);
            is_kept
        });
    }

    /// Forgets inits that wait for their invocation and have no evidence: it may have come and gone.
    pub(crate) fn forget_quiet_inits(&mut self) {
        self.rows.retain(|row| !row.joins_next_start || row.must_survive());
    }

    /// Leaves a tombstone, so that a late signal for the attempt is recognised.
    pub(crate) fn bury(&mut self, attempt: &Attempt) {
        let Some(tombstone) = Tombstone::of(attempt) else {
            return;
        };
        if self.tombstones.is_full() {
            self.tombstones.remove(0);
        }
        let _ = self.tombstones.push(tombstone);
    }

    /// The oldest tombstone of the id with this hash for which `is_it` holds.
    fn remembered(&self, id_hash: IdHash, is_it: impl Fn(&Tombstone) -> bool) -> Option<usize> {
        self.tombstones.iter().position(|tombstone| tombstone.is_of(id_hash) && is_it(tombstone))
    }

    /// Brings the oldest remembered attempt of this id back, since a late signal for it has come.
    fn revive(
        &mut self,
        id: &RequestId,
        id_hash: IdHash,
        is_it: impl Fn(&Tombstone) -> bool,
    ) -> Option<usize> {
        let at = self.remembered(id_hash, is_it)?;
        let attempt = self.tombstones.remove(at).revive(id);
        Some(self.insert(attempt))
    }

    /// Writes what must survive a restart: some attempts whole, of the others that they were.
    pub(crate) fn encode(&self, encoder: &mut Encoder<'_>) {
        let whole = self.rows_to_keep_whole();
        encoder.byte(u8::try_from(whole.len()).unwrap_or(0));
        let mut serial = None;
        while let Some(row) = self.next_row(serial, |at| whole.contains(&at)) {
            row.encode(encoder);
            serial = Some(row.serial);
        }
        let clipped = self.rows.len().saturating_sub(whole.len());
        let lost = u32::try_from(clipped).unwrap_or(u32::MAX);
        encoder.count(self.evicted.saturating_add(lost));
        self.encode_tombstones(encoder, &whole);
    }

    /// The tombstones and those of the rows that are not kept whole, oldest first; if there are too
    /// many, the oldest are left out.
    fn encode_tombstones(&self, encoder: &mut Encoder<'_>, whole: &[usize]) {
        let clipped = self.rows.iter().enumerate();
        let clipped = clipped.filter(|(at, row)| !whole.contains(at) && row.is_invocation());
        let total = self.tombstones.len().saturating_add(clipped.count());
        let left_out = total.saturating_sub(SNAPSHOT_TOMBSTONES_MAX);
        encoder.byte(u8::try_from(total.saturating_sub(left_out)).unwrap_or(0));
        for tombstone in self.tombstones.iter().skip(left_out) {
            tombstone.encode(encoder);
        }
        let mut left_out = left_out.saturating_sub(self.tombstones.len());
        let mut serial = None;
        while let Some(row) = self.next_row(serial, |at| !whole.contains(&at)) {
            serial = Some(row.serial);
            match Tombstone::of(row) {
                Some(tombstone) if left_out == 0 => tombstone.encode(encoder),
                Some(_) => left_out = left_out.saturating_sub(1),
                None => {}
            }
        }
    }

    /// The positions of the rows with evidence that waits, and of the latest.
    fn rows_to_keep_whole(&self) -> heapless::Vec<usize, SNAPSHOT_ROWS_MAX> {
        let mut kept = heapless::Vec::new();
        while !kept.is_full() {
            let others = self.rows.iter().enumerate().filter(|(at, _)| !kept.contains(at));
            let best = others.max_by_key(|(_, row)| (row.has_waiting_evidence(), row.serial));
            let Some((at, _)) = best else { break };
            let _ = kept.push(at);
        }
        kept
    }

    /// The row that entered the table next after the one with this serial, of those at positions that
    /// `is_wanted`.
    fn next_row(&self, after: Option<u32>, is_wanted: impl Fn(usize) -> bool) -> Option<&Attempt> {
        let rows = self.rows.iter().enumerate().filter(|(at, _)| is_wanted(*at));
        let later = rows.filter(|(_, row)| after.is_none_or(|after| row.serial > after));
        later.min_by_key(|(_, row)| row.serial).map(|(_, row)| row)
    }

    /// Reads what [`AttemptTable::encode`] wrote into an empty table.
    pub(crate) fn decode(&mut self, decoder: &mut Decoder<'_>) -> Option<()> {
        for _ in 0..decoder.byte()? {
            let attempt = Attempt::decode(decoder)?;
            self.insert(attempt);
        }
        self.evicted = decoder.count()?;
        for _ in 0..decoder.byte()? {
            let _ = self.tombstones.push(Tombstone::decode(decoder)?);
        }
        Some(())
    }
}
