//! Each API's answers, over real connections, without any process.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::sync::watch;

use super::{ApiCall, ApiFault, serve};
use crate::helper::http::Client;
use crate::identity::{Identity, InitializationType};
use crate::recording::RecordingLine;
use crate::state::{ExtensionProcess, Platform, PlatformState};
use crate::switches::Switches;
use crate::telemetry::{Hub, LogFormat};

const EXTENSION: &str = "/2020-01-01/extension";
const TELEMETRY: &str = "/2022-07-01/telemetry";

struct Api {
    address: SocketAddr,
    lambda: Arc<Platform>,
}

fn api(kind: InitializationType, faults: Vec<ApiFault>) -> Api {
    let identity =
        Identity { handler: "f.handler".into(), memory_mb: 128, initialization_type: kind };
    let external = ExtensionProcess {
        name: "external".into(),
        pid: None,
        exit: None,
        started: tokio::time::Instant::now(),
    };
    let state = PlatformState {
        registration_open: true,
        processes: vec![external],
        ..PlatformState::default()
    };
    let lambda = Arc::new(Platform {
        state: watch::Sender::new(state),
        hub: Hub::new(String::new(), Box::new(|| 0), LogFormat::Text, Switches::default()),
        identity,
        faults: Mutex::new(faults),
    });
    let runtime = crate::env::runtime().expect("threads");
    let (address, _task) = runtime.block_on(serve(Arc::clone(&lambda))).expect("a server");
    Api { address, lambda }
}

fn on_demand() -> Api {
    api(InitializationType::OnDemand, Vec::new())
}

impl Api {
    /// Status and body.
    fn ask(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> (u16, String) {
        let mut client = Client::to(self.address.to_string()).expect("a connection");
        let answer = client.request(method, path, headers, body.as_bytes()).expect("an answer");
        (answer.status, String::from_utf8(answer.body).expect("text"))
    }

    fn register(&self, name: &str, body: &str) -> (u16, String) {
        let headers = [("Lambda-Extension-Name", name)];
        self.ask("POST", &format!("{EXTENSION}/register"), &headers, body)
    }

    fn identifier(&self) -> String {
        let (status, answer) = self.register("external", r#"{"events":["INVOKE","SHUTDOWN"]}"#);
        assert_eq!(status, 200, "{answer}");
        self.lambda.state.borrow().extensions[0].id.clone()
    }
}

fn check((status, answer): (u16, String), expected: u16, text: &str) {
    assert_eq!(status, expected, "{answer}");
    assert!(answer.contains(text), "{text} is not in {answer}");
}

#[test]
fn registration() {
    let api = on_demand();
    let features = [
        ("Lambda-Extension-Name", "external"),
        ("Lambda-Extension-Accept-Feature", "x, accountId"),
    ];
    let path = format!("{EXTENSION}/register");
    let answer = api.ask("POST", &path, &features, r#"{"events":["SHUTDOWN"]}"#);
    check(
        answer,
        200,
        concat!(
            r#"{"functionName":"sandbox-function","functionVersion":"$LATEST","#,
            r#""handler":"f.handler","accountId":"123456789012"}"#
        ),
    );
    check(api.register("external", "{}"), 403, "Extension.InvalidExtensionState");
}

#[test]
fn registrations_that_are_refused() {
    let api = on_demand();
    let path = format!("{EXTENSION}/register");
    check(api.ask("POST", &path, &[], "{}"), 403, "Extension.InvalidExtensionName");
    check(api.register("", "{}"), 403, "Extension.InvalidExtensionName");
    check(api.register("external", "{"), 403, "InvalidRequestFormat");
    let keys = r#"{"configurationKeys":["a"]}"#;
    check(api.register("external", keys), 403, "InvalidRequestFormat");
    let unknown = r#"{"events":["START"]}"#;
    check(api.register("external", unknown), 403, "Extension.InvalidEventType");
    // An internal extension may not ask for SHUTDOWN.
    let shutdown = r#"{"events":["SHUTDOWN"]}"#;
    check(api.register("internal", shutdown), 403, "Extension.InvalidEventType");
    for number in 0..10 {
        check(api.register(&format!("internal-{number}"), "{}"), 200, "functionName");
    }
    check(api.register("external", "{}"), 403, "Extension.TooManyExtensions");
    api.lambda.change(|state| state.registration_open = false);
    check(api.register("external", "{}"), 403, "Extension.RegistrationClosed");
}

#[test]
fn managed_instances_refuse_invoke() {
    let api = api(InitializationType::ManagedInstances, Vec::new());
    let expected = concat!(
        r#"{"errorMessage":"INVOKE: ErrorInvalidEventType","#,
        r#""errorType":"Extension.InvalidEventType"}"#
    );
    check(api.register("external", r#"{"events":["INVOKE","SHUTDOWN"]}"#), 403, expected);
    check(api.register("external", r#"{"events":["SHUTDOWN"]}"#), 200, "functionName");
}

#[test]
fn identifiers() {
    let api = on_demand();
    let next = format!("{EXTENSION}/event/next");
    check(api.ask("GET", &next, &[], ""), 403, "Extension.MissingExtensionIdentifier");
    let bad = [("Lambda-Extension-Identifier", "x")];
    check(api.ask("GET", &next, &bad, ""), 403, "Extension.InvalidExtensionIdentifier");
    let unknown = [("Lambda-Extension-Identifier", "3da1f2dc-3222-475e-9205-e2e6c6318895")];
    check(api.ask("GET", &next, &unknown, ""), 403, "Extension.UnknownExtensionIdentifier");
}

#[test]
fn next_gives_what_waits() {
    let api = on_demand();
    let id = api.identifier();
    let event = r#"{"eventType":"SHUTDOWN","shutdownReason":"spindown","deadlineMs":1}"#;
    let line = RecordingLine::Shutdown("spindown".into());
    api.lambda.change(|state| state.send(&line, event));
    let headers = [("Lambda-Extension-Identifier", id.as_str())];
    check(api.ask("GET", &format!("{EXTENSION}/event/next"), &headers, ""), 200, event);
    assert!(api.lambda.state.borrow().extensions[0].asked);
}

#[test]
fn errors_that_extensions_report() {
    let api = on_demand();
    let id = api.identifier();
    let id = ("Lambda-Extension-Identifier", id.as_str());
    let path = format!("{EXTENSION}/init/error");
    check(api.ask("POST", &path, &[id], ""), 403, "Extension.MissingHeader");
    let kind = ("Lambda-Extension-Function-Error-Type", "Extension.NoConfig");
    check(api.ask("POST", &path, &[id, kind], "{}"), 202, r#"{"status":"OK"}"#);
    let error = api.lambda.state.borrow().extensions[0].error.clone();
    assert_eq!(error.as_deref(), Some("Extension.NoConfig"));
    let odd = ("Lambda-Extension-Function-Error-Type", "odd");
    check(api.ask("POST", &format!("{EXTENSION}/exit/error"), &[id, odd], "{}"), 202, "OK");
    let error = api.lambda.state.borrow().extensions[0].error.clone();
    assert_eq!(error.as_deref(), Some("Extension.ExitError"));
}

#[test]
fn subscriptions() {
    let api = on_demand();
    let id = api.identifier();
    let id = [("Lambda-Extension-Identifier", id.as_str())];
    let body = r#"{"schemaVersion":"2025-01-29","types":["platform"],
        "destination":{"protocol":"HTTP","URI":"http://sandbox.localdomain:1"}}"#;
    check(api.ask("PUT", TELEMETRY, &id, body), 200, "\"OK\"");
    check(api.ask("PUT", &format!("{TELEMETRY}/"), &id, body), 200, "\"OK\"");
    let unknown = body.replace("2025", "2035");
    check(api.ask("PUT", TELEMETRY, &id, &unknown), 400, "ValidationError");
    check(api.ask("PUT", "/2020-08-15/logs", &id, body), 202, "Logs.NotSupported");
    api.lambda.change(|state| state.registration_open = false);
    check(api.ask("PUT", TELEMETRY, &id, body), 403, "Telemetry.SubscriptionClosed");
}

#[test]
fn faults_replace_answers_as_often_as_asked() {
    let faults = vec![
        ApiFault::new(ApiCall::Register, 500).times(1),
        ApiFault::new(ApiCall::Subscribe, 202),
    ];
    let api = api(InitializationType::OnDemand, faults);
    check(api.register("external", "{}"), 500, "Sandbox.Fault");
    let id = api.identifier();
    let id = [("Lambda-Extension-Identifier", id.as_str())];
    check(api.ask("PUT", TELEMETRY, &id, "{}"), 202, "Telemetry.NotSupported");
    check(api.ask("PUT", TELEMETRY, &id, "{}"), 202, "Telemetry.NotSupported");
}

#[test]
fn an_answer_to_another_invocation_is_refused() {
    let api = on_demand();
    let path = "/2018-06-01/runtime/invocation/3da1f2dc/response";
    check(api.ask("POST", path, &[], "{}"), 400, "InvalidRequestID");
}
