//! The port for the extension's listener: nobody else is given it while the environment lives.

use std::io;
use std::net::Ipv4Addr;

use tokio::net::TcpSocket;

/// Bound, so that the kernel gives it to nobody who asks for any port; not listened on, so that a
/// listener that sets SO_REUSEADDR gets it.
pub(crate) struct ReservedPort {
    pub(crate) port: u16,
    _socket: TcpSocket,
}

impl ReservedPort {
    pub(crate) fn new() -> io::Result<Self> {
        let socket = TcpSocket::new_v4()?;
        socket.set_reuseaddr(true)?;
        // All addresses: that of the listener may be any of them.
        socket.bind((Ipv4Addr::UNSPECIFIED, 0).into())?;
        Ok(Self { port: socket.local_addr()?.port(), _socket: socket })
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn a_reserved_port_is_for_who_asks_for_it_and_for_nobody_else() {
        let reserved = ReservedPort::new().expect("a port");
        // Far more than the kernel has ports that it gives to those who ask for any: it would have
        // come round to this one.
        for _ in 0..70_000 {
            let other = TcpListener::bind(("127.0.0.1", 0)).expect("a port");
            assert_ne!(other.local_addr().expect("an address").port(), reserved.port);
        }
        TcpListener::bind(("127.0.0.1", reserved.port)).expect("the reserved port");
    }
}
