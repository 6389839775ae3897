//! `IBID_LOG`: a line for how each invocation ended, and lines about what led to that.
//!
//! It prints names, paths and reasons, never a value of the environment. A log that cannot be written is no error.

use std::ffi::OsString;
use std::fmt::{self, Display};
use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use super::sources::names_a_source;
use crate::config::Log as Target;

/// Where lines go, if they go anywhere.
pub struct Log {
    target: Option<Target>,
    started: Instant,
}

impl Log {
    /// A log to `target`.
    pub fn new(target: Option<Target>) -> Log {
        Log { target, started: Instant::now() }
    }

    /// Writes a line, with the time of day (UTC) and the time since ibid's own start.
    pub fn line(&self, text: impl Display) {
        let Some(target) = &self.target else { return };
        let ms = self.started.elapsed().as_secs_f64() * 1e3;
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let time = utc(since_epoch.as_secs(), since_epoch.subsec_millis());
        // A name with a line break is still one line.
        let text = text.to_string().replace('\n', "\\n");
        let line = format!("{time} ibid[{}] {ms:.2} ms: {text}\n", std::process::id());
        let _ = match target {
            Target::Stderr => std::io::stderr().write_all(line.as_bytes()),
            Target::File(path) => OpenOptions::new()
                .append(true)
                .create(true)
                .mode(0o600)
                .open(path)
                .and_then(|mut file| file.write_all(line.as_bytes())),
        };
    }
}

/// What a line about an outcome is about: the tool, its source, the directory.
pub struct Subject<'a> {
    /// The program that runs, or would.
    pub program: &'a Path,
    /// Its arguments.
    pub args: &'a [OsString],
}

impl Display for Subject<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.program.display())?;
        let is_source = |arg: &&OsString| *arg == "-" || names_a_source(arg.as_encoded_bytes());
        if let Some(source) = self.args.iter().find(is_source) {
            write!(f, " {}", source.display())?;
        }
        match std::env::current_dir() {
            Ok(directory) => write!(f, " in {}", directory.display()),
            Err(_) => Ok(()),
        }
    }
}

/// The hour, minute and second (UTC) of a time in ns since the epoch, with colons.
pub fn time_of_day(time_ns: u64) -> String {
    utc(time_ns / 1_000_000_000, 0).chars().skip(11).take(8).collect()
}

/// A time as ISO 8601 writes it.
fn utc(seconds: u64, ms: u32) -> String {
    const DAY_S: u64 = 24 * 60 * 60;
    const ERA_DAYS: u64 = 146_097;
    let (second, days) = (seconds % DAY_S, seconds / DAY_S);
    // Years begin in March here, so that the day of a leap year is the last one; the days of months are periodic then.
    let days = days + 719_468;
    let day_of_era = days % ERA_DAYS;
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let is_next_year = month >= 10;
    let month = if is_next_year { month - 9 } else { month + 3 };
    let year = days / ERA_DAYS * 400 + year_of_era + u64::from(is_next_year);
    let (hour, minute) = (second / 3600, second / 60 % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{:02}.{ms:03}Z", second % 60)
}

#[cfg(test)]
mod tests {
    use super::utc;

    #[test]
    fn times() {
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00.007Z"),
            (951_827_696, "2000-02-29T12:34:56.007Z"),
            (951_868_800, "2000-03-01T00:00:00.007Z"),
            (1_704_067_199, "2023-12-31T23:59:59.007Z"),
            (4_107_542_400, "2100-03-01T00:00:00.007Z"),
        ] {
            assert_eq!(utc(seconds, 7), text);
        }
    }
}
