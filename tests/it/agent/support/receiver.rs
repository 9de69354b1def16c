//! A receiver of datagrams, as Datadog's extension and a StatsD server are.

use std::net::{Ipv4Addr, UdpSocket};

/// A bound socket. What arrives waits in it.
pub(in crate::agent) struct Receiver(UdpSocket);

impl Receiver {
    /// Binds a free port.
    pub(in crate::agent) fn start() -> Self {
        Self::bind(0)
    }

    /// Binds this port.
    pub(in crate::agent) fn bind(port: u16) -> Self {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, port)).expect("a socket");
        socket.set_nonblocking(true).expect("a flag");
        Self(socket)
    }

    pub(in crate::agent) fn port(&self) -> u16 {
        self.0.local_addr().expect("an address").port()
    }

    /// The datagrams that have arrived since the last call.
    pub(in crate::agent) fn take(&self) -> Vec<String> {
        let mut buffer = [0; 2048];
        std::iter::from_fn(|| {
            let length = self.0.recv(&mut buffer).ok()?;
            Some(String::from_utf8(buffer[..length].to_vec()).expect("text"))
        })
        .collect()
    }
}

/// The sum of the metrics in these datagrams.
pub(in crate::agent) fn sum(datagrams: &[String]) -> usize {
    let value = |datagram: &String| {
        let value = datagram.strip_prefix("oom_witness.out_of_memory:")?.split('|').next()?;
        value.parse::<usize>().ok()
    };
    datagrams.iter().map(|one| value(one).unwrap_or_else(|| panic!("not a metric: {one}"))).sum()
}
