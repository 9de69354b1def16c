//! The `/tmp` of an environment: a folder of its own, kept by its resets and removed with it.
//!
//! In: the parts of the environment. Out: a [`Tmp`], whose [`TmpAccess`] says how to start a
//! process so that it sees the folder as `/tmp`. An entry of the machine's `/tmp` stays visible
//! there if the environment got a path to it: as a program, an argument or a variable.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Component, Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Once, OnceLock, mpsc};
use std::thread;

use tempfile::TempDir;
use tokio::runtime::Handle;
use tokio::sync::oneshot;

use super::config::{Builder, Function};
use crate::mounts::{self, MountRight, TMP};
use crate::{folder, helper};

/// The folder, and how processes come to see it.
#[derive(Debug)]
pub(crate) struct Tmp {
    pub(crate) way: TmpAccess,
    folder: TempDir,
}

/// How a process is started so that the folder is its `/tmp`.
#[derive(Clone, Debug)]
pub(crate) enum TmpAccess {
    /// A thread that sees it as `/tmp` starts the process. It needs root and costs no time.
    Thread(Starter),
    /// The helper enters a user namespace and mounts it.
    Helper { folder: PathBuf, visible: Vec<PathBuf> },
    /// The process sees the machine's `/tmp`, and `TMPDIR` names the folder.
    Variable,
}

impl Tmp {
    /// A new folder. If this user may not mount it, it logs that once.
    pub(crate) fn new(config: &Builder) -> io::Result<Self> {
        let helper = config.sandbox.as_deref();
        let folder = folder::make()?;
        let visible = visible(config);
        let way = match Starter::new(folder.path(), visible.clone()) {
            Ok(starter) => TmpAccess::Thread(starter),
            Err(_) if helper.is_some_and(|helper| may_mount(helper, folder.path())) => {
                TmpAccess::Helper { folder: folder.path().to_path_buf(), visible }
            }
            Err(error) => {
                static ONCE: Once = Once::new();
                ONCE.call_once(|| log::warn!("{NO_RIGHT}: {error}"));
                TmpAccess::Variable
            }
        };
        Ok(Self { way, folder })
    }

    /// Its path on the machine.
    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Its path for the environment's processes.
    pub(crate) fn seen_as(&self) -> &Path {
        if self.is_mounted() { Path::new(TMP) } else { self.path() }
    }

    /// Whether it is their `/tmp`.
    pub(crate) fn is_mounted(&self) -> bool {
        !matches!(self.way, TmpAccess::Variable)
    }
}

/// A thread with a mount namespace of its own, which starts processes in it. They die with the
/// thread, so it lives as long as the environment.
#[derive(Clone, Debug)]
pub(crate) struct Starter(mpsc::Sender<Job>);

type Job = Box<dyn FnOnce() + Send>;

impl Starter {
    fn new(folder: &Path, visible: Vec<PathBuf>) -> io::Result<Self> {
        let (jobs, inbox) = mpsc::channel::<Job>();
        let (tell, entered) = mpsc::sync_channel(1);
        let (folder, runtime) = (folder.to_path_buf(), Handle::current());
        thread::Builder::new().name("starter".into()).spawn(move || {
            let result = mounts::enter(&folder, &visible, MountRight::Root);
            let failed = result.is_err();
            if tell.send(result).is_err() || failed {
                return;
            }
            let _context = runtime.enter();
            for job in inbox {
                job();
            }
        })?;
        entered.recv().map_err(io::Error::other)??;
        Ok(Self(jobs))
    }

    /// Runs this in the thread.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        job: impl FnOnce() -> T + Send + 'static,
    ) -> io::Result<T> {
        let (tell, done) = oneshot::channel();
        let job: Job = Box::new(move || {
            let _ = tell.send(job());
        });
        self.0.send(job).map_err(|_| io::Error::other("the thread that starts processes ended"))?;
        done.await.map_err(io::Error::other)
    }
}

/// Whether a user namespace gives this user the right to mount. It tries once.
fn may_mount(helper: &Path, folder: &Path) -> bool {
    static MAY: OnceLock<bool> = OnceLock::new();
    *MAY.get_or_init(|| {
        let mut command = Command::new(helper);
        command.arg(helper::ENTER).arg("--tmp").arg(folder).args(["--", "true"]);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command.status().is_ok_and(|status| status.success())
    })
}

/// The entries of the machine's `/tmp` to which the environment gets a path.
fn visible(config: &Builder) -> Vec<PathBuf> {
    let mut paths: Vec<&Path> = config.sandbox.as_deref().into_iter().collect();
    let mut variables: Vec<&(String, String)> = config.variables.iter().collect();
    let mut texts = Vec::new();
    for extension in &config.extensions {
        paths.push(&extension.path);
        variables.extend(&extension.variables);
        texts.extend(&extension.args);
    }
    if let Function::Command(command) = &config.function {
        paths.push(&command.task_root);
        variables.extend(&command.variables);
        texts.extend(&command.command);
    }
    texts.extend(variables.into_iter().map(|(_, value)| value));
    let paths = paths.into_iter().map(|path| path.to_string_lossy().into_owned());
    let texts: Vec<String> = texts.into_iter().cloned().chain(paths).collect();
    entries(&texts, Path::new(TMP))
}

/// The entries of `tmp` that these texts name: as a path, in a list of paths, or in an option.
fn entries(texts: &[String], tmp: &Path) -> Vec<PathBuf> {
    let split = |text: &String| text.split(SEPARATORS).map(PathBuf::from).collect::<Vec<_>>();
    let named = texts.iter().flat_map(|text| [vec![PathBuf::from(text)], split(text)].concat());
    let entry = |path: PathBuf| match path.strip_prefix(tmp).ok()?.components().next()? {
        Component::Normal(name) => Some(tmp.join(name)),
        _ => None,
    };
    // A path elsewhere may be a link into it.
    let targets = |path: PathBuf| {
        let target = Some(&path).filter(|path| path.is_absolute());
        let target = target.and_then(|path| fs::canonicalize(path).ok());
        [Some(path), target].into_iter().flatten()
    };
    let found: BTreeSet<PathBuf> = named.flat_map(targets).filter_map(entry).collect();
    found.into_iter().filter(|entry| entry.exists()).collect()
}

const SEPARATORS: [char; 5] = [':', '=', ',', ';', ' '];

const NO_RIGHT: &str = "functions share the machine's /tmp, and TMPDIR names a folder of their \
                        own, because this user may not mount";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_handed_by_path_stays_visible() {
        let folder = tempfile::tempdir().expect("a folder");
        let tmp = folder.path().canonicalize().expect("a path");
        for name in ["cache", "with blank", "other"] {
            fs::create_dir(tmp.join(name)).expect("a folder");
        }
        fs::write(tmp.join("ca.pem"), "").expect("a file");
        let elsewhere = tempfile::tempdir().expect("a folder");
        let link = elsewhere.path().join("link");
        std::os::unix::fs::symlink(tmp.join("cache/x"), &link).expect("a link");
        let at = |rest: &str| tmp.join(rest).to_string_lossy().into_owned();
        let found = |texts: &[String]| {
            let names =
                |entry: PathBuf| entry.file_name().expect("a name").to_string_lossy().into_owned();
            entries(texts, &tmp).into_iter().map(names).collect::<Vec<_>>()
        };
        assert_eq!(found(&[at("ca.pem")]), ["ca.pem"]);
        assert_eq!(found(&[format!("-Dx={}:{}/*", at("cache/lib"), at("cache/a"))]), ["cache"]);
        assert_eq!(found(&[at("with blank/file")]), ["with blank"]);
        for nothing in [at("absent/file"), at(""), at("../etc"), "/".into(), "cache".into()] {
            assert_eq!(found(std::slice::from_ref(&nothing)), [""; 0], "{nothing}");
        }
        fs::create_dir(tmp.join("cache/x")).expect("a folder");
        assert_eq!(found(&[link.to_string_lossy().into_owned()]), ["cache"]);
    }
}
