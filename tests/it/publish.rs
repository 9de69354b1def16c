//! The script that publishes the layer (`agent/layer/publish`), with the real AWS CLI, against
//! moto's Lambda.

use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use sandbox::KeyServices;
use serde_json::Value;
use tempfile::TempDir;

use crate::agent::needs;

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../agent/layer/publish");

/// moto's Lambda, and a folder with two zips.
struct Lambda {
    services: KeyServices,
    zips: TempDir,
}

/// What the script printed.
struct Printed {
    code: Option<i32>,
    arns: Vec<String>,
    errors: String,
}

impl Lambda {
    /// Starts it, unless this machine lacks moto or the AWS CLI. Each request needs a role that may
    /// make it.
    fn start() -> Option<Self> {
        let services = services()?;
        let zips = tempfile::tempdir().expect("a folder");
        for arch in ["x86_64", "arm64"] {
            fs::write(zip(&zips, arch), empty_zip(arch)).expect("a file");
        }
        Some(Self { services, zips })
    }

    /// The same without checks: moto's users of other partitions have no permission.
    fn open() -> Option<Self> {
        let lambda = Self::start()?;
        stop_checks(&lambda.services);
        Some(lambda)
    }

    fn publish(&self, arguments: &[&str], answer: &str) -> Printed {
        let zips = self.zips.path().to_str().expect("a path");
        let arguments = [&["--from", zips], arguments].concat();
        publish(&arguments, answer, |command| {
            command.envs(self.services.denied()).env("AWS_ENDPOINT_URL", self.services.url())
        })
    }

    /// The layers that it has, by ARN.
    fn layers(&self, regions: &[&str]) -> Vec<Value> {
        let output = Command::new(tools("moto").join("python"))
            .args(["-c", include_str!("publish/layers.py"), self.services.url()])
            .args(regions)
            .output()
            .expect("python");
        let errors = String::from_utf8_lossy(&output.stderr);
        serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{errors}"))
    }

    /// The digest of a zip, in hexadecimal digits.
    fn digest(&self, arch: &str) -> String {
        let output = Command::new("sha256sum").arg(zip(&self.zips, arch)).output();
        let text = String::from_utf8(output.expect("sha256sum").stdout).expect("a text");
        text[..64].to_string()
    }
}

/// moto, unless this machine lacks it or the AWS CLI. It checks signatures and permissions.
fn services() -> Option<KeyServices> {
    if !needs(tools("awscli").join("aws").is_file(), "AWS CLI: .ci/setup") {
        return None;
    }
    match KeyServices::start("eu-central-1", "function", &[]) {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            needs(false, "moto: .ci/setup");
            None
        }
        services => Some(services.expect("moto")),
    }
}

/// The same without checks.
pub(crate) fn open_services() -> Option<KeyServices> {
    let services = services()?;
    stop_checks(&services);
    Some(services)
}

fn stop_checks(services: &KeyServices) {
    let address = services.url().trim_start_matches("http://");
    let mut stream = TcpStream::connect(address).expect("moto");
    let request = "POST /moto-api/reset-auth HTTP/1.1\r\nHost: moto\r\nConnection: close\r\n\
         Content-Type: text/plain\r\nContent-Length: 7\r\n\r\n1000000";
    stream.write_all(request.as_bytes()).expect("a request");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}

fn zip(folder: &TempDir, arch: &str) -> PathBuf {
    folder.path().join(format!("oom-witness-{arch}.zip"))
}

/// A zip without files, but with a comment. The AWS CLI looks at nothing else.
pub(crate) fn empty_zip(comment: &str) -> Vec<u8> {
    let length = u16::try_from(comment.len()).expect("a short comment");
    [b"PK\x05\x06", &[0; 16][..], &length.to_le_bytes(), comment.as_bytes()].concat()
}

/// Where `.ci/setup` installs a tool's programs.
pub(crate) fn tools(name: &str) -> PathBuf {
    let home = std::env::var_os("HOME").unwrap_or_default();
    Path::new(&home).join(".cache/oom-witness").join(name).join("bin")
}

/// Runs the script. The AWS CLI sees nothing of this machine's configuration.
fn publish(
    arguments: &[&str],
    answer: &str,
    change: impl FnOnce(&mut Command) -> &mut Command,
) -> Printed {
    let home = tempfile::tempdir().expect("a folder");
    let mut command = Command::new("/bin/bash");
    command
        .arg(SCRIPT)
        .args(arguments)
        .env_clear()
        .env("HOME", home.path())
        .env("PATH", format!("{}:/usr/bin:/bin", tools("awscli").display()))
        .env("AWS_EC2_METADATA_DISABLED", "true")
        .env("AWS_MAX_ATTEMPTS", "1")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut script = change(&mut command).spawn().expect("bash");
    // It may end without reading.
    let _ = script.stdin.take().expect("a pipe").write_all(answer.as_bytes());
    let output = script.wait_with_output().expect("an end");
    Printed {
        code: output.status.code(),
        arns: String::from_utf8_lossy(&output.stdout).lines().map(String::from).collect(),
        errors: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

#[test]
fn each_region_gets_both_layers_also_when_another_fails() {
    let Some(lambda) = Lambda::open() else { return };
    // moto, like AWS, has no such region.
    let printed =
        lambda.publish(&["eu-central-1", "eu-nowhere-1", "cn-north-1", "us-gov-west-1"], "");
    assert_eq!(printed.code, Some(1), "{}", printed.errors);
    assert!(printed.errors.contains("eu-nowhere-1: x86_64: "), "{}", printed.errors);
    assert!(printed.errors.ends_with("publish: failed: eu-nowhere-1\n"), "{}", printed.errors);
    let regions =
        [("aws", "eu-central-1"), ("aws-cn", "cn-north-1"), ("aws-us-gov", "us-gov-west-1")];
    let layers = lambda.layers(&regions.map(|(_, region)| region));
    let mut expected = Vec::new();
    for (partition, region) in regions {
        for arch in ["x86_64", "arm64"] {
            let place = format!("arn:{partition}:lambda:{region}:123456789012:layer");
            let arn = format!("{place}:oom-witness-{arch}:1");
            let layer = layers.iter().find(|layer| layer["arn"] == arn.as_str());
            let layer = layer.unwrap_or_else(|| panic!("no {arn}: {layers:?}"));
            assert_eq!(layer["architectures"], serde_json::json!([arch]));
            assert_eq!(layer["sha256"], lambda.digest(arch).as_str());
            assert_eq!(layer["license"], "Apache-2.0");
            let description = layer["description"].as_str().expect("a text");
            assert!(description.ends_with(&format!("{} for {arch}", env!("CARGO_PKG_VERSION"))));
            assert_eq!(layer["public"], false);
            expected.push(arn);
        }
    }
    assert_eq!(printed.arns, expected);
    assert_eq!(layers.len(), 6);
}

#[test]
fn a_layer_becomes_public_only_with_the_option_and_a_yes() {
    let Some(lambda) = Lambda::open() else { return };
    let region = "eu-central-1";
    for answer in ["n\n", "\n", ""] {
        let printed = lambda.publish(&["--public", region], answer);
        assert_eq!((printed.code, printed.arns.len()), (Some(2), 0), "{}", printed.errors);
        assert!(printed.errors.contains("Every AWS account"), "{}", printed.errors);
        assert!(printed.errors.ends_with("nothing was published\n"), "{}", printed.errors);
    }
    assert!(lambda.layers(&[region]).is_empty());
    for (number, options, answer, is_public) in [
        (1, &["--public"][..], "y\n", true),
        (2, &["--public", "--yes"], "", true),
        (3, &["--yes"], "", false),
    ] {
        let arguments = [options, &["--arch", "arm64", "--name", "witness", region]].concat();
        let printed = lambda.publish(&arguments, answer);
        assert_eq!(printed.code, Some(0), "{options:?}: {}", printed.errors);
        let [arn] = &printed.arns[..] else { panic!("{:?}", printed.arns) };
        assert!(arn.ends_with(&format!(":layer:witness-arm64:{number}")), "{arn}");
        let layers = lambda.layers(&[region]);
        let layer = layers.iter().find(|layer| layer["arn"] == arn.as_str()).expect("the layer");
        assert_eq!(layer["public"], is_public, "{options:?}");
    }
}

#[test]
fn a_missing_permission_is_named() {
    let Some(lambda) = Lambda::start() else { return };
    let printed = lambda.publish(&["eu-central-1"], "");
    assert_eq!((printed.code, printed.arns.len()), (Some(1), 0));
    assert!(printed.errors.contains("the credentials lack a permission: "), "{}", printed.errors);
    assert!(printed.errors.contains("PublishLayerVersion"), "{}", printed.errors);
}

#[test]
fn what_cannot_work_is_refused_before_anything_is_published() {
    if !needs(tools("awscli").join("aws").is_file(), "AWS CLI: .ci/setup") {
        return;
    }
    let zips = tempfile::tempdir().expect("a folder");
    for arch in ["x86_64", "arm64"] {
        fs::write(zip(&zips, arch), empty_zip(arch)).expect("a file");
    }
    let changed = tempfile::tempdir().expect("a folder");
    fs::write(zip(&changed, "arm64"), empty_zip("changed")).expect("a file");
    let digest = zip(&changed, "arm64").with_extension("zip.sha256");
    fs::write(digest, format!("{}  oom-witness-arm64.zip\n", "0".repeat(64))).expect("a file");
    let (zips, changed) = (zips.path().to_str(), changed.path().to_str());
    let (zips, changed) = (zips.expect("a path"), changed.expect("a path"));
    for (arguments, expected) in [
        (&["--from", zips][..], "name at least one region"),
        (&["--from", zips, "Frankfurt"], "Frankfurt is not the name of a region"),
        (&["--from", zips, "--arch", "mips", "eu-central-1"], "--arch is x86_64 or arm64"),
        (&["--from", zips, "--everywhere"], "unknown option --everywhere"),
        (&["--from"], "--from needs a value"),
        (&["--from", "/nowhere", "eu-central-1"], "there is no /nowhere/oom-witness-x86_64.zip"),
        (&["--from", changed, "--arch", "arm64", "eu-central-1"], "is not the file of"),
        (&["--from", zips, "eu-central-1"], "no credentials: run aws configure"),
    ] {
        let printed = publish(arguments, "", |command| command);
        assert_eq!((printed.code, printed.arns.len()), (Some(2), 0), "{arguments:?}");
        assert!(printed.errors.contains(expected), "{arguments:?}: {}", printed.errors);
        assert_eq!(printed.errors.lines().count(), 1, "{arguments:?}: {}", printed.errors);
    }
    // No folder with programs, whatever this machine has.
    let printed =
        publish(&["--from", zips, "eu-central-1"], "", |command| command.env("PATH", zips));
    assert_eq!(printed.code, Some(2));
    assert!(printed.errors.contains("there is no AWS CLI"), "{}", printed.errors);
}
