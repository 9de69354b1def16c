//! One request on its way: the child that sends it.

use std::os::fd::BorrowedFd;
use std::time::Duration;
#[cfg(feature = "network")]
use std::time::Instant;

#[cfg(feature = "network")]
use crate::delivery::send_result::SendResult;
use crate::delivery::sink::Sink;
use crate::sys::Child;
#[cfg(feature = "network")]
use crate::sys::{self, PollEntry};

/// One request on its way to one sink, with all detections that are marked as begun for it.
pub(crate) struct RunningSend {
    pub(super) sink: Sink,
    pub(super) child: Child,
    /// The child has begun to hand the body over.
    pub(super) has_handed_over: bool,
    /// How long the sink asks to be left alone.
    pub(super) pause: Option<Duration>,
}

impl RunningSend {
    pub(crate) const fn new(sink: Sink, child: Child) -> Self {
        Self { sink, child, has_handed_over: false, pause: None }
    }

    /// Where the child writes its byte.
    pub(crate) fn output(&self) -> BorrowedFd<'_> {
        self.child.output()
    }

    /// Reads what the child wrote. True if the child has ended.
    pub(crate) fn has_ended(&mut self) -> bool {
        let mut bytes = [0; 8];
        match self.child.read(&mut bytes) {
            Ok(0) => true,
            Ok(count) => {
                for byte in bytes.into_iter().take(count) {
                    if self.has_handed_over {
                        self.pause = Some(Duration::from_secs(byte.into()));
                    }
                    self.has_handed_over = true;
                }
                false
            }
            // The event loop reads again, until the deadline.
            Err(_) => false,
        }
    }

    /// Waits for the child's end, at most until `until`. Returns what became of the request. `None`
    /// if the child was late, and so ended now.
    #[cfg(feature = "network")]
    pub(crate) fn wait(mut self, until: Instant) -> Option<SendResult> {
        loop {
            let left = until.saturating_duration_since(Instant::now());
            let timeout = i32::try_from(left.as_millis()).unwrap_or(i32::MAX);
            let mut output = [PollEntry::readable(self.output())];
            // If poll fails, the child is asked all the same, or it is late.
            let _ = sys::poll(&mut output, timeout);
            let is_ready = output.iter().any(|output| output.is_ready());
            if is_ready && self.has_ended() {
                let exit_code = self.child.end(false).and_then(|status| status.code());
                return Some(SendResult::of_child(exit_code, self.has_handed_over));
            }
            if left.is_zero() {
                return None;
            }
        }
    }
}
