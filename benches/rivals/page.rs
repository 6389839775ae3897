//! A page whose measured blocks are written by the bench and by nobody else.
//!
//! A block stands between `<!-- measured NAME -->` and `<!-- end -->`; what lies outside is never touched.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

const END: &str = "<!-- end -->";

/// The first line of a page that is made here.
const TITLE: &str = "# What `cargo bench --bench rivals` measured\n";

/// Puts each block, a name and its lines, in its place. What is missing is made: the page, its directory, a block at its end.
pub fn update(page: &Path, blocks: &[(String, String)]) -> io::Result<()> {
    let mut text = match fs::read_to_string(page) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            fs::create_dir_all(page.parent().unwrap_or(Path::new(".")))?;
            TITLE.to_owned()
        }
        text => text?,
    };
    for (name, block) in blocks {
        text = with(&text, name, block)
            .ok_or_else(|| io::Error::other(format!("{}: {name} has no end", page.display())))?;
    }
    fs::write(page, text)
}

/// `None` if the block is there and does not end.
fn with(text: &str, name: &str, block: &str) -> Option<String> {
    let begin = format!("<!-- measured {name} -->\n");
    let Some((before, rest)) = text.split_once(&begin) else {
        return Some(format!("{text}\n{begin}{block}{END}\n"));
    };
    let after = &rest[rest.find(END)?..];
    Some(format!("{before}{begin}{block}{after}"))
}

/// How a link in `page` names `file`; both are absolute.
pub fn link(page: &Path, file: &Path) -> PathBuf {
    let shared = page.ancestors().skip(1).find(|above| file.starts_with(above));
    let Some(shared) = shared else { return file.to_owned() };
    let steps = page.strip_prefix(shared).map_or(0, |below| below.components().count() - 1);
    let up = std::iter::repeat_n("..", steps).collect::<PathBuf>();
    up.join(file.strip_prefix(shared).unwrap_or(file))
}

/// Lines as they were printed.
pub fn as_printed(text: &str) -> String {
    format!("```text\n{}\n```\n", text.trim_end())
}
