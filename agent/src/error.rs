//! Why the agent cannot go on, what the reader can do about it, and the process's exit codes.

use std::fmt;

/// The exit code when Lambda does not accept the extension, or says that the environment is lost.
pub(crate) const FAILURE: u8 = 1;

/// The exit code for a wrong command line, and for a start outside of Lambda.
pub(crate) const USAGE: u8 = 2;

/// The exit code of a process that has no memory left.
pub(crate) const NO_MEMORY: u8 = 4;

/// Why the agent cannot go on.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Error {
    /// The connection broke before Lambda answered the registration, and Lambda refused a second
    /// one.
    AnswerLost,
    /// The answer to the registration has no identifier.
    NoIdentifier,
    /// Lambda refused the registration with this status.
    Refused(u16),
    /// `AWS_LAMBDA_RUNTIME_API` is not an address.
    RuntimeApiAddress,
    /// The Extensions API answered 500: the environment is lost.
    Unrecoverable,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AnswerLost => f.write_str(
                "the connection broke before Lambda answered the registration, and Lambda refuses \
                 a second one (403 Extension.InvalidExtensionState): Lambda has to restart the \
                 init",
            ),
            Self::NoIdentifier => f.write_str(
                "the answer to the registration has no Lambda-Extension-Identifier: is \
                 AWS_LAMBDA_RUNTIME_API Lambda's own?",
            ),
            Self::Refused(status) => write!(
                f,
                "the Extensions API refused the registration with status {status}: the file has \
                 to be in /opt/extensions, and Lambda has to start it",
            ),
            Self::RuntimeApiAddress => f.write_str(
                "AWS_LAMBDA_RUNTIME_API is not an address: it has to be an IP address and a port, \
                 as Lambda sets it, or localhost and a port",
            ),
            Self::Unrecoverable => f.write_str(
                "the Extensions API answered 500: Lambda will replace this environment by itself",
            ),
        }
    }
}

impl std::error::Error for Error {}
