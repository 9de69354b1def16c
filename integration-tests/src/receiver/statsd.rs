//! Prometheus's statsd_exporter: a StatsD server that shows what it has counted.

use std::io::{self, Write};
use std::net::{Ipv4Addr, TcpStream, UdpSocket};

use super::Point;
use crate::env::ReservedPort;
use crate::program::{ServerProgram, free_udp_port, wait_until};

/// A StatsD server on loopback, with the tags of DogStatsD. It ends when it is dropped.
#[derive(Debug)]
pub struct StatsdServer {
    port: u16,
    web: ReservedPort,
    program: Option<ServerProgram>,
    /// How often its points were asked for.
    asked: u32,
}

impl StatsdServer {
    /// One that does not listen yet.
    ///
    /// # Errors
    /// When there is no port.
    pub fn new() -> io::Result<Self> {
        Ok(Self { port: free_udp_port()?, web: ReservedPort::new()?, program: None, asked: 0 })
    }

    /// The port for datagrams.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Starts it, and returns when it listens.
    ///
    /// # Errors
    /// [`io::ErrorKind::NotFound`] if this machine does not have the program.
    pub fn start(&mut self) -> io::Result<()> {
        let listen = |flag: &str, port: u16| format!("--{flag}=127.0.0.1:{port}");
        let arguments = [
            listen("statsd.listen-udp", self.port),
            listen("web.listen-address", self.web.port),
            "--statsd.listen-tcp=".into(),
            "--statsd.event-flush-interval=1ms".into(),
        ];
        let program = ServerProgram::start(
            PROGRAM,
            |command| command.args(arguments),
            || self.page().is_ok(),
        )?;
        self.program = Some(program);
        Ok(())
    }

    /// The points of the metric in all datagrams that were sent before this call. It adds up those
    /// with the same tags.
    ///
    /// # Errors
    /// When it does not answer.
    pub fn points(&mut self) -> io::Result<Vec<Point>> {
        if self.program.is_none() {
            return Ok(Vec::new());
        }
        // It takes datagrams in order, so it has counted all before this one.
        self.asked += 1;
        let last = format!("sandbox_asked {}", self.asked);
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
        socket.send_to(b"sandbox_asked:1|c", (Ipv4Addr::LOCALHOST, self.port))?;
        wait_until(|| Ok(self.page()?.lines().any(|line| line == last)))?;
        // The series of one page are read one after another while it counts. A page that is asked
        // for now has all of them.
        Ok(points(&self.page()?))
    }

    /// What it has counted, in Prometheus's text format.
    fn page(&self) -> io::Result<String> {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, self.web.port))?;
        stream.write_all(b"GET /metrics HTTP/1.0\r\n\r\n")?;
        io::read_to_string(stream)
    }
}

/// `oom_witness_out_of_memory 1`, or for a distribution, beside its quantiles and their number,
/// `oom_witness_out_of_memory_sum{confidence="confirmed",evidence="error_type"} 1`.
fn points(page: &str) -> Vec<Point> {
    let point = |line: &str| {
        let (series, value) = line.rsplit_once(' ')?;
        let (name, labels) = series.trim_end_matches('}').split_once('{').unwrap_or((series, ""));
        if name.strip_suffix("_sum").unwrap_or(name) != COUNTER || labels.contains("quantile=") {
            return None;
        }
        let labels = labels.trim_end_matches('"').split("\",").filter(|label| !label.is_empty());
        let labels = labels.map(|label| label.replacen("=\"", ":", 1)).collect();
        Some(Point { value: value.parse().ok()?, labels })
    };
    page.lines().filter_map(point).collect()
}

pub(super) const PROGRAM: &str = "statsd_exporter";

/// `oom_witness.out_of_memory` as Prometheus calls it.
const COUNTER: &str = "oom_witness_out_of_memory";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_and_distributions_of_the_metric_are_points() {
        let page = "# TYPE oom_witness_out_of_memory counter\n\
            oom_witness_out_of_memory 2\n\
            oom_witness_out_of_memory{confidence=\"confirmed\",quantile=\"0.5\"} 1\n\
            oom_witness_out_of_memory_count{confidence=\"confirmed\"} 3\n\
            oom_witness_out_of_memory_sum{confidence=\"confirmed\",evidence=\"a,b\"} 4\n\
            another_sum 5\n";
        let texts: Vec<String> = points(page).iter().map(Point::to_string).collect();
        assert_eq!(texts, ["2 ", "4 confidence:confirmed evidence:a,b"]);
    }
}
