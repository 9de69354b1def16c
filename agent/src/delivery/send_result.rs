//! What became of a request, and the exit code by which a child tells it.

use std::ffi::c_int;

/// What became of a request.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum SendResult {
    /// The sink has it.
    Taken,
    /// The sink surely does not have it, so it may be sent again.
    NotTaken,
    /// The sink may have it, so it must not be sent again.
    Unknown,
    /// The sink does not want it.
    Refused,
}

impl SendResult {
    /// The exit code by which a child tells it.
    #[cfg_attr(not(feature = "network"), expect(dead_code, reason = "no child is built"))]
    pub(crate) const fn exit_code(self) -> u8 {
        match self {
            Self::Taken => 0,
            Self::NotTaken => 1,
            Self::Unknown => 2,
            Self::Refused => 3,
        }
    }

    /// What the end of a child means. A child that was killed, crashed or had no memory has given
    /// the sink something only if it had begun to hand the body over.
    pub(crate) const fn of_child(exit_code: Option<c_int>, has_handed_over: bool) -> Self {
        match (exit_code, has_handed_over) {
            (Some(0), _) => Self::Taken,
            (Some(3), _) => Self::Refused,
            (Some(1), _) | (Some(4..) | None, false) => Self::NotTaken,
            _ => Self::Unknown,
        }
    }
}

#[cfg(all(test, feature = "network"))]
mod tests {
    use super::*;
    use crate::sys::heap;

    #[test]
    fn the_end_of_a_child_tells_whether_the_sink_has_it() {
        for (exit_code, handed_over, expected) in [
            (Some(0), true, SendResult::Taken),
            (Some(0), false, SendResult::Taken),
            (Some(1), true, SendResult::NotTaken),
            (Some(1), false, SendResult::NotTaken),
            (Some(2), true, SendResult::Unknown),
            (Some(2), false, SendResult::Unknown),
            (Some(3), true, SendResult::Refused),
            (Some(heap::NO_MEMORY.into()), false, SendResult::NotTaken),
            (Some(heap::NO_MEMORY.into()), true, SendResult::Unknown),
            (Some(101), false, SendResult::NotTaken),
            (Some(101), true, SendResult::Unknown),
            (None, false, SendResult::NotTaken),
            (None, true, SendResult::Unknown),
        ] {
            let result = SendResult::of_child(exit_code, handed_over);
            assert_eq!(result, expected, "{exit_code:?} {handed_over}");
        }
        for result in
            [SendResult::Taken, SendResult::NotTaken, SendResult::Unknown, SendResult::Refused]
        {
            let code = Some(i32::from(result.exit_code()));
            assert_eq!(SendResult::of_child(code, true), result);
        }
    }
}
