//! Result tables.

use comfy_table::modifiers::UTF8_ROUND_CORNERS;
use comfy_table::presets::UTF8_FULL_CONDENSED;
use comfy_table::{ContentArrangement, Table};

use crate::procfs::ProcStatus;

/// An empty table with this header.
pub fn table(header: &[&str]) -> Table {
    let mut table = Table::new();
    table
        .load_preset(UTF8_FULL_CONDENSED)
        .apply_modifier(UTF8_ROUND_CORNERS)
        .set_content_arrangement(ContentArrangement::Dynamic)
        .set_header(header);
    if table.width().is_none_or(|width| width < WIDTH_MIN) {
        table.set_width(WIDTH); // not a terminal, or one without a width
    }
    table
}

const WIDTH: u16 = 140;
const WIDTH_MIN: u16 = 40;

/// The largest RSS / RssAnon / VmHWM that was seen, in KiB.
pub(super) fn memory(peak: Option<ProcStatus>) -> String {
    peak.map_or("not seen".into(), |peak| {
        format!("{} / {} / {}", peak.vm_rss_kb, peak.rss_anon_kb, peak.vm_hwm_kb)
    })
}
