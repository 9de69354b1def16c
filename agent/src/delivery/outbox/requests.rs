//! The requests by which children send to the network sinks.
//!
//! In: the detections that wait for a network, and how each child ended. Out: the body of the next
//! request, and the child that sends it. One request carries as many detections as fit.

use std::io;
use std::os::unix::process::ExitStatusExt;
use std::time::Instant;

use oom_witness_core::Metric;

use super::Outbox;
use crate::delivery::queue::WAITING_MAX;
use crate::delivery::running_send::RunningSend;
use crate::delivery::send_result::SendResult;
use crate::delivery::sink::{RequestContext, Sink};
use crate::delivery::tally::add;
use crate::logger::warn_once;
use crate::sys::{self, heap};

/// Detections that one request carries. The others stay free, and two of them can always be joined:
/// each sink takes detections in order, so the free ones wait for at most [`Sink::COUNT`] different
/// sets of sinks, with two kinds of detection.
pub(super) const BATCH_MAX: usize = WAITING_MAX - (2 * Sink::COUNT + 1);

/// The longest request body. It has to fit into an empty socket.
pub(crate) const BODY_SIZE: usize = 4000;

impl Outbox {
    /// True if a detection waits for a network sink that may be tried now.
    pub(crate) fn is_due(&self, in_shutdown: bool) -> bool {
        self.next_sink(in_shutdown).is_some()
    }

    /// True if the child of the next send first fetches a key from AWS. If no send is due, true if
    /// the child of any sink does.
    pub(crate) fn fetches_key(&self, in_shutdown: bool) -> bool {
        if self.key_sinks.is_empty() {
            return false;
        }
        self.next_sink(in_shutdown).is_none_or(|sink| self.key_sinks.contains(sink))
    }

    /// Writes the body of the next request into `buffer`, and marks the detections in it as begun.
    /// The request is for the first sink that is due, and carries as many of its detections as fit.
    /// Returns the sink, and the length of the body.
    #[cold]
    #[inline(never)]
    pub(crate) fn begin_send(
        &mut self,
        in_shutdown: bool,
        context: &RequestContext<'_>,
        buffer: &mut [u8; BODY_SIZE],
    ) -> Option<(Sink, usize)> {
        loop {
            let sink = self.next_sink(in_shutdown)?;
            self.note_change();
            let whole = self.write_batch(sink, context, buffer);
            let (count, length) = whole.unwrap_or((1, 0));
            self.queue.begin(sink, count);
            if whole.is_some() {
                return Some((sink, length));
            }
            warn_once!("a metric is too long for {}", sink.name());
            self.settle(sink, SendResult::Refused);
        }
    }

    /// Writes the body of a request that carries as many detections for `sink` as fit. Returns
    /// their number, and the length of the body. `None` if not even one fits.
    fn write_batch(
        &self,
        sink: Sink,
        context: &RequestContext<'_>,
        buffer: &mut [u8; BODY_SIZE],
    ) -> Option<(usize, usize)> {
        let before = self.sums.get(sink as usize).copied().unwrap_or_default();
        let context = RequestContext { before, ..*context };
        let waiting = self.queue.for_sink(sink);
        let metrics = waiting.map(|queued| Metric::new(&queued.detection, context.source));
        let mut metrics: heapless::Vec<Metric<'_>, BATCH_MAX> = metrics.take(BATCH_MAX).collect();
        (1..=metrics.len()).rev().find_map(|count| {
            let batch = metrics.get_mut(..count)?;
            sink.body(batch, &context, buffer).ok().map(|length| (count, length))
        })
    }

    /// Starts a child that sends the detections which [`Outbox::begin_send`] marked.
    ///
    /// # Errors
    /// No child could be started, which counts as a failure of the sink.
    #[cold]
    #[inline(never)]
    pub(crate) fn start(&mut self, sink: Sink, body: &[u8]) -> Result<RunningSend, io::Error> {
        let arguments = [c"oom-witness", c"send", sink.c_name(), c"again"];
        // Only the first of several failures is logged.
        let is_again = self.failures.get(sink as usize).is_some_and(|failures| *failures > 0);
        let count = if is_again { 4 } else { 3 };
        match sys::spawn(arguments.get(..count).unwrap_or_default(), body) {
            Ok(child) => Ok(RunningSend::new(sink, child)),
            Err(error) => {
                self.settle(sink, SendResult::NotTaken);
                Err(error)
            }
        }
    }

    /// Notes how a child ended, or ends it now (`kill`). True if the sink has taken the request.
    pub(crate) fn end(&mut self, running: RunningSend, kill: bool) -> bool {
        let RunningSend { sink, child, has_handed_over, pause } = running;
        let status = child.end(kill);
        let exit_code = status.and_then(|status| status.code());
        let result = SendResult::of_child(exit_code, has_handed_over);
        // A child that ends with a code of its own has logged why.
        if exit_code.is_none_or(|code| code > heap::NO_MEMORY.into()) {
            match status.and_then(|status| status.signal()) {
                Some(signal) if !kill => {
                    warn_once!("sending to {} ended by signal {signal}: {result:?}", sink.name());
                }
                _ => warn_once!("sending to {} was cut short: {result:?}", sink.name()),
            }
        }
        if let Some(pause) = pause {
            self.left_alone = Some((sink, Instant::now() + pause));
        }
        self.settle(sink, result);
        result == SendResult::Taken
    }

    /// The first network sink for which a detection waits, and which may be tried.
    fn next_sink(&self, in_shutdown: bool) -> Option<Sink> {
        let may_try = |sink: &Sink| self.may_try(*sink, in_shutdown);
        self.queue.iter().find_map(|queued| queued.sinks.network().iter().find(may_try))
    }

    /// Notes what became of the request to `sink` that had begun.
    pub(super) fn settle(&mut self, sink: Sink, result: SendResult) {
        self.note_change();
        let is_over = result != SendResult::NotTaken;
        if let Some(sums) = self.sums.get_mut(sink as usize).filter(|_| is_over) {
            self.queue.begun(sink).for_each(|queued| sums.add(&queued.detection));
        }
        let total = self.queue.end(sink, is_over);
        match result {
            SendResult::Taken => add(&mut self.tally.sent, total),
            SendResult::NotTaken => add(&mut self.tally.failed, 1),
            SendResult::Unknown => add(&mut self.tally.unknown, total),
            SendResult::Refused => add(&mut self.tally.dropped, total),
        }
        self.count_failures(sink, result);
    }
}
