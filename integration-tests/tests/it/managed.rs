//! Managed Instances: several invocations at once.

use std::time::Duration;

use sandbox::{
    Behavior, Builder, Environment, InitializationType, InvocationOutcome, ShutdownReason, Status,
    Victim, Work,
};
use serde_json::Value;

use crate::{free, limited};

fn managed(builder: Builder) -> Environment {
    let kind = InitializationType::ManagedInstances;
    builder.initialization_type(kind).concurrency(4).start().expect("an environment")
}

fn at_once(environment: &mut Environment, all: &[Behavior]) -> Vec<InvocationOutcome> {
    let payloads: Vec<_> = all.iter().map(|behavior| Work::new(*behavior).payload()).collect();
    environment.invoke_at_once(&payloads).expect("outcomes")
}

fn of_kind(environment: &Environment, kind: &str) -> Vec<Value> {
    let events = environment.telemetry().into_iter();
    events.filter(|event| event["type"] == kind).map(|event| event["record"].clone()).collect()
}

#[test]
fn managed_instances_have_their_own_events() {
    let mut environment = managed(free(""));
    let outcomes = at_once(&mut environment, &[Behavior::Succeed, Behavior::Error]);
    assert_eq!(
        outcomes.iter().map(|o| o.status).collect::<Vec<_>>(),
        [Status::Success, Status::Error]
    );
    assert_eq!(outcomes[1].error_type.as_deref(), Some("Runtime.Unknown"));
    assert_eq!(of_kind(&environment, "platform.extension")[0]["events"][0], "SHUTDOWN");
    assert!(of_kind(&environment, "platform.start")[0]["functionArn"].is_string());
    assert!(of_kind(&environment, "platform.runtimeDone").is_empty());
    let reports = of_kind(&environment, "platform.report");
    assert_eq!(reports.len(), 2);
    for report in reports {
        let metrics = report["metrics"].as_object().expect("metrics");
        assert_eq!(metrics.keys().collect::<Vec<_>>(), ["durationMs"]);
    }
    assert!(!environment.frozen());
}

#[test]
fn invocations_run_at_the_same_time() {
    let mut environment = managed(free("").timeout(Duration::from_secs(2)));
    let pair = [Behavior::Timeout, Behavior::Succeed, Behavior::Timeout, Behavior::Succeed];
    let outcomes = at_once(&mut environment, &pair);
    let statuses: Vec<_> = outcomes.iter().map(|outcome| outcome.status).collect();
    let (open, done) = (Status::Failure, Status::Success);
    assert_eq!(statuses, [open, done, open, done]);
    // Nobody was shut down: the other two workers take more.
    let pid = environment.extension_pid();
    assert_eq!(at_once(&mut environment, &[Behavior::Succeed])[0].status, Status::Success);
    assert_eq!(environment.extension_pid(), pid);
}

#[test]
fn a_killed_runtime_fails_all_open_invocations_and_is_replaced() {
    let test = "a_killed_runtime_fails_all_open_invocations_and_is_replaced";
    let Some(builder) = limited(test, "") else { return };
    let mut environment = managed(builder);
    let folder = environment.folder().to_path_buf();
    let all = [Behavior::Grow, Behavior::Timeout, Behavior::Timeout];
    let outcomes = at_once(&mut environment, &all);
    for outcome in &outcomes {
        assert_eq!(outcome.error_type.as_deref(), Some("Runtime.OutOfMemory"));
        assert_eq!(outcome.victims, [Victim::Function]);
    }
    assert_eq!(of_kind(&environment, "platform.report").len(), 3);
    assert_eq!(environment.extension_pid(), None);
    assert_eq!(at_once(&mut environment, &[Behavior::Succeed])[0].status, Status::Success);
    assert_ne!(environment.folder(), folder);
    environment.shutdown(ShutdownReason::Spindown).expect("a shutdown");
    let count = sandbox::count_emf(&environment.extension_lines());
    assert!((count - 3.0).abs() < f64::EPSILON, "counted {count}");
}
