//! A key that the child first fetches from Secrets Manager, SSM or KMS.
//!
//! moto is a server with the interfaces of AWS. It checks signatures and permissions
//! (`KeyServices`). What a server can do wrong, a server here does (`KeyServer`).

mod key_server;
mod otlp_headers;

use std::fs;
use std::io::ErrorKind;
use std::net::{Ipv4Addr, TcpListener};
use std::time::{Duration, Instant};

use sandbox::{Intake, IntakeAnswer, KeyPlace, KeyServices};

use self::key_server::{KeyServer, Reply};
use super::child::{ChildVerdict, send};
use super::needs;
use super::support::binary::binary;
use super::support::bodies::oom_body;
use super::support::intakes::assert_points;
use super::support::script::{INVOKE, Script};
use super::support::wait::wait_until;

pub(super) const SECRET_ARN: &str =
    "arn:aws:secretsmanager:eu-central-1:123456789012:secret:keys/dd-AbCdEf";
const PARAMETER_ARN: &str = "arn:aws:ssm:eu-central-1:123456789012:parameter/keys/dd";
const CIPHERTEXT: &str = "Y2lwaGVydGV4dA==";

/// The header that the intake's last request had.
fn received_header(intake: &Intake, name: &str) -> String {
    let request = intake.requests().pop().expect("a request");
    let values = request.headers.into_iter().filter(|(other, _)| other == name);
    let [(_, value)] = &values.collect::<Vec<_>>()[..] else { panic!("one {name}") };
    value.clone()
}

fn received_key(intake: &Intake) -> String {
    received_header(intake, "dd-api-key")
}

/// Variables for a function's role, and a server in place of AWS.
pub(super) fn aws(url: &str) -> [(&str, &str); 6] {
    [
        ("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE"),
        ("AWS_SECRET_ACCESS_KEY", "the-secret-access-key"),
        ("AWS_SESSION_TOKEN", "the-session-token"),
        ("AWS_REGION", "eu-central-1"),
        ("AWS_LAMBDA_FUNCTION_NAME", "function"),
        ("AWS_ENDPOINT_URL", url),
    ]
}

/// Texts that nothing but the requests may hold.
const SECRETS: [&str; 6] = [
    "the-secret-access-key",
    "the-session-token",
    "the-fetched-key",
    "Signature",
    "Y2lwaGVydGV4dA",
    "dGhlLWZldGNoZWQta2V5",
];

#[track_caller]
fn assert_no_secret(text: &str) {
    for secret in SECRETS {
        assert!(!text.contains(secret), "{secret} in {text}");
    }
}

/// The services with these texts, which `.ci/setup` has installed. `None`: they are not there.
fn services(texts: &[(KeyPlace, &str)]) -> Option<KeyServices> {
    match KeyServices::start("eu-central-1", "function", texts) {
        Ok(services) => Some(services),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            needs(false, "moto");
            None
        }
        Err(error) => panic!("{error}"),
    }
}

#[test]
fn the_services_give_out_keys_to_a_role_that_may_have_them() {
    const TEXTS: [(KeyPlace, &str); 6] = [
        (KeyPlace::Secret, "key-of-secret"),
        (KeyPlace::Secret, r#"{"user":"u","dd_api_key":"key-of-json"}"#),
        (KeyPlace::BinarySecret, "key-of-binary"),
        (KeyPlace::Parameter, "key-of-ssm"),
        (KeyPlace::EncryptedByConsole, "key-of-console"),
        (KeyPlace::Encrypted, "key-of-cli"),
    ];
    let Some(services) = services(&TEXTS) else { return };
    let intake = Intake::start().expect("an intake");
    let run = |variables: &[(&str, &str)]| {
        let all = [&aws(services.url())[..], variables].concat();
        send(&intake.http_url(), &all)
    };
    let [secret, json, binary, parameter, console, cli] = [
        ("DD_API_KEY_SECRET_ARN", services.place(0)),
        ("DD_API_KEY_SECRET_ARN", services.place(1)),
        ("DD_API_KEY_SECRET_ARN", services.place(2)),
        ("DD_API_KEY_SSM_ARN", services.place(3)),
        ("DD_KMS_API_KEY", services.place(4)),
        ("DD_KMS_API_KEY", services.place(5)),
    ];
    let permitted = services.permitted();
    for (variable, key) in [
        (secret, "key-of-secret"),
        (json, "key-of-json"),
        (parameter, "key-of-ssm"),
        (console, "key-of-console"),
        (cli, "key-of-cli"),
    ] {
        run(&[&permitted[..], &[variable]].concat()).assert_verdict(ChildVerdict::Taken, "");
        assert_eq!(received_key(&intake), key);
    }
    let count = intake.requests().len();
    let binary = run(&[&permitted[..], &[binary]].concat());
    binary.assert_verdict(ChildVerdict::NotTaken, "is binary: it has to be text");
    let absent = run(&[&permitted[..], &[("DD_API_KEY_SECRET_ARN", SECRET_ARN)]].concat());
    absent.assert_verdict(ChildVerdict::NotTaken, "ResourceNotFoundException");
    let denied = services.denied();
    let wrong = [permitted[0], ("AWS_SECRET_ACCESS_KEY", "wrong"), permitted[2]];
    let unknown = [("AWS_ACCESS_KEY_ID", "AKIAUNKNOWN"), permitted[1], permitted[2]];
    for (variable, call) in [
        (secret, "secretsmanager GetSecretValue"),
        (parameter, "ssm GetParameter"),
        (console, "kms Decrypt"),
    ] {
        for (role, code) in [
            (denied, "AccessDenied"),
            (wrong, "SignatureDoesNotMatch"),
            (unknown, "InvalidClientTokenId"),
        ] {
            let run = run(&[&role[..], &[variable]].concat());
            run.assert_verdict(ChildVerdict::NotTaken, &format!("{call} answered 40"));
            assert!(run.stderr.contains(code), "{code}: {}", run.stderr);
            assert_eq!(run.stderr.contains("role needs"), code == "AccessDenied");
        }
    }
    assert_eq!(intake.requests().len(), count, "the intake has got something without a key");
}

/// With SnapStart, Lambda gives an address in place of credentials.
#[test]
fn with_snapstart_credentials_come_from_their_own_address() {
    let server = KeyServer::start(|head| {
        if head.starts_with("GET /credentials ") {
            return Reply::ok(
                r#"{"AccessKeyId":"ASIASNAP","SecretAccessKey":"s","Token":"snap-token"}"#,
            );
        }
        Reply::ok(r#"{"SecretString":"the-fetched-key"}"#)
    });
    let intake = Intake::start().expect("an intake");
    let address = format!("{}/credentials", server.url);
    let variables = [
        ("AWS_CONTAINER_CREDENTIALS_FULL_URI", address.as_str()),
        ("AWS_CONTAINER_AUTHORIZATION_TOKEN", "the-authorization"),
        ("AWS_ENDPOINT_URL", &server.url),
        ("DD_API_KEY_SECRET_ARN", SECRET_ARN),
    ];
    send(&intake.http_url(), &variables).assert_verdict(ChildVerdict::Taken, "");
    assert_eq!(received_key(&intake), "the-fetched-key");
    let [credentials, call] = &server.requests()[..] else { panic!("two requests") };
    assert!(credentials.contains("\r\nauthorization: the-authorization\r\n"), "{credentials}");
    assert!(call.contains("Credential=ASIASNAP/"), "{call}");
    assert!(call.contains("\r\nx-amz-security-token: snap-token\r\n"), "{call}");

    let elsewhere = ("AWS_CONTAINER_CREDENTIALS_FULL_URI", "http://10.0.0.1/credentials");
    let run = send(&intake.http_url(), &[&variables[1..], &[elsewhere]].concat());
    run.assert_verdict(
        ChildVerdict::NotTaken,
        "takes an https address, or an http address of this",
    );
    let run = send(&intake.http_url(), &variables[1..]);
    run.assert_verdict(ChildVerdict::NotTaken, "there are no credentials");
}

/// The first of the variables counts, and none of them leaves `DD_API_KEY` in use.
#[test]
fn a_variable_with_a_place_comes_before_dd_api_key() {
    let server = KeyServer::start(|head| {
        Reply::ok(match KeyServer::target(head) {
            "secretsmanager.GetSecretValue" => r#"{"SecretString":"of-secret\n"}"#,
            "AmazonSSM.GetParameter" => r#"{"Parameter":{"Value":"of-ssm"}}"#,
            _ => r#"{"Plaintext":"b2Yta21z"}"#,
        })
    });
    let intake = Intake::start().expect("an intake");
    let (secret, kms, ssm) = (
        ("DD_API_KEY_SECRET_ARN", SECRET_ARN),
        ("DD_KMS_API_KEY", CIPHERTEXT),
        ("DD_API_KEY_SSM_ARN", PARAMETER_ARN),
    );
    for (variables, key) in
        [(&[secret, kms, ssm][..], "of-kms"), (&[secret, ssm], "of-secret"), (&[ssm], "of-ssm")]
    {
        let run = send(&intake.http_url(), &[&aws(&server.url)[..], variables].concat());
        run.assert_verdict(ChildVerdict::Taken, "");
        assert_eq!(received_key(&intake), key);
    }
    assert_eq!(server.requests().len(), 3);
}

/// Whatever the server does, the intake gets nothing, and one line says which call failed.
#[test]
fn a_server_that_fails_is_a_failed_send() {
    // The first call may build it, which must not count as time.
    binary();
    let too_long = format!(r#"{{"SecretString":"{}"}}"#, "x".repeat(64 * 1024));
    for (reply, why) in [
        (Reply::Silence, "it has not answered in time"),
        (Reply::Trickle, "it has not answered in time"),
        (Reply::Close, ""),
        (Reply::status(429, r#"{"__type":"ThrottlingException"}"#), "429 ThrottlingException"),
        (Reply::status(400, r#"{"__type":"a.b#ThrottlingException"}"#), "400 ThrottlingException"),
        (Reply::status(400, "{\"__type\":\"X\\u001b[2J the-fetched-key\"}"), "answered 400 X, "),
        (Reply::status(503, "<html>the-fetched-key</html>"), "answered 503, "),
        (Reply::status(301, ""), "answered 301, "),
        (Reply::ok("the-fetched-key"), "something else than a text"),
        (Reply::ok(r#"{"SecretString":"#), "something else than a text"),
        (Reply::ok(r#"{"SecretString":["the-fetched-key"]}"#), "something else than a text"),
        (Reply::ok(r#"{"SecretBinary":"dGhlLWZldGNoZWQta2V5"}"#), "is binary"),
        (Reply::ok(r#"{"SecretString":"the-fetched-key\n\u0000"}"#), "leads to a text that is not"),
        (
            Reply::ok(r#"{"SecretString":"{\"other\":\"the-fetched-key\"}"}"#),
            "leads to a text that is not",
        ),
        (Reply::ok(r#"{"SecretString":""}"#), "leads to a text that is not"),
        (Reply::ok(&too_long), "longer than 64 KiB"),
        (Reply::Bytes("the-fetched-key\r\n\r\n".to_owned()), ""),
    ] {
        let server = KeyServer::start(move |_| reply.clone());
        let intake = Intake::start().expect("an intake");
        let arn = [("DD_API_KEY_SECRET_ARN", SECRET_ARN)];
        let begin = Instant::now();
        let run = send(&intake.http_url(), &[&aws(&server.url)[..], &arn].concat());
        assert!(begin.elapsed() < Duration::from_secs(2), "{why}: {:?}", begin.elapsed());
        let call = "datadog has not taken a metric yet: ";
        run.assert_verdict(ChildVerdict::NotTaken, call);
        assert!(run.stderr.contains(why), "{why}: {}", run.stderr);
        assert_no_secret(&[run.stdout, run.stderr].concat());
        assert!(intake.requests().is_empty(), "{why}");
        assert!(!server.requests().is_empty(), "{why}");
    }
}

/// In Lambda, the services speak TLS. Here one with an unknown certificate gets no signature.
#[test]
fn a_key_comes_over_tls_from_a_known_server_only() {
    let server = Intake::start().expect("an intake");
    let body = br#"{"SecretString":"the-fetched-key"}"#.to_vec();
    server.answer_all(IntakeAnswer { status: 200, body, ..IntakeAnswer::default() });
    let intake = Intake::start().expect("an intake");
    let ca = server.ca_file().to_string_lossy().into_owned();
    let (url, arn) = (server.https_url(), [("DD_API_KEY_SECRET_ARN", SECRET_ARN)]);
    let variables = [&aws(&url)[..], &arn].concat();
    let unknown = send(&intake.http_url(), &variables);
    unknown.assert_verdict(ChildVerdict::NotTaken, "secretsmanager GetSecretValue: ");
    assert!(server.requests().is_empty() && intake.requests().is_empty());
    let known = [&variables[..], &[("SSL_CERT_FILE", &ca)]].concat();
    send(&intake.http_url(), &known).assert_verdict(ChildVerdict::Taken, "");
    assert_eq!(received_key(&intake), "the-fetched-key");
}

/// A secret is in the body, which may come much later than the status.
#[test]
fn a_late_body_is_read() {
    let server = KeyServer::start(|_| {
        Reply::Late(Duration::from_millis(400), r#"{"SecretString":"the-fetched-key"}"#.to_owned())
    });
    let intake = Intake::start().expect("an intake");
    let arn = [("DD_API_KEY_SECRET_ARN", SECRET_ARN)];
    let variables = [&aws(&server.url)[..], &arn].concat();
    send(&intake.http_url(), &variables).assert_verdict(ChildVerdict::Taken, "");
    assert_eq!(received_key(&intake), "the-fetched-key");
}

/// A ciphertext that KMS refuses alone is tried with the function's name.
#[test]
fn kms_is_asked_without_the_functions_name_and_then_with_it() {
    let server = KeyServer::start(|request| {
        if !request.contains("EncryptionContext") {
            return Reply::status(400, r#"{"__type":"InvalidCiphertextException"}"#);
        }
        Reply::ok(r#"{"Plaintext":"dGhlLWZldGNoZWQta2V5"}"#)
    });
    let intake = Intake::start().expect("an intake");
    let variables = [&aws(&server.url)[..], &[("DD_KMS_API_KEY", CIPHERTEXT)]].concat();
    send(&intake.http_url(), &variables).assert_verdict(ChildVerdict::Taken, "");
    assert_eq!(received_key(&intake), "the-fetched-key");
    let requests = server.requests();
    assert_eq!(requests.len(), 2);
    let named = r#"{"CiphertextBlob":"Y2lwaGVydGV4dA==","EncryptionContext":{"LambdaFunctionName":"function"}}"#;
    assert!(requests[1].ends_with(named), "{}", requests[1]);
}

/// Requests to AWS and for credentials go direct.
#[test]
fn no_proxy_gets_a_request_for_a_key() {
    let proxy = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    proxy.set_nonblocking(true).expect("an option");
    let address = format!("http://{}", proxy.local_addr().expect("an address"));
    for url in ["http://aws.invalid", "https://aws.invalid"] {
        let credentials = format!("{}/credentials", url.replace("http:", "https:"));
        let by_address = [
            ("AWS_ACCESS_KEY_ID", ""),
            ("AWS_CONTAINER_CREDENTIALS_FULL_URI", credentials.as_str()),
        ];
        for extra in [&[][..], &by_address] {
            let arn = [("DD_API_KEY_SECRET_ARN", SECRET_ARN), ("ALL_PROXY", &address)];
            let variables = [&aws(url)[..], &arn, extra].concat();
            send("https://intake.invalid", &variables)
                .assert_verdict(ChildVerdict::NotTaken, "datadog has not taken a metric yet");
        }
    }
    assert!(proxy.accept().is_err(), "the proxy got a connection");
}

/// The secret is in requests and nowhere else, while a fetch runs and after it.
#[test]
fn the_agent_keeps_a_metric_until_the_key_is_there_and_never_keeps_the_key() {
    let server =
        KeyServer::start_after_silences(1, |_| Reply::ok(r#"{"SecretString":"the-fetched-key"}"#));
    let intake = Intake::start().expect("an intake");
    let url = intake.http_url();
    let sink = [("DD_URL", url.as_str()), ("DD_API_KEY_SECRET_ARN", SECRET_ARN)];
    let mut script = Script::start_ready(&[&aws(&server.url)[..], &sink].concat());
    script.post(oom_body());
    let begin = Instant::now();
    script.send_event(INVOKE);
    wait_until("the child asks for the key", || !server.requests().is_empty());
    let [child] = script.child_pids()[..] else { panic!("one child") };
    let command_line = fs::read_to_string(format!("/proc/{child}/cmdline")).expect("it lives");
    assert_eq!(command_line, "oom-witness\0send\0datadog\0");
    script.wait_for_next();
    assert!(begin.elapsed() < Duration::from_secs(2), "the turn is held for too long");
    assert!(intake.requests().is_empty());
    script.invoke();
    assert_points(&intake, 1);
    assert_eq!(received_key(&intake), "the-fetched-key");
    let journal = fs::read(script.journal()).expect("a journal");
    assert_no_secret(&String::from_utf8_lossy(&journal));
    let output = script.end(0);
    assert_no_secret(&output.stderr);
    output
        .assert_once("secretsmanager GetSecretValue: it has not answered in time")
        .assert_once("sent: 1, unknown: 0, dropped: 0, overflowed: 0, failed: 1");
}

/// Two connections of 800 ms each fit into a turn.
#[test]
fn a_slow_fetch_and_a_slow_send_fit_into_one_turn() {
    let slow = Duration::from_millis(800);
    let server = KeyServer::start(move |_| {
        std::thread::sleep(slow);
        Reply::ok(r#"{"SecretString":"the-fetched-key"}"#)
    });
    let intake = Intake::start().expect("an intake");
    intake.answer_all(IntakeAnswer { delay: slow, ..IntakeAnswer::default() });
    let url = intake.http_url();
    let sink = [("DD_URL", url.as_str()), ("DD_API_KEY_SECRET_ARN", SECRET_ARN)];
    let mut script = Script::start_ready(&[&aws(&server.url)[..], &sink].concat());
    script.post(oom_body());
    script.invoke();
    script.end(0).assert_once("sent: 1, unknown: 0, dropped: 0, overflowed: 0, failed: 0");
}
