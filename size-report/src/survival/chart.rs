//! Draws a history of `survival` as an SVG: a grid for each extension, memory by workers.
//!
//! In: the lines of cells, with all functions together. Out: the percentage of runs that the
//! extension survived, as a number on a colour. The colours do not rely on red and green.

use std::collections::BTreeSet;

use super::cell::{self, CellSums, MatrixCell, permille};
use super::table::by_extension;
use crate::svg::{self, Drawing, GREY};

/// `None`: the history has no cells.
pub(crate) fn of_history(history: &str) -> Option<String> {
    let cells = cell::read(history);
    (!cells.is_empty()).then(|| grids(&cells))
}

fn grids(cells: &[MatrixCell]) -> String {
    let memory = steps(cells, |cell| cell.key.memory_mb);
    let workers = steps(cells, |cell| cell.key.workers);
    let extensions = by_extension(cells);
    let grid_width = CELL_WIDTH * count(workers.len());
    let width = LEFT + (grid_width + GAP) * count(extensions.len());
    let bottom = TOP + CELL_HEIGHT * count(memory.len());
    let title = "Extensions that lived when a function ran out of memory, % of runs";
    let mut drawing = Drawing::new(width, bottom + 56, title);
    for (row, mb) in (0..).zip(&memory) {
        let y = TOP + CELL_HEIGHT * row + 22;
        drawing.text(LEFT - 8, y, r#"text-anchor="end""#, &format!("{mb} MB"));
    }
    for (index, (name, cells)) in (0..).zip(&extensions) {
        let left = LEFT + (grid_width + GAP) * index;
        let all = CellSums::of(cells.iter().copied());
        let peak = svg::size(i64::try_from(all.vm_hwm_kib).unwrap_or(i64::MAX));
        drawing.text(left, TOP - 42, r#"font-weight="600""#, name);
        drawing.text(left, TOP - 25, GREY, &format!("VmHWM {peak}, {} runs", all.runs));
        for (column, &workers) in (0..).zip(&workers) {
            let x = left + CELL_WIDTH * column;
            let centred = format!(r#"text-anchor="middle" {GREY}"#);
            drawing.text(x + CELL_WIDTH / 2, TOP - 6, &centred, &format!("× {workers}"));
            for (row, &mb) in (0..).zip(&memory) {
                let is_here =
                    |cell: &&&MatrixCell| (cell.key.memory_mb, cell.key.workers) == (mb, workers);
                let sums = CellSums::of(cells.iter().filter(is_here).copied());
                square(&mut drawing, x, TOP + CELL_HEIGHT * row, &sums);
            }
        }
    }
    let functions = steps(cells, |cell| cell.key.function.clone()).join(", ");
    let about = format!("× processes that grow together; functions: {functions}");
    drawing.text(LEFT, bottom + 24, GREY, &about);
    let legend =
        [(1000, "100 %"), (999, "67 to 99 %"), (666, "34 to 66 %"), (333, "1 to 33 %"), (0, "0 %")];
    for (index, (permille, meaning)) in (0..).zip(legend) {
        drawing.legend(LEFT + 100 * index, bottom + 44, colours(permille).0, meaning);
    }
    drawing.finish()
}

fn square(drawing: &mut Drawing, x: i64, y: i64, sums: &CellSums) {
    if sums.runs == 0 {
        return;
    }
    let permille = permille(sums.alive, sums.runs);
    let (fill, ink) = colours(permille);
    drawing.rect(x, y, (CELL_WIDTH - 2, CELL_HEIGHT - 2), fill);
    // In whole percents, only a whole share is 100 and only an empty one is 0.
    let percent = if permille == 0 { 0 } else { (permille / 10).max(1) };
    let centred = format!(r#"text-anchor="middle" fill="{ink}""#);
    drawing.text(x + CELL_WIDTH / 2 - 1, y + 21, &centred, &percent.to_string());
}

/// Blue to orange: any kind of colour vision can tell them apart.
fn colours(permille: u32) -> (&'static str, &'static str) {
    match permille {
        1000.. => ("#1b5fa8", "#ffffff"),
        670.. => ("#a9c7e8", "#1f2328"),
        340.. => ("#f3e6cf", "#1f2328"),
        1.. => ("#f0a860", "#1f2328"),
        0 => ("#b34700", "#ffffff"),
    }
}

fn steps<T: Ord>(cells: &[MatrixCell], of: impl Fn(&MatrixCell) -> T) -> Vec<T> {
    cells.iter().map(of).collect::<BTreeSet<_>>().into_iter().collect()
}

fn count(items: usize) -> i64 {
    i64::try_from(items).unwrap_or(0)
}

const LEFT: i64 = 76;
const TOP: i64 = 96;
const CELL_WIDTH: i64 = 46;
const CELL_HEIGHT: i64 = 34;
const GAP: i64 = 22;

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::cell::CellKey;
    use super::*;

    fn history(cells: &[(&str, u32, u32)]) -> String {
        let line = |&(name, workers, alive): &(&str, u32, u32)| {
            let sums = CellSums { runs: 3, alive, vm_hwm_kib: 2_500, ..CellSums::default() };
            let key = CellKey::of(name, "python", 128, workers);
            json!(MatrixCell { key, crc32: String::new(), sums }).to_string()
        };
        cells.iter().map(line).collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn a_square_has_the_share_of_its_runs() {
        let svg = of_history(&history(&[("small", 1, 3), ("small", 64, 3), ("large", 64, 1)]));
        let svg = svg.expect("cells");
        assert!(svg.starts_with("<svg") && svg.trim_end().ends_with("</svg>"));
        assert_eq!(svg.matches(r#"width="44""#).count(), 3, "no square where nothing ran");
        assert_eq!(svg.matches(">100<").count(), 2);
        assert_eq!(svg.matches(">33<").count(), 1);
        assert!(svg.contains("VmHWM 2.4 MiB, 6 runs") && svg.contains("× 64"), "{svg}");
    }

    #[test]
    fn a_history_of_measure_has_no_cells() {
        assert_eq!(of_history(r#"{"subject":"x","figures":{"oom_emf.vm_hwm_kib":[1,1,1]}}"#), None);
    }
}
