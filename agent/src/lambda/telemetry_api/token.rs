//! The random path that distinguishes Lambda's requests from those of other processes.
//!
//! Any process of the environment can post to the listener. The subscription names a destination
//! with a random path, which only Lambda learns. The first request to this path proves that Lambda
//! sends the path. From then on the agent reads only such requests. Before that it reads every
//! request, as AWS's emulator drops the path on Managed Instances.

use crate::sys;

/// Random bytes. The journal keeps them: after a restart Lambda goes on posting to the destination
/// that the previous process named.
pub(crate) const TOKEN_SIZE: usize = 16;

/// Their hexadecimal digits.
pub(super) const TEXT_SIZE: usize = 2 * TOKEN_SIZE;

/// How often the kernel is asked for random bytes.
const TRIES_MAX: u32 = 3;

/// The token, and whether Lambda sends it.
pub(crate) struct PathToken {
    /// All zeros stand for no token.
    bytes: [u8; TOKEN_SIZE],
    /// The bytes as hexadecimal digits, which each request is compared with.
    digits: [u8; TEXT_SIZE],
    was_sent: bool,
}

impl PathToken {
    /// No token: every request is read.
    pub(crate) const fn none() -> Self {
        Self { bytes: [0; TOKEN_SIZE], digits: [0; TEXT_SIZE], was_sent: false }
    }

    /// Sets the token to that of the previous process.
    pub(crate) fn set(&mut self, bytes: [u8; TOKEN_SIZE]) {
        self.bytes = bytes;
        for (digits, byte) in self.digits.chunks_exact_mut(2).zip(bytes) {
            for (digit, value) in digits.iter_mut().zip([byte >> 4, byte & 15]) {
                *digit = if value < 10 { b'0' + value } else { b'a' - 10 + value };
            }
        }
    }

    pub(crate) const fn bytes(&self) -> [u8; TOKEN_SIZE] {
        self.bytes
    }

    /// Chooses a token, if there is none. Without random bytes from the kernel there will be none.
    pub(crate) fn choose(&mut self) {
        let mut bytes = [0; TOKEN_SIZE];
        for _ in 0..TRIES_MAX {
            if self.is_some() {
                return;
            }
            if sys::fill_random(&mut bytes).is_ok() {
                self.set(bytes);
            }
        }
    }

    /// The token as text, for a path.
    pub(crate) fn text(&self) -> heapless::String<TEXT_SIZE> {
        let mut text = heapless::String::new();
        if self.is_some() {
            for digit in self.digits {
                // It fits: each byte has two digits.
                let _ = text.push(char::from(digit));
            }
        }
        text
    }

    /// Who sends a request to this target. After the first request with the token, others are
    /// refused.
    pub(crate) fn sender_of(&mut self, target: &[u8]) -> RequestSender {
        if self.is_some() && target.windows(TEXT_SIZE).any(|window| window == self.digits) {
            self.was_sent = true;
            return RequestSender::Lambda;
        }
        if self.was_sent { RequestSender::OtherProcess } else { RequestSender::Unknown }
    }

    fn is_some(&self) -> bool {
        self.bytes != [0; TOKEN_SIZE]
    }
}

/// Who sends a request.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) enum RequestSender {
    /// Another process: the request is answered and not read.
    OtherProcess,
    /// Unknown, as Lambda has not sent the token so far.
    Unknown,
    /// Lambda.
    Lambda,
}

#[cfg(test)]
mod tests {
    use super::*;

    const BYTES: [u8; TOKEN_SIZE] = *b"\x00\x01\x9a\xff0123456789ab";
    const TEXT: &str = "00019aff303132333435363738396162";

    fn token() -> PathToken {
        let mut token = PathToken::none();
        token.set(BYTES);
        token.choose();
        assert_eq!((token.bytes(), token.text().as_str()), (BYTES, TEXT));
        token
    }

    #[test]
    fn after_a_request_with_the_token_all_others_are_refused() {
        let mut token = token();
        assert_eq!(token.sender_of(b"/"), RequestSender::Unknown);
        assert_eq!(token.sender_of(b""), RequestSender::Unknown);
        assert_eq!(token.sender_of(&TEXT.as_bytes()[1..]), RequestSender::Unknown);
        for target in [format!("/{TEXT}"), format!("http://sandbox.localdomain:1/{TEXT}/?x")] {
            assert_eq!(token.sender_of(target.as_bytes()), RequestSender::Lambda, "{target}");
        }
        assert_eq!(token.sender_of(b"/"), RequestSender::OtherProcess);
        assert_eq!(token.sender_of(&TEXT.as_bytes()[1..]), RequestSender::OtherProcess);
        assert_eq!(token.sender_of(TEXT.as_bytes()), RequestSender::Lambda);
    }

    #[test]
    fn without_a_token_every_request_is_read() {
        let mut token = PathToken::none();
        assert_eq!(token.text(), "");
        let zeros = "0".repeat(TEXT_SIZE);
        assert_eq!(token.sender_of(zeros.as_bytes()), RequestSender::Unknown);
        assert_eq!(token.sender_of(b"/"), RequestSender::Unknown);
    }

    #[test]
    fn two_chosen_tokens_differ() {
        let (mut one, mut other) = (PathToken::none(), PathToken::none());
        one.choose();
        other.choose();
        assert_ne!(one.bytes(), other.bytes());
        assert_eq!(one.text().len(), TEXT_SIZE);
    }
}
