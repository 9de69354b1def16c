//! The out-of-memory messages of every runtime. A record can be a runtime's own fatal text, its
//! client's report of an unhandled error, or a text that only mentions memory.
//!
//! In: the kept parts of a function record. Out: the strongest [`Evidence`] in it, and the request
//! id that it names. A signature matches only where the runtime writes it, and in the same shape:
//! at the start of the record, or in a JSON record's own members. To add one, add one row to
//! [`FATAL`], [`UNHANDLED`] or [`ERROR_TYPES`].

mod checks;

use crate::scan::event::{LogLine, RequestId};
use crate::scan::evidence::Evidence;
use crate::scan::find::{Word, has_word};
use crate::scan::lexer::{Lexer, Token};
use crate::scan::log_record::{LogRecord, Members};
use crate::scan::mention;

/// Reads a finished record. `None` if it is not evidence.
pub(crate) fn read(record: &LogRecord) -> Option<LogLine> {
    let evidence = if let Some(text) = record.as_text() {
        in_text(text)
    } else if let Some(members) = record.as_object() {
        in_object(members)
    } else {
        None
    };
    let mention = record.has_mention().then_some(Evidence::Mention);
    let evidence = evidence.or(mention)?;
    let request_id = match (record.as_text(), record.as_object()) {
        (Some(text), _) => request_id_in(text),
        (None, Some(members)) => RequestId::try_from(&*members.request_id).ok(),
        (None, None) => None,
    };
    Some(LogLine { request_id, evidence: Some(evidence) })
}

impl LogLine {
    /// Reads the text of a function's record, without the line break at its end. Costs a few steps
    /// for each byte.
    ///
    /// ```
    /// use oom_witness_core::{Evidence, LogLine};
    ///
    /// let line = LogLine::of_text(b"fatal error: runtime: out of memory");
    /// assert_eq!(line.evidence, Some(Evidence::Fatal));
    /// ```
    #[must_use]
    pub fn of_text(text: &[u8]) -> Self {
        let mut record = LogRecord::new();
        record.start(1);
        for token in [Token::StringStart, Token::Text(text), Token::StringEnd] {
            record.token(&token, 0);
        }
        Self::of(&record)
    }

    /// Reads a function's record that is JSON: an object, or a string. What is no JSON is no
    /// evidence. Costs a few steps for each byte.
    ///
    /// ```
    /// use oom_witness_core::{Evidence, LogLine};
    ///
    /// let record = br#"{"timestamp":"2026-11-22T07:34:59Z","level":"ERROR","errorMessage":"",
    ///     "errorType":"MemoryError","requestId":"3c1a12d9","stackTrace":[]}"#;
    /// assert_eq!(LogLine::of_record(record).evidence, Some(Evidence::Unhandled));
    /// ```
    #[must_use]
    pub fn of_record(json: &[u8]) -> Self {
        let mut lexer = Lexer::new();
        let mut record = LogRecord::new();
        record.start(1);
        let mut rest = json;
        while let Ok(Some(token)) = lexer.next(&mut rest) {
            record.token(&token, lexer.depth());
        }
        let is_whole = rest.is_empty() && lexer.is_between_values();
        if is_whole { Self::of(&record) } else { Self { request_id: None, evidence: None } }
    }

    fn of(record: &LogRecord) -> Self {
        read(record).unwrap_or(Self { request_id: None, evidence: None })
    }
}

/// Fatal texts: what a runtime itself writes when it gives up. Each line is a record.
const FATAL: &[Pattern] = &[
    // V8, <https://github.com/serverless/serverless/issues/12858>: "Reached heap limit",
    // "Ineffective mark-compacts near heap limit" and "CALL_AND_RETRY_LAST" Allocation failed.
    Pattern::StartAndEnd(b"FATAL ERROR: ", b"JavaScript heap out of memory"),
    // V8, <https://github.com/denoland/deno/issues/23698>.
    Pattern::Start(b"# Fatal process OOM in "),
    Pattern::Start(b"# Fatal process out of memory: "),
    // Bun.
    Pattern::Start(b"panic(main thread): attempt to unwrap error: OutOfMemory"),
    // JVM: an error that no thread caught, also wrapped in another one; ExitOnOutOfMemoryError and
    // CrashOnOutOfMemoryError; failures of the VM itself.
    Pattern::JavaUncaught(b"Exception in thread \""),
    Pattern::Java(b"Caused by: "),
    Pattern::Java(b"Terminating due to "),
    Pattern::Java(b"Aborting due to "),
    Pattern::Start(b"#  fatal error: OutOfMemory encountered: "),
    Pattern::Start(b"# There is insufficient memory for the Java Runtime Environment to continue."),
    Pattern::Start(b"There is insufficient memory for the Java Runtime Environment to continue."),
    Pattern::StartAndEnd(b"Could not reserve enough space for ", b" object heap"),
    // .NET, <https://github.com/aws/aws-lambda-dotnet/issues/1594>: the fail-fast line stands
    // alone.
    Pattern::Line(b"Out of memory."),
    Pattern::Start(b"Unhandled exception. System.OutOfMemoryException: "),
    // Go, <https://github.com/golang/go/blob/master/src/runtime/malloc.go>.
    Pattern::Line(b"fatal error: runtime: out of memory"),
    Pattern::Line(b"fatal error: runtime: cannot allocate memory"),
    Pattern::Start(b"runtime: out of memory: cannot allocate "),
    // Rust's default allocation error hook.
    Pattern::StartAndEnd(b"memory allocation of ", b" bytes failed"),
    // libstdc++ and libc++.
    Pattern::Line(b"terminate called after throwing an instance of 'std::bad_alloc'"),
    Pattern::Start(b"libc++abi: terminating due to uncaught exception of type std::bad_alloc"),
    // Ruby.
    Pattern::Line(b"[FATAL] failed to allocate memory"),
    Pattern::RubyUncaught(b": failed to allocate memory (NoMemoryError)"),
    // PHP, on stderr and on stdout.
    Pattern::Start(b"PHP Fatal error:  Allowed memory size of "),
    Pattern::Start(b"PHP Fatal error:  Out of memory (allocated "),
    Pattern::Start(b"Fatal error: Allowed memory size of "),
    Pattern::Start(b"Fatal error: Out of memory (allocated "),
    // Perl.
    Pattern::Line(b"Out of memory!"),
];

/// Records in which a runtime client reports an unhandled error, as text.
const UNHANDLED: &[Pattern] = &[
    // Python: `[ERROR] MemoryError: message\nTraceback ...`; a handled error has tabs and its time
    // after the level. NumPy's own subclass keeps its name.
    Pattern::ErrorName(b"[ERROR] ", b"MemoryError"),
    Pattern::ErrorName(b"[ERROR] ", b"_ArrayMemoryError"),
    Pattern::JavaUnhandled,
    Pattern::NodeUnhandled,
    Pattern::DotnetUnhandled,
    Pattern::RubyUnhandled,
];

/// How each runtime's client names an out-of-memory error.
const DOTNET_ERROR: &[u8] = b"System.OutOfMemoryException: ";
const JAVA_ERROR: &[u8] = b"java.lang.OutOfMemoryError";
const NODE_ERROR: &[u8] =
    b"{\"errorType\":\"RangeError\",\"errorMessage\":\"Array buffer allocation failed\"";
const RUBY_ERROR: &[u8] = b"\"errorType\": \"Function<NoMemoryError>\"";

/// `errorType` of unhandled out-of-memory errors in JSON records.
const ERROR_TYPES: [&[u8]; 4] = [
    b"MemoryError",
    b"_ArrayMemoryError",
    b"System.OutOfMemoryException",
    b"Function<NoMemoryError>",
];

/// True for the start of each fatal text that has no [evidence word](has_evidence_word).
pub(crate) fn is_fatal_start(start: &[u8; START_LEN]) -> bool {
    FATAL_STARTS.contains(start)
}

/// True for each text that is evidence and has no [fatal start](is_fatal_start). The text may still
/// have the escapes of [`plain_text`](crate::scan::find::plain_text).
pub(crate) fn has_evidence_word(text: &[u8]) -> bool {
    has_word(&EVIDENCE_WORDS, text)
}

/// A text is evidence only if it has one of these words or a [fatal start](is_fatal_start).
#[expect(
    clippy::indexing_slicing,
    reason = "evaluated by the compiler, which would refuse to build"
)]
const EVIDENCE_WORDS: [Word; mention::WORDS.len() + 1] = {
    let mut words = [Word::new(b"RangeError"); mention::WORDS.len() + 1];
    let mut row = 0;
    while row < mention::WORDS.len() {
        words[row] = mention::WORDS[row];
        row += 1;
    }
    words
};

/// Bytes that are enough to know that most texts are not fatal.
const START_LEN: usize = 4;

#[expect(
    clippy::indexing_slicing,
    reason = "evaluated by the compiler, which would refuse to build"
)]
const FATAL_STARTS: [[u8; START_LEN]; FATAL.len()] = {
    let mut starts = [[0; START_LEN]; FATAL.len()];
    let mut row = 0;
    while row < FATAL.len() {
        let [start, _] = FATAL[row].literals();
        if let Some(start) = start.first_chunk() {
            starts[row] = *start;
        }
        row += 1;
    }
    starts
};

enum Pattern {
    /// .NET's client: see [`is_dotnet_unhandled`].
    DotnetUnhandled,
    /// The start, the name of an error, then the end, a colon or a line break.
    ErrorName(&'static [u8], &'static [u8]),
    /// The start, then `java.lang.OutOfMemoryError`, but not for want of threads.
    Java(&'static [u8]),
    /// The start, a thread's name, then an error that is or wraps `java.lang.OutOfMemoryError`.
    JavaUncaught(&'static [u8]),
    /// Java's client: see [`is_java_unhandled`].
    JavaUnhandled,
    /// The whole text.
    Line(&'static [u8]),
    /// Node's client: see [`is_node_unhandled`].
    NodeUnhandled,
    /// A place in a script, `handler.rb:3:in `, then the end.
    RubyUncaught(&'static [u8]),
    /// Ruby's client: see [`is_ruby_unhandled`].
    RubyUnhandled,
    /// The start of the text.
    Start(&'static [u8]),
    /// The start and the end of the first line.
    StartAndEnd(&'static [u8], &'static [u8]),
}

impl Pattern {
    /// What a text must start with, and what it must contain after that. Each is empty if anything
    /// may stand there.
    const fn literals(&self) -> [&'static [u8]; 2] {
        match self {
            Self::DotnetUnhandled => [b"", DOTNET_ERROR],
            Self::ErrorName(start, name) => [start, name],
            Self::Java(start) | Self::JavaUncaught(start) => [start, JAVA_ERROR],
            Self::JavaUnhandled => [b"", JAVA_ERROR],
            Self::Line(start) | Self::Start(start) => [start, b""],
            Self::NodeUnhandled => [b"", NODE_ERROR],
            Self::RubyUncaught(end) => [b"", end],
            Self::RubyUnhandled => [b"{", RUBY_ERROR],
            Self::StartAndEnd(start, end) => [start, end],
        }
    }

    fn matches(&self, text: &[u8]) -> bool {
        match self {
            Self::DotnetUnhandled => is_dotnet_unhandled(text),
            Self::ErrorName(start, name) => text
                .strip_prefix(*start)
                .and_then(|rest| rest.strip_prefix(*name))
                .is_some_and(|rest| matches!(rest.first(), None | Some(b':' | b'\n' | b'\r'))),
            Self::Java(start) => text.strip_prefix(*start).is_some_and(is_java_out_of_memory),
            Self::JavaUncaught(start) => text
                .strip_prefix(*start)
                .and_then(|rest| after_first(rest, b"\" "))
                .is_some_and(|error| {
                    let wrapped = after_first(error, b": ").unwrap_or_default();
                    is_java_out_of_memory(error) || is_java_out_of_memory(wrapped)
                }),
            Self::JavaUnhandled => is_java_unhandled(text),
            Self::Line(line) => text == *line,
            Self::NodeUnhandled => is_node_unhandled(text),
            Self::RubyUncaught(end) => {
                let place = text.split(|byte| *byte == b' ').next().unwrap_or_default();
                let line = after_first(place, b".rb:").and_then(|line| line.strip_suffix(b":in"));
                line.is_some_and(|line| line.iter().all(u8::is_ascii_digit)) && text.ends_with(end)
            }
            Self::RubyUnhandled => is_ruby_unhandled(text),
            Self::Start(start) => text.starts_with(start),
            Self::StartAndEnd(start, end) => {
                let line = first_line(text);
                line.starts_with(start) && line.ends_with(end)
            }
        }
    }
}

fn in_text(text: &[u8]) -> Option<Evidence> {
    if !text.first_chunk().is_some_and(is_fatal_start) && !has_evidence_word(text) {
        return None;
    }
    let text = text.trim_ascii_end();
    if UNHANDLED.iter().any(|pattern| pattern.matches(text)) {
        return Some(Evidence::Unhandled);
    }
    FATAL.iter().any(|pattern| pattern.matches(text)).then_some(Evidence::Fatal)
}

fn in_object(members: &Members) -> Option<Evidence> {
    if is_unhandled(members) {
        return Some(Evidence::Unhandled);
    }
    // The platform wraps a line that is not JSON as {timestamp, level, message}: no id, no logger.
    let is_wrapped_line = members.request_id.is_empty() && !members.has_logger;
    let message = members.message.trim_ascii_end();
    if is_wrapped_line {
        return in_text(message);
    }
    let is_unhandled = has_evidence_word(message) && is_java_unhandled(message);
    is_unhandled.then_some(Evidence::Unhandled)
}

/// A runtime client's record of an unhandled error in JSON: `errorType` and `stackTrace` without
/// `message` and `logger` (Python, .NET), or an error object as `message` (Node).
fn is_unhandled(members: &Members) -> bool {
    let error_type = &*members.error_type;
    if members.error_in_message {
        return is_node_error(error_type, &members.error_message);
    }
    let handled = members.has_logger || members.has_message && error_type == b"MemoryError";
    !handled && members.has_stack_trace && ERROR_TYPES.contains(&error_type)
}

/// Java:
/// `Java heap space: java.lang.OutOfMemoryError\njava.lang.OutOfMemoryError: Java heap space`.
fn is_java_unhandled(text: &[u8]) -> bool {
    after_first(text, b": java.lang.OutOfMemoryError")
        .and_then(|rest| rest.split_first())
        .is_some_and(|(line_break, rest)| {
            matches!(line_break, b'\n' | b'\r') && is_java_out_of_memory(rest)
        })
}

/// `java.lang.OutOfMemoryError: Java heap space`, but not `unable to create native thread`, which
/// is the limit of processes.
fn is_java_out_of_memory(text: &[u8]) -> bool {
    text.strip_prefix(JAVA_ERROR)
        .is_some_and(|rest| !rest.starts_with(b": unable to create native thread"))
}

/// Node: `time\tid\tERROR\tInvoke Error \t{"errorType":"RangeError","errorMessage":"Array buffer
/// allocation failed",...}`; `Uncaught Exception` in the same place.
fn is_node_unhandled(text: &[u8]) -> bool {
    let mut fields = text.splitn(5, |byte| *byte == b'\t');
    let kind = fields.nth(3).unwrap_or_default().trim_ascii();
    let error = fields.next().unwrap_or_default();
    matches!(kind, b"Invoke Error" | b"Uncaught Exception" | b"Unhandled Promise Rejection")
        && error.starts_with(NODE_ERROR)
}

fn is_node_error(error_type: &[u8], error_message: &[u8]) -> bool {
    error_type == b"RangeError" && error_message == b"Array buffer allocation failed"
        || error_type == b"Error" && error_message.starts_with(b"Worker terminated due to reaching")
}

/// .NET: `time\tid\tfail\tSystem.OutOfMemoryException: Exception of type ...`, tabs or blanks.
fn is_dotnet_unhandled(text: &[u8]) -> bool {
    let mut fields = text.splitn(4, |byte| matches!(byte, b'\t' | b' '));
    fields.nth(2) == Some(b"fail")
        && fields.next().is_some_and(|rest| rest.starts_with(DOTNET_ERROR))
}

/// Ruby: a critical exception as pretty JSON.
fn is_ruby_unhandled(text: &[u8]) -> bool {
    text.starts_with(b"{") && after_first(text, RUBY_ERROR).is_some()
}

/// The id that a runtime or the platform writes: after `RequestId: `, or as one of the first three
/// fields between tabs.
fn request_id_in(text: &[u8]) -> Option<RequestId> {
    let labelled = after_first(text, b"RequestId: ").and_then(uuid_at_start);
    labelled.or_else(|| text.splitn(4, |byte| *byte == b'\t').take(3).find_map(uuid))
}

fn uuid_at_start(text: &[u8]) -> Option<RequestId> {
    text.get(..UUID_LEN).and_then(uuid)
}

fn uuid(text: &[u8]) -> Option<RequestId> {
    let shaped = text.len() == UUID_LEN
        && text.iter().enumerate().all(|(at, byte)| match at {
            8 | 13 | 18 | 23 => *byte == b'-',
            _ => byte.is_ascii_hexdigit(),
        });
    if shaped { RequestId::try_from(text).ok() } else { None }
}

/// The bytes of `text` after the first `part` in it.
fn after_first<'a>(text: &'a [u8], part: &[u8]) -> Option<&'a [u8]> {
    let at = text.windows(part.len()).position(|window| window == part)?;
    text.get(at.checked_add(part.len())?..)
}

fn first_line(text: &[u8]) -> &[u8] {
    text.split(|byte| matches!(byte, b'\n' | b'\r')).next().unwrap_or_default()
}

const UUID_LEN: usize = 36;
