//! `ibid gc [--max-age AGE] [--max-size SIZE]`: evicts to a size and an age, and tidies the cache directory up.

use std::io::{self, Write};
use std::time::Duration;

use super::args::Gc;
use super::progress::Progress;
use super::stats::bytes;
use crate::config;
use crate::error::StoreError;
use crate::store::Store;
use crate::store::gc::{Wanted, collect};

/// Tidies up and says what was done.
pub fn run(asked: &Gc, stdout: &mut dyn Write, stderr: &mut dyn Write) -> io::Result<u8> {
    let config = config::load();
    let max_bytes = asked.max_size.unwrap_or(config.max_size_bytes);
    let wanted = Wanted { max_bytes, max_age: asked.max_age };
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
    writeln!(stdout, "segments removed       {} ({})", collected.segments, bytes(collected.bytes))?;
    writeln!(stdout, "temporary files        {}", collected.temporaries)?;
    writeln!(stdout, "caches of other ibids  {}", collected.layouts)?;
    if collected.index_grew {
        writeln!(stdout, "the index was made larger")?;
    }
    writeln!(stdout, "size                   {} of {}", bytes(used), bytes(max_bytes))?;
    Ok(0)
}

/// A time such as `30d`, `12h`, `45m` or `10s`; a bare number is days.
pub fn parse_age(text: &str) -> Result<Duration, String> {
    let refused = || format!("`{text}` is not a time, such as `30d`, `12h`, `45m` or `10s`");
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let unit_s: u64 = match unit {
        "" | "d" => 24 * 60 * 60,
        "h" => 60 * 60,
        "m" => 60,
        "s" => 1,
        _ => return Err(refused()),
    };
    let number: u64 = number.parse().map_err(|_| refused())?;
    number.checked_mul(unit_s).map(Duration::from_secs).ok_or_else(refused)
}

#[cfg(test)]
mod tests {
    use super::parse_age;

    #[test]
    fn ages() {
        for (text, seconds) in [("30d", 2_592_000), ("2", 172_800), ("1h", 3600), ("0s", 0)] {
            assert_eq!(parse_age(text).map(|age| age.as_secs()), Ok(seconds), "{text}");
        }
        for text in ["", "d", "-1d", "1y", "1.5h", "99999999999999999999d"] {
            assert!(parse_age(text).is_err(), "{text}");
        }
    }
}
