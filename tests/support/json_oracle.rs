//! The scanner's oracle: the events that serde_json finds in a batch.
//!
//! Events are compared as text, so that neither side's types matter.

use oom_witness_core::{ErrorType, Event, EventKind};
use serde_json::Value;

/// An event of the scanner, as text.
#[must_use]
pub fn event_text(event: &Event) -> String {
    let time = event.time_ms.map_or("-".to_owned(), |ms| ms.to_string());
    let error = |kind: &ErrorType| match kind {
        ErrorType::None => "",
        ErrorType::OutOfMemory => " oom",
        ErrorType::ExtensionCrash => " crash",
        ErrorType::Other => " other",
        unknown => panic!("say what {unknown:?} is"),
    };
    let what = match &event.kind {
        EventKind::Start { request_id } => format!("start {request_id:?}"),
        EventKind::RuntimeDone { request_id, status, error_type } => {
            format!("done {request_id:?} {}{}", status.as_str(), error(error_type))
        }
        EventKind::Report(report) => format!(
            "report {:?} {}{} {:?}/{:?}",
            report.request_id,
            report.status.as_str(),
            error(&report.error_type),
            report.max_memory_used_mb,
            report.memory_size_mb
        ),
        EventKind::Function(line) => format!("line {:?}", line.evidence),
        EventKind::LogsDropped { records } => format!("dropped {records}"),
        other => format!("{other:?}"),
    };
    format!("{time} {what}")
}

/// The events that serde_json finds in a batch, as [`event_text`] would write them.
#[must_use]
pub fn expected_events(batch: &Value) -> Vec<String> {
    batch.as_array().into_iter().flatten().filter_map(expected_event).collect()
}

fn expected_event(event: &Value) -> Option<String> {
    let time = event["time"].as_str().and_then(|time| time.parse::<jiff::Timestamp>().ok());
    let time = time.map_or("-".to_owned(), |time| time.as_millisecond().to_string());
    let record = event.get("record")?;
    let id = record["requestId"].as_str().filter(|id| {
        (1..=36).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_graphic())
    });
    let known = ["success", "error", "failure", "timeout"];
    let status = record["status"].as_str().filter(|status| known.contains(status));
    let status = status.unwrap_or("unknown");
    let error = match record["errorType"].as_str() {
        None | Some("") => "",
        Some("Runtime.OutOfMemory") => " oom",
        Some("Extension.Crash") => " crash",
        Some(_) => " other",
    };
    let figure = |name: &str| {
        let value = record["metrics"][name].as_f64().filter(|value| *value >= 1.0)?;
        format!("{:.0}", value.min(f64::from(u32::MAX)).floor()).parse::<u32>().ok()
    };
    let what = match event["type"].as_str()? {
        "platform.start" => format!("start {}", id?),
        "platform.runtimeDone" => format!("done {} {status}{error}", id?),
        "platform.report" => format!(
            "report {} {status}{error} {:?}/{:?}",
            id?,
            figure("maxMemoryUsedMB"),
            figure("memorySizeMB")
        ),
        "platform.logsDropped" => {
            let records = record["droppedRecords"].as_u64().unwrap_or(0);
            format!("dropped {records}")
        }
        "function" => {
            let mut texts = Vec::new();
            collect_texts(record, &mut texts);
            texts.iter().find(|text| text.contains("MemoryError"))?;
            "line Some(Mention)".to_owned()
        }
        _ => return None,
    };
    Some(format!("{time} {what}"))
}

/// Collects every string of a value, also the names of members.
fn collect_texts(value: &Value, texts: &mut Vec<String>) {
    match value {
        Value::String(text) => texts.push(text.clone()),
        Value::Array(items) => items.iter().for_each(|item| collect_texts(item, texts)),
        Value::Object(members) => members.iter().for_each(|(name, item)| {
            texts.push(name.clone());
            collect_texts(item, texts);
        }),
        _ => {}
    }
}

/// True if no object of a JSON text has a member twice. Of two, serde_json takes the last and the
/// scanner the first.
#[must_use]
pub fn has_no_duplicates(json: &[u8]) -> bool {
    let mut input = serde_json::Deserializer::from_slice(json);
    serde::Deserializer::deserialize_any(&mut input, UniqueMembers).is_ok()
}

/// Reads a value whose objects have each member once.
struct UniqueMembers;

impl<'de> serde::de::DeserializeSeed<'de> for UniqueMembers {
    type Value = ();

    fn deserialize<D: serde::Deserializer<'de>>(self, input: D) -> Result<(), D::Error> {
        input.deserialize_any(self)
    }
}

impl<'de> serde::de::Visitor<'de> for UniqueMembers {
    type Value = ();

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("any value")
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: serde::de::SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        while items.next_element_seed(Self)?.is_some() {}
        Ok(())
    }

    fn visit_map<A: serde::de::MapAccess<'de>>(self, mut members: A) -> Result<(), A::Error> {
        let mut names = std::collections::HashSet::new();
        while let Some(name) = members.next_key::<String>()? {
            if !names.insert(name) {
                return Err(serde::de::Error::custom("a member twice"));
            }
            members.next_value_seed(Self)?;
        }
        Ok(())
    }
}
