//! The Extensions API: register, then ask for the next event again and again.
//!
//! Goes in: the name to register by. Comes out: a [`Registration`], and [`Next`] whenever the long
//! poll is answered. It waits only while it registers; the long poll is asked here and waited for
//! in the event loop. It never retries a long poll: the event loop decides when.
//!
//! <https://docs.aws.amazon.com/lambda/latest/dg/runtimes-extensions-api.html>

use std::fmt::Write;
use std::io;
use std::os::fd::BorrowedFd;
use std::time::Duration;

use log::warn;
use oom_witness_core::extensions::{Next, Registration};

use crate::error::Error;
use crate::lambda::http_client::Client;
use crate::sys;

const EVENTS: &str = r#"{"events":["INVOKE","SHUTDOWN"]}"#;
const EVENTS_WITHOUT_INVOKE: &str = r#"{"events":["SHUTDOWN"]}"#;

/// The extension's side of the API.
pub(crate) struct ExtensionsApi {
    /// Shared with the telemetry subscription: one connection for all of the start.
    pub(crate) client: Client,
    identifier: heapless::String<64>,
    next_request: heapless::String<256>,
}

impl ExtensionsApi {
    /// Before the registration.
    pub(crate) const fn new() -> Self {
        Self {
            client: Client::new(),
            identifier: heapless::String::new(),
            next_request: heapless::String::new(),
        }
    }

    /// Registers for INVOKE and SHUTDOWN; where there is no INVOKE (Managed Instances), for
    /// SHUTDOWN only. It waits for the answer as long as the connection stands. A broken connection is
    /// tried again, 10 ms to 1 s apart, for as long as Lambda lets the init last: if Lambda had not taken
    /// the first registration, the second works; if it had, there is no way to get its answer, and the
    /// second is refused.
    ///
    /// # Errors
    /// The API does not take us.
    pub(crate) fn register(&mut self, api: &str, name: &str) -> Result<Registration, Error> {
        self.client.set_address(api)?;
        let mut pause = Duration::from_millis(10);
        let mut events = EVENTS;
        let mut may_be_taken = false;
        loop {
            match self.try_register(api, name, events) {
                Ok(Some(registration)) => return Ok(registration),
                Ok(None) if events == EVENTS => events = EVENTS_WITHOUT_INVOKE,
                Ok(None) => return Err(Error::Refused(403)),
                Err(Failure::Final(Error::Refused(403))) if may_be_taken => {
                    return Err(Error::AnswerLost);
                }
                Err(Failure::Final(error)) => return Err(error),
                Err(Failure::Io { error, was_sent }) => {
                    may_be_taken |= was_sent;
                    if pause == Duration::from_millis(10) {
                        warn!("cannot reach the Extensions API, trying again: {error}");
                    }
                    sys::pause(pause);
                    pause = Duration::from_secs(1).min(pause * 2);
                }
            }
        }
    }

    /// What this extension is called in the API.
    pub(crate) fn identifier(&self) -> &str {
        &self.identifier
    }

    /// Asks for the next event.
    ///
    /// # Errors
    /// Those of the socket; nothing is asked then.
    pub(crate) fn ask_next(&mut self) -> io::Result<()> {
        self.client.send(self.next_request.as_bytes())
    }

    /// Reads once what was answered; `None` if it is not complete.
    ///
    /// # Errors
    /// Those of the socket.
    pub(crate) fn read_next(&mut self) -> io::Result<Option<Answered>> {
        if !self.client.read()? {
            return Ok(None);
        }
        let answer = self.client.answer();
        Ok(Some(match answer.status {
            200 => Answered::Event(answer.body.event()),
            500 => Answered::Unrecoverable,
            status => Answered::Refused(status),
        }))
    }

    /// Gives the connection up; what was asked is forgotten.
    pub(crate) fn close(&mut self) {
        self.client.close();
    }

    /// The socket that the answer will come from.
    pub(crate) fn socket(&self) -> Option<BorrowedFd<'_>> {
        self.client.socket()
    }

    /// `None` if the API has no INVOKE.
    fn try_register(
        &mut self,
        host: &str,
        name: &str,
        events: &str,
    ) -> Result<Option<Registration>, Failure> {
        let mut request = heapless::String::<768>::new();
        let length = events.len();
        // Everything fits: the host is checked, and a file's name has at most 255 bytes.
        let _ = write!(
            request,
            "POST /2020-01-01/extension/register HTTP/1.1\r\nHost: {host}\r\n\
             Lambda-Extension-Name: {name}\r\nLambda-Extension-Accept-Feature: accountId\r\n\
             Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n{events}"
        );
        let failure = |was_sent| move |error| Failure::Io { error, was_sent };
        self.client.send(request.as_bytes()).map_err(failure(false))?;
        let answer = self.client.wait(None).map_err(failure(true))?;
        match answer.status {
            200 => {}
            403 if answer.body.is_invalid_event_type() => return Ok(None),
            500 => return Err(Failure::Final(Error::Unrecoverable)),
            status => return Err(Failure::Final(Error::Refused(status))),
        }
        let registration = answer.body.registration();
        let identifier = heapless::String::try_from(answer.identifier);
        self.identifier = identifier.unwrap_or_default();
        if self.identifier.is_empty() {
            return Err(Failure::Final(Error::NoIdentifier));
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

/// How the long poll was answered.
pub(crate) enum Answered {
    /// With an event.
    Event(Next),
    /// With another status.
    Refused(u16),
    /// With 500: the environment is lost.
    Unrecoverable,
}

enum Failure {
    Final(Error),
    Io {
        error: io::Error,
        /// The whole request: Lambda may have taken it.
        was_sent: bool,
    },
}
