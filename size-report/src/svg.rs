//! A drawing in SVG, for both charts.

use std::fmt::Write;

/// A drawing. Its texts cannot become markup.
pub(crate) struct Drawing(String);

impl Drawing {
    /// A drawing with a title. The white ground is for dark pages.
    pub(crate) fn new(width: i64, height: i64, title: &str) -> Self {
        let mut drawing = Self(format!(
            r##"<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}" font-family="system-ui, sans-serif" font-size="13" fill="#1f2328">
<rect width="100%" height="100%" fill="#ffffff"/>
"##
        ));
        drawing.text(16, 26, r#"font-size="15" font-weight="600""#, title);
        drawing
    }

    /// A text with these attributes.
    pub(crate) fn text(&mut self, x: i64, y: i64, attributes: &str, text: &str) {
        let text = text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
        let _ = writeln!(self.0, r#"<text x="{x}" y="{y}" {attributes}>{text}</text>"#);
    }

    /// A rectangle of this width, height and colour.
    pub(crate) fn rect(&mut self, x: i64, y: i64, size: (i64, i64), fill: &str) {
        let (width, height) = size;
        let _ = writeln!(
            self.0,
            r#"<rect x="{x}" y="{y}" width="{width}" height="{height}" fill="{fill}"/>"#
        );
    }

    /// A small square of a colour, and what the colour means.
    pub(crate) fn legend(&mut self, x: i64, y: i64, fill: &str, meaning: &str) {
        self.rect(x, y - 10, (12, 12), fill);
        self.text(x + 18, y, GREY, meaning);
    }

    /// The SVG.
    pub(crate) fn finish(self) -> String {
        self.0 + "</svg>\n"
    }
}

/// The colour of secondary texts.
pub(crate) const GREY: &str = r##"fill="#59636e""##;

/// `208 KiB`, `42.2 MiB`.
pub(crate) fn size(kib: i64) -> String {
    if kib < 1024 {
        format!("{kib} KiB")
    } else {
        format!("{}.{} MiB", kib / 1024, kib % 1024 * 10 / 1024)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_cannot_become_markup() {
        let mut drawing = Drawing::new(10, 10, "<title>");
        drawing.text(0, 0, GREY, "<a & b>");
        let svg = drawing.finish();
        assert!(svg.contains("&lt;title&gt;") && svg.contains("&lt;a &amp; b&gt;"), "{svg}");
    }
}
