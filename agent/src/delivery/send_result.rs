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
