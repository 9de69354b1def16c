//! One cell of the matrix: its key, and the sums of its runs. Each is a line of history.
//!
//! ```json
//! {"date":"2026-11-02T10:00:00Z","commit":"1a2b3c4","changed":false,"extension":"oom-witness",
//!  "function":"python","memory_mb":128,"workers":64,"crc32":"cbf43926","runs":28,
//!  "function_killed":28,"alive":28,"once":28,"kernel_kills":1690,"vm_hwm_kib":208,"seconds":61}
//! ```

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::history;

/// A cell of the matrix.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(super) struct MatrixCell {
    #[serde(flatten)]
    pub(super) key: CellKey,
    pub(super) crc32: String,
    #[serde(flatten)]
    pub(super) sums: CellSums,
}

/// What distinguishes a cell from the others.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub(super) struct CellKey {
    pub(super) extension: String,
    pub(super) function: String,
    pub(super) memory_mb: u64,
    pub(super) workers: u32,
    /// Another invocation follows the kill. It succeeds and must not count.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) then_succeed: bool,
}

/// The sums of runs.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub(super) struct CellSums {
    pub(super) runs: u32,
    pub(super) function_killed: u32,
    pub(super) alive: u32,
    pub(super) once: u32,
    pub(super) kernel_kills: u64,
    pub(super) vm_hwm_kib: u64,
    pub(super) seconds: u64,
    /// Everything that the extension wrote and received in each run that failed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) problems: Vec<Value>,
}

/// The cells of a history.
pub(super) fn read(history: &str) -> Vec<MatrixCell> {
    history::read(history, |cell: &MatrixCell| &cell.key)
}

impl CellKey {
    #[cfg(test)]
    pub(super) fn of(extension: &str, function: &str, memory_mb: u64, workers: u32) -> Self {
        let (extension, function) = (extension.into(), function.into());
        Self { extension, function, memory_mb, workers, then_succeed: false }
    }
}

impl fmt::Display for CellKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { extension, function, memory_mb, workers, then_succeed } = self;
        let then = if *then_succeed { ", then a success" } else { "" };
        write!(f, "{extension}, {function}, {memory_mb} MB, workers {workers}{then}")
    }
}

impl CellSums {
    /// The sums of all these cells.
    pub(super) fn of<'a>(cells: impl IntoIterator<Item = &'a MatrixCell>) -> Self {
        let mut all = Self::default();
        cells.into_iter().for_each(|cell| all.add(&cell.sums));
        all
    }

    pub(super) fn add(&mut self, other: &Self) {
        self.runs += other.runs;
        self.function_killed += other.function_killed;
        self.alive += other.alive;
        self.once += other.once;
        self.kernel_kills += other.kernel_kills;
        self.vm_hwm_kib = self.vm_hwm_kib.max(other.vm_hwm_kib);
        self.seconds += other.seconds;
        self.problems.extend_from_slice(&other.problems);
    }

    pub(super) fn is_perfect(&self) -> bool {
        [self.function_killed, self.alive, self.once].iter().all(|count| *count == self.runs)
    }
}

/// A share in tenths of a percent. Only a whole share is 1000, and only an empty one is 0.
pub(super) fn permille(part: u32, whole: u32) -> u32 {
    let share = u64::from(part) * 1000 / u64::from(whole.max(1));
    let share = u32::try_from(share).unwrap_or(1000);
    if part == 0 { 0 } else { share.max(1) }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_last_line_of_each_cell_is_read_as_it_was_written() {
        let line = |workers, alive| {
            let sums = CellSums { runs: 3, alive, vm_hwm_kib: 208, ..CellSums::default() };
            let key = CellKey::of("x", "python", 128, workers);
            json!(MatrixCell { key, crc32: "cbf43926".into(), sums }).to_string()
        };
        let cut = &line(64, 3)[..40];
        let other = r#"{"subject":"x","figures":{}}"#;
        let history = [&line(4, 2), other, &line(16, 3), &line(4, 3), cut].join("\n");
        let cells = read(&history);
        let seen: Vec<_> = cells.iter().map(|cell| (cell.key.workers, cell.sums.alive)).collect();
        assert_eq!(seen, [(4, 3), (16, 3)]);
        assert_eq!(json!(cells[1]).to_string(), line(16, 3));
        assert!(!line(4, 3).contains("problems"));
    }

    #[test]
    fn only_a_whole_share_is_whole_and_only_an_empty_one_is_empty() {
        assert_eq!(permille(9_999, 10_000), 999);
        assert_eq!(permille(10_000, 10_000), 1000);
        assert_eq!([permille(0, 10_000), permille(1, 10_000), permille(1, 3)], [0, 1, 333]);
    }
}
