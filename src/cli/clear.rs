//! `ibid clear`: removes everything that is stored; the counters stay.

use std::io::{self, Write};

use crate::config;
use crate::store::Store;

/// Clears the cache.
pub fn run(stdout: &mut dyn Write, stderr: &mut dyn Write) -> io::Result<u8> {
    let config = config::load();
    let opened = config
        .cache_dir
        .as_deref()
        .ok_or(crate::error::StoreError::NoDirectory)
        .and_then(|directory| Store::open(directory, config.max_size_bytes));
    match opened.and_then(Store::clear) {
        Ok(()) => {
            writeln!(stdout, "the cache is empty")?;
            Ok(0)
        }
        Err(error) => {
            writeln!(stderr, "ibid: {error}")?;
            Ok(1)
        }
    }
}
