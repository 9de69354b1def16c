//! One request on its way: the child that sends it.

use std::os::fd::BorrowedFd;
use std::time::Duration;

use crate::delivery::sink::Sink;
use crate::sys::Child;

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
    pub(super) const fn new(sink: Sink, child: Child) -> Self {
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
}
