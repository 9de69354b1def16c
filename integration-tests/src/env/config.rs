//! What an environment is made of: function, extensions, memory, limits, switches.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::cgroup::Place;
use crate::fault::ApiFault;
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
    /// Values that it may not write, beside its variables that are secret.
    pub(crate) secrets: Vec<String>,
}

impl Extension {
    /// The extension in this file.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        let path = path.into();
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned());
        Self {
            path,
            name: name.unwrap_or_default(),
            args: Vec::new(),
            variables: Vec::new(),
            secrets: Vec::new(),
        }
    }

    /// The test extension of the binary `sandbox`. `words` make it misbehave.
    pub fn test(sandbox: impl Into<PathBuf>, words: &str) -> Self {
        Self {
            path: sandbox.into(),
            name: "test-extension".into(),
            args: vec![crate::helper::EXTENSION.into()],
            variables: vec![("SANDBOX_TEST_EXTENSION".into(), words.into())],
            secrets: Vec::new(),
        }
    }

    /// With one more variable.
    pub fn variable(mut self, name: &str, value: impl Into<String>) -> Self {
        self.variables.push((name.into(), value.into()));
        self
    }
}

/// The parts of an environment, before it starts.
#[derive(Clone)]
#[must_use]
pub struct Builder {
    pub(crate) memory: Memory,
    pub(crate) memory_mb: u64,
    pub(crate) function: Function,
    pub(crate) extensions: Vec<Extension>,
    pub(crate) timeout: Duration,
    pub(crate) log_format: LogFormat,
    pub(crate) switches: Switches,
    pub(crate) faults: Vec<ApiFault>,
    pub(crate) variables: Vec<(String, String)>,
    pub(crate) initialization_type: InitializationType,
    pub(crate) concurrency: u32,
    pub(crate) sandbox: Option<PathBuf>,
    pub(crate) on_shutdown: Arc<dyn Fn() + Send + Sync>,
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
            on_shutdown: Arc::new(|| {}),
        }
    }
}

/// A method for each of these parts, which sets it.
macro_rules! setters {
    ($($(#[$doc:meta])* $part:ident: $kind:ty,)*) => {
        impl Builder {
            $($(#[$doc])* pub fn $part(self, $part: $kind) -> Self { Self { $part, ..self } })*
        }
    };
}

setters! {
    /// A real cgroup, or none, which is the default.
    memory: Memory,
    /// The configured memory size: the limit is this many MiB.
    memory_mb: u64,
    /// The function. The default is the built-in one.
    function: Function,
    /// The function's timeout. The default is 30 s.
    timeout: Duration,
    /// The function's log format.
    log_format: LogFormat,
    /// How Lambda behaves where AWS does not say it.
    switches: Switches,
    /// `AWS_LAMBDA_MAX_CONCURRENCY` on Managed Instances: how many invocations the runtime takes at
    /// once.
    concurrency: u32,
}

impl Builder {
    /// One more extension, at most ten.
    pub fn extension(mut self, extension: Extension) -> Self {
        self.extensions.push(extension);
        self
    }

    /// One more fault.
    pub fn fault(mut self, fault: ApiFault) -> Self {
        self.faults.push(fault);
        self
    }

    /// A variable of the function. Extensions get it too.
    pub fn variable(mut self, name: &str, value: impl Into<String>) -> Self {
        self.variables.push((name.into(), value.into()));
        self
    }

    /// The initialization type. The default is on-demand. Managed Instances always log JSON.
    pub fn initialization_type(mut self, kind: InitializationType) -> Self {
        self.initialization_type = kind;
        if kind == InitializationType::ManagedInstances {
            self.log_format = LogFormat::Json;
        }
        self
    }

    /// The `sandbox` binary with the hidden subcommands, if the environment cannot find it.
    pub fn sandbox(self, path: impl Into<PathBuf>) -> Self {
        Self { sandbox: Some(path.into()), ..self }
    }

    /// Called when a shutdown begins.
    pub fn on_shutdown(self, call: impl Fn() + Send + Sync + 'static) -> Self {
        Self { on_shutdown: Arc::new(call), ..self }
    }
}
