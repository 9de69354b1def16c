//! The port for the extension's listener. The kernel gives it to nobody else meanwhile.

use std::io;
use std::net::Ipv4Addr;

use tokio::net::TcpSocket;

/// A bound socket, so that the kernel gives its port to nobody who asks for any port. It does not
/// listen, so that a listener that sets SO_REUSEADDR gets the port.
#[derive(Debug)]
pub(crate) struct ReservedPort {
    pub(crate) port: u16,
    _socket: TcpSocket,
}

impl ReservedPort {
    pub(crate) fn new() -> io::Result<Self> {
        let socket = TcpSocket::new_v4()?;
        socket.set_reuseaddr(true)?;
        // All addresses, as the listener may use any of them.
        socket.bind((Ipv4Addr::UNSPECIFIED, 0).into())?;
        Ok(Self { port: socket.local_addr()?.port(), _socket: socket })
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn only_a_listener_that_names_the_reserved_port_gets_it() {
        let reserved = ReservedPort::new().expect("a port");
        // The kernel has far fewer ports to give, so it would have come round to this one.
        for _ in 0..70_000 {
            let other = TcpListener::bind(("127.0.0.1", 0)).expect("a port");
            assert_ne!(other.local_addr().expect("an address").port(), reserved.port);
        }
        TcpListener::bind(("127.0.0.1", reserved.port)).expect("the reserved port");
    }
}
