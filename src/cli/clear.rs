//! `ibid clear`: removes everything that is stored, and what was found out about programs; the counters stay.

use std::io::{self, Write};

use crate::config;
use crate::store::Store;

/// Clears the cache.
pub fn run(stdout: &mut dyn Write, stderr: &mut dyn Write) -> io::Result<u8> {
    let config = config::load();
    match Store::open_configured(&config).and_then(Store::clear) {
        Ok(()) => {
            writeln!(stdout, "the cache is empty")?;
            Ok(0)
        }
        Err(error) => super::refuse(&error, stderr),
    }
}
