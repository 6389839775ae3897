//! `ibid report FILE.html`: one page about a build and the cache, for a browser and for paper, that loads nothing.
//!
//! The file has its name when it is whole. Read next: `report/page.rs` (what stands on it), `report/lanes.rs` (the timeline),
//! `docs/report.md`.

mod charts;
mod html;
mod lanes;
mod page;
mod worth;

use std::io::{self, BufWriter, Write};

use super::args::Report;
use super::explain::past::build_of;
use super::export::ExportTarget;
use super::refuse;
use super::texts::{cannot_write, plural};
use crate::config;
use crate::store::Store;
use crate::wrapper::history::History;

/// Writes the page and says what it is about; 2 if there is no such build or it cannot be written there.
pub fn run(asked: &Report, stdout: &mut dyn Write, stderr: &mut dyn Write) -> io::Result<u8> {
    let config = config::load();
    let store = match Store::open_configured(&config) {
        Ok(store) => store,
        Err(error) => return refuse(&format_args!("nothing is cached: {error}"), stderr),
    };
    let history = History::read(&store);
    let build = match build_of(&history, &asked.build) {
        Ok(build) => Some(build),
        Err(why) if !asked.build.is_empty() => return refuse(&why, stderr),
        // A page about the cache alone.
        Err(_) => None,
    };
    let written = ExportTarget::new(&asked.file).and_then(|target| {
        let page = page::Page::of(&store, &history, build, &config);
        let mut to = BufWriter::new(&target.file);
        to.write_all(page.html().as_bytes())?;
        // What fails while it is dropped is lost.
        to.flush()?;
        drop(to);
        target.finish()
    });
    if let Err(error) = written {
        return refuse(&cannot_write(&asked.file, &error), stderr);
    }
    match build.map(|build| &history.builds[build]) {
        Some(build) => {
            let calls = plural(build.calls, "call", "calls");
            writeln!(stdout, "{}: build {}, {calls}", asked.file.display(), build.name)?;
        }
        None => writeln!(stdout, "{}: no build is known yet", asked.file.display())?,
    }
    Ok(0)
}
