//! moto: a server with the interfaces of AWS, which checks signatures and permissions.
//! `.ci/setup` installs it.

use std::env;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::Value;

use crate::agent::support::ports::free_port;
use crate::agent::support::wait::wait_until;

/// A server with keys and users. It is killed when it is dropped.
pub(super) struct MotoServer {
    process: Child,
    pub(super) url: String,
    /// What `fill_moto.py` has made.
    found: Value,
}

impl MotoServer {
    /// Starts and fills it. `None` if this machine does not have it.
    pub(super) fn start() -> Option<Self> {
        let home = PathBuf::from(env::var_os("HOME")?);
        let programs = home.join(".cache/oom-witness/moto/bin");
        let port = free_port();
        let process = Command::new(programs.join("moto_server"))
            .args(["--host", "127.0.0.1", "--port", &port.to_string()])
            // `fill_moto.py` turns the checks on when it has ended.
            .env("INITIAL_NO_AUTH_ACTION_COUNT", "1000000")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .ok()?;
        let url = format!("http://127.0.0.1:{port}");
        let mut server = Self { process, url, found: Value::Null };
        wait_until("moto listens", || TcpStream::connect(("127.0.0.1", port)).is_ok());
        server.found = fill(&programs, &server.url);
        Some(server)
    }

    /// A text that `fill_moto.py` has made.
    pub(super) fn found(&self, name: &str) -> &str {
        self.found[name].as_str().expect("a text")
    }

    /// The variables of one of the users that `fill_moto.py` has made.
    pub(super) fn role(&self, name: &str) -> [(&'static str, &str); 3] {
        let text = |index: usize| self.found[name][index].as_str().expect("a text");
        let token = ("AWS_SESSION_TOKEN", "");
        [("AWS_ACCESS_KEY_ID", text(0)), ("AWS_SECRET_ACCESS_KEY", text(1)), token]
    }
}

impl Drop for MotoServer {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn fill(programs: &Path, url: &str) -> Value {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/it/agent/keys/fill_moto.py");
    let output = Command::new(programs.join("python")).args([script, url]).output();
    let output = output.expect("python");
    let why = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{why}");
    serde_json::from_slice(&output.stdout).expect("JSON")
}
