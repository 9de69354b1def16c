//! `size-report chart`: draws the memory of each extension in a history as one SVG.
//!
//! In: a history, in which the last line of each extension counts. Out: a bar for each extension:
//! its own memory (RssAnon), and its peak during an out-of-memory kill. `survival/chart.rs` draws a
//! history of `survival`.

use std::io;

use serde::Deserialize;

use crate::args::Chart;
use crate::history;
use crate::survival;
use crate::svg::{self, Drawing};

/// One bar: a line of the history.
#[derive(Deserialize)]
struct Bar {
    subject: String,
    figures: BarFigures,
}

/// Median, least and most, in KiB.
#[derive(Deserialize)]
struct BarFigures {
    #[serde(rename = "oom_emf.rss_anon_kib")]
    anon: [i64; 3],
    #[serde(rename = "oom_emf.vm_hwm_kib")]
    peak: [i64; 3],
}

/// Writes the file.
pub(crate) fn main(args: &Chart) -> io::Result<bool> {
    let text = std::fs::read_to_string(&args.history)?;
    let bars = bars(&text);
    let svg = survival::chart(&text).or_else(|| (!bars.is_empty()).then(|| bar_chart(&bars)));
    let missing = "no line of the history has a cell of survival, or the figures of a kill";
    std::fs::write(&args.output, svg.ok_or_else(|| io::Error::other(missing))?)?;
    Ok(true)
}

/// The smallest first.
fn bars(history: &str) -> Vec<Bar> {
    let mut bars = history::read(history, |bar: &Bar| &bar.subject);
    bars.sort_by_key(Bar::peak);
    bars
}

impl Bar {
    fn peak(&self) -> i64 {
        self.figures.peak[0]
    }
}

fn bar_chart(bars: &[Bar]) -> String {
    let height = TOP + ROW * i64::try_from(bars.len()).unwrap_or(0) + 34;
    let most = bars.iter().map(Bar::peak).max().unwrap_or(1).max(1);
    let wide = |kib: i64| (kib * BAR_MAX / most).max(1);
    let title = "Most memory resident through an out-of-memory kill at 128 MB";
    let mut drawing = Drawing::new(WIDTH, height, title);
    for (row, bar) in (0..).zip(bars) {
        let y = TOP + ROW * row;
        let (anon, peak) = (bar.figures.anon[0], bar.peak());
        drawing.text(LEFT - 10, y + 16, r#"text-anchor="end""#, &bar.subject);
        drawing.rect(LEFT, y, (wide(peak), 22), LIGHT_BLUE);
        drawing.rect(LEFT, y, (wide(anon), 22), BLUE);
        drawing.text(LEFT + wide(peak) + 8, y + 16, "", &svg::size(peak));
    }
    drawing.legend(LEFT, height - 14, BLUE, "its own (RssAnon)");
    drawing.legend(LEFT + 150, height - 14, LIGHT_BLUE, "VmHWM, with the pages of its files");
    drawing.finish()
}

const BLUE: &str = "#1b5fa8";
const LIGHT_BLUE: &str = "#a9c7e8";
const WIDTH: i64 = 760;
const LEFT: i64 = 190;
const TOP: i64 = 44;
const ROW: i64 = 30;
const BAR_MAX: i64 = 460;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_line_of_each_counts_and_the_smallest_is_first() {
        let line = |name: &str, peak: i64| {
            format!(
                r#"{{"subject":"{name}","figures":{{"oom_emf.vm_hwm_kib":[{peak},1,2],"oom_emf.rss_anon_kib":[60,1,2]}}}}"#
            )
        };
        let history =
            [line("b", 9), line("a", 900), line("a", 208), "cut".into(), line("c", 43_276)];
        let bars = bars(&history.join("\n"));
        let names: Vec<_> = bars.iter().map(|bar| (bar.subject.as_str(), bar.peak())).collect();
        assert_eq!(names, [("b", 9), ("a", 208), ("c", 43_276)]);
        let svg = bar_chart(&bars);
        assert!(svg.contains(">208 KiB<") && svg.contains(">42.2 MiB<"), "{svg}");
        assert!(svg.starts_with("<svg") && svg.trim_end().ends_with("</svg>"));
    }
}
