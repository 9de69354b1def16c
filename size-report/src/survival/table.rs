//! The matrix as a table.

use super::cell::{Cell, Tally, permille};
use crate::table;

/// One row for the sum of each extension. A cell has a row too if `each` is asked for, or if not
/// every run of it was as it should be.
pub(super) fn of_cells(cells: &[Cell], each: bool) -> String {
    let mut table = sandbox::table(&[
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
    ]);
    for (name, cells) in by_extension(cells) {
        for cell in cells.iter().filter(|cell| each || !cell.tally.is_perfect()) {
            let (mb, workers) = (cell.spot.memory_mb.to_string(), cell.spot.workers.to_string());
            let spot = [name.clone(), cell.spot.function.clone(), mb, workers];
            table.add_row(spot.into_iter().chain(columns(&cell.tally)));
        }
        let sum = Tally::sum(cells.iter().copied());
        let all = [name, "all".into(), "all".into(), "all".into()];
        table.add_row(all.into_iter().chain(columns(&sum)));
    }
    table::numbers(&mut table, 2..=9);
    let note = if each { "" } else { "\nCells that are all 100 % have no row of their own." };
    format!("{table}{note}\n{CANNOT_TELL}")
}

/// The cells of each extension, in the order in which the extensions come.
pub(super) fn by_extension(cells: &[Cell]) -> Vec<(String, Vec<&Cell>)> {
    let mut groups: Vec<(String, Vec<&Cell>)> = Vec::new();
    for cell in cells {
        let name = &cell.spot.extension;
        match groups.iter_mut().find(|group| group.0 == *name) {
            Some(group) => group.1.push(cell),
            None => groups.push((name.clone(), vec![cell])),
        }
    }
    groups
}

fn columns(tally: &Tally) -> [String; 6] {
    let percent = |part| {
        let share = permille(part, tally.runs);
        format!("{}.{} %", share / 10, share % 10)
    };
    [
        tally.runs.to_string(),
        percent(tally.function_killed),
        percent(tally.alive),
        percent(tally.once),
        tally.kernel_kills.to_string(),
        tally.vm_hwm_kib.to_string(),
    ]
}

const CANNOT_TELL: &str = "\
What this table cannot tell: the kernel kills the process with the most pages at that moment, so\n\
a share of few runs is rough. On Lambda the runtime itself holds more than here. Nothing ran on AWS.";

#[cfg(test)]
mod tests {
    use super::super::cell::Spot;
    use super::*;

    #[test]
    fn the_last_row_of_an_extension_has_all_runs() {
        let cell = |name, workers, alive| Cell {
            spot: Spot::of(name, "builtin", 128, workers),
            crc32: String::new(),
            tally: Tally { runs: 2, function_killed: 2, alive, once: 2, ..Tally::default() },
        };
        let cells = [cell("small", 4, 2), cell("small", 16, 1), cell("large", 4, 2)];
        let text = of_cells(&cells, false);
        let of = |name: &str| text.lines().filter(|line| line.contains(name)).count();
        assert_eq!((of("small"), of("large")), (2, 1), "{text}");
        assert!(text.contains("75.0 %") && text.contains("50.0 %"), "{text}");
        assert_eq!(of_cells(&cells, true).matches("builtin").count(), 3);
    }
}
