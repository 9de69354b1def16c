//! A fault: the answer to one call of the APIs that is not the usual one.

use std::str::FromStr;

use clap::ValueEnum;

/// One call of the Extensions API or of the Telemetry API.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub enum ApiCall {
    /// An extension registers.
    Register,
    /// It asks for the next event.
    Next,
    /// It reports that its init failed.
    InitError,
    /// It reports why it ends.
    ExitError,
    /// It subscribes to telemetry.
    Subscribe,
}

impl ApiCall {
    pub(crate) fn path(self) -> &'static str {
        match self {
            Self::Register => "/2020-01-01/extension/register",
            Self::Next => "/2020-01-01/extension/event/next",
            Self::InitError => "/2020-01-01/extension/init/error",
            Self::ExitError => "/2020-01-01/extension/exit/error",
            Self::Subscribe => "/2022-07-01/telemetry",
        }
    }
}

/// An answer in place of the usual one.
#[derive(Clone, Debug)]
pub struct ApiFault {
    pub(crate) call: ApiCall,
    /// Status and body. `None`: the connection breaks instead of an answer.
    pub(crate) answer: Option<(u16, &'static str)>,
    /// How many calls get it. `None`: all.
    pub(crate) times: Option<u32>,
}

impl ApiFault {
    /// Answers every such call with this status and an error body of the API's shape. 202 for
    /// [`ApiCall::Subscribe`] is `Telemetry.NotSupported`, as SAM, LocalStack and the classic RIE
    /// answer.
    pub fn new(call: ApiCall, status: u16) -> Self {
        let body = match (call, status) {
            (ApiCall::Subscribe, 202) => NOT_SUPPORTED,
            _ => r#"{"errorMessage":"asked for","errorType":"Sandbox.Fault"}"#,
        };
        Self { call, answer: Some((status, body)), times: None }
    }

    /// Breaks the connection of every such call.
    pub fn broken(call: ApiCall) -> Self {
        Self { call, answer: None, times: None }
    }

    /// Only for the first calls.
    pub fn times(self, times: u32) -> Self {
        Self { times: Some(times), ..self }
    }
}

/// `CALL=STATUS` or `CALL=STATUS:TIMES`. The status `broken` breaks the connection.
impl FromStr for ApiFault {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const WRONG: &str = "neither CALL=STATUS nor CALL=STATUS:TIMES";
        let (call, status) = text.split_once('=').ok_or(WRONG)?;
        let (status, times) = match status.split_once(':') {
            Some((status, times)) => (status, Some(times.parse().map_err(|_| WRONG)?)),
            None => (status, None),
        };
        let call = ApiCall::from_str(call, false).map_err(|_| WRONG)?;
        let fault = match status {
            "broken" => Self::broken(call),
            status => Self::new(call, status.parse().map_err(|_| WRONG)?),
        };
        Ok(Self { times, ..fault })
    }
}

const NOT_SUPPORTED: &str = concat!(
    r#"{"errorMessage":"Telemetry API is not supported","#,
    r#""errorType":"Telemetry.NotSupported"}"#
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_is_a_call_a_status_and_maybe_a_number() {
        let read = |text: &str| {
            let fault: ApiFault = text.parse().ok()?;
            Some((fault.call, fault.answer.map(|(status, _)| status), fault.times))
        };
        assert_eq!(read("init-error=500"), Some((ApiCall::InitError, Some(500), None)));
        assert_eq!(read("next=broken:1"), Some((ApiCall::Next, None, Some(1))));
        assert_eq!(read("subscribe=202"), Some((ApiCall::Subscribe, Some(202), None)));
        for text in ["next", "next=", "other=500", "next=500:", "next=500:x"] {
            assert_eq!(read(text), None, "{text}");
        }
    }
}
