//! A fault: the answer to one call of the APIs that is not the usual one.

use std::time::Duration;

/// One call of the three APIs.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Call {
    /// `POST /2020-01-01/extension/register`
    Register,
    /// `GET /2020-01-01/extension/event/next`
    Next,
    /// `POST /2020-01-01/extension/init/error`
    InitError,
    /// `POST /2020-01-01/extension/exit/error`
    ExitError,
    /// `PUT /2022-07-01/telemetry`
    Subscribe,
}

/// An answer in place of the usual one.
#[derive(Clone, Debug)]
pub struct Fault {
    /// The call that gets it.
    pub call: Call,
    /// Its status.
    pub status: u16,
    /// Its body.
    pub body: String,
    /// How long it waits before it answers.
    pub delay: Duration,
    /// How many calls get it; `None`: all.
    pub times: Option<u32>,
    /// No answer: the connection breaks.
    pub breaks: bool,
}

impl Fault {
    /// Answers every such call with this status and an error body of the API's shape.
    #[must_use]
    pub fn new(call: Call, status: u16) -> Self {
        let body = r#"{"errorMessage":"asked for","errorType":"Sandbox.Fault"}"#.to_string();
        Self { call, status, body, delay: Duration::ZERO, times: None, breaks: false }
    }

    /// Breaks the connection of every such call.
    #[must_use]
    pub fn broken(call: Call) -> Self {
        Self { breaks: true, ..Self::new(call, 500) }
    }

    /// What SAM, LocalStack and the classic RIE answer: 202 `Telemetry.NotSupported`.
    #[must_use]
    pub fn telemetry_not_supported() -> Self {
        let body = concat!(
            r#"{"errorMessage":"Telemetry API is not supported","#,
            r#""errorType":"Telemetry.NotSupported"}"#
        );
        Self { body: body.to_string(), ..Self::new(Call::Subscribe, 202) }
    }

    /// Only for the first calls.
    #[must_use]
    pub fn times(mut self, times: u32) -> Self {
        self.times = Some(times);
        self
    }
}
