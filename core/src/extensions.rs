//! Bodies of the Extensions API: the answer to a registration, and the next event.
//!
//! In: a whole body, `{"eventType":"INVOKE","deadlineMs":676051,"requestId":"...",...}`, of any
//! size. Out: the members that matter, in fixed-size strings. Missing members are empty; nothing
//! fails (<https://docs.aws.amazon.com/lambda/latest/dg/runtimes-extensions-api.html>).

use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::event::RequestId;
use crate::lexer::Lexer;
use crate::limits::FUNCTION_NAME_MAX;
use crate::prune::Pruner;

/// The next event of an extension's life.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Next {
    /// `INVOKE`.
    Invoke {
        /// The invocation, where the event names it.
        request_id: Option<RequestId>,
        /// When the invocation times out, milliseconds since the epoch.
        deadline_ms: Option<u64>,
    },
    /// `SHUTDOWN`.
    Shutdown {
        /// Why.
        reason: ShutdownReason,
        /// When the process is killed, milliseconds since the epoch.
        deadline_ms: Option<u64>,
    },
    /// Anything else.
    Unknown,
}

/// `shutdownReason`, in any case and spelling.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ShutdownReason {
    /// `FAILURE`, `failure`, or AWS's emulator's `ReleaseFail`: the runtime died.
    Failure,
    /// Anything else.
    Other,
    /// `SPINDOWN`: the environment is no longer needed.
    Spindown,
    /// `TIMEOUT`: the invocation ran out of time.
    Timeout,
}

impl ShutdownReason {
    /// True if the invocation that was open has failed.
    #[must_use]
    pub const fn is_failed(self) -> bool {
        matches!(self, Self::Failure | Self::Timeout)
    }

    fn parse(text: &str) -> Self {
        let is = |name: &str| text.eq_ignore_ascii_case(name);
        let release_fail = text.get(..11).is_some_and(|s| s.eq_ignore_ascii_case("releasefail"));
        if is("failure") || release_fail {
            Self::Failure
        } else if is("timeout") {
            Self::Timeout
        } else if is("spindown") {
            Self::Spindown
        } else {
            Self::Other
        }
    }
}

/// The answer to a registration.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq)]
#[serde(default, rename_all = "camelCase")]
pub struct Registration {
    /// The function's name.
    pub function_name: heapless::String<FUNCTION_NAME_MAX>,
    /// Its version, `$LATEST` or a number.
    pub function_version: heapless::String<24>,
    /// The account; only with the accept-feature `accountId`, and where it is known.
    pub account_id: heapless::String<16>,
}

/// Reads the answer to a registration. Costs a few steps for each byte.
#[must_use]
pub fn read_registration(body: &[u8]) -> Registration {
    read(body).unwrap_or_default()
}

/// Reads the answer of `/event/next`. Costs a few steps for each byte.
#[must_use]
pub fn read_next(body: &[u8]) -> Next {
    let body: NextBody = read(body).unwrap_or_default();
    let deadline_ms = (body.deadline_ms > 0).then_some(body.deadline_ms);
    match body.event_type.as_str() {
        "INVOKE" => Next::Invoke {
            request_id: RequestId::try_from(body.request_id.as_str()).ok(),
            deadline_ms,
        },
        "SHUTDOWN" => {
            Next::Shutdown { reason: ShutdownReason::parse(&body.shutdown_reason), deadline_ms }
        }
        _ => Next::Unknown,
    }
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct NextBody {
    event_type: heapless::String<16>,
    deadline_ms: u64,
    request_id: heapless::String<40>,
    shutdown_reason: heapless::String<32>,
}

fn read<T: DeserializeOwned>(mut body: &[u8]) -> Option<T> {
    let mut lexer = Lexer::new();
    let mut pruner = Pruner::new();
    pruner.start(1);
    while let Ok(Some(token)) = lexer.next(&mut body) {
        pruner.token(&token, lexer.depth());
    }
    if !lexer.is_between_values() {
        return None;
    }
    pruner.read()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_next_event() {
        // The samples of AWS's documentation and of its emulator, in both orders of members.
        let invoke = br#"{"eventType":"INVOKE","deadlineMs":676051,
            "requestId":"3da1f2dc-3222-475e-9205-e2e6c6318895",
            "invokedFunctionArn":"arn:aws:lambda:us-east-1:123456789012:function:ExtensionTest",
            "tracing":{"type":"X-Amzn-Trace-Id","value":"Root=1-5f35ae12;Sampled=1","requestId":"no"}}"#;
        let id = RequestId::try_from("3da1f2dc-3222-475e-9205-e2e6c6318895").ok();
        let expected = Next::Invoke { request_id: id, deadline_ms: Some(676_051) };
        assert_eq!(read_next(invoke), expected);

        let shutdown =
            br#"{"deadlineMs":1795332838662,"shutdownReason":"spindown","eventType":"SHUTDOWN"}"#;
        let expected = Next::Shutdown {
            reason: ShutdownReason::Spindown,
            deadline_ms: Some(1_795_332_838_662),
        };
        assert_eq!(read_next(shutdown), expected);
    }

    #[test]
    fn knows_shutdown_reasons_in_any_spelling() {
        for (text, expected) in [
            ("FAILURE", ShutdownReason::Failure),
            ("failure", ShutdownReason::Failure),
            ("ReleaseFail", ShutdownReason::Failure),
            ("ReleaseFailure", ShutdownReason::Failure),
            ("Timeout", ShutdownReason::Timeout),
            ("SPINDOWN", ShutdownReason::Spindown),
            ("SandboxTerminated", ShutdownReason::Other),
            ("", ShutdownReason::Other),
        ] {
            assert_eq!(ShutdownReason::parse(text), expected, "{text}");
        }
    }

    #[test]
    fn a_bad_body_is_unknown() {
        for body in ["", "{", "[]", "null", "{\"eventType\":3}", "{\"eventType\":\"INVOKE\""] {
            assert_eq!(read_next(body.as_bytes()), Next::Unknown, "{body}");
        }
        assert_eq!(read_registration(b"oops"), Registration::default());
    }

    #[test]
    fn reads_a_registration() {
        let body = br#"{"functionName":"helloWorld","functionVersion":"$LATEST",
            "handler":"lambda_function.lambda_handler","accountId":"123456789012"}
            "#;
        let registration = read_registration(body);
        assert_eq!(registration.function_name, "helloWorld");
        assert_eq!(registration.function_version, "$LATEST");
        assert_eq!(registration.account_id, "123456789012");
    }
}
