//! The attempts that are watched, and tombstones of earlier ones, in tables of fixed size.
//!
//! In: a request id and the time of an event. Out: the row that the event belongs to. This file
//! decides which event belongs to which attempt. The detector decides what the evidence of an
//! attempt means.
//!
//! | Event | Belongs to |
//! |---|---|
//! | `start` | the row with this id and start; else one without a known start that has not ended before it; else a new attempt (Lambda reuses the id when it retries) |
//! | `runtimeDone` | the row that ended then; else the latest of its id that has not ended; else a new attempt |
//! | a line with an id | the latest open attempt of the id that had started by then; else its latest |
//! | `report` | the row that has this report; else the oldest of its id that has ended and has none; else the open one; else a new attempt |
//! | `init*`, `restore*` | the one init or restore that is open |

use crate::detect::attempt::{Attempt, RowId};
use crate::detect::detection::Subject;
use crate::detect::snapshot::{Decoder, Encoder};
use crate::detect::tombstone::{IdHash, Tombstone};
use crate::scan::event::RequestId;
use crate::sizes::{
    ATTEMPTS_MAX, ATTEMPTS_ON_DEMAND_MAX, SNAPSHOT_ROWS_MAX, SNAPSHOT_TOMBSTONES_MAX,
    TOMBSTONES_MAX,
};

// In this order: on demand, only the first 16 of the rows are used.
#[repr(C)]
pub(crate) struct AttemptTable {
    /// Oldest first.
    tombstones: heapless::Vec<Tombstone, TOMBSTONES_MAX>,
    latest: RowId,
    rows_max: usize,
    /// Attempts that left a full table, or that a snapshot had no room for.
    pub(crate) evicted: u32,
    rows: heapless::Vec<Attempt, ATTEMPTS_MAX>,
}

/// The row that an event belongs to, and the attempt that left a full table to make room for it.
///
/// Only [`AttemptTable::admit`] gives the row out, so no caller can forget to judge the attempt.
#[must_use = "the evicted attempt must be judged"]
pub(crate) struct Placement {
    row: RowId,
    evicted: Option<Attempt>,
}

impl Placement {
    const fn of(row: &Attempt) -> Self {
        Self { row: row.id, evicted: None }
    }
}

impl AttemptTable {
    pub(crate) const fn new() -> Self {
        Self {
            rows: heapless::Vec::new(),
            tombstones: heapless::Vec::new(),
            latest: RowId::NONE,
            rows_max: ATTEMPTS_ON_DEMAND_MAX,
            evicted: 0,
        }
    }

    /// Forgets all attempts.
    pub(crate) fn clear(&mut self) {
        self.rows.clear();
        self.tombstones.clear();
        self.evicted = 0;
    }

    /// Uses all of the table, since several invocations run at once.
    pub(crate) const fn expect_concurrency(&mut self) {
        self.rows_max = ATTEMPTS_MAX;
    }

    pub(crate) fn rows(&self) -> &[Attempt] {
        &self.rows
    }

    pub(crate) fn rows_mut(&mut self) -> &mut [Attempt] {
        &mut self.rows
    }

    fn row(&self, id: RowId) -> Option<&Attempt> {
        self.rows.iter().find(|row| row.id == id)
    }

    pub(crate) fn row_mut(&mut self, id: RowId) -> Option<&mut Attempt> {
        self.rows.iter_mut().find(|row| row.id == id)
    }

    /// The row of a placement. First `judge` sees the attempt that left the table for it a last
    /// time, and the table remembers that attempt.
    #[expect(clippy::needless_pass_by_value, reason = "a placement is used once")]
    pub(crate) fn admit(
        &mut self,
        placement: Placement,
        judge: impl FnOnce(&mut Attempt),
    ) -> Option<&mut Attempt> {
        let Placement { row, evicted } = placement;
        if let Some(mut attempt) = evicted {
            judge(&mut attempt);
            self.remember(&attempt);
        }
        self.row_mut(row)
    }

    /// The row that a `start` belongs to, with its start set. If its start was not known before,
    /// the row takes over the init that ran for it. `None` for the repeated start of an attempt
    /// that has left the table.
    #[must_use = "the evicted attempt must be judged"]
    pub(crate) fn place_start(&mut self, id: RequestId, time_ms: u64) -> Option<Placement> {
        let is_repeated = |row: &&Attempt| row.has_id(&id) && row.start.is(time_ms);
        if let Some(row) = self.rows.iter().find(is_repeated) {
            return Some(Placement::of(row));
        }
        if self.remembered(IdHash::of(&id), |tombstone| tombstone.start.is(time_ms)).is_some() {
            return None;
        }
        let is_startless = |row: &&mut Attempt| {
            let ended_before = row.ended_ms().is_some_and(|end_ms| end_ms < time_ms);
            row.has_id(&id) && !row.start.is_known() && !ended_before
        };
        let placement = if let Some(row) = self.rows.iter_mut().find(is_startless) {
            row.start(time_ms);
            Placement::of(row)
        } else {
            let mut attempt = Attempt::new(Subject::Invocation(id));
            attempt.start(time_ms);
            self.insert(attempt)
        };
        // Their times do not matter: the clock may have been set back between them.
        self.join_init(placement.row, |_| true);
        Some(placement)
    }

    /// The row that a line with this id belongs to, if the id is known.
    #[must_use = "the evicted attempt must be judged"]
    pub(crate) fn place_line(&mut self, id: &RequestId, time_ms: u64) -> Option<Placement> {
        let is_repeated = |row: &&Attempt| row.has_id(id) && row.end.is(time_ms);
        if let Some(row) = self.rows.iter().find(is_repeated) {
            return Some(Placement::of(row));
        }
        let rank = |row: &&Attempt| {
            let has_begun = row.begin.get().is_some_and(|begin_ms| begin_ms <= time_ms);
            let may_run = row.runs_until(time_ms);
            (has_begun && may_run, !row.begin.is_known() && may_run, has_begun, row.id)
        };
        let of_id = self.rows.iter().filter(|row| row.has_id(id));
        let best = of_id.max_by_key(rank).map(Placement::of);
        best.or_else(|| self.recall(id, IdHash::of(id), |_| true))
    }

    /// The row that a `runtimeDone` belongs to. It is made if there is none. If its start is not
    /// known, the row takes over the init that ran for it.
    pub(crate) fn place_end(
        &mut self,
        id: RequestId,
        event_ms: Option<u64>,
        now_ms: u64,
    ) -> Placement {
        let placement = self.row_of_end(id, event_ms, now_ms);
        self.join_init_if_startless(placement.row, event_ms.unwrap_or(now_ms));
        placement
    }

    /// An attempt ends once, so an end at another time is that of a retry whose start has not come
    /// yet. An end without a time belongs to the latest attempt.
    fn row_of_end(&mut self, id: RequestId, event_ms: Option<u64>, now_ms: u64) -> Placement {
        let time_ms = event_ms.unwrap_or(now_ms);
        let is_repeated = |row: &&Attempt| row.has_id(&id) && row.end.is(time_ms);
        if let Some(row) = self.rows.iter().find(is_repeated) {
            return Placement::of(row);
        }
        let rank = |row: &&Attempt| (row.has_begun_by(time_ms), row.is_open(), row.id);
        let endless = self.rows.iter().filter(|row| row.has_id(&id) && !row.end.is_known());
        let best = endless.max_by_key(rank).map(Placement::of);
        let best = best
            .or_else(|| self.recall(&id, IdHash::of(&id), |tombstone| tombstone.ends_at(time_ms)));
        let best = best.or_else(|| match event_ms {
            None => self.place_line(&id, time_ms),
            Some(_) => None,
        });
        best.unwrap_or_else(|| self.insert(Attempt::new(Subject::Invocation(id))))
    }

    /// The row that a report belongs to. It is made if there is none. `None` for a repeated report
    /// of an attempt that has left the table. If the start is not known, the row takes over the
    /// init that ran for it.
    #[must_use = "the evicted attempt must be judged"]
    pub(crate) fn place_report(
        &mut self,
        id: RequestId,
        event_ms: Option<u64>,
        now_ms: u64,
    ) -> Option<Placement> {
        let placement = self.row_of_report(id, event_ms, now_ms)?;
        self.join_init_if_startless(placement.row, event_ms.unwrap_or(now_ms));
        Some(placement)
    }

    /// An attempt has one report, as it has one end.
    #[must_use = "the evicted attempt must be judged"]
    fn row_of_report(
        &mut self,
        id: RequestId,
        event_ms: Option<u64>,
        now_ms: u64,
    ) -> Option<Placement> {
        let time_ms = event_ms.unwrap_or(now_ms);
        let is_repeated = |row: &&Attempt| row.has_id(&id) && row.report.is(time_ms);
        if let Some(row) = self.rows.iter().find(is_repeated) {
            return Some(Placement::of(row));
        }
        let id_hash = IdHash::of(&id);
        if self.remembered(id_hash, |tombstone| tombstone.report.is(time_ms)).is_some() {
            return None;
        }
        let recalled = self.recall(&id, id_hash, |tombstone| !tombstone.report.is_known());
        if recalled.is_some() {
            return recalled;
        }
        let rank = |row: &&Attempt| {
            let is_over = row.end.is_known() || row.is_before_restart;
            (!row.has_started_by(time_ms), !is_over, row.id)
        };
        let reportless = self.rows.iter().filter(|row| row.has_id(&id) && !row.report.is_known());
        let best = reportless.min_by_key(rank).map(Placement::of);
        let best = best.or_else(|| match event_ms {
            None => self.place_line(&id, time_ms),
            Some(_) => None,
        });
        Some(best.unwrap_or_else(|| self.insert(Attempt::new(Subject::Invocation(id)))))
    }

    /// The row of the latest init or restore, if `is_wanted` holds for it. Otherwise a new one is
    /// made. With `joins_next_start`, the next invocation takes it over.
    pub(crate) fn place_phase(
        &mut self,
        subject: Subject,
        joins_next_start: bool,
        is_wanted: impl Fn(&Attempt) -> bool,
    ) -> Placement {
        let phases = self.rows.iter().filter(|row| row.subject == subject);
        let latest = phases.max_by_key(|row| row.id).filter(|row| is_wanted(row));
        latest
            .map(Placement::of)
            .unwrap_or_else(|| self.insert(Attempt { joins_next_start, ..Attempt::new(subject) }))
    }

    /// The invocation takes over the init that ran for it, so that one failing call counts once.
    fn join_init(&mut self, invocation: RowId, is_wanted: impl Fn(&Attempt) -> bool) {
        let mut inits = self.rows.iter().filter(|row| row.joins_next_start && is_wanted(row));
        let Some(init) = inits.next().copied() else { return };
        self.rows.retain(|row| row.id != init.id);
        if let Some(row) = self.row_mut(invocation) {
            row.take_over(&init);
        }
    }

    /// Does the same for an invocation whose start is lost or late.
    fn join_init_if_startless(&mut self, invocation: RowId, time_ms: u64) {
        if self.row(invocation).is_some_and(|row| !row.begin.is_known()) {
            self.join_init(invocation, |init| init.has_begun_by(time_ms));
        }
    }

    /// The attempt that began last of those known to have begun by `time_ms`.
    pub(crate) fn latest_begun_by(&self, time_ms: u64) -> Option<&Attempt> {
        let begin_ms = |row: &Attempt| row.begin.get().filter(|begin_ms| *begin_ms <= time_ms);
        let begun = self.rows.iter().filter_map(|row| Some((begin_ms(row)?, row)));
        begun.max_by_key(|(begin_ms, row)| (*begin_ms, row.id)).map(|(_, row)| row)
    }

    /// True if an attempt is known to have begun after `time_ms`.
    pub(crate) fn has_begun_after(&self, time_ms: u64) -> bool {
        self.rows.iter().any(|row| row.begin.get().is_some_and(|begin_ms| begin_ms > time_ms))
    }

    /// The invocation without a known start that ended first of those that ended at or after
    /// `time_ms`.
    pub(crate) fn startless_ended_from(&self, time_ms: u64) -> Option<&Attempt> {
        let end_ms = |row: &Attempt| row.ended_ms().filter(|end_ms| *end_ms >= time_ms);
        let startless = self.rows.iter().filter(|row| row.is_invocation() && !row.begin.is_known());
        let ended = startless.filter_map(|row| Some((end_ms(row)?, row)));
        ended.min_by_key(|(end_ms, row)| (*end_ms, row.id)).map(|(_, row)| row)
    }

    /// The invocation with the earliest start at or after `time_ms`.
    pub(crate) fn earliest_started_from(&self, time_ms: u64) -> Option<&Attempt> {
        let start_ms = |row: &Attempt| row.start.get().filter(|start_ms| *start_ms >= time_ms);
        let invocations = self.rows.iter().filter(|row| row.is_invocation());
        let started = invocations.filter_map(|row| Some((start_ms(row)?, row)));
        started.min_by_key(|(start_ms, row)| (*start_ms, row.id)).map(|(_, row)| row)
    }

    /// Adds a new attempt. If the table is full, one attempt leaves it: the oldest that has ended
    /// and waits for nothing, else the oldest that has ended, else the oldest.
    fn insert(&mut self, mut attempt: Attempt) -> Placement {
        self.latest = self.latest.next();
        attempt.id = self.latest;
        let mut evicted = None;
        if self.rows.len() >= self.rows_max
            && let Some(at) = self.least_needed()
        {
            evicted = Some(self.rows.swap_remove(at));
            self.evicted = self.evicted.saturating_add(1);
        }
        let _ = self.rows.push(attempt);
        Placement { row: self.latest, evicted }
    }

    fn least_needed(&self) -> Option<usize> {
        let rank = |row: &Attempt| {
            let waits = row.has_waiting_evidence();
            let is_unreported = !row.is_open() && !row.report.is_known();
            (row.is_open(), waits && !row.is_open(), is_unreported, row.id)
        };
        let rows = self.rows.iter().enumerate();
        rows.min_by_key(|(_, row)| rank(row)).map(|(at, _)| at)
    }

    /// Forgets inits that wait for their invocation and have no evidence. The invocation may have
    /// started and ended already.
    pub(crate) fn forget_quiet_inits(&mut self) {
        self.rows.retain(|row| !row.joins_next_start || row.must_survive());
    }

    /// Remembers an attempt that has left the table, so that a late event of it is recognised.
    fn remember(&mut self, attempt: &Attempt) {
        let Some(tombstone) = Tombstone::of(attempt) else {
            return;
        };
        if self.tombstones.is_full() {
            self.tombstones.remove(0);
        }
        let _ = self.tombstones.push(tombstone);
    }

    /// The oldest tombstone of the id with this hash for which `is_wanted` holds.
    fn remembered(&self, id_hash: IdHash, is_wanted: impl Fn(&Tombstone) -> bool) -> Option<usize> {
        let mut tombstones = self.tombstones.iter();
        tombstones.position(|tombstone| tombstone.is_of(id_hash) && is_wanted(tombstone))
    }

    /// Puts the oldest remembered attempt of this id back into the table, for a late event of it.
    #[must_use = "the evicted attempt must be judged"]
    fn recall(
        &mut self,
        id: &RequestId,
        id_hash: IdHash,
        is_wanted: impl Fn(&Tombstone) -> bool,
    ) -> Option<Placement> {
        let at = self.remembered(id_hash, is_wanted)?;
        let attempt = self.tombstones.remove(at).to_attempt(id);
        Some(self.insert(attempt))
    }

    /// Writes what must survive a restart: some attempts whole, and a tombstone of each other one.
    pub(crate) fn encode(&self, encoder: &mut Encoder<'_>) {
        let whole = self.rows_to_keep_whole();
        encoder.byte(u8::try_from(whole.len()).unwrap_or(0));
        let mut after = None;
        while let Some(row) = self.next_row(after, |id| whole.contains(&id)) {
            row.encode(encoder);
            after = Some(row.id);
        }
        let clipped = self.rows.len().saturating_sub(whole.len());
        let lost = u32::try_from(clipped).unwrap_or(u32::MAX);
        encoder.count(self.evicted.saturating_add(lost));
        self.encode_tombstones(encoder, &whole);
    }

    /// Writes the tombstones, and one for each row that is not kept `whole`, oldest first. If there
    /// are too many, the oldest are left out.
    fn encode_tombstones(&self, encoder: &mut Encoder<'_>, whole: &[RowId]) {
        let clipped = self.rows.iter();
        let clipped = clipped.filter(|row| !whole.contains(&row.id) && row.is_invocation());
        let total = self.tombstones.len().saturating_add(clipped.count());
        let left_out = total.saturating_sub(SNAPSHOT_TOMBSTONES_MAX);
        encoder.byte(u8::try_from(total.saturating_sub(left_out)).unwrap_or(0));
        for tombstone in self.tombstones.iter().skip(left_out) {
            tombstone.encode(encoder);
        }
        let mut left_out = left_out.saturating_sub(self.tombstones.len());
        let mut after = None;
        while let Some(row) = self.next_row(after, |id| !whole.contains(&id)) {
            after = Some(row.id);
            match Tombstone::of(row) {
                Some(tombstone) if left_out == 0 => tombstone.encode(encoder),
                Some(_) => left_out = left_out.saturating_sub(1),
                None => {}
            }
        }
    }

    /// The rows with evidence that waits, and the latest.
    fn rows_to_keep_whole(&self) -> heapless::Vec<RowId, SNAPSHOT_ROWS_MAX> {
        let mut kept = heapless::Vec::new();
        while !kept.is_full() {
            let others = self.rows.iter().filter(|row| !kept.contains(&row.id));
            let best = others.max_by_key(|row| (row.has_waiting_evidence(), row.id));
            let Some(row) = best else { break };
            let _ = kept.push(row.id);
        }
        kept
    }

    /// The row that entered the table next after the row `after`, of those that are wanted.
    fn next_row(
        &self,
        after: Option<RowId>,
        is_wanted: impl Fn(RowId) -> bool,
    ) -> Option<&Attempt> {
        let wanted = self.rows.iter().filter(|row| is_wanted(row.id));
        let later = wanted.filter(|row| after.is_none_or(|after| row.id > after));
        later.min_by_key(|row| row.id)
    }

    /// Reads what [`AttemptTable::encode`] wrote into an empty table.
    pub(crate) fn decode(&mut self, decoder: &mut Decoder<'_>) -> Option<()> {
        for _ in 0..decoder.byte()? {
            let attempt = Attempt::decode(decoder)?;
            if self.insert(attempt).evicted.is_some() {
                return None;
            }
        }
        self.evicted = decoder.count()?;
        for _ in 0..decoder.byte()? {
            let _ = self.tombstones.push(Tombstone::decode(decoder)?);
        }
        Some(())
    }
}
