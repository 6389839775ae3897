//! `ibid verify [--repair]`: checks every byte that is stored, lists what is damaged, and drops it if asked to.

use std::io::{self, Write};

use super::args::Verify;
use super::progress::Progress;
use super::texts::plural;
use crate::config;
use crate::error::StoreError;
use crate::store::verify;

/// Checks the cache; 1 if something is damaged and was not dropped.
pub fn run(asked: &Verify, stdout: &mut dyn Write, stderr: &mut dyn Write) -> io::Result<u8> {
    let config = config::load();
    // No cache is made.
    let there = config.cache_dir.as_ref().and_then(|dir| dir.ancestors().find(|it| it.exists()));
    if let Some(file) = there.filter(|it| !it.is_dir()) {
        let why = format_args!("{} is no directory; choose another IBID_DIR", file.display());
        return super::refuse(&why, stderr);
    }
    let mut bar = Progress::new("checking", stderr);
    let directory = config.cache_dir.as_deref().ok_or(StoreError::NoDirectory);
    let checked = directory.and_then(|directory| {
        let mut progress = |done, total| bar.tell(done, total);
        verify::verify(directory, &config, asked.repair, &mut progress)
    });
    drop(bar);
    let report = match checked {
        Ok(report) => report,
        Err(error) => return super::fail(&error, stderr),
    };
    for damage in &report.damage {
        writeln!(stdout, "{damage}")?;
    }
    let (records, blobs, mb) = (report.records, report.blobs, report.bytes / 1_000_000);
    let found = match (report.damage.len(), asked.repair) {
        (0, _) => "nothing is damaged".to_owned(),
        (count, true) => format!("{count} damaged, dropped"),
        (count, false) => format!("{count} damaged\n`ibid verify --repair` drops what is damaged"),
    };
    let (records, blobs) = (plural(records, "record", "records"), plural(blobs, "blob", "blobs"));
    writeln!(stdout, "{records} and {blobs} are whole, {mb} MB read: {found}")?;
    Ok(u8::from(!report.damage.is_empty() && !asked.repair))
}
