//! The identity of an environment's function, and its initialization type.

use serde::Deserialize;

/// The `initializationType` of an environment.
#[derive(clap::ValueEnum, Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "kebab-case")]
pub enum InitializationType {
    /// `on-demand`.
    #[default]
    OnDemand,
    /// `provisioned-concurrency`.
    ProvisionedConcurrency,
    /// `snap-start`: a restore follows each init.
    SnapStart,
    /// `lambda-managed-instances`: extensions may register SHUTDOWN only.
    #[value(skip)]
    #[serde(rename = "lambda-managed-instances")]
    ManagedInstances,
}

impl InitializationType {
    /// Lambda's word.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::OnDemand => "on-demand",
            Self::ProvisionedConcurrency => "provisioned-concurrency",
            Self::SnapStart => "snap-start",
            Self::ManagedInstances => "lambda-managed-instances",
        }
    }
}

/// The identity of the function.
#[derive(Clone, Debug)]
pub(crate) struct Identity {
    pub(crate) function_name: String,
    pub(crate) function_version: String,
    pub(crate) handler: String,
    pub(crate) account_id: String,
    pub(crate) region: String,
    pub(crate) memory_mb: u64,
    pub(crate) initialization_type: InitializationType,
}

impl Identity {
    pub(crate) fn arn(&self) -> String {
        let Self { region, account_id, function_name, .. } = self;
        format!("arn:aws:lambda:{region}:{account_id}:function:{function_name}")
    }
}
