//! The runtimes in `runtimes/NAME/`: what each needs, how it is set up, how it is started.
//!
//! In: a folder with `runtime.toml`. Out: a [`Runtime`] that is ready, or one line that says what
//! is missing and the command that brings it. A new runtime is a new folder, and nothing here names
//! one. `{cache}` is the runtime's folder in the cache, `{folder}` its source folder.

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

impl Runtime {
    /// The runtimes that have a folder.
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
    /// What is missing, and the command that brings it.
    pub fn ready(name: &str) -> io::Result<Self> {
        let runtime = Self::find(name)?;
        for Need { check, what, packages, install } in &runtime.described.needs {
            if !runtime.command(check).is_ok_and(|mut check| succeeds(&mut check)) {
                let packages = packages.join(" ");
                let apt = format!(
                    "apt-get update && apt-get install -y --no-install-recommends {packages}"
                );
                return Err(missing(what, install.as_ref().unwrap_or(&apt)));
            }
        }
        let mark = runtime.cache.join("ready");
        if mark.is_file() {
            return Ok(runtime);
        }
        fs::create_dir_all(&runtime.cache).map_err(|error| {
            let what = format!("{}: {error}", runtime.cache.display());
            missing(&what, "export XDG_CACHE_HOME=FOLDER")
        })?;
        for step in &runtime.described.setup {
            runtime.set_up(&runtime.fill(&step.join(" ")), step)?;
        }
        let _ = fs::write(mark, "");
        Ok(runtime)
    }

    /// Whether a runtime of this name is already set up.
    pub fn is_ready(name: &str) -> bool {
        Self::find(name).is_ok_and(|runtime| runtime.cache.join("ready").is_file())
    }

    /// The function process of this runtime.
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

    /// The scenario of this name.
    pub(crate) fn scenario(&self, name: &str) -> io::Result<Scenario> {
        let all = self.scenarios()?;
        let names: Vec<_> = all.iter().map(|entry| entry.name.as_str()).collect();
        let missing = format!("no scenario {name}, there are: {}", names.join(", "));
        let found = all.into_iter().find(|entry| entry.name == name);
        found.ok_or_else(|| io::Error::other(missing))
    }

    /// The runtime of this name, which may not be set up.
    ///
    /// # Errors
    /// When there is none of this name, or its description cannot be read.
    pub(crate) fn find(name: &str) -> io::Result<Self> {
        let missing = |what: String| missing(&what, "sandbox run --help");
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
        let mut command = self.command(words).ok()?;
        let output = command.stdin(Stdio::null()).stderr(Stdio::null()).output().ok()?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        text.lines().next().map(str::to_string)
    }

    /// `line` is the command as a person types it.
    fn set_up(&self, line: &str, step: &[String]) -> io::Result<()> {
        log::info!("{}: {line}", self.name);
        let failed = |why: &str| missing(&format!("setup of {}: `{line}`: {why}", self.name), line);
        let output = self.command(step)?.stdin(Stdio::null()).output();
        let output = output.map_err(|error| failed(&error.to_string()))?;
        if output.status.success() {
            return Ok(());
        }
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        let last = text.lines().rev().find(|line| !line.trim().is_empty());
        Err(failed(last.unwrap_or("failed without a word")))
    }

    fn command(&self, words: &[String]) -> io::Result<Command> {
        let mut words = words.iter().map(|word| self.fill(word));
        let program = words.next().ok_or_else(|| io::Error::other("nothing to run"))?;
        let mut command = Command::new(program);
        command.args(words).current_dir(&self.folder);
        Ok(command)
    }

    fn fill(&self, text: &str) -> String {
        text.replace("{cache}", &self.cache.to_string_lossy())
            .replace("{folder}", &self.folder.to_string_lossy())
    }
}

fn missing(what: &str, command: &str) -> io::Error {
    io::Error::other(format!("missing {what}: {command}"))
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
