//! The `/tmp` of an environment: its own, kept by its resets, shared by runtime and extensions.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::thread;
use std::time::{Duration, Instant};

use sandbox::{Behavior, Builder, Environment, Function, FunctionCommand, Runtime, Work};

use crate::{binary, free, skip};

/// A function that runs a shell script and ends, so that its init fails.
fn shell(builder: Builder, script: &str) -> Builder {
    let command = ["/bin/sh", "-c", script].map(str::to_string).to_vec();
    let task_root = "/".into();
    builder.function(Function::Command(FunctionCommand {
        command,
        task_root,
        ..FunctionCommand::default()
    }))
}

/// What the function wrote since the last time, up to this line. What a dead function wrote may
/// still be on its way when its init has failed.
fn said(environment: &Environment, read: &mut usize, last: &str) -> Vec<String> {
    let limit = Instant::now() + Duration::from_secs(30);
    loop {
        let lines = environment.function_lines();
        let new: Vec<_> = lines.iter().skip(*read).map(|line| line.text.clone()).collect();
        if new.iter().any(|line| line == last) || Instant::now() > limit {
            *read = lines.len();
            return new;
        }
        thread::sleep(Duration::from_millis(1));
    }
}

/// Without the right to mount there is nothing to see here.
fn has_own_tmp(environment: &Environment, test: &str) -> bool {
    let has = environment.has_own_tmp();
    if !has {
        skip(test, "this user may not mount");
    }
    has
}

fn script(path: &Path, text: &str) -> PathBuf {
    fs::write(path, format!("#!/bin/sh\n{text}\n")).expect("a script");
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).expect("permissions");
    path.to_path_buf()
}

#[test]
fn environments_do_not_see_each_others_tmp_and_a_restart_keeps_it() {
    let test = "environments_do_not_see_each_others_tmp_and_a_restart_keeps_it";
    let name = format!("mark-{}", std::process::id());
    let look = format!("ls -A /tmp; echo \"$TMPDIR\"; : > /tmp/{name}");
    let (mut first_read, mut second_read) = (0, 0);
    let mut first = shell(free(""), &look).start().expect("an environment");
    if !has_own_tmp(&first, test) {
        return;
    }
    // The built binary may be below /tmp itself.
    let besides = |mut lines: Vec<String>| {
        let binary = binary();
        lines.retain(|line| line == "/tmp" || !binary.starts_with(Path::new("/tmp").join(line)));
        lines
    };
    assert_eq!(besides(said(&first, &mut first_read, "/tmp")), ["/tmp"]);
    let second = shell(free(""), &look).start().expect("an environment");
    assert_eq!(besides(said(&second, &mut second_read, "/tmp")), ["/tmp"], "another one's files");

    first.restart().expect("a restart");
    assert_eq!(besides(said(&first, &mut first_read, "/tmp")), [name.as_str(), "/tmp"]);

    assert!(!Path::new("/tmp").join(&name).exists(), "it is in the machine's /tmp");
    let folder = first.folder().to_path_buf();
    assert!(folder.join(&name).exists(), "it is not on the disk");
    drop(first);
    assert!(!folder.exists(), "it outlives the environment");
}

#[test]
fn runtime_and_extension_share_tmp_and_see_entries_they_got_paths_to() {
    let test = "runtime_and_extension_share_tmp_and_see_entries_they_got_paths_to";
    let folder = tempfile::tempdir_in("/tmp").expect("a folder");
    let extension = folder.path().join("test-extension");
    // The script and what it reads are below the machine's /tmp.
    fs::write(folder.path().join("neighbour"), "handed\n").expect("a file");
    let neighbour = "cat \"$(dirname \"$0\")/neighbour\" >/tmp/from-extension";
    let text = format!("{neighbour}; exec {} __extension", binary().display());
    let extension = sandbox::Extension::new(script(&extension, &text));
    let builder = Environment::builder().sandbox(binary()).extension(extension);
    let environment = shell(builder, "cat /tmp/from-extension").start().expect("an environment");
    if !has_own_tmp(&environment, test) {
        return;
    }
    assert_eq!(
        said(&environment, &mut 0, "handed"),
        ["handed"],
        "{:?}",
        environment.extension_lines()
    );
    assert!(!Path::new("/tmp/from-extension").exists());
    // What stayed visible is the machine's own: the environment's end removes none of it.
    drop(environment);
    assert!(folder.path().join("neighbour").exists());
}

#[test]
fn an_environment_in_a_cgroup_has_its_own_tmp() {
    let test = "an_environment_in_a_cgroup_has_its_own_tmp";
    let Some(builder) = crate::limited(test, "") else { return };
    let environment = shell(builder, ": > /tmp/in-cgroup").start().expect("an environment");
    if has_own_tmp(&environment, test) {
        assert!(environment.folder().join("in-cgroup").exists());
        assert!(!Path::new("/tmp/in-cgroup").exists());
    }
}

/// The client copies its native part to this very path; root's copy would stop every other user's.
#[test]
fn javas_client_leaves_nothing_in_the_machines_tmp() {
    let test = "javas_client_leaves_nothing_in_the_machines_tmp";
    let required = sandbox::require_all();
    if !required && !Runtime::is_ready("java") {
        return skip(test, "sandbox run java sets it up");
    }
    let java = match Runtime::ready("java") {
        Ok(java) => java,
        Err(missing) => return skip(test, &missing.to_string()),
    };
    let builder = free("").memory_mb(512).function(Function::Command(java.function()));
    let mut environment = builder.start().expect("an environment");
    let succeed = Work::new(Behavior::Succeed).payload();
    let outcome = environment.invoke(&succeed).expect("an outcome");
    assert_eq!(outcome.status, sandbox::Status::Success, "{outcome:?}");
    if has_own_tmp(&environment, test) {
        assert!(environment.folder().join(".libaws-lambda-jni.so").exists());
    }
}

/// `sandbox run`, by `unshare` with these arguments; `first` is done before.
fn run_as(arguments: &[&str], first: &str) -> Output {
    let run = "run builtin --unlimited --behavior succeed --extension test";
    let mut command = Command::new("unshare");
    command.args(arguments).args(["/bin/sh", "-c", &format!("{first} exec \"$0\" {run}")]);
    command.arg(binary()).output().expect("unshare of util-linux")
}

fn may_unshare(arguments: &[&str], test: &str) -> bool {
    let mut command = Command::new("unshare");
    let works = command.args(arguments).arg("true").output().is_ok_and(|out| out.status.success());
    if !works {
        skip(test, "this user may not make a user namespace");
    }
    works
}

#[test]
fn a_user_without_rights_has_a_tmp_too() {
    let test = "a_user_without_rights_has_a_tmp_too";
    let user = ["--user", "--map-user=1000", "--map-group=1000"];
    if !may_unshare(&user, test) {
        return;
    }
    let output = run_as(&user, "! mount --bind / / 2>/dev/null || exit 9;");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    assert!(!errors.contains("may not mount"), "{errors}");
}

#[test]
fn without_the_right_to_mount_the_sandbox_warns_once() {
    let test = "without_the_right_to_mount_the_sandbox_warns_once";
    let user = ["--user", "--map-root-user"];
    if !may_unshare(&user, test) {
        return;
    }
    let output = run_as(&user, "echo 0 >/proc/sys/user/max_mnt_namespaces;");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    assert_eq!(errors.matches("this user may not mount").count(), 1, "{errors}");
}
