//! AWS's services that keep keys, as moto serves them: Secrets Manager, SSM and KMS, on loopback.
//!
//! In: texts to keep. Out: where each is, and the variables of a role that may read them, or may
//! not. moto checks signatures and permissions as AWS does.

use std::io;
use std::io::Write as _;
use std::net::{Ipv4Addr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde::{Deserialize, Serialize};

use crate::env::ReservedPort;
use crate::program::ServerProgram;

/// How a text is kept.
#[derive(Clone, Copy, Debug, Serialize)]
pub enum KeyPlace {
    /// As a secret of Secrets Manager.
    Secret,
    /// As a secret of bytes.
    BinarySecret,
    /// As a secure string of SSM.
    Parameter,
    /// Encrypted by KMS.
    Encrypted,
    /// Encrypted by KMS with the encryption context of Lambda's console.
    EncryptedByConsole,
}

/// The running services. They end when they are dropped.
#[derive(Debug)]
pub struct KeyServices {
    url: String,
    found: Found,
    _program: ServerProgram,
    _port: ReservedPort,
}

/// What `fill.py` prints.
#[derive(Debug, Deserialize)]
struct Found {
    /// Access keys: an id and a secret.
    permitted: (String, String),
    denied: (String, String),
    places: Vec<String>,
}

impl KeyServices {
    /// Starts them in a region, with the texts of a function of this name.
    ///
    /// # Errors
    /// [`io::ErrorKind::NotFound`] if this machine does not have moto.
    pub fn start(region: &str, function: &str, texts: &[(KeyPlace, &str)]) -> io::Result<Self> {
        let port = ReservedPort::new()?;
        let address = (Ipv4Addr::LOCALHOST, port.port);
        let program = ServerProgram::start(
            &server().to_string_lossy(),
            |command| {
                command.args(["--host", "127.0.0.1", "--port", &port.port.to_string()]);
                // `fill.py` turns the checks on when it has ended.
                command.env("INITIAL_NO_AUTH_ACTION_COUNT", "1000000")
            },
            || TcpStream::connect(address).is_ok(),
        )?;
        let url = format!("http://127.0.0.1:{}", port.port);
        let found = fill(&[&url, region, function], texts)?;
        Ok(Self { url, found, _program: program, _port: port })
    }

    /// Whether this machine has moto.
    pub(crate) fn are_installed() -> bool {
        server().is_file()
    }

    /// The services' address, for `AWS_ENDPOINT_URL`.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The ARN of the text with this number, or its ciphertext in base64.
    ///
    /// # Panics
    /// If there is no such text.
    pub fn place(&self, number: usize) -> &str {
        &self.found.places[number]
    }

    /// The variables of a role that may read all of them.
    pub fn permitted(&self) -> [(&'static str, &str); 3] {
        role(&self.found.permitted)
    }

    /// The variables of a role that may read nothing.
    pub fn denied(&self) -> [(&'static str, &str); 3] {
        role(&self.found.denied)
    }
}

fn role((id, secret): &(String, String)) -> [(&'static str, &str); 3] {
    [("AWS_ACCESS_KEY_ID", id), ("AWS_SECRET_ACCESS_KEY", secret), ("AWS_SESSION_TOKEN", "")]
}

fn fill(arguments: &[&str], texts: &[(KeyPlace, &str)]) -> io::Result<Found> {
    let mut python = Command::new(programs().join("python"))
        .args(["-c", include_str!("fill.py")])
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let mut input = python.stdin.take().ok_or(io::ErrorKind::BrokenPipe)?;
    input.write_all(&serde_json::to_vec(texts)?)?;
    drop(input);
    let output = python.wait_with_output()?;
    if !output.status.success() {
        return Err(io::Error::other(String::from_utf8_lossy(&output.stderr).into_owned()));
    }
    Ok(serde_json::from_slice(&output.stdout)?)
}

/// Where `.ci/setup` installs moto.
fn programs() -> PathBuf {
    let home = std::env::var_os("HOME").unwrap_or_default();
    Path::new(&home).join(".cache/oom-witness/moto/bin")
}

fn server() -> PathBuf {
    programs().join("moto_server")
}
