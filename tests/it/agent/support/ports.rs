//! Ports that nobody else uses.

use std::io::ErrorKind;
use std::net::{Ipv4Addr, TcpStream, UdpSocket};
use std::process;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU16, Ordering};

/// A free port, below those that the kernel gives out, so that it stays free. Each test process has
/// a block of ports, whose ports come again only after all others.
pub(in crate::agent) fn free_port() -> u16 {
    static TAKEN: AtomicU16 = AtomicU16::new(0);
    loop {
        // The first port is the lock.
        let place = 1 + TAKEN.fetch_add(1, Ordering::Relaxed) % (BLOCK_SIZE / PORT_STEP - 1);
        let port = block() + place * PORT_STEP;
        // Tried with a connection. A listener would be inherited by another thread's child until
        // its exec.
        match TcpStream::connect((Ipv4Addr::LOCALHOST, port)) {
            Err(error) if error.kind() == ErrorKind::ConnectionRefused => return port,
            Err(error) => panic!("port {port}: {error}"),
            Ok(_) => {}
        }
    }
}

/// The first port of this process's block. A UDP socket there keeps other test processes out of the
/// block.
fn block() -> u16 {
    static BLOCK: OnceLock<(u16, Option<UdpSocket>)> = OnceLock::new();
    let (block, _) = BLOCK.get_or_init(|| {
        let first = u16::try_from(process::id() % u32::from(BLOCKS)).expect("a small number");
        let blocks = (0..BLOCKS).map(|number| (first + number) % BLOCKS);
        let mut blocks = blocks.map(|number| FIRST_PORT + number * BLOCK_SIZE);
        let lock = |block| Some((block, Some(UdpSocket::bind((Ipv4Addr::LOCALHOST, block)).ok()?)));
        blocks.find_map(lock).unwrap_or((FIRST_PORT, None))
    });
    *block
}

const FIRST_PORT: u16 = 10_000;
const BLOCKS: u16 = 11;
const BLOCK_SIZE: u16 = 2_000;

/// So that an agent whose port is taken finds the next ones free.
const PORT_STEP: u16 = 4;
