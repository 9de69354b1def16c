//! The commands of the pages that people read first. Each runs here, with the real AWS CLI against
//! moto where it needs AWS, or a script runs it.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, Output};

use sandbox::{Environment, Extension, Function, KeyServices, ShutdownReason};
use tempfile::TempDir;

use crate::agent::support::binary::binary;
use crate::build::build;
use crate::publish;

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");

/// The pages, and the folder in which their commands are typed.
const PAGES: [(&str, &str); 4] = [
    ("README.md", "."),
    ("SECURITY.md", "."),
    ("core/README.md", "."),
    ("templates/README.md", "templates"),
];

/// How each command that runs here begins, its exit code, and words that it prints.
const HERE: [(&str, i32, &str); 9] = [
    ("aws lambda publish-layer-version ", 0, "arn:aws:lambda:eu-central-1:"),
    ("aws lambda update-function-configuration ", 0, "layer:oom-witness:1"),
    ("aws cloudformation deploy ", 0, "Successfully created"),
    ("echo ", 0, ""),
    ("aws lambda invoke ", 0, "{\"grow\": true}"),
    ("oom-witness --check", 0, "Sinks:"),
    ("aws logs filter-log-events ", 0, ""),
    ("cargo run --release -p oom-witness-core --example scan -- ", 1, "ran out of memory"),
    ("scan ", 1, "ran out of memory"),
];

/// The commands that a script runs, and the words with which it does.
const IN_SCRIPTS: [(&str, &str, &str); 8] = [
    ("cargo layer", ".ci/run", "$install_command"),
    ("cargo run --release -p integration-tests", ".ci/run", "$see_command"),
    (
        "cargo run --release -p integration-tests -- replay tests/data/corpus/node-heap-128.ndjson",
        ".ci/run",
        "$ask_command",
    ),
    (
        "unzip -o dist/oom-witness-x86_64.zip -d dist/oom-witness-x86_64",
        ".ci/run",
        "$unzip_command",
    ),
    (
        "cargo run --release -p integration-tests -- run python --extension \
         dist/oom-witness-x86_64/extensions/oom-witness",
        ".ci/run",
        "$layer_command",
    ),
    ("cargo test", ".ci/run", "$test_command"),
    (
        "cargo run --release -p size-report -- survival --build layer",
        ".ci/full",
        "cargo run --release --locked -p size-report -- survival --build layer\n",
    ),
    ("cargo install --path core --example scan", ".ci/run", "--example scan"),
];

/// These need AWS itself, a registry, or a Docker daemon. `templates/check` does what their tools
/// can do without.
const NOT_RUN: [&str; 7] = [
    "(cd cdk && npm ci && npx aws-cdk deploy --context layerArn=ARN)",
    "zip --junk-paths function.zip function/index.*",
    "terraform -chdir=terraform init",
    "terraform -chdir=terraform apply -var oom_witness_layer_arn=ARN -var package=../function.zip \
     -var role_arn=ROLE",
    "(cd serverless && npm ci && npx osls deploy --param layerArn=ARN)",
    "docker build --platform linux/amd64 --provenance=false --tag IMAGE --file container/Dockerfile \
     function",
    "docker push IMAGE",
];

/// The commands of a page, each in one line.
fn commands(page: &str) -> Vec<String> {
    let text = fs::read_to_string(format!("{ROOT}/{page}")).expect("a page");
    let text = text.replace("\\\n", "");
    let blocks = text.split("```sh\n").skip(1).filter_map(|block| block.split("```").next());
    let lines = blocks.flat_map(str::lines).map(|line| line.split(" # ").next().unwrap_or(line));
    let words = lines.map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "));
    words.filter(|line| !line.is_empty() && !line.starts_with("# ")).collect()
}

/// An account at moto, and a folder like a checkout with a built layer.
struct Reader {
    services: KeyServices,
    folder: TempDir,
    /// What stands for `ARN`.
    arn: String,
}

impl Reader {
    fn start() -> Option<Self> {
        let services = publish::open_services()?;
        let folder = tempfile::tempdir().expect("a folder");
        let templates = folder.path().join("templates");
        fs::create_dir_all(&templates).expect("a folder");
        for entry in fs::read_dir(format!("{ROOT}/templates")).expect("the templates") {
            let entry = entry.expect("an entry");
            symlink(entry.path(), templates.join(entry.file_name())).expect("a link");
        }
        fs::create_dir_all(folder.path().join("dist")).expect("a folder");
        fs::write(folder.path().join("dist/oom-witness-x86_64.zip"), publish::empty_zip("layer"))
            .expect("a file");
        let programs = folder.path().join("bin");
        fs::create_dir_all(&programs).expect("a folder");
        let scan = build(&["-p", "oom-witness-core", "--example", "scan"]).join("examples/scan");
        symlink(binary(), programs.join("oom-witness")).expect("a link");
        symlink(scan, programs.join("scan")).expect("a link");
        let reader = Self { services, folder, arn: String::new() };
        reader.have_a_function_that_ran_out_of_memory();
        Some(reader)
    }

    fn have_a_function_that_ran_out_of_memory(&self) {
        let mut command = Command::new(publish::tools("moto").join("python"));
        command.args(["-c", include_str!("pages/account.py"), self.services.url()]);
        let output = self.with_account(&mut command).output().expect("python");
        assert!(output.status.success(), "{output:#?}");
    }

    fn with_account<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        command.envs(self.services.denied()).env("AWS_ENDPOINT_URL", self.services.url());
        command.env("AWS_DEFAULT_REGION", "eu-central-1").env("HOME", self.folder.path())
    }

    /// Types a command in a folder of the checkout.
    fn types(&self, command: &str, folder: &str) -> Output {
        let path = std::env::var("PATH").unwrap_or_default();
        let aws = publish::tools("awscli");
        let programs = format!("{}/bin:{}:{path}", self.folder.path().display(), aws.display());
        let command = command.replace("ARN", &self.arn).replace("FUNCTION", "resize");
        // The program is built already.
        let command =
            command.replace("cargo run --release -p oom-witness-core --example scan -- ", "scan ");
        let mut bash = Command::new("bash");
        bash.args(["-c", &command]).current_dir(self.folder.path().join(folder));
        self.with_account(&mut bash).env("PATH", programs).output().expect("bash")
    }
}

#[test]
fn each_command_of_the_pages_does_what_the_page_says() {
    let Some(mut reader) = Reader::start() else { return };
    let mut seen = Vec::new();
    for (page, folder) in PAGES {
        for command in commands(page) {
            if let Some((_, script, words)) =
                IN_SCRIPTS.iter().find(|(whole, ..)| *whole == command)
            {
                let text = fs::read_to_string(format!("{ROOT}/{script}")).expect("a script");
                assert!(text.contains(words), "{script} does not run {command}");
            } else if let Some((_, code, words)) =
                HERE.iter().find(|(start, ..)| command.starts_with(start))
            {
                let output = reader.types(&command, folder);
                let printed = String::from_utf8_lossy(&output.stdout);
                assert_eq!(output.status.code(), Some(*code), "{page}: {command}: {output:#?}");
                assert!(printed.contains(words), "{page}: {command} prints {printed}");
                if command.starts_with("aws lambda publish-layer-version") {
                    printed.trim().clone_into(&mut reader.arn);
                }
            } else {
                assert!(NOT_RUN.contains(&command.as_str()), "{page}: nobody runs {command}");
            }
            seen.push(command);
        }
    }
    for (start, ..) in HERE {
        assert!(seen.iter().any(|command| command.starts_with(start)), "no page has {start}");
    }
    let wholes = IN_SCRIPTS.iter().map(|(whole, ..)| *whole).chain(NOT_RUN);
    for whole in wholes {
        assert!(seen.iter().any(|command| command == whole), "no page has {whole}");
    }
}

/// The agent's first line, and words of its other lines.
#[test]
fn each_line_in_troubleshooting_is_one_that_the_agent_writes() {
    let page = fs::read_to_string(format!("{ROOT}/README.md")).expect("a page");
    let (_, part) = page.split_once("\n## Troubleshooting\n").expect("the part");
    let (part, _) = part.split_once("\n## ").expect("its end");
    let (_, first) = part.split_once("```text\n").expect("a line");
    let (first, _) = first.split_once("\n```").expect("its end");
    let environment = Environment::builder().function(Function::Synthetic);
    let environment = environment.extension(Extension::new(binary()));
    let mut environment = environment.start().expect("an environment");
    environment.shutdown(ShutdownReason::Spindown).expect("a shutdown");
    let lines = environment.extension_lines();
    let line = &lines.iter().find(|line| line.text.contains("watches")).expect("a line").text;
    let (line, port) = line.rsplit_once(' ').expect("a port");
    assert!(port.parse::<u16>().is_ok());
    assert_eq!(first, format!("{} 6161", line.replace("sandbox-function", "resize")));

    let mut code = String::new();
    read_code(Path::new(&format!("{ROOT}/agent/src")), &mut code);
    for words in [
        "nothing will be detected",
        "the previous process was killed in this environment, perhaps for its memory",
        "has not taken a metric yet",
    ] {
        assert!(part.replace('\n', " ").contains(words), "troubleshooting does not say {words}");
        assert!(code.contains(words), "the agent does not say {words}");
    }
}

/// Appends all lines that are no comment.
fn read_code(folder: &Path, code: &mut String) {
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            read_code(&path, code);
            continue;
        }
        let text = fs::read_to_string(&path).expect("a file");
        for line in text.lines().filter(|line| !line.trim_start().starts_with("//")) {
            *code += line;
        }
    }
}
