//! The environment variables of extensions and of the runtime.

use super::config::FunctionCommand;
use super::secrets::JOURNAL;
use super::supervisor::Supervisor;
use crate::identity;

impl Supervisor {
    /// The variables of both. Only the runtime has names that begin with `_`.
    pub(super) fn common_variables(&self) -> Vec<(String, String)> {
        let identity = &self.lambda.identity;
        let tmp = self.tmp.seen_as();
        // Without a counter it is off, so that no agent reads this machine's.
        let counter = self.cgroup.as_ref().map(|cgroup| cgroup.folder().to_string_lossy());
        let mut variables: Vec<(String, String)> = [
            ("AWS_LAMBDA_RUNTIME_API", self.api.clone()),
            ("AWS_REGION", identity::REGION.into()),
            ("AWS_DEFAULT_REGION", identity::REGION.into()),
            ("AWS_ACCESS_KEY_ID", "sandbox".into()),
            ("AWS_SECRET_ACCESS_KEY", self.credential.clone()),
            ("AWS_SESSION_TOKEN", self.credential.clone()),
            ("AWS_LAMBDA_FUNCTION_NAME", identity::NAME.into()),
            ("AWS_LAMBDA_FUNCTION_VERSION", identity::VERSION.into()),
            ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", identity.memory_mb.to_string()),
            ("AWS_LAMBDA_INITIALIZATION_TYPE", identity.initialization_type.name().into()),
            ("TZ", ":UTC".into()),
            ("LANG", "en_US.UTF-8".into()),
            ("PATH", "/usr/local/bin:/usr/bin:/bin:/opt/bin".into()),
            ("LD_LIBRARY_PATH", "/lib64:/usr/lib64:/var/runtime:/var/task:/opt/lib".into()),
            ("TMPDIR", tmp.to_string_lossy().into()),
            ("OOM_WITNESS_STATE", tmp.join(JOURNAL).to_string_lossy().into()),
            ("OOM_WITNESS_PORT", self.port.port.to_string()),
            ("OOM_WITNESS_VMSTAT", "off".into()),
            ("OOM_WITNESS_CGROUP", counter.unwrap_or("off".into()).into()),
        ]
        .map(|(name, value): (&str, String)| (name.to_string(), value))
        .into();
        if self.is_managed() {
            let concurrency = self.config.concurrency.to_string();
            variables.push(("AWS_LAMBDA_MAX_CONCURRENCY".into(), concurrency));
            let format = self.config.log_format.variable();
            variables.push(("AWS_LAMBDA_LOG_FORMAT".into(), format.into()));
        }
        variables.extend(self.config.variables.clone());
        variables
    }

    pub(super) fn runtime_variables(&self, command: &FunctionCommand) -> Vec<(String, String)> {
        let mut variables = self.common_variables();
        for (name, value) in [
            ("_HANDLER", command.handler.clone()),
            ("LAMBDA_TASK_ROOT", command.task_root.to_string_lossy().into()),
            ("LAMBDA_RUNTIME_DIR", "/var/runtime".into()),
            ("AWS_EXECUTION_ENV", "AWS_Lambda_sandbox".into()),
            ("AWS_LAMBDA_LOG_GROUP_NAME", format!("/aws/lambda/{}", identity::NAME)),
            ("AWS_LAMBDA_LOG_STREAM_NAME", format!("[$LATEST]{}", self.instance)),
            ("AWS_LAMBDA_LOG_FORMAT", self.config.log_format.variable().into()),
        ] {
            variables.push((name.to_string(), value));
        }
        variables.extend(command.variables.clone());
        variables
    }
}
