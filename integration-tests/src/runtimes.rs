//! The runtimes in `runtimes/NAME/`: what each needs, how it is set up, how it is started.
//!
//! In: a folder with `runtime.toml`. Out: a [`Runtime`] that is ready, or one line that says what
//! is missing and the command that brings it. A new runtime is a new folder, and nothing here names
//! one. `{cache}` is the runtime's folder in the cache, `{folder}` its source folder.

use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde::Deserialize;
use sha2::{Digest, Sha256};

use crate::env::FunctionCommand;
use crate::scenario::{self, Scenario};

/// A runtime. It may not be set up yet.
#[derive(Clone, Debug)]
pub struct Runtime {
    /// The name of its folder.
    pub name: String,
    folder: PathBuf,
    cache: PathBuf,
    described: RuntimeDescription,
}

/// Why a runtime cannot be used.
#[derive(Clone, Debug)]
pub struct Missing {
    /// What is missing, in one line.
    pub what: String,
    /// The command that brings it.
    pub command: String,
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "missing {}: {}", self.what, self.command)
    }
}

impl From<Missing> for io::Error {
    fn from(missing: Missing) -> Self {
        Self::other(missing.to_string())
    }
}

/// `runtime.toml`
#[derive(Clone, Debug, Deserialize)]
struct RuntimeDescription {
    version: String,
    /// The command whose first line names the interpreter or the compiler.
    #[serde(default)]
    shows_version: Vec<String>,
    /// What speaks the Runtime API.
    #[serde(default)]
    client: String,
    handler: String,
    command: Vec<String>,
    /// Files that the setup compiles. Another content needs another setup.
    #[serde(default)]
    sources: Vec<PathBuf>,
    #[serde(default)]
    needs: Vec<Need>,
    #[serde(default)]
    setup: Vec<Vec<String>>,
    /// Folders of this machine that the runtime names in what it writes.
    #[serde(default)]
    folders: Vec<NamedFolder>,
    #[serde(default)]
    variables: Vec<(String, String)>,
}

/// A folder of this machine: the command that prints it, and what recordings call it.
#[derive(Clone, Debug, Deserialize)]
struct NamedFolder {
    shows: Vec<String>,
    reads: String,
}

/// A command that must work before the setup.
#[derive(Clone, Debug, Deserialize)]
struct Need {
    check: Vec<String>,
    what: String,
    /// Debian's packages that bring it; `.ci/setup` installs them.
    #[serde(default)]
    packages: Vec<String>,
    /// What to do where no package brings it.
    install: Option<String>,
}

impl Need {
    fn command(&self) -> String {
        let packages = || {
            let install = "apt-get install -y --no-install-recommends";
            format!("apt-get update && {install} {}", self.packages.join(" "))
        };
        self.install.clone().unwrap_or_else(packages)
    }
}

impl Runtime {
    /// The runtimes that have a folder.
    #[must_use]
    pub fn all() -> Vec<String> {
        let entries = root().and_then(|root| fs::read_dir(root).ok());
        let described = entries.into_iter().flatten().flatten();
        let mut names: Vec<String> = described
            .filter(|entry| entry.path().join("runtime.toml").is_file())
            .map(|entry| entry.file_name().to_string_lossy().into_owned())
            .collect();
        names.sort();
        names
    }

    /// Finds a runtime by name and sets it up, once per content of its folder.
    ///
    /// # Errors
    /// What is missing.
    pub fn ready(name: &str, mut progress: impl FnMut(&str)) -> Result<Self, Missing> {
        let runtime = Self::find(name)?;
        for need in &runtime.described.needs {
            if !runtime.command(&need.check).is_some_and(|mut check| succeeds(&mut check)) {
                return Err(Missing { what: need.what.clone(), command: need.command() });
            }
        }
        let mark = runtime.cache.join("ready");
        if mark.is_file() {
            return Ok(runtime);
        }
        fs::create_dir_all(&runtime.cache).map_err(|error| Missing {
            what: format!("{}: {error}", runtime.cache.display()),
            command: "export XDG_CACHE_HOME=FOLDER".into(),
        })?;
        for step in &runtime.described.setup {
            progress(&step.join(" "));
            runtime.set_up(step)?;
        }
        let _ = fs::write(mark, "");
        Ok(runtime)
    }

    /// Whether a runtime of this name is already set up.
    #[must_use]
    pub fn is_ready(name: &str) -> bool {
        Self::find(name).is_ok_and(|runtime| runtime.cache.join("ready").is_file())
    }

    /// The function process of this runtime.
    #[must_use]
    pub fn function(&self) -> FunctionCommand {
        let fill = |text: &String| self.fill(text);
        let variables = self.described.variables.iter();
        FunctionCommand {
            command: self.described.command.iter().map(fill).collect(),
            variables: variables.map(|(name, value)| (name.clone(), self.fill(value))).collect(),
            handler: self.described.handler.clone(),
            task_root: self.folder.clone(),
            runtime_version: self.described.version.clone(),
        }
    }

    /// The scenarios beside the handler.
    ///
    /// # Errors
    /// When `scenarios.toml` cannot be read.
    pub fn scenarios(&self) -> io::Result<Vec<Scenario>> {
        scenario::read(&self.folder.join("scenarios.toml"))
    }

    /// What runs the function, in words: the interpreter or compiler as it names itself, and the
    /// client.
    #[must_use]
    pub fn versions(&self) -> String {
        let first = self.first_line(&self.described.shows_version);
        let first = first.unwrap_or_else(|| "unknown".into());
        format!("{} ({first}; {})", self.name, self.described.client)
    }

    /// Folders of this machine that its runtime names, and what recordings call them.
    pub(crate) fn folders(&self) -> Vec<(PathBuf, String)> {
        let folder = |named: &NamedFolder| {
            Some((self.first_line(&named.shows)?.into(), named.reads.clone()))
        };
        self.described.folders.iter().filter_map(folder).collect()
    }

    /// The runtime of this name, which may not be set up.
    ///
    /// # Errors
    /// When there is none of this name, or its description cannot be read.
    pub(crate) fn find(name: &str) -> Result<Self, Missing> {
        let missing = |what: String| Missing { what, command: "sandbox run --help".into() };
        let root = root().ok_or_else(|| missing("the folder integration-tests/runtimes".into()))?;
        let folder = root.join(name);
        let text = fs::read_to_string(folder.join("runtime.toml")).map_err(|_| {
            missing(format!("a runtime named {name}, there are: {}", Self::all().join(", ")))
        })?;
        let described: RuntimeDescription = toml::from_str(&text)
            .map_err(|error| missing(format!("a readable runtime.toml of {name}: {error}")))?;
        let mut hash = Sha256::new_with_prefix(text.as_bytes());
        for source in &described.sources {
            hash.update(fs::read(folder.join(source)).unwrap_or_default());
        }
        let short: String =
            hash.finalize().iter().take(4).map(|byte| format!("{byte:02x}")).collect();
        let cache = cache_root().join(format!("{name}-{short}"));
        Ok(Self { name: name.to_string(), folder, cache, described })
    }

    /// The first line that a command prints.
    fn first_line(&self, words: &[String]) -> Option<String> {
        let mut command = self.command(words)?;
        let output = command.stdin(Stdio::null()).stderr(Stdio::null()).output().ok()?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        text.lines().next().map(str::to_string)
    }

    fn set_up(&self, step: &[String]) -> Result<(), Missing> {
        let failed = |why: String| Missing {
            what: format!("setup of {}: `{}`: {why}", self.name, step.join(" ")),
            command: self.fill(&step.join(" ")),
        };
        let mut command = self.command(step).ok_or_else(|| failed("nothing to run".into()))?;
        let output = command.stdin(Stdio::null()).output();
        let output = output.map_err(|error| failed(error.to_string()))?;
        if output.status.success() {
            return Ok(());
        }
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        let last = text.lines().rev().find(|line| !line.trim().is_empty());
        Err(failed(last.unwrap_or("failed without a word").to_string()))
    }

    fn command(&self, words: &[String]) -> Option<Command> {
        let mut words = words.iter().map(|word| self.fill(word));
        let mut command = Command::new(words.next()?);
        command.args(words).current_dir(&self.folder);
        Some(command)
    }

    fn fill(&self, text: &str) -> String {
        text.replace("{cache}", &self.cache.to_string_lossy())
            .replace("{folder}", &self.folder.to_string_lossy())
    }
}

fn succeeds(command: &mut Command) -> bool {
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

/// Where this was built, else below the current folder.
pub(crate) fn root() -> Option<PathBuf> {
    let built = Path::new(env!("CARGO_MANIFEST_DIR")).join("runtimes");
    let here = ["integration-tests/runtimes", "runtimes"].map(PathBuf::from);
    [built].into_iter().chain(here).find(|folder| folder.is_dir()).map(|folder| {
        // Functions run with another working directory.
        folder.canonicalize().unwrap_or(folder)
    })
}

pub(crate) fn cache_root() -> PathBuf {
    let variable = |name| std::env::var_os(name).filter(|value| !value.is_empty());
    let cache = variable("XDG_CACHE_HOME").map(PathBuf::from);
    let home = || PathBuf::from(variable("HOME").unwrap_or_else(|| "/tmp".into())).join(".cache");
    cache.unwrap_or_else(home).join("oom-witness")
}
