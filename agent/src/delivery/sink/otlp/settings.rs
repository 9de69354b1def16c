//! What the agent keeps of OpenTelemetry's variables: how counts relate, and who reports them.

use oom_witness_core::format::pairs::{are_pairs, encoded_pairs};
use oom_witness_core::sizes::{SOURCE_TAGS_SIZE, SOURCE_TEXT_MAX};

use crate::variable::{InvalidVariable, NOT_SET, Variables, Warning, text, text_or_empty};

/// What the agent keeps of OpenTelemetry's variables.
#[derive(Debug, Default)]
pub(crate) struct OtlpSettings {
    /// Each count is a sum since the start (`OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE`).
    /// The specification's default is sums. Ours is deltas, since some backends take nothing else.
    pub(crate) is_cumulative: bool,
    /// `OTEL_RESOURCE_ATTRIBUTES`, with its escapes, as far as there is room.
    pub(crate) resource_attributes: String,
    /// `OTEL_SERVICE_NAME`.
    pub(crate) service_name: String,
}

impl OtlpSettings {
    /// Reads the variables. Warns only if the sink `is_used`.
    pub(super) fn from_vars(
        get: Variables<'_>,
        is_used: bool,
        warn: &mut dyn FnMut(Warning),
    ) -> Self {
        let mut warn_if_used = |warning| {
            if is_used {
                warn(warning);
            }
        };
        let mut settings = Self::default();
        match temporality(get) {
            Ok(is_cumulative) => settings.is_cumulative = is_cumulative,
            Err(invalid) => {
                warn_if_used(Warning::NotUsed(invalid, "each count is sent as a delta"));
            }
        }
        let name = "OTEL_RESOURCE_ATTRIBUTES";
        let attributes = text(get, name);
        settings.resource_attributes = attributes
            .and_then(|text| {
                let takes = "key=value pairs in UTF-8, with commas between them and % escapes";
                if are_pairs(&text) { Ok(text) } else { Err(InvalidVariable { name, takes }) }
            })
            .unwrap_or_else(|invalid| {
                warn_if_used(Warning::NotUsed(invalid, NOT_SET));
                String::new()
            });
        let count = fit_attributes(&mut settings.resource_attributes);
        if count > 0 {
            warn_if_used(Warning::AttributesLeftOut { name, count });
        }
        let name = "OTEL_SERVICE_NAME";
        settings.service_name = text_or_empty(get, name, &mut warn_if_used);
        if settings.service_name.len() > SOURCE_TEXT_MAX {
            settings.service_name.clear();
            let takes = "at most 200 bytes";
            warn_if_used(Warning::NotUsed(InvalidVariable { name, takes }, NOT_SET));
        }
        settings
    }
}

const _: () = assert!(SOURCE_TEXT_MAX == 200, "a warning names this number");

/// True for `cumulative`. What the specification calls `lowmemory` is delta for a counter.
fn temporality(get: Variables<'_>) -> Result<bool, InvalidVariable> {
    let name = "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE";
    let text = text(get, name)?;
    let is = |word: &str| text.eq_ignore_ascii_case(word);
    if is("cumulative") {
        Ok(true)
    } else if is("") || is("delta") || is("lowmemory") {
        Ok(false)
    } else {
        Err(InvalidVariable { name, takes: "delta, lowmemory or cumulative" })
    }
}

/// Removes the pairs that do not fit into a request from `attributes`. Returns how many.
fn fit_attributes(attributes: &mut String) -> usize {
    let (mut size, mut left_out) = (0, 0);
    let mut fitting = String::new();
    for pair in attributes.split(',') {
        let Some((key, value)) = encoded_pairs(pair).next() else { continue };
        let with_it = size + key.encoded_size() + value.encoded_size() + ATTRIBUTE_EXTRA;
        if with_it > SOURCE_TAGS_SIZE {
            left_out += 1;
            continue;
        }
        size = with_it;
        if !fitting.is_empty() {
            fitting.push(',');
        }
        fitting.push_str(pair);
    }
    *attributes = fitting;
    left_out
}

/// Bytes of an attribute beside its key and its value: four tags, and four lengths, two of which
/// may have two bytes.
const ATTRIBUTE_EXTRA: usize = 10;
