//! `size-report chart`: the memory of each extension in a history, as one SVG.
//!
//! In: a history, in which the last line of each extension counts. Out: a bar for each: its own
//! memory (RssAnon), and the rest of its peak during an out-of-memory kill. A history of `survival`
//! is drawn in `survival/chart.rs`.

use std::fmt::Write;
use std::io;

use serde_json::Value;

use crate::args::Chart;
use crate::{survival, svg};

/// One bar, in KiB.
#[derive(Clone, Debug, Eq, PartialEq)]
struct Bar {
    name: String,
    anon: i64,
    peak: i64,
}

/// Writes the file.
pub(crate) fn main(args: &Chart) -> io::Result<bool> {
    let text = std::fs::read_to_string(&args.history)?;
    if let Some(svg) = survival::chart(&text) {
        std::fs::write(&args.output, svg)?;
        return Ok(true);
    }
    let bars = bars(&text);
    if bars.is_empty() {
        return Err(io::Error::other(
            "no line of the history has a cell of survival, or the figures of a kill",
        ));
    }
    std::fs::write(&args.output, drawn(&bars))?;
    Ok(true)
}

fn bars(history: &str) -> Vec<Bar> {
    let mut bars: Vec<Bar> = Vec::new();
    for line in history.lines() {
        let Ok(line) = serde_json::from_str::<Value>(line) else { continue };
        let median = |name: &str| line["figures"][name][0].as_i64();
        let (Some(name), Some(anon), Some(peak)) = (
            line["subject"].as_str(),
            median("oom_emf.rss_anon_kib"),
            median("oom_emf.vm_hwm_kib"),
        ) else {
            continue;
        };
        bars.retain(|bar| bar.name != name);
        bars.push(Bar { name: name.into(), anon, peak });
    }
    bars.sort_by_key(|bar| bar.peak);
    bars
}

fn drawn(bars: &[Bar]) -> String {
    let height = TOP + ROW * i64::try_from(bars.len()).unwrap_or(0) + 34;
    let most = bars.iter().map(|bar| bar.peak).max().unwrap_or(1).max(1);
    let wide = |kib: i64| (kib * BAR_MAX / most).max(1);
    let mut svg =
        svg::opening(WIDTH, height, "Most memory resident through an out-of-memory kill at 128 MB");
    for (index, bar) in (0..).zip(bars) {
        let y = TOP + ROW * index;
        let (text, end) = (y + 16, LEFT + wide(bar.peak) + 8);
        let _ = writeln!(
            svg,
            r##"<text x="{}" y="{text}" text-anchor="end">{}</text>
<rect x="{LEFT}" y="{y}" width="{}" height="22" fill="#a9c7e8"/>
<rect x="{LEFT}" y="{y}" width="{}" height="22" fill="#1b5fa8"/>
<text x="{end}" y="{text}">{}</text>"##,
            LEFT - 10,
            svg::escaped(&bar.name),
            wide(bar.peak),
            wide(bar.anon),
            svg::size(bar.peak),
        );
    }
    let y = height - 14;
    let _ = writeln!(
        svg,
        r##"<rect x="{LEFT}" y="{}" width="12" height="12" fill="#1b5fa8"/><text x="{}" y="{y}" fill="#59636e">its own (RssAnon)</text>
<rect x="{}" y="{}" width="12" height="12" fill="#a9c7e8"/><text x="{}" y="{y}" fill="#59636e">VmHWM, with the pages of its files</text>
</svg>"##,
        y - 10,
        LEFT + 18,
        LEFT + 150,
        y - 10,
        LEFT + 168,
    );
    svg
}

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
        let names: Vec<_> = bars.iter().map(|bar| (bar.name.as_str(), bar.peak)).collect();
        assert_eq!(names, [("b", 9), ("a", 208), ("c", 43_276)]);
        let svg = drawn(&bars);
        assert!(svg.contains(">208 KiB<") && svg.contains(">42.2 MiB<"), "{svg}");
        assert!(svg.starts_with("<svg") && svg.trim_end().ends_with("</svg>"));
    }

    #[test]
    fn names_cannot_become_markup() {
        let bar = Bar { name: "<a & b>".into(), anon: 1, peak: 1 };
        assert!(drawn(&[bar]).contains("&lt;a &amp; b&gt;"));
    }
}
