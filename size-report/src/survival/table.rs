//! The matrix as a table.

use super::cell::{CellSums, MatrixCell, permille};
use crate::table::table;

/// One row with the sums of each extension. A cell has a row too if one of its runs failed, or with
/// `each`.
pub(super) fn of_cells(cells: &[MatrixCell], each: bool) -> String {
    let mut rows = Vec::new();
    for (name, cells) in by_extension(cells) {
        for cell in cells.iter().filter(|cell| each || !cell.sums.is_perfect()) {
            let (mb, workers) = (cell.key.memory_mb.to_string(), cell.key.workers.to_string());
            let key = [name.clone(), cell.key.function.clone(), mb, workers];
            rows.push(key.into_iter().chain(columns(&cell.sums)));
        }
        let sum = CellSums::of(cells.iter().copied());
        let all = [name, "all".into(), "all".into(), "all".into()];
        rows.push(all.into_iter().chain(columns(&sum)));
    }
    let table = table(&HEADER, 2..=9, rows);
    let note = if each { "" } else { "\nCells with 100 % everywhere have no row." };
    format!("{table}{note}\n{CANNOT_TELL}")
}

/// The cells of each extension, in the order of the history.
pub(super) fn by_extension(cells: &[MatrixCell]) -> Vec<(String, Vec<&MatrixCell>)> {
    let mut groups: Vec<(String, Vec<&MatrixCell>)> = Vec::new();
    for cell in cells {
        let name = &cell.key.extension;
        match groups.iter_mut().find(|group| group.0 == *name) {
            Some(group) => group.1.push(cell),
            None => groups.push((name.clone(), vec![cell])),
        }
    }
    groups
}

fn columns(sums: &CellSums) -> [String; 6] {
    let percent = |part| {
        let share = permille(part, sums.runs);
        format!("{}.{} %", share / 10, share % 10)
    };
    [
        sums.runs.to_string(),
        percent(sums.function_killed),
        percent(sums.alive),
        percent(sums.once),
        sums.kernel_kills.to_string(),
        sums.vm_hwm_kib.to_string(),
    ]
}

const HEADER: [&str; 10] = [
    "extension",
    "function",
    "MB",
    "workers",
    "runs",
    "function killed",
    "extension alive",
    "counted once",
    "kernel kills",
    "VmHWM, KiB",
];

const CANNOT_TELL: &str = "\
What this table cannot tell: the kernel kills the process with the most pages at that moment, so
the share of a few runs is rough. On Lambda the runtime holds more memory. Nothing ran on AWS.";

#[cfg(test)]
mod tests {
    use super::super::cell::CellKey;
    use super::*;

    #[test]
    fn the_last_row_of_an_extension_has_all_runs() {
        let cell = |name, workers, alive| MatrixCell {
            key: CellKey::of(name, "builtin", 128, workers),
            crc32: String::new(),
            sums: CellSums { runs: 2, function_killed: 2, alive, once: 2, ..CellSums::default() },
        };
        let cells = [cell("small", 4, 2), cell("small", 16, 1), cell("large", 4, 2)];
        let text = of_cells(&cells, false);
        let of = |name: &str| text.lines().filter(|line| line.contains(name)).count();
        assert_eq!((of("small"), of("large")), (2, 1), "{text}");
        assert!(text.contains("75.0 %") && text.contains("50.0 %"), "{text}");
        assert_eq!(of_cells(&cells, true).matches("builtin").count(), 3);
    }
}
