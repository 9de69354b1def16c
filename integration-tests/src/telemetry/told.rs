//! What an extension was told, in order: the lines of a recording.
//!
//! ```json
//! {"post":[{"time":"...","type":"platform.start","record":{"requestId":"..."}}]}
//! {"post_text":"[{\"time\":\"...\",\"type\":\"function\",\"record\":\"AAAA}]"}
//! {"invoke":"3da1f2dc-3222-475e-9205-e2e6c6318895"}
//! {"shutdown":"failure"}
//! {"oom_kills":1}
//! {"restart":true}
//! {"replaced":true}
//! ```

use serde_json::{Value, json};

/// One thing that an extension was told.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Told {
    /// A telemetry request that was answered, whatever the answer.
    Post(Vec<u8>),
    /// INVOKE, with its request id.
    Invoke(String),
    /// SHUTDOWN, with its reason.
    Shutdown(String),
    /// Nothing, but by now the kernel has killed so many processes of the environment.
    Kills(u64),
    /// Nothing: its process is a new one.
    Restart,
    /// Nothing: its environment is a new one, with another `/tmp`.
    Replaced,
}

impl Told {
    /// The event of the Extensions API in this body.
    pub(crate) fn event(body: &str) -> Option<Self> {
        let event: Value = serde_json::from_str(body).ok()?;
        let text = |name: &str| event[name].as_str().unwrap_or_default().to_string();
        match event["eventType"].as_str()? {
            "INVOKE" => Some(Self::Invoke(text("requestId"))),
            "SHUTDOWN" => Some(Self::Shutdown(text("shutdownReason"))),
            _ => None,
        }
    }

    /// Its line in a recording. A body that is JSON stays as it was sent, byte by byte.
    #[must_use]
    pub fn line(&self) -> String {
        match self {
            Self::Post(body) => post(body),
            Self::Invoke(id) => json!({"invoke": id}).to_string(),
            Self::Shutdown(reason) => json!({"shutdown": reason}).to_string(),
            Self::Kills(kills) => json!({"oom_kills": kills}).to_string(),
            Self::Restart => json!({"restart": true}).to_string(),
            Self::Replaced => json!({"replaced": true}).to_string(),
        }
    }
}

fn post(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(body);
    match serde_json::from_str::<Value>(&text) {
        Ok(events) if text.contains('\n') => json!({"post": events}).to_string(),
        Ok(_) => format!(r#"{{"post":{text}}}"#),
        Err(_) => json!({"post_text": text}).to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(body: &str) -> String {
        Told::Post(body.as_bytes().to_vec()).line()
    }

    #[test]
    fn bodies_stay_as_they_were_sent() {
        assert_eq!(line(r#"[{"a":1.50}]"#), r#"{"post":[{"a":1.50}]}"#);
        assert_eq!(line("[\n1]"), r#"{"post":[1]}"#);
        assert_eq!(line(r#"[{"record":"AA}]"#), r#"{"post_text":"[{\"record\":\"AA}]"}"#);
    }

    #[test]
    fn events_are_named_by_what_they_say() {
        let invoke = r#"{"eventType":"INVOKE","requestId":"r"}"#;
        assert_eq!(Told::event(invoke), Some(Told::Invoke("r".into())));
        let shutdown = r#"{"eventType":"SHUTDOWN","shutdownReason":"failure"}"#;
        let told = Told::event(shutdown).expect("an event");
        assert_eq!(told.line(), r#"{"shutdown":"failure"}"#);
        assert_eq!(Told::event("{}"), None);
    }
}
