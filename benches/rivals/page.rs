//! A page whose measured blocks are written by the bench and by nobody else.
//!
//! A block stands between `<!-- measured NAME -->` and `<!-- end -->`; what lies outside is never touched.

use std::fs;
use std::io;
use std::path::Path;

const END: &str = "<!-- end -->";

/// Puts each block, a name and its lines, in its place; an error if the page has no such place.
pub fn update(page: &Path, blocks: &[(String, String)]) -> io::Result<()> {
    let mut text = fs::read_to_string(page)?;
    for (name, block) in blocks {
        text = with(&text, name, block).ok_or_else(|| {
            io::Error::other(format!("{}: no block named {name}", page.display()))
        })?;
    }
    fs::write(page, text)
}

fn with(text: &str, name: &str, block: &str) -> Option<String> {
    let begin = format!("<!-- measured {name} -->\n");
    let (before, rest) = text.split_once(&begin)?;
    let after = &rest[rest.find(END)?..];
    Some(format!("{before}{begin}{block}{after}"))
}

/// Lines as they were printed.
pub fn as_printed(text: &str) -> String {
    format!("```text\n{}\n```\n", text.trim_end())
}
