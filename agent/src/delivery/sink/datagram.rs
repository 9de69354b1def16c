//! One metric in one datagram: where it goes, and sending it without ever waiting.
//!
//! In: two variables with an address and a port, and the bytes. Out: whether somebody listens.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, UdpSocket};

use crate::variable::{InvalidVariable, Variables, Warning, text};

/// The port on this machine where a `StatsD` server listens by default.
const PORT: u16 = 8125;

/// Where datagrams go.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Receivers {
    pub(crate) dogstatsd: SocketAddr,
    pub(crate) statsd: SocketAddr,
}

impl Default for Receivers {
    fn default() -> Self {
        Self { dogstatsd: DEFAULT, statsd: DEFAULT }
    }
}

const DEFAULT: SocketAddr = SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::LOCALHOST, PORT));

/// Reads where the receiver listens, and leaves `receiver` as it is for a value that makes no
/// sense. Warns of it only if the sink `is_used`.
///
/// A name is not looked up, since that could wait for a network.
#[cold]
#[inline(never)]
pub(super) fn read_receiver(
    get: Variables<'_>,
    [host, port]: [&'static str; 2],
    is_used: bool,
    receiver: &mut SocketAddr,
    warn: &mut dyn FnMut(Warning),
) {
    let mut read = |name, takes, instead, set: &mut dyn FnMut(&str) -> bool| {
        let value = text(get, name);
        let is_taken = value.as_ref().is_ok_and(|value| value.is_empty() || set(value));
        if !is_taken && (is_used || value.is_err()) {
            warn(Warning::NotUsed(InvalidVariable { name, takes }, instead));
        }
    };
    let takes = "an IP address or localhost";
    read(host, takes, "the default is 127.0.0.1", &mut |value| {
        let address =
            if value == "localhost" { Ok(Ipv4Addr::LOCALHOST.into()) } else { value.parse() };
        address.map(|address: IpAddr| receiver.set_ip(address)).is_ok()
    });
    read(port, "a port from 1 to 65535", "the default is 8125", &mut |value| {
        let port = value.parse().ok().filter(|port| *port != 0);
        port.map(|port| receiver.set_port(port)).is_some()
    });
}

/// Sends a datagram. It never waits.
///
/// On this machine the kernel says at once whether somebody listens: it delivers within the call,
/// and the refusal is then the socket's error. On another machine nobody says it.
///
/// # Errors
/// `WriteZero` if the kernel does not say whether somebody listens. In all other cases nobody has
/// it: `ConnectionRefused` if nobody listens, `WouldBlock` if the kernel has no room for it, else
/// the errors of socket(2), bind(2), connect(2) and send(2).
#[cold]
#[inline(never)]
pub(super) fn send(receiver: SocketAddr, datagram: &[u8]) -> io::Result<()> {
    let any: IpAddr = match receiver {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind((any, 0))?;
    socket.set_nonblocking(true)?;
    socket.connect(receiver)?;
    if socket.local_addr()? == receiver {
        // The kernel gave this socket the receiver's port, so nobody else has it.
        return Err(io::ErrorKind::ConnectionRefused.into());
    }
    socket.send(datagram)?;
    match socket.take_error() {
        Ok(None) => Ok(()),
        Ok(Some(refused)) => Err(refused),
        Err(_) => Err(io::ErrorKind::WriteZero.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_datagram_that_nobody_listens_for_is_refused() {
        let receiver = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = receiver.local_addr().unwrap();
        let mut received = [0; 16];
        for _ in 0..1000 {
            send(address, b"metric").unwrap();
            assert_eq!(receiver.recv(&mut received).unwrap(), 6);
        }
        drop(receiver);
        // Sometimes the sender's own port is the one that is free now.
        for _ in 0..1000 {
            let refused = send(address, b"metric").unwrap_err();
            assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
        }
    }
}
