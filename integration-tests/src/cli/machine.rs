//! Removes the folders of this machine from recordings, so that they do not say who made them.
//!
//! In: the text of a recording. Out: the same with Lambda's folders, or a path that remained.

use std::path::{Path, PathBuf};

use crate::runtimes::{self, Runtime};

/// What is replaced, and by what, in this order.
pub(super) struct MachineFolders(Vec<(String, String)>);

impl MachineFolders {
    /// The folders of this machine and of this runtime, which ran with this folder as its `/tmp`.
    pub(super) fn new(runtime: Option<&Runtime>, tmp: &Path) -> Self {
        let mut all = vec![(tmp.to_path_buf(), "/tmp".to_string())];
        all.extend(runtime.map(Runtime::folders).unwrap_or_default());
        all.extend(runtimes::root().map(|folder| (folder, "/var/task".into())));
        all.push((runtimes::cache_root(), "/opt/cache".into()));
        let known = |(folder, _): &(PathBuf, String)| folder.parent().is_some();
        let text = |(folder, name): (PathBuf, String)| (folder.to_string_lossy().into(), name);
        Self(all.into_iter().filter(known).map(text).collect())
    }

    /// The recording without them.
    pub(super) fn leave_out(&self, recording: &str) -> String {
        self.0.iter().fold(recording.to_string(), |text, (folder, name)| text.replace(folder, name))
    }
}

/// A path in a recording that no Lambda environment would have, if there is one.
pub fn foreign_path(recording: &str) -> Option<&str> {
    let begins = |at: &usize| {
        let text = &recording[..*at];
        // JSON writes a blank before a path as `\t/usr` or `\n/usr`. `https://` is no path.
        let escaped = text.ends_with("\\t") || text.ends_with("\\n");
        let inside = |byte: u8| byte.is_ascii_alphanumeric() || b"/._-+".contains(&byte);
        let is_url = text.ends_with("https:") || text.ends_with("http:");
        escaped || !is_url && !text.bytes().next_back().is_some_and(inside)
    };
    let starts = recording.match_indices('/').map(|(at, _)| at).filter(begins);
    let path = |at: usize| {
        let text = &recording[at..];
        let end = text.find(|sign: char| !sign.is_ascii_alphanumeric() && !"/._-@+".contains(sign));
        &text[..end.unwrap_or(text.len())]
    };
    let is_path = |path: &&str| path.trim_matches('/').contains('/');
    let is_known = |path: &&str| {
        let path = path.strip_prefix("//").unwrap_or(path); // of `file:///`
        KNOWN.iter().any(|known| path.starts_with(known))
    };
    starts.map(path).filter(is_path).find(|path| !is_known(path))
}

/// Folders of a Lambda environment, and the sources of Go's and Rust's compilers.
const KNOWN: [&str; 9] =
    ["/var/task/", "/opt/", "/tmp/", "/usr/", "/lib", "/dev/", "/proc/", "/go/pkg/", "/rustc/"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_are_replaced_by_those_of_lambda() {
        let replaced = [("/home/me/tmp-1", "/tmp"), ("/home/me", "/var/task")];
        let machine = MachineFolders(replaced.map(|(a, b)| (a.to_string(), b.to_string())).into());
        let recording = r#"at /home/me/tmp-1/a.js:3, file:///home/me/b.py"#;
        assert_eq!(machine.leave_out(recording), "at /tmp/a.js:3, file:///var/task/b.py");
    }

    #[test]
    fn a_path_of_another_machine_is_found() {
        for (text, found) in [
            (r#""at main (/home/me/a.js:3)""#, Some("/home/me/a.js")),
            (r#""\t/root/go/pkg/x.go:1""#, Some("/root/go/pkg/x.go")),
            (r#""file:///work/handler.js""#, Some("///work/handler.js")),
            (r#""/var/task/a.js file:///opt/cache/y a/b 1/2 text/plain https://a.b/c""#, None),
        ] {
            assert_eq!(foreign_path(text), found, "{text}");
        }
    }
}
