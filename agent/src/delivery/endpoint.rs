//! The addresses of AWS's services, from the variables that AWS's SDKs know too.
//!
//! In: the environment, a service and a region. Out: the address. The agent asks in order to warn,
//! and the child in order to call. Nothing here connects.

use crate::delivery::key_source::KeyStore;
use crate::delivery::sink::SinkRequest;
use crate::variable::{InvalidVariable, VariableRow, Variables, Warning, text, variables};

/// Its variables.
pub(crate) const VARIABLES: &[VariableRow] = variables![
    [
        "AWS_ENDPOINT_URL",
        "AWS_ENDPOINT_URL_SECRETS_MANAGER",
        "AWS_ENDPOINT_URL_SSM",
        "AWS_ENDPOINT_URL_KMS"
    ] Address
        "other addresses of these services",
    ["AWS_USE_FIPS_ENDPOINT"] All "true: their FIPS addresses",
];

/// The variable for all services.
const ALL: &str = "AWS_ENDPOINT_URL";

const FIPS: &str = "AWS_USE_FIPS_ENDPOINT";

/// Domains of AWS by the beginning of a region's name.
const DOMAINS: [(&str, &str); 6] = [
    ("cn-", "amazonaws.com.cn"),
    ("us-iso-", "c2s.ic.gov"),
    ("us-isob-", "sc2s.sgov.gov"),
    ("eu-isoe-", "cloud.adc-e.uk"),
    ("us-isof-", "csp.hci.ic.gov"),
    ("eusc-", "amazonaws.eu"),
];

const DOMAIN: &str = "amazonaws.com";

/// What a variable takes that names an [`origin`].
pub(crate) const TAKES_ORIGIN: &str = "an http or https address without a path";

/// The consequence of an address that is exposed.
pub(crate) const EXPOSES_KEY: &str =
    "is not https and leads to another machine: the API key can be read on its way";

/// `url` without the slash at its end, if it is scheme and host and nothing else.
pub(crate) fn origin(url: &str) -> Option<&str> {
    let url = url.strip_suffix('/').unwrap_or(url);
    let host = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"))?;
    is_host(host).then_some(url)
}

/// True for a host, or a host and a port.
pub(crate) fn is_host(text: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b".-_:[]".contains(&byte);
    !text.is_empty() && text.bytes().all(allowed)
}

/// The address of a service, without a slash at its end. Calls `warn` for each variable that cannot
/// be used, and for an address to which the key would come unencrypted.
pub(crate) fn from_vars(
    get: Variables<'_>,
    store: KeyStore,
    region: &str,
    warn: &mut dyn FnMut(Warning),
) -> String {
    for name in [variable(store), ALL] {
        match text(get, name) {
            Ok(value) if value.is_empty() => {}
            Ok(value) => match origin(&value) {
                Some(url) => {
                    if SinkRequest::is_exposed(url) {
                        warn(Warning::Used { name, but: EXPOSES_KEY });
                    }
                    return url.to_owned();
                }
                None => warn(Warning::NotUsed(
                    InvalidVariable { name, takes: TAKES_ORIGIN },
                    "the key is fetched without it",
                )),
            },
            Err(invalid) => warn(Warning::NotUsed(invalid, "the key is fetched without it")),
        }
    }
    let suffix = if uses_fips(get, warn) { "-fips" } else { "" };
    let domain = DOMAINS.iter().find(|(start, _)| region.starts_with(start));
    let domain = domain.map_or(DOMAIN, |(_, domain)| domain);
    ["https://", store.service(), suffix, ".", region, ".", domain].concat()
}

fn uses_fips(get: Variables<'_>, warn: &mut dyn FnMut(Warning)) -> bool {
    let value = text(get, FIPS).map(|value| value.to_ascii_lowercase());
    match value.as_deref() {
        Ok("true") => true,
        Ok("" | "false") => false,
        _ => {
            let invalid = InvalidVariable { name: FIPS, takes: "true or false" };
            warn(Warning::NotUsed(invalid, "the default is false"));
            false
        }
    }
}

const fn variable(store: KeyStore) -> &'static str {
    match store {
        KeyStore::SecretsManager => "AWS_ENDPOINT_URL_SECRETS_MANAGER",
        KeyStore::Ssm => "AWS_ENDPOINT_URL_SSM",
        KeyStore::Kms => "AWS_ENDPOINT_URL_KMS",
    }
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;

    use super::*;

    #[track_caller]
    fn check(vars: &[(&str, &str)], region: &str, expected: &str, warned: &[&str]) {
        let get = |name: &str| {
            let var = vars.iter().find(|(var, _)| *var == name);
            var.map(|(_, value)| OsString::from(value))
        };
        let mut names = Vec::new();
        let found =
            from_vars(&get, KeyStore::Ssm, region, &mut |warning| names.push(warning.name()));
        assert_eq!((found.as_str(), names.as_slice()), (expected, warned), "{vars:?}");
    }

    #[test]
    fn the_region_gives_the_partition() {
        for (region, expected) in [
            ("us-east-1", "https://ssm.us-east-1.amazonaws.com"),
            ("us-gov-west-1", "https://ssm.us-gov-west-1.amazonaws.com"),
            ("cn-north-1", "https://ssm.cn-north-1.amazonaws.com.cn"),
            ("us-iso-east-1", "https://ssm.us-iso-east-1.c2s.ic.gov"),
            ("us-isob-east-1", "https://ssm.us-isob-east-1.sc2s.sgov.gov"),
            ("eu-isoe-west-1", "https://ssm.eu-isoe-west-1.cloud.adc-e.uk"),
            ("us-isof-south-1", "https://ssm.us-isof-south-1.csp.hci.ic.gov"),
            ("eusc-de-east-1", "https://ssm.eusc-de-east-1.amazonaws.eu"),
        ] {
            check(&[], region, expected, &[]);
        }
    }

    #[test]
    fn fips_is_another_name() {
        let plain = "https://ssm.us-east-1.amazonaws.com";
        let fips = "https://ssm-fips.us-east-1.amazonaws.com";
        for (value, expected, warned) in [
            ("true", fips, &[][..]),
            ("TRUE", fips, &[]),
            ("false", plain, &[]),
            ("", plain, &[]),
            ("yes", plain, &["AWS_USE_FIPS_ENDPOINT"]),
        ] {
            check(&[("AWS_USE_FIPS_ENDPOINT", value)], "us-east-1", expected, warned);
        }
    }

    #[test]
    fn the_services_own_variable_comes_first() {
        let all = ("AWS_ENDPOINT_URL", "https://vpce.example/");
        let own = ("AWS_ENDPOINT_URL_SSM", "https://ssm.example:8443");
        let other = ("AWS_ENDPOINT_URL_KMS", "https://kms.example");
        check(&[all, own, other], "x", "https://ssm.example:8443", &[]);
        check(&[all, other], "x", "https://vpce.example", &[]);
        let wrong = ("AWS_ENDPOINT_URL_SSM", "https://x/path");
        check(&[all, wrong], "x", "https://vpce.example", &["AWS_ENDPOINT_URL_SSM"]);
        let default = "https://ssm.x.amazonaws.com";
        check(&[("AWS_ENDPOINT_URL", "nonsense")], "x", default, &["AWS_ENDPOINT_URL"]);
    }

    #[test]
    fn an_address_where_others_could_read_the_key_is_a_warning() {
        let local = "http://127.0.0.1:5000";
        check(&[("AWS_ENDPOINT_URL", local)], "x", local, &[]);
        let other = "http://10.0.0.1:5000";
        check(&[("AWS_ENDPOINT_URL", other)], "x", other, &["AWS_ENDPOINT_URL"]);
    }
}
