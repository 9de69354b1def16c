//! What an environment is made of: function, extensions, memory, limits, switches.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crate::cgroup::Place;
use crate::fault::Fault;
use crate::identity::InitializationType;
use crate::switches::Switches;
use crate::telemetry::LogFormat;

/// How the environment is limited.
#[derive(Clone, Debug)]
pub enum Memory {
    /// A real memory cgroup below this place: the kernel kills at the configured size.
    Limited(Place),
    /// No cgroup: no limit, no freezer and no kill.
    Unlimited,
}

/// The function of an environment.
#[derive(Clone, Debug)]
pub enum Function {
    /// The built-in function. It does the [`crate::Work`] of each payload.
    BuiltIn,
    /// A program that speaks the Runtime API.
    Command(FunctionCommand),
    /// No process: the caller posts telemetry and sends events itself.
    Synthetic,
}

/// A function process.
#[derive(Clone, Debug, Default)]
pub struct FunctionCommand {
    /// The program and its arguments.
    pub command: Vec<String>,
    /// Variables beside Lambda's own.
    pub variables: Vec<(String, String)>,
    /// `_HANDLER`.
    pub handler: String,
    /// `LAMBDA_TASK_ROOT`, and the working directory.
    pub task_root: PathBuf,
    /// `runtimeVersion` of `platform.initStart`.
    pub runtime_version: String,
}

/// An external extension: an executable file.
#[derive(Clone, Debug)]
pub struct Extension {
    /// The file.
    pub path: PathBuf,
    /// The name that it registers with: its file's name.
    pub name: String,
    /// Only the test extension has some, as it is a subcommand. Lambda gives none.
    pub(crate) args: Vec<String>,
    /// Variables for this extension alone.
    pub variables: Vec<(String, String)>,
}

impl Extension {
    /// The extension in this file.
    #[must_use]
    pub fn new(path: impl Into<PathBuf>) -> Self {
        let path = path.into();
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned());
        Self { path, name: name.unwrap_or_default(), args: Vec::new(), variables: Vec::new() }
    }

    /// The test extension of the binary `sandbox`. `words` make it misbehave.
    #[must_use]
    pub fn test(sandbox: impl Into<PathBuf>, words: &str) -> Self {
        Self {
            path: sandbox.into(),
            name: "test-extension".into(),
            args: vec![crate::helper::EXTENSION.into()],
            variables: vec![("SANDBOX_TEST_EXTENSION".into(), words.into())],
        }
    }

    /// The test extension beside another one. It has its own name and counts nothing.
    pub(crate) fn beside(sandbox: impl Into<PathBuf>, words: &str) -> Self {
        let mut extension = Self::test(sandbox, &format!("quiet,{words}"));
        extension.name = "other-extension".into();
        extension.variable("SANDBOX_TEST_NAME", "other-extension")
    }

    /// With one more variable.
    #[must_use]
    pub fn variable(mut self, name: &str, value: impl Into<String>) -> Self {
        self.variables.push((name.into(), value.into()));
        self
    }
}

/// The parts of an environment, before it starts.
#[derive(Clone, Debug)]
pub struct Builder {
    pub(crate) memory: Memory,
    pub(crate) memory_mb: u64,
    pub(crate) function: Function,
    pub(crate) extensions: Vec<Extension>,
    pub(crate) timeout: Duration,
    pub(crate) log_format: LogFormat,
    pub(crate) switches: Switches,
    pub(crate) faults: Vec<Fault>,
    pub(crate) variables: Vec<(String, String)>,
    pub(crate) initialization_type: InitializationType,
    pub(crate) concurrency: u32,
    pub(crate) sandbox: Option<PathBuf>,
    pub(crate) on_step: StepCallback,
}

/// Called with what the environment does, as it does it.
#[derive(Clone)]
pub(crate) struct StepCallback(pub(crate) Arc<dyn Fn(&str) + Send + Sync>);

impl std::fmt::Debug for StepCallback {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Step")
    }
}

impl Default for Builder {
    fn default() -> Self {
        Self {
            memory: Memory::Unlimited,
            memory_mb: 128,
            function: Function::BuiltIn,
            extensions: Vec::new(),
            timeout: Duration::from_secs(30),
            log_format: LogFormat::default(),
            switches: Switches::default(),
            faults: Vec::new(),
            variables: Vec::new(),
            initialization_type: InitializationType::default(),
            concurrency: 1,
            sandbox: None,
            on_step: StepCallback(Arc::new(|_| {})),
        }
    }
}

impl Builder {
    /// A real cgroup, or none, which is the default.
    #[must_use]
    pub fn memory(mut self, memory: Memory) -> Self {
        self.memory = memory;
        self
    }

    /// The configured memory size: the limit is this many MiB.
    #[must_use]
    pub fn memory_mb(mut self, mb: u64) -> Self {
        self.memory_mb = mb;
        self
    }

    /// The function. The default is the built-in one.
    #[must_use]
    pub fn function(mut self, function: Function) -> Self {
        self.function = function;
        self
    }

    /// One more extension, at most ten.
    #[must_use]
    pub fn extension(mut self, extension: Extension) -> Self {
        self.extensions.push(extension);
        self
    }

    /// The function's timeout. The default is 30 s.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// The function's log format.
    #[must_use]
    pub fn log_format(mut self, format: LogFormat) -> Self {
        self.log_format = format;
        self
    }

    /// How Lambda behaves where AWS does not say it.
    #[must_use]
    pub fn switches(mut self, switches: Switches) -> Self {
        self.switches = switches;
        self
    }

    /// One more fault.
    #[must_use]
    pub fn fault(mut self, fault: Fault) -> Self {
        self.faults.push(fault);
        self
    }

    /// A variable of the function. Extensions get it too.
    #[must_use]
    pub fn variable(mut self, name: &str, value: impl Into<String>) -> Self {
        self.variables.push((name.into(), value.into()));
        self
    }

    /// The initialization type. The default is on-demand. Managed Instances always log JSON.
    #[must_use]
    pub fn initialization_type(mut self, kind: InitializationType) -> Self {
        self.initialization_type = kind;
        if kind == InitializationType::ManagedInstances {
            self.log_format = LogFormat::Json;
        }
        self
    }

    /// `AWS_LAMBDA_MAX_CONCURRENCY` on Managed Instances: how many invocations the runtime takes at
    /// once.
    #[must_use]
    pub fn concurrency(mut self, invocations: u32) -> Self {
        self.concurrency = invocations;
        self
    }

    /// The `sandbox` binary with the hidden subcommands, if the environment cannot find it.
    #[must_use]
    pub fn sandbox(mut self, path: impl AsRef<Path>) -> Self {
        self.sandbox = Some(path.as_ref().to_path_buf());
        self
    }

    /// Called with each step, for progress on a screen.
    #[must_use]
    pub fn on_step(mut self, step: impl Fn(&str) + Send + Sync + 'static) -> Self {
        self.on_step = StepCallback(Arc::new(step));
        self
    }
}
