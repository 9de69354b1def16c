//! A fault: the answer to one call of the APIs that is not the usual one.

use std::str::FromStr;
use std::time::Duration;

use clap::ValueEnum;

/// One call of the three APIs.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
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
    /// How many calls get it. `None`: all.
    pub times: Option<u32>,
    /// The connection breaks instead of an answer.
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

    /// 202 `Telemetry.NotSupported`, as SAM, LocalStack and the classic RIE answer.
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

/// `CALL=STATUS` or `CALL=STATUS:TIMES`. The status `broken` breaks the connection.
impl FromStr for Fault {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const WRONG: &str = "neither CALL=STATUS nor CALL=STATUS:TIMES";
        let (call, answer) = text.split_once('=').ok_or(WRONG)?;
        let (status, times) = answer.split_once(':').map_or((answer, None), |(s, t)| (s, Some(t)));
        let call = Call::from_str(call, false).map_err(|_| WRONG)?;
        let mut fault = match (call, status) {
            (_, "broken") => Self::broken(call),
            (Call::Subscribe, "202") => Self::telemetry_not_supported(),
            _ => Self::new(call, status.parse().map_err(|_| WRONG)?),
        };
        fault.times = times.map(|times| times.parse().map_err(|_| WRONG)).transpose()?;
        Ok(fault)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_is_a_call_a_status_and_maybe_a_number() {
        let read = |text: &str| {
            let fault: Fault = text.parse().ok()?;
            Some((fault.call, fault.status, fault.breaks, fault.times))
        };
        assert_eq!(read("init-error=500"), Some((Call::InitError, 500, false, None)));
        assert_eq!(read("next=broken:1"), Some((Call::Next, 500, true, Some(1))));
        assert_eq!(read("subscribe=202"), Some((Call::Subscribe, 202, false, None)));
        for text in ["next", "next=", "other=500", "next=500:", "next=500:x"] {
            assert_eq!(read(text), None, "{text}");
        }
    }
}
