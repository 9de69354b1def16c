//! Reads the bodies of the Extensions API: the answer to a registration, and the next event.
//!
//! In: a body, `{"eventType":"INVOKE","deadlineMs":676051,"requestId":"...",...}`, of any size, in
//! pieces of any size. Out: the members that matter, in fixed-size strings. The body itself is
//! never held. A missing member is empty, and no body is an error
//! (<https://docs.aws.amazon.com/lambda/latest/dg/runtimes-extensions-api.html>).

use crate::scan::event::RequestId;
use crate::scan::lexer::Lexer;
use crate::scan::prune::{Pruner, pruned_members};
use crate::sizes::{
    ACCOUNT_ID_SIZE, AWS_WORD_SIZE, ERROR_TYPE_SIZE, FUNCTION_NAME_MAX, FUNCTION_VERSION_SIZE,
    REQUEST_ID_SIZE, SHUTDOWN_REASON_SIZE,
};

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

    /// Reads AWS's spelling, in any case; anything else is `Other`.
    #[must_use]
    pub fn parse(text: &str) -> Self {
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

/// The answer to a registration. A missing member is empty, and one that is too long is cut.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Registration {
    function_name: heapless::String<FUNCTION_NAME_MAX>,
    function_version: heapless::String<FUNCTION_VERSION_SIZE>,
    account_id: heapless::String<ACCOUNT_ID_SIZE>,
}

impl Registration {
    /// The function's name.
    #[must_use]
    pub fn function_name(&self) -> &str {
        &self.function_name
    }

    /// Its version, `$LATEST` or a number.
    #[must_use]
    pub fn function_version(&self) -> &str {
        &self.function_version
    }

    /// The account, if the request had the accept-feature `accountId` and Lambda knows it.
    #[must_use]
    pub fn account_id(&self) -> &str {
        &self.account_id
    }
}

/// Reads one answer of the Extensions API, in pieces, and keeps only the members that matter.
///
/// ```
/// use oom_witness_core::extensions::{AnswerReader, Next, ShutdownReason};
///
/// let body = br#"{"tracing":{"value":"Root=1-5f35ae12"},"eventType":"SHUTDOWN",
///     "shutdownReason":"failure","deadlineMs":1795332838662}"#;
/// let mut reader = AnswerReader::new();
/// for piece in body.chunks(5) {
///     reader.feed(piece);
/// }
/// let expected =
///     Next::Shutdown { reason: ShutdownReason::Failure, deadline_ms: Some(1_795_332_838_662) };
/// assert_eq!(reader.event(), expected);
/// ```
pub struct AnswerReader {
    lexer: Lexer,
    pruner: Pruner,
    has_begun: bool,
    is_malformed: bool,
}

impl AnswerReader {
    /// A reader before an answer.
    #[must_use]
    pub const fn new() -> Self {
        Self { lexer: Lexer::new(), pruner: Pruner::new(), has_begun: false, is_malformed: false }
    }

    /// Forgets the answer: another one begins.
    pub fn clear(&mut self) {
        self.lexer = Lexer::new();
        self.has_begun = false;
        self.is_malformed = false;
    }

    /// Takes the next piece of the body. Costs a few steps for each byte.
    pub fn feed(&mut self, piece: &[u8]) {
        if !self.has_begun {
            self.has_begun = true;
            self.pruner.start::<ExtensionsAnswer>(1);
        }
        let mut rest = piece;
        while !self.is_malformed {
            self.pruner.take_members(&mut self.lexer, &mut rest);
            match self.lexer.next(&mut rest) {
                Ok(Some(token)) => self.pruner.token(&token, self.lexer.depth()),
                Ok(None) => return,
                Err(_) => self.is_malformed = true,
            }
        }
    }

    /// Ends the body, which is the answer of `/event/next`.
    pub fn event(&mut self) -> Next {
        let body = self.read();
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

    /// Ends the body, which is the answer to a registration.
    pub fn registration(&mut self) -> Registration {
        let ExtensionsAnswer { function_name, function_version, account_id, .. } = self.read();
        Registration { function_name, function_version, account_id }
    }

    /// Ends the body, which is an error. True if it says that Lambda has no event of a type that
    /// was asked for.
    pub fn is_invalid_event_type(&mut self) -> bool {
        self.read().error_type.contains("InvalidEventType")
    }

    /// The kept members; all are empty if the body is not one JSON value.
    fn read(&mut self) -> ExtensionsAnswer {
        let mut answer = ExtensionsAnswer::default();
        if self.has_begun && !self.is_malformed && self.lexer.is_between_values() {
            // The pruner keeps only members that have the type.
            let _ = self.pruner.read(&mut answer);
        }
        answer
    }
}

/// Reads a whole answer of `/event/next`.
#[must_use]
pub fn read_next(body: &[u8]) -> Next {
    let mut reader = AnswerReader::new();
    reader.feed(body);
    reader.event()
}

/// Reads a whole answer to a registration.
#[must_use]
pub fn read_registration(body: &[u8]) -> Registration {
    let mut reader = AnswerReader::new();
    reader.feed(body);
    reader.registration()
}

impl Default for AnswerReader {
    fn default() -> Self {
        Self::new()
    }
}

pruned_members! {
    /// The members that matter in any answer.
    struct ExtensionsAnswer, metrics: false, {
        account_id: heapless::String<ACCOUNT_ID_SIZE> = "accountId",
        deadline_ms: u64 = "deadlineMs",
        event_type: heapless::String<AWS_WORD_SIZE> = "eventType",
        function_name: heapless::String<FUNCTION_NAME_MAX> = "functionName",
        function_version: heapless::String<FUNCTION_VERSION_SIZE> = "functionVersion",
        shutdown_reason: heapless::String<SHUTDOWN_REASON_SIZE> = "shutdownReason",
        error_type: heapless::String<ERROR_TYPE_SIZE> = "errorType",
        request_id: heapless::String<REQUEST_ID_SIZE> = "requestId",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    extern crate std;
    use std::format;

    #[test]
    fn the_next_event_is_read() {
        // Samples from AWS's documentation and its emulator, with their members in two orders.
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

    /// The event that a used reader gives. It is the same in pieces of any size.
    fn next(body: &str) -> Next {
        let whole = read_next(body.as_bytes());
        for size in [1, 3, 1000] {
            let mut reader = AnswerReader::new();
            for body in [r#"{"eventType":"SHUTDOWN","deadlineMs":9}"#, "{\"even", body] {
                reader.clear();
                body.as_bytes().chunks(size).for_each(|piece| reader.feed(piece));
            }
            assert_eq!(reader.event(), whole, "pieces of {size}");
        }
        whole
    }

    #[test]
    fn an_answer_of_any_size_and_order_is_read() {
        let id = "3da1f2dc-3222-475e-9205-e2e6c6318895";
        let expected =
            Next::Invoke { request_id: RequestId::try_from(id).ok(), deadline_ms: Some(676_051) };
        let long = "x".repeat(300_000);
        let quoted = r#"\"eventType\":\"SHUTDOWN\",\"deadlineMs\":1"#.repeat(100);
        let nested = r#"{"eventType":"SHUTDOWN","deadlineMs":1,"requestId":"no"}"#;
        let members = [
            r#""eventType":"INVOKE""#.into(),
            r#""deadlineMs":676051.0"#.into(),
            format!(r#""requestId":"{id}""#),
            format!(r#""tracing":{{"type":"X","value":"{long}{quoted}","eventType":"SHUTDOWN"}}"#),
            format!(r#""metrics":{nested}"#),
            format!(r#""functionName":"{long}","errorType":"{quoted}","status":"{long}""#),
            format!(r#""x":[{nested},[[{nested}]],{{"y":{{"z":{nested}}}}}]"#),
        ];
        for first in 0..members.len() {
            let mut members = members.clone();
            members.rotate_left(first);
            assert_eq!(next(&format!("{{{}}}\n", members.join(","))), expected, "{first}");
            members.reverse();
            assert_eq!(next(&format!(" {{{}}}", members.join(" , "))), expected, "{first}");
        }
    }

    #[test]
    fn a_deadline_is_any_number() {
        for (text, expected) in [
            ("1795332838662", Some(1_795_332_838_662)),
            ("1795332838662.7", Some(1_795_332_838_662)),
            ("1.795332838662e12", Some(1_795_332_838_662)),
            ("0", None),
            ("-1", None),
            ("null", None),
            ("\"1795332838662\"", None),
        ] {
            let body = format!(r#"{{"deadlineMs":{text},"eventType":"SHUTDOWN"}}"#);
            let reason = ShutdownReason::Other;
            assert_eq!(next(&body), Next::Shutdown { reason, deadline_ms: expected }, "{text}");
        }
    }

    #[test]
    fn an_invalid_event_type_is_recognised() {
        let invalid = |body: &[u8]| {
            let mut reader = AnswerReader::new();
            body.chunks(7).for_each(|piece| reader.feed(piece));
            reader.is_invalid_event_type()
        };
        let error = br#"{"errorMessage":"INVOKE: ErrorInvalidEventType",
            "errorType":"Extension.InvalidEventType"}"#;
        assert!(invalid(error));
        // The same body can be asked for more than once.
        let mut reader = AnswerReader::new();
        reader.feed(error);
        assert_eq!(reader.event(), Next::Unknown);
        assert!(reader.is_invalid_event_type() && reader.is_invalid_event_type());
        assert!(!invalid(br#"{"errorMessage":"InvalidEventType","errorType":"Extension.Other"}"#));
        assert!(!invalid(b""));
    }

    #[test]
    fn shutdown_reasons_are_known_in_any_spelling() {
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
    fn a_registration_is_read() {
        let body = br#"{"functionName":"helloWorld","functionVersion":"$LATEST",
            "handler":"lambda_function.lambda_handler","accountId":"123456789012"}
            "#;
        let registration = read_registration(body);
        assert_eq!(registration.function_name(), "helloWorld");
        assert_eq!(registration.function_version(), "$LATEST");
        assert_eq!(registration.account_id(), "123456789012");
    }
}
