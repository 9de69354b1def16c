//! Each runtime's scenarios, beside the test extension: how they end and whom the kernel kills.

use std::time::Duration;

use sandbox::{Environment, Extension, Function, Memory, Runtime};

use crate::{binary, place, skip};

#[test]
fn scenarios_end_as_described() {
    let test = "scenarios_end_as_described";
    let Some(place) = place(test) else { return };
    let names = Runtime::all();
    assert!(!names.is_empty(), "no runtime has a folder");
    // Setting all of them up takes minutes: `sandbox suite oom` does, or whoever requires all.
    let required = sandbox::require_all();
    let wanted = |name: &String| required || name == "python" || Runtime::is_ready(name);
    for name in names.into_iter().filter(wanted) {
        let runtime = match Runtime::ready(&name) {
            Ok(runtime) => runtime,
            Err(missing) => {
                skip(test, &format!("{name}: {missing}"));
                continue;
            }
        };
        for scenario in runtime.scenarios().expect("a readable scenarios.toml") {
            let memory_mb = scenario.memory[0];
            let mut function = runtime.function();
            function.variables.extend(scenario.variables.clone());
            let mut environment = Environment::builder()
                .sandbox(binary())
                .memory(Memory::Limited(place.clone()))
                .memory_mb(memory_mb)
                .timeout(Duration::from_secs(scenario.timeout))
                .function(Function::Command(function))
                .extension(Extension::test(binary(), ""))
                .start()
                .expect("an environment");
            let outcome = environment.invoke(&scenario.payload).expect("an outcome");
            let what = format!("{name} {} at {memory_mb} MB", scenario.name);
            assert_eq!(scenario.problem(&outcome), None, "{what}");
        }
    }
}
