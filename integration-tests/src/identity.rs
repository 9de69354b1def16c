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
    pub(crate) handler: String,
    pub(crate) memory_mb: u64,
    pub(crate) initialization_type: InitializationType,
}

impl Identity {
    pub(crate) fn is_managed(&self) -> bool {
        self.initialization_type == InitializationType::ManagedInstances
    }
}

pub(crate) const NAME: &str = "sandbox-function";
pub(crate) const VERSION: &str = "$LATEST";
pub(crate) const ACCOUNT_ID: &str = "123456789012";
pub(crate) const REGION: &str = "us-east-1";
pub(crate) const ARN: &str = "arn:aws:lambda:us-east-1:123456789012:function:sandbox-function";
