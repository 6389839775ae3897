//! `ibid gc [--max-age AGE] [--max-size SIZE] [--dry-run]`: evicts to a size and an age, and tidies the cache directory up.

use std::io::{self, Write};

use super::args::Gc;
use super::progress::Progress;
use super::texts::bytes;
use crate::config;
use crate::error::StoreError;
use crate::store::Store;
use crate::store::gc::{Wanted, collect};

/// Tidies up and says what was done.
pub fn run(asked: &Gc, stdout: &mut dyn Write, stderr: &mut dyn Write) -> io::Result<u8> {
    let config = config::load();
    let max_bytes = asked.max_size.unwrap_or(config.max_size_bytes);
    let wanted = Wanted { max_bytes, max_age: asked.max_age, dry_run: asked.dry_run };
    let mut bar = Progress::new("tidying up", stderr);
    let directory = config.cache_dir.as_deref().ok_or(StoreError::NoDirectory);
    let done = directory.and_then(|directory| {
        let store = Store::open(directory, &config)?;
        let mut progress = |done, total| bar.tell(done, total);
        let collected = collect(directory, &store, wanted, &mut progress)?;
        Ok((collected, store.bytes_used()))
    });
    drop(bar);
    let (collected, used) = match done {
        Ok(done) => done,
        Err(error) => {
            writeln!(stderr, "ibid: {error}")?;
            return Ok(1);
        }
    };
    if asked.dry_run {
        writeln!(stdout, "nothing is removed; this would be:")?;
    }
    writeln!(stdout, "segments removed       {} ({})", collected.segments, bytes(collected.bytes))?;
    let tool_s = collected.tool_us / 1_000_000;
    writeln!(stdout, "records removed        {} ({tool_s} s of compiling)", collected.records)?;
    writeln!(stdout, "temporary files        {}", collected.temporaries)?;
    writeln!(stdout, "caches of other ibids  {}", collected.layouts)?;
    if collected.index_grew {
        writeln!(stdout, "the index was made larger")?;
    }
    writeln!(stdout, "size                   {} of {}", bytes(used), bytes(max_bytes))?;
    Ok(0)
}
