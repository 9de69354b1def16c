//! The Extensions API: register, then ask for the next event again and again.
//!
//! In: the name to register. Out: a [`Registration`], then a [`NextAnswer`] for each long poll. It
//! waits only while it registers: the event loop waits for the long poll, and decides when to ask.
//!
//! <https://docs.aws.amazon.com/lambda/latest/dg/runtimes-extensions-api.html>

use std::fmt::Write;
use std::io;
use std::os::fd::BorrowedFd;
use std::time::Duration;

use log::warn;
use oom_witness_core::extensions::{Next, Registration};

use crate::error::Error;
use crate::lambda::http_client::{ApiClient, IDENTIFIER_MAX};
use crate::sys;

/// The longest request to register: an address of 100 bytes, a file name of 255, and 290 of text.
const REGISTER_SIZE: usize = 768;

/// The longest request for the next event: an address, an identifier, and 92 bytes of text.
const NEXT_SIZE: usize = 256;

/// The pause before the first repetition of a registration. It doubles with each further one.
const PAUSE_MIN: Duration = Duration::from_millis(10);

/// The longest pause between two registrations.
const PAUSE_MAX: Duration = Duration::from_secs(1);

const EVENTS: &str = r#"{"events":["INVOKE","SHUTDOWN"]}"#;
const EVENTS_WITHOUT_INVOKE: &str = r#"{"events":["SHUTDOWN"]}"#;

/// The extension's side of the API.
pub(crate) struct ExtensionsApi {
    /// The telemetry subscription uses it too: the whole start needs one connection.
    pub(crate) client: ApiClient,
    identifier: heapless::String<IDENTIFIER_MAX>,
    next_request: heapless::String<NEXT_SIZE>,
}

impl ExtensionsApi {
    /// The API before the registration.
    pub(crate) const fn new() -> Self {
        Self {
            client: ApiClient::new(),
            identifier: heapless::String::new(),
            next_request: heapless::String::new(),
        }
    }

    /// Registers for INVOKE and SHUTDOWN; where there is no INVOKE (Managed Instances), for
    /// SHUTDOWN only. It waits for the answer as long as the connection stands. After a broken
    /// connection it registers again, 10 ms to 1 s apart, for as long as Lambda lets the init last.
    /// The second registration works if Lambda had not taken the first one. Otherwise Lambda
    /// refuses it, and nobody can get the answer to the first.
    ///
    /// # Errors
    /// Lambda does not accept this extension.
    pub(crate) fn register(&mut self, api: &str, name: &str) -> Result<Registration, Error> {
        self.client.set_address(api)?;
        let mut pause = PAUSE_MIN;
        let mut events = EVENTS;
        let mut may_be_taken = false;
        loop {
            match self.try_register(api, name, events) {
                Ok(Some(registration)) => return Ok(registration),
                Ok(None) if events == EVENTS => events = EVENTS_WITHOUT_INVOKE,
                Ok(None) => return Err(Error::Refused(403)),
                Err(RegisterFailure::Final(Error::Refused(403))) if may_be_taken => {
                    return Err(Error::AnswerLost);
                }
                Err(RegisterFailure::Final(error)) => return Err(error),
                Err(RegisterFailure::Io { error, was_sent }) => {
                    may_be_taken |= was_sent;
                    if pause == PAUSE_MIN {
                        warn!("cannot reach the Extensions API, trying again: {error}");
                    }
                    sys::pause(pause);
                    pause = PAUSE_MAX.min(pause * 2);
                }
            }
        }
    }

    /// The identifier that Lambda has given this extension.
    pub(crate) fn identifier(&self) -> &str {
        &self.identifier
    }

    /// Asks for the next event.
    ///
    /// # Errors
    /// Those of the socket. Lambda has not been asked then.
    pub(crate) fn ask_next(&mut self) -> io::Result<()> {
        self.client.send(self.next_request.as_bytes())
    }

    /// Reads once; `None` if the answer is not complete.
    ///
    /// # Errors
    /// Those of the socket.
    pub(crate) fn read_next(&mut self) -> io::Result<Option<NextAnswer>> {
        if !self.client.read()? {
            return Ok(None);
        }
        let answer = self.client.answer();
        Ok(Some(match answer.status {
            200 => NextAnswer::Event(answer.body.event()),
            500 => NextAnswer::Failure,
            status => NextAnswer::Refusal(status),
        }))
    }

    /// Closes the connection, and forgets the request that was sent.
    pub(crate) fn close(&mut self) {
        self.client.close();
    }

    /// The socket on which the answer arrives.
    pub(crate) fn socket(&self) -> Option<BorrowedFd<'_>> {
        self.client.socket()
    }

    /// `None` if the API has no INVOKE.
    fn try_register(
        &mut self,
        host: &str,
        name: &str,
        events: &str,
    ) -> Result<Option<Registration>, RegisterFailure> {
        let mut request = heapless::String::<REGISTER_SIZE>::new();
        let length = events.len();
        // It fits: the host is checked, and a file's name has at most 255 bytes.
        let _ = write!(
            request,
            "POST /2020-01-01/extension/register HTTP/1.1\r\nHost: {host}\r\n\
             Lambda-Extension-Name: {name}\r\nLambda-Extension-Accept-Feature: accountId\r\n\
             Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n{events}"
        );
        let failure = |was_sent| move |error| RegisterFailure::Io { error, was_sent };
        self.client.send(request.as_bytes()).map_err(failure(false))?;
        let answer = self.client.wait(None).map_err(failure(true))?;
        match answer.status {
            200 => {}
            403 if answer.body.is_invalid_event_type() => return Ok(None),
            500 => return Err(RegisterFailure::Final(Error::Unrecoverable)),
            status => return Err(RegisterFailure::Final(Error::Refused(status))),
        }
        let registration = answer.body.registration();
        let identifier = heapless::String::try_from(answer.identifier);
        self.identifier = identifier.unwrap_or_default();
        if self.identifier.is_empty() {
            return Err(RegisterFailure::Final(Error::NoIdentifier));
        }
        self.next_request.clear();
        let _ = write!(
            self.next_request,
            "GET /2020-01-01/extension/event/next HTTP/1.1\r\nHost: {host}\r\n\
             Lambda-Extension-Identifier: {}\r\n\r\n",
            self.identifier
        );
        Ok(Some(registration))
    }
}

/// The answer to a long poll.
pub(crate) enum NextAnswer {
    /// 200: an event.
    Event(Next),
    /// 500: the environment is lost.
    Failure,
    /// Another status: ask again.
    Refusal(u16),
}

/// Why one try to register failed.
enum RegisterFailure {
    /// Another try would fail too.
    Final(Error),
    Io {
        error: io::Error,
        /// The whole request was sent, so Lambda may have taken it.
        was_sent: bool,
    },
}
