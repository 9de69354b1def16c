//! What both charts share: the sheet with its title, text and sizes.

/// The start of a drawing, with a title. The white ground is for dark pages.
pub(crate) fn opening(width: i64, height: i64, title: &str) -> String {
    let title = escaped(title);
    format!(
        r##"<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}" font-family="system-ui, sans-serif" font-size="13" fill="#1f2328">
<rect width="100%" height="100%" fill="#ffffff"/>
<text x="16" y="26" font-size="15" font-weight="600">{title}</text>
"##
    )
}

/// Text that cannot become markup.
pub(crate) fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// `208 KiB`, `42.2 MiB`.
pub(crate) fn size(kib: i64) -> String {
    if kib < 1024 {
        format!("{kib} KiB")
    } else {
        format!("{}.{} MiB", kib / 1024, kib % 1024 * 10 / 1024)
    }
}
