//! Texts of the page: every text from outside passes `text`.
//!
//! The page is HTML that is also well-formed XML, so that a test can read it strictly.

use std::fmt::Write as _;

/// A text between tags or in an attribute: nothing in it is markup, and nothing in it is no character of HTML.
pub fn text(raw: &str) -> String {
    let mut shown = String::with_capacity(raw.len());
    for c in raw.chars() {
        match c {
            '&' => shown.push_str("&amp;"),
            '<' => shown.push_str("&lt;"),
            '>' => shown.push_str("&gt;"),
            '"' => shown.push_str("&quot;"),
            '\'' => shown.push_str("&#39;"),
            // Control characters, directions of writing, and what is no character.
            c if c.is_control()
                || matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
                || u32::from(c) & 0xfffe == 0xfffe =>
            {
                shown.extend(c.escape_unicode());
            }
            c => shown.push(c),
        }
    }
    shown
}

/// How a column is laid out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Column {
    /// Words.
    Words,
    /// A name or path, which may break anywhere.
    Name,
    /// A figure.
    Figure,
}

/// A table; the cells are raw texts.
pub fn table(heads: &[(&str, Column)], rows: &[Vec<String>]) -> String {
    let class = |column: Column| match column {
        Column::Words => "",
        Column::Name => " class=\"name\"",
        Column::Figure => " class=\"figure\"",
    };
    let mut html = "<table><thead><tr>".to_owned();
    for (head, column) in heads {
        let _ = write!(html, "<th scope=\"col\"{}>{}</th>", class(*column), text(head));
    }
    html.push_str("</tr></thead><tbody>\n");
    for row in rows {
        html.push_str("<tr>");
        for (cell, (_, column)) in row.iter().zip(heads) {
            let _ = write!(html, "<td{}>{}</td>", class(*column), text(cell));
        }
        html.push_str("</tr>\n");
    }
    html + "</tbody></table>\n"
}

#[cfg(test)]
mod tests {
    use super::{Column, table, text};

    #[test]
    fn nothing_is_markup() {
        let raw = "<script>\"&'</script>\u{1b}[31m\u{202e}\u{ffff}\n";
        let shown = text(raw);
        assert!(
            !shown.contains(['<', '>', '"', '\'', '\u{1b}', '\u{202e}', '\u{ffff}', '\n']),
            "{shown}"
        );
        assert_eq!(text("a/ü b.c"), "a/ü b.c");
        let html = table(&[("<a>", Column::Name)], &[vec!["</td>".to_owned()]]);
        assert!(html.contains("&lt;a&gt;") && html.contains("&lt;/td&gt;"), "{html}");
    }
}
