//! One request on its way: the child that sends it.

use std::os::fd::BorrowedFd;

use crate::delivery::sink::Sink;
use crate::sys::Child;

/// One request on its way to one sink, with all detections that are marked as begun for it.
pub(crate) struct RunningSend {
    pub(super) sink: Sink,
    pub(super) child: Child,
    /// The child has begun to hand the body over.
    pub(super) has_handed_over: bool,
}

impl RunningSend {
    /// Where the child writes its byte.
    pub(crate) fn output(&self) -> BorrowedFd<'_> {
        self.child.output()
    }

    /// Reads what the child wrote. True if the child has ended.
    pub(crate) fn has_ended(&mut self) -> bool {
        let mut byte = [0; 8];
        match self.child.read(&mut byte) {
            Ok(0) => true,
            Ok(_) => {
                self.has_handed_over = true;
                false
            }
            // The event loop reads again, until the deadline.
            Err(_) => false,
        }
    }
}
