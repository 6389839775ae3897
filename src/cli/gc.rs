//! `ibid gc [--max-age AGE] [--max-size SIZE] [--root DIR] [--gone] [--unused-toolchains] [--compress [AGE]] [--dry-run]`: drops
//! what nobody will use again, compresses what is old, evicts to a size and an age, and tidies the cache directory up.

use std::io::{self, Write};
use std::path::Path;

use super::args::Gc;
use super::progress::Progress;
use super::texts::{bytes, duration};
use crate::config::{self, Config};
use crate::error::StoreError;
use crate::store::Store;
use crate::store::compress::{Compressed, Until};
use crate::store::discard::Discarded;
use crate::store::gc::{Collected, Wanted, collect};
use crate::wrapper::leftovers::{Asked, Leftovers};

/// What was done, and what the cache takes then.
struct Done {
    discarded: Option<Discarded>,
    compressed: Compressed,
    collected: Collected,
    used_bytes: u64,
}

/// Tidies up and says what was done.
pub fn run(asked: &Gc, stdout: &mut dyn Write, stderr: &mut dyn Write) -> io::Result<u8> {
    let config = config::load();
    let max_bytes = asked.max_size.unwrap_or(config.max_size_bytes);
    if asked.in_background {
        return Ok(u8::from(compress_in_background(&config).is_err()));
    }
    let mut bar = Progress::new("tidying up", stderr);
    let done = tidy_up(asked, &config, max_bytes, &mut bar);
    drop(bar);
    let Done { discarded, compressed, collected, used_bytes } = match done {
        Ok(done) => done,
        Err(error) => return super::refuse(&error, stderr),
    };
    if asked.dry_run {
        writeln!(stdout, "nothing is removed; this would be:")?;
    }
    if let Some(Discarded { records, tool_us, bytes: len }) = discarded {
        let worth = duration(tool_us / 1000);
        writeln!(
            stdout,
            "results dropped        {records} ({}, {worth} of compiling)",
            bytes(len)
        )?;
    }
    let Compressed { results, from_bytes, to_bytes } = compressed;
    let to = if asked.dry_run { String::new() } else { format!(" to {}", bytes(to_bytes)) };
    writeln!(stdout, "results compressed     {results} ({}{to})", bytes(from_bytes))?;
    writeln!(stdout, "segments removed       {} ({})", collected.segments, bytes(collected.bytes))?;
    let tool_s = collected.tool_us / 1_000_000;
    writeln!(stdout, "records removed        {} ({tool_s} s of compiling)", collected.records)?;
    writeln!(stdout, "temporary files        {}", collected.temporaries)?;
    writeln!(stdout, "caches of other ibids  {}", collected.layouts)?;
    if collected.index_grew {
        writeln!(stdout, "the index was made larger")?;
    }
    writeln!(stdout, "size                   {} of {}", bytes(used_bytes), bytes(max_bytes))?;
    Ok(0)
}

/// Does what a build has started this process for, and lets others go first.
fn compress_in_background(config: &Config) -> Result<(), StoreError> {
    let _ = rustix::process::nice(19);
    if !config.cache_dir.as_deref().is_some_and(Path::exists) {
        // It was removed meanwhile, and is not to be made anew.
        return Ok(());
    }
    let store = Store::open_configured(config)?;
    store.compress(Until::of(config.max_size_bytes), false, &mut |_, _| {}).map(|_| ())
}

/// First drops what was chosen: what is left is evicted to the size.
fn tidy_up(
    asked: &Gc,
    config: &Config,
    max_bytes: u64,
    bar: &mut Progress,
) -> Result<Done, StoreError> {
    let directory = config.cache_dir.as_deref().ok_or(StoreError::NoDirectory)?;
    let store = Store::open(directory, config)?;
    let mut progress = |done, total| bar.tell(done, total);
    let chosen = Asked {
        roots: asked.root.clone(),
        gone: asked.gone,
        unused_toolchains: asked.unused_toolchains,
    };
    let discarded = if chosen.is_something() {
        let mut leftovers = Leftovers::new(&store, &chosen);
        let mut is_one = |draft: &_| leftovers.have(draft);
        Some(store.discard(asked.dry_run, &mut is_one, &mut progress)?)
    } else {
        None
    };
    let until = Until { idle: asked.compress, ..Until::of(max_bytes) };
    let compressed = match store.compress(until, asked.dry_run, &mut progress) {
        // Another process does it now.
        Err(StoreError::Busy) => Compressed::default(),
        done => done?,
    };
    let wanted = Wanted { max_bytes, max_age: asked.max_age, dry_run: asked.dry_run };
    let collected = collect(directory, &store, wanted, &mut progress)?;
    Ok(Done { discarded, compressed, collected, used_bytes: store.bytes_used() })
}
