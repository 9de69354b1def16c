//! How well verdicts agree with labels.
//!
//! In: the attempts of a recording, and the agent's detections. Out: the right and the wrong
//! counts, the missed attempts, and precision and recall.

use std::collections::BTreeMap;

use serde::{Serialize, Serializer};
use serde_json::{Value, json};

/// The score of one recording, or the sum of several.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Score {
    /// Counts of attempts that ran out of memory.
    pub right: usize,
    /// Other counts.
    pub wrong: usize,
    /// Attempts out of memory that were not counted.
    pub missed: usize,
}

/// The labels of the attempts with one id, and how often it was counted.
#[derive(Default)]
struct Tally {
    count: usize,
    out_of_memory: usize,
    /// Attempts without a label. Counts of these are neither right nor wrong.
    unknown: usize,
}

impl Score {
    /// Compares the labels of a recording's `attempts` with the request ids that were counted. An
    /// id comes as often as it was counted, and is empty where the agent knew none. Such a count is
    /// right if a failed init or any other attempt has no count yet. `None`: nothing is labelled.
    pub fn compare(attempts: &[Value], counted: impl Iterator<Item = String>) -> Option<Self> {
        let mut tallies: BTreeMap<String, Tally> = BTreeMap::new();
        for attempt in attempts {
            let id = attempt["request_id"].as_str().unwrap_or_default();
            let tally = tallies.entry(id.to_string()).or_default();
            match attempt["out_of_memory"].as_bool() {
                Some(label) => tally.out_of_memory += usize::from(label),
                None => tally.unknown += 1,
            }
        }
        attempts.iter().find(|attempt| attempt["out_of_memory"].is_boolean())?;
        counted.for_each(|id| tallies.entry(id).or_default().count += 1);
        let (mut score, mut nameless) = (Self::default(), 0);
        for (id, Tally { count, out_of_memory, unknown }) in tallies {
            let right = count.min(out_of_memory);
            let more = (count - right).saturating_sub(unknown);
            score.right += right;
            score.missed += out_of_memory - right;
            if id.is_empty() {
                nameless = more;
            } else {
                score.wrong += more;
            }
        }
        let found = nameless.min(score.missed);
        score.right += found;
        score.missed -= found;
        score.wrong += nameless - found;
        Some(score)
    }

    /// Adds the score of another recording.
    pub fn add(&mut self, other: Self) {
        self.right += other.right;
        self.wrong += other.wrong;
        self.missed += other.missed;
    }

    /// Every count was right, and none was missing.
    pub fn is_clean(self) -> bool {
        self.wrong == 0 && self.missed == 0
    }

    /// The share of counts that were right. `None` without a count.
    pub fn precision(self) -> Option<f64> {
        share(self.right, self.wrong)
    }

    /// The share of attempts out of memory that were counted. `None` without one.
    pub fn recall(self) -> Option<f64> {
        share(self.right, self.missed)
    }
}

/// With precision and recall.
impl Serialize for Score {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self { right, wrong, missed } = self;
        json!({
            "right": right, "wrong": wrong, "missed": missed,
            "precision": self.precision(), "recall": self.recall(),
        })
        .serialize(serializer)
    }
}

fn share(part: usize, rest: usize) -> Option<f64> {
    (part + rest > 0).then(|| part as f64 / (part + rest) as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `labels`: `a+ a-` are two attempts with one id, `?` is unknown, `+` has no id.
    fn score(labels: &str, counted: &str) -> Option<[usize; 3]> {
        let attempt = |word: &str| {
            let (id, label) = word.split_at(word.len() - 1);
            let label = [("+", Some(true)), ("-", Some(false))].iter().find(|one| one.0 == label);
            json!({"request_id": id, "out_of_memory": label.and_then(|one| one.1)})
        };
        let attempts: Vec<_> = labels.split_whitespace().map(attempt).collect();
        let counted = counted.split_whitespace().map(|id| id.trim_matches('_').to_string());
        Score::compare(&attempts, counted).map(|score| [score.right, score.wrong, score.missed])
    }

    #[test]
    fn counts_are_right_wrong_or_missed() {
        for (labels, counted, right_wrong_missed) in [
            ("a+ b-", "a", [1, 0, 0]),
            ("a+ b-", "b", [0, 1, 1]),
            ("a+", "a a", [1, 1, 0]),
            ("a+ a-", "a", [1, 0, 0]),
            ("a+ a+", "a", [1, 0, 1]),
            ("a-", "", [0, 0, 0]),
            // An id that the recording does not have.
            ("a-", "x", [0, 1, 0]),
            // A failed init is an attempt without an id.
            ("+ a-", "_", [1, 0, 0]),
            ("- a-", "_", [0, 1, 0]),
            // Counted without an id: it is an attempt that was missed otherwise.
            ("a+ b-", "_", [1, 0, 0]),
            ("a+ b-", "a _", [1, 1, 0]),
            // A count of an attempt without a label says nothing.
            ("a? b+", "a b", [1, 0, 0]),
            ("a? b+", "a a b", [1, 1, 0]),
        ] {
            assert_eq!(score(labels, counted), Some(right_wrong_missed), "{labels}: {counted}");
        }
        assert_eq!(score("a? ?", "a"), None);
        assert_eq!(score("", "a"), None);
    }

    #[test]
    fn precision_and_recall_are_shares_of_something() {
        let score = Score { right: 3, wrong: 1, missed: 0 };
        assert_eq!((score.precision(), score.recall()), (Some(0.75), Some(1.0)));
        let nothing = Score::default();
        assert_eq!((nothing.precision(), nothing.recall()), (None, None));
    }
}
