//! Where a key is, for a sink whose variables name a place in AWS and not the key.
//!
//! In: the variable that names the place. Out: the place, for the child, which fetches the key
//! (`child/key.rs`). The agent only asks whether there is one: it never has the key.

use std::borrow::Cow;

use crate::variable::{InvalidVariable, Variables, text};

/// An AWS service that keeps keys.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum KeyStore {
    /// A secret, by its ARN.
    SecretsManager,
    /// A parameter, by its ARN.
    Ssm,
    /// It keeps nothing: it decrypts what the variable holds.
    Kms,
}

impl KeyStore {
    /// The service's name in addresses, signatures and permissions.
    pub(crate) const fn service(self) -> &'static str {
        match self {
            Self::SecretsManager => "secretsmanager",
            Self::Ssm => "ssm",
            Self::Kms => "kms",
        }
    }

    /// The call that gives out a key.
    pub(crate) const fn action(self) -> &'static str {
        match self {
            Self::SecretsManager => "GetSecretValue",
            Self::Ssm => "GetParameter",
            Self::Kms => "Decrypt",
        }
    }

    /// The call in the header `x-amz-target`.
    pub(crate) const fn target(self) -> &'static str {
        match self {
            Self::SecretsManager => "secretsmanager.GetSecretValue",
            Self::Ssm => "AmazonSSM.GetParameter",
            Self::Kms => "TrentService.Decrypt",
        }
    }

    const fn takes(self) -> &'static str {
        match self {
            Self::SecretsManager => "the ARN of a secret in Secrets Manager",
            Self::Ssm => "the ARN of a parameter in SSM",
            Self::Kms => "a ciphertext of KMS in base64",
        }
    }

    fn is_place(self, text: &str) -> bool {
        match self {
            Self::SecretsManager => is_arn(text, self.service(), "secret:"),
            Self::Ssm => is_arn(text, self.service(), "parameter/"),
            Self::Kms => is_base64(text),
        }
    }
}

/// Where a key is, and how it becomes headers.
#[derive(Debug)]
pub(crate) struct KeySource {
    /// The variable that names the place.
    pub(crate) variable: &'static str,
    pub(crate) store: KeyStore,
    /// The ARN, or the ciphertext. It holds nothing that JSON would have to escape.
    pub(crate) place: String,
    pub(crate) form: KeyForm,
}

/// Names and values of headers.
pub(crate) type Headers = Vec<(Cow<'static, str>, String)>;

/// How the text that a store gives out becomes headers.
#[derive(Clone, Copy, Debug)]
pub(crate) struct KeyForm {
    /// If the text is a JSON object, the key is its first member of one of these names. If there
    /// are no names, the text counts as it is.
    pub(crate) names: &'static [&'static str],
    /// What the key has to be, for the log.
    pub(crate) takes: &'static str,
    /// Names and values. `None` if the key makes no headers.
    pub(crate) headers: fn(&str) -> Option<Headers>,
}

impl KeySource {
    /// The place that a variable names, in one of `stores`. `None` if it is not set.
    ///
    /// # Errors
    /// The variable holds something else.
    pub(crate) fn from_var(
        get: Variables<'_>,
        variable: &'static str,
        stores: &[KeyStore],
        form: KeyForm,
    ) -> Result<Option<Self>, InvalidVariable> {
        let place = text(get, variable)?;
        if place.is_empty() {
            return Ok(None);
        }
        let store = stores.iter().copied().find(|store| store.is_place(&place));
        let takes = match stores {
            [store] => store.takes(),
            _ => "the ARN of a secret in Secrets Manager, or of a parameter in SSM",
        };
        let store = store.ok_or(InvalidVariable { name: variable, takes })?;
        Ok(Some(Self { variable, store, place, form }))
    }

    /// The region in the ARN. A ciphertext names none.
    pub(crate) fn region(&self) -> Option<&str> {
        self.place.split(':').nth(3)
    }
}

/// The longest ARN that the services take.
const ARN_MAX: usize = 2048;

/// True for `arn:PARTITION:SERVICE:REGION:ACCOUNT:RESOURCE`, where the resource begins with `kind`.
fn is_arn(text: &str, service: &str, kind: &str) -> bool {
    let mut parts = text.splitn(6, ':');
    let is_word = |word: &str| {
        let is_letter = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        !word.is_empty() && word.bytes().all(|byte| is_letter(byte) || byte == b'-')
    };
    let mut part = || parts.next().unwrap_or_default();
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"/_+=.@-:".contains(&byte);
    text.len() <= ARN_MAX
        && part() == "arn"
        && is_word(part())
        && part() == service
        && is_word(part())
        && is_word(part())
        && part()
            .strip_prefix(kind)
            .is_some_and(|name| !name.is_empty() && name.bytes().all(is_allowed))
}

/// KMS takes at most 6144 bytes, and Lambda's variables have 4 KiB.
const BASE64_MAX: usize = 8192;

fn is_base64(text: &str) -> bool {
    let digits = text.trim_end_matches('=');
    let is_digit = |byte: u8| byte.is_ascii_alphanumeric() || b"+/".contains(&byte);
    text.len() <= BASE64_MAX
        && text.len().is_multiple_of(4)
        && text.len() - digits.len() <= 2
        && !digits.is_empty()
        && digits.bytes().all(is_digit)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FORM: KeyForm = KeyForm { names: &[], takes: "", headers: |_| None };

    #[track_caller]
    fn check(store: KeyStore, value: &str, expected: Result<bool, &str>) {
        let get = |_: &str| Some(value.into());
        let found = KeySource::from_var(&get, "X", &[store], FORM);
        let found = found.map(|source| source.is_some()).map_err(|invalid| invalid.takes);
        assert_eq!(found, expected, "{value}");
    }

    #[test]
    fn only_an_arn_of_the_service_names_a_place() {
        let takes = Err("the ARN of a secret in Secrets Manager");
        let long = format!("arn:aws:secretsmanager:us-east-1:1:secret:{}", "x".repeat(2048));
        for (value, expected) in [
            ("", Ok(false)),
            ("arn:aws:secretsmanager:us-east-1:123456789012:secret:dd/key-AbCdEf", Ok(true)),
            (" arn:aws-cn:secretsmanager:cn-north-1:123456789012:secret:a+b=c.d@e_f ", Ok(true)),
            ("dd/key", takes),
            ("arn:aws:ssm:us-east-1:123456789012:parameter/x", takes),
            ("arn:aws:secretsmanager:us-east-1:123456789012:secret:", takes),
            ("arn:aws:secretsmanager:us-east-1:123456789012:secret:a\"b", takes),
            ("arn:aws:secretsmanager:us-east-1:123456789012:secret:a b", takes),
            ("arn:aws:secretsmanager::123456789012:secret:x", takes),
            ("arn:aws:secretsmanager:evil.example/:1:secret:x", takes),
            (&long, takes),
        ] {
            check(KeyStore::SecretsManager, value, expected);
        }
        let takes = Err("the ARN of a parameter in SSM");
        check(KeyStore::Ssm, "arn:aws:ssm:us-east-1:123456789012:parameter/a/b", Ok(true));
        check(KeyStore::Ssm, "arn:aws:ssm:us-east-1:123456789012:document/a", takes);
        check(KeyStore::Ssm, "/a/b", takes);
    }

    #[test]
    fn only_base64_is_a_ciphertext() {
        let takes = Err("a ciphertext of KMS in base64");
        for value in ["AQIC", "AQI=", "AQ==", "+/+/"] {
            check(KeyStore::Kms, value, Ok(true));
        }
        for value in ["A", "AQI", "====", "A===", "AQ=C", "AQI-", "AQ I", "é=="] {
            check(KeyStore::Kms, value, takes);
        }
    }

    #[test]
    fn an_arn_names_its_store() {
        let stores = [KeyStore::SecretsManager, KeyStore::Ssm];
        for (place, expected) in [
            ("arn:aws:secretsmanager:us-east-1:1:secret:x", Ok(KeyStore::SecretsManager)),
            ("arn:aws:ssm:us-east-1:1:parameter/x", Ok(KeyStore::Ssm)),
            ("Y2lw", Err("the ARN of a secret in Secrets Manager, or of a parameter in SSM")),
        ] {
            let get = |_: &str| Some(place.into());
            let found = KeySource::from_var(&get, "X", &stores, FORM);
            let store = found.map(|source| source.unwrap().store);
            assert_eq!(store.map_err(|invalid| invalid.takes), expected, "{place}");
        }
    }

    #[test]
    fn an_arn_names_its_region() {
        let arn = "arn:aws:ssm:eu-central-1:123456789012:parameter/x";
        let get = |_: &str| Some(arn.into());
        let source = KeySource::from_var(&get, "X", &[KeyStore::Ssm], FORM).unwrap().unwrap();
        assert_eq!(source.region(), Some("eu-central-1"));
        let get = |_: &str| Some("AQIC".into());
        let source = KeySource::from_var(&get, "X", &[KeyStore::Kms], FORM).unwrap().unwrap();
        assert_eq!(source.region(), None);
    }
}
