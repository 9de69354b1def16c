//! Draws a history of `survival` as an SVG: a grid for each extension, memory by workers.
//!
//! In: the lines of cells, with all functions together. Out: the percentage of runs that the
//! extension survived, as a number on a colour. The colours do not rely on red and green.

use std::collections::BTreeSet;
use std::fmt::Write;

use super::cell::{self, Cell, Tally, permille};
use super::table::by_extension;
use crate::svg;

/// `None`: the history has no cells.
pub(crate) fn of_history(history: &str) -> Option<String> {
    let cells = cell::read(history);
    (!cells.is_empty()).then(|| drawn(&cells))
}

fn drawn(cells: &[Cell]) -> String {
    let memory = steps(cells, |cell| cell.spot.memory_mb);
    let workers = steps(cells, |cell| cell.spot.workers);
    let extensions = by_extension(cells);
    let grid_width = CELL_WIDTH * count(workers.len());
    let width = LEFT + (grid_width + GAP) * count(extensions.len());
    let bottom = TOP + CELL_HEIGHT * count(memory.len());
    let height = bottom + 56;
    let mut svg = svg::opening(
        width,
        height,
        "Extensions that lived when a function ran out of memory, % of runs",
    );
    for (y, mb) in (0..).zip(&memory) {
        let y = TOP + CELL_HEIGHT * y + 22;
        text(&mut svg, LEFT - 8, y, r#"text-anchor="end""#, &format!("{mb} MB"));
    }
    for (index, (name, cells)) in (0..).zip(&extensions) {
        let left = LEFT + (grid_width + GAP) * index;
        let sum = Tally::sum(cells.iter().copied());
        text(&mut svg, left, TOP - 42, r#"font-weight="600""#, name);
        let about = format!(
            "VmHWM {}, {} runs",
            svg::size(i64::try_from(sum.vm_hwm_kib).unwrap_or(i64::MAX)),
            sum.runs
        );
        text(&mut svg, left, TOP - 25, GREY, &about);
        for (x, &workers) in (0..).zip(&workers) {
            let middle = left + CELL_WIDTH * x + CELL_WIDTH / 2;
            let centred = format!(r#"text-anchor="middle" {GREY}"#);
            text(&mut svg, middle, TOP - 6, &centred, &format!("× {workers}"));
            for (y, &mb) in (0..).zip(&memory) {
                let of = |cell: &&&Cell| (cell.spot.memory_mb, cell.spot.workers) == (mb, workers);
                let tally = Tally::sum(cells.iter().filter(of).copied());
                square(&mut svg, left + CELL_WIDTH * x, TOP + CELL_HEIGHT * y, &tally);
            }
        }
    }
    let functions: Vec<_> = functions(cells);
    let y = bottom + 24;
    let about = format!("× processes that grow together; functions: {}", functions.join(", "));
    text(&mut svg, LEFT, y, GREY, &about);
    let mut x = LEFT;
    for (permille, word) in
        [(1000, "100 %"), (999, "67 to 99 %"), (666, "34 to 66 %"), (333, "1 to 33 %"), (0, "0 %")]
    {
        let (fill, _) = colours(permille);
        let y = y + 20;
        let _ =
            writeln!(svg, r#"<rect x="{x}" y="{}" width="12" height="12" fill="{fill}"/>"#, y - 10);
        text(&mut svg, x + 18, y, GREY, word);
        x += 100;
    }
    svg.push_str("</svg>\n");
    svg
}

fn square(svg: &mut String, x: i64, y: i64, tally: &Tally) {
    if tally.runs == 0 {
        return;
    }
    let permille = permille(tally.alive, tally.runs);
    let (fill, ink) = colours(permille);
    let (width, height) = (CELL_WIDTH - 2, CELL_HEIGHT - 2);
    let _ = writeln!(
        svg,
        r#"<rect x="{x}" y="{y}" width="{width}" height="{height}" rx="3" fill="{fill}"/>"#
    );
    // In whole percents, only a whole share is 100 and only an empty one is 0.
    let percent = if permille == 0 { 0 } else { (permille / 10).max(1) };
    let centred = format!(r#"text-anchor="middle" fill="{ink}""#);
    text(svg, x + width / 2, y + 21, &centred, &percent.to_string());
}

fn text(svg: &mut String, x: i64, y: i64, attributes: &str, words: &str) {
    let _ = writeln!(svg, r#"<text x="{x}" y="{y}" {attributes}>{}</text>"#, svg::escaped(words));
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

fn steps<T: Ord>(cells: &[Cell], of: impl Fn(&Cell) -> T) -> Vec<T> {
    cells.iter().map(of).collect::<BTreeSet<_>>().into_iter().collect()
}

/// The functions, in their order in the history.
fn functions(cells: &[Cell]) -> Vec<&str> {
    let mut names: Vec<&str> = Vec::new();
    for cell in cells {
        if !names.contains(&cell.spot.function.as_str()) {
            names.push(&cell.spot.function);
        }
    }
    names
}

fn count(items: usize) -> i64 {
    i64::try_from(items).unwrap_or(0)
}

const GREY: &str = r##"fill="#59636e""##;
const LEFT: i64 = 76;
const TOP: i64 = 96;
const CELL_WIDTH: i64 = 46;
const CELL_HEIGHT: i64 = 34;
const GAP: i64 = 22;

#[cfg(test)]
mod tests {
    use super::super::cell::Spot;
    use super::*;

    fn history(cells: &[(&str, u32, u32)]) -> String {
        let line = |&(name, workers, alive): &(&str, u32, u32)| {
            let tally = Tally { runs: 3, alive, vm_hwm_kib: 2_500, ..Tally::default() };
            let spot = Spot::of(name, "python", 128, workers);
            Cell { spot, crc32: String::new(), tally }.json().to_string()
        };
        cells.iter().map(line).collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn a_square_for_each_place_with_its_share() {
        let svg = of_history(&history(&[("small", 1, 3), ("small", 64, 3), ("large", 64, 1)]));
        let svg = svg.expect("cells");
        assert!(svg.starts_with("<svg") && svg.trim_end().ends_with("</svg>"));
        assert_eq!(svg.matches("rx=").count(), 3, "none where nothing ran");
        assert_eq!(svg.matches(">100<").count(), 2);
        assert_eq!(svg.matches(">33<").count(), 1);
        assert!(svg.contains("VmHWM 2.4 MiB, 6 runs") && svg.contains("× 64"), "{svg}");
    }

    #[test]
    fn names_cannot_become_markup() {
        let svg = of_history(&history(&[("<a & b>", 1, 3)])).expect("cells");
        assert!(svg.contains("&lt;a &amp; b&gt;") && !svg.contains("<a &"));
    }

    #[test]
    fn another_history_has_no_cells() {
        assert_eq!(of_history(r#"{"subject":"x","figures":{"oom_emf.vm_hwm_kib":[1,1,1]}}"#), None);
    }
}
