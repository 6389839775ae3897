//! `ibid export FILE [--since T]`: what the cache holds as one file, for `ibid import`.
//!
//! The file has its name when it is whole: what stops an export on the way leaves nothing. Read next:
//! `store/export.rs`, `docs/ci.md`.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, IsTerminal, Write};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::fs::{AtFlags, CWD, Mode, OFlags};

use super::args::Export;
use super::progress::Progress;
use super::stats::bytes;
use crate::config;
use crate::store::Store;
use crate::store::export::{Exported, export};

/// How much is written at a time.
const BUFFER_BYTES: usize = 1 << 20;

/// From when on something was stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Since {
    /// So long ago, from now.
    Ago(Duration),
    /// Seconds since the epoch.
    At(u64),
}

impl Since {
    fn seconds(self) -> u64 {
        match self {
            Since::At(seconds) => seconds,
            Since::Ago(age) => {
                let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
                now.saturating_sub(age).as_secs()
            }
        }
    }
}

/// Exports and says what was written; where that goes to standard output, on standard error.
pub fn run(asked: &Export, stdout: &mut dyn Write, stderr: &mut dyn Write) -> io::Result<u8> {
    let store = match Store::open_configured(&config::load()) {
        Ok(store) => store,
        Err(error) => return super::refuse(&error, stderr),
    };
    let since_s = asked.since.map_or(0, Since::seconds);
    let to_stdout = asked.file == Path::new("-");
    if to_stdout && io::stdout().is_terminal() {
        return super::refuse(&"standard output is a terminal: name a file", stderr);
    }
    let mut bar = Progress::new("exporting", stderr);
    let target = if to_stdout { Target::stdout() } else { Target::new(&asked.file) };
    let written = target.and_then(|target| {
        let mut to = BufWriter::with_capacity(BUFFER_BYTES, &target.file);
        let exported = export(&store, since_s, &mut to, &mut |done, total| bar.tell(done, total))?;
        // What fails while it is dropped is lost.
        to.flush()?;
        drop(to);
        target.finish()?;
        Ok(exported)
    });
    drop(bar);
    let Exported { records, blobs, bytes: len_bytes, left_out } = match written {
        Ok(exported) => exported,
        Err(error) => {
            let shown = if to_stdout { Path::new("standard output") } else { &asked.file };
            let why = format_args!("cannot write {}: {error}", shown.display());
            return super::refuse(&why, stderr);
        }
    };
    let to: &mut dyn Write = if to_stdout { stderr } else { stdout };
    write!(to, "exported {records} records and {blobs} blobs, {}", bytes(len_bytes))?;
    if left_out > 0 {
        write!(to, "; {left_out} records are of no use elsewhere or not whole")?;
    }
    writeln!(to)?;
    Ok(0)
}

/// Where an export goes.
struct Target {
    file: File,
    name: Name,
}

/// How the file gets its name.
enum Name {
    /// It has one, or is a pipe or a device.
    Settled,
    /// It has none yet.
    Unnamed(PathBuf),
    /// It has a temporary one, the first.
    Temporary(PathBuf, PathBuf),
}

impl Target {
    fn stdout() -> io::Result<Target> {
        let file = io::stdout().as_fd().try_clone_to_owned()?.into();
        Ok(Target { file, name: Name::Settled })
    }

    fn new(path: &Path) -> io::Result<Target> {
        let old = match fs::metadata(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            old => Some(old?),
        };
        if old.as_ref().is_some_and(fs::Metadata::is_dir)
            || path.as_os_str().as_bytes().ends_with(b"/")
        {
            return Err(io::ErrorKind::IsADirectory.into());
        }
        if old.as_ref().is_some_and(|old| !old.is_file()) {
            let file = OpenOptions::new().write(true).open(path)?;
            return Ok(Target { file, name: Name::Settled });
        }
        // Through a symlink.
        let path = if old.is_some() { fs::canonicalize(path)? } else { path.to_path_buf() };
        let target = Target::unnamed(&path).map_or_else(|| Target::temporary(&path), Ok)?;
        if let Some(old) = old {
            target.file.set_permissions(old.permissions())?;
        }
        Ok(target)
    }

    /// A file without a name, which goes away if this process does.
    fn unnamed(path: &Path) -> Option<Target> {
        let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty());
        let flags = OFlags::TMPFILE | OFlags::WRONLY | OFlags::CLOEXEC;
        let mode = Mode::from_raw_mode(0o666);
        let file = rustix::fs::open(directory.unwrap_or(Path::new(".")), flags, mode).ok()?;
        let target = Target { file: file.into(), name: Name::Unnamed(path.to_path_buf()) };
        target.link().exists().then_some(target)
    }

    /// Where file systems know no such files, or there is no `/proc`.
    fn temporary(path: &Path) -> io::Result<Target> {
        let temporary = beside(path);
        let file = OpenOptions::new().write(true).create_new(true).open(&temporary)?;
        Ok(Target { file, name: Name::Temporary(temporary, path.to_path_buf()) })
    }

    /// What leads to the open file.
    fn link(&self) -> PathBuf {
        PathBuf::from(format!("/proc/self/fd/{}", self.file.as_raw_fd()))
    }

    /// Gives the file its name.
    fn finish(mut self) -> io::Result<()> {
        if let Name::Unnamed(path) = &self.name {
            let (temporary, path) = (beside(path), path.clone());
            rustix::fs::linkat(CWD, self.link(), CWD, &temporary, AtFlags::SYMLINK_FOLLOW)?;
            self.name = Name::Temporary(temporary, path);
        }
        if let Name::Temporary(temporary, path) = &self.name {
            fs::rename(temporary, path)?;
            self.name = Name::Settled;
        }
        Ok(())
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        if let Name::Temporary(temporary, _) = &self.name {
            let _ = fs::remove_file(temporary);
        }
    }
}

/// A name in the same directory that nobody else uses.
fn beside(path: &Path) -> PathBuf {
    let mut name = std::ffi::OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(format!(".{}.tmp", std::process::id()));
    path.with_file_name(name)
}

/// The least number that is a time and not a mistake: in 2001.
const UNIX_TIME_MIN: u64 = 1_000_000_000;

/// `2h`, `2026-11-29T13:44:41Z`, `2026-11-29` (in UTC) or seconds since the epoch.
pub fn parse_since(text: &str) -> Result<Since, String> {
    let refused = || {
        format!(
            "`{text}` is not a time, such as `2h`, `3d`, `2026-11-29T13:44:41Z` or `1796046281`"
        )
    };
    if let Ok(seconds) = text.parse::<u64>() {
        return if seconds < UNIX_TIME_MIN { Err(refused()) } else { Ok(Since::At(seconds)) };
    }
    if text.ends_with(['d', 'h', 'm', 's']) {
        return super::args::parse_age(text).map(Since::Ago).map_err(|_| refused());
    }
    parse_date(text.as_bytes()).map(Since::At).ok_or_else(refused)
}

/// A date of RFC 3339, with or without a time.
fn parse_date(text: &[u8]) -> Option<u64> {
    let number = |from: usize, len: usize| -> Option<u64> {
        let digits = text.get(from..from + len)?;
        let is_number = digits.iter().all(u8::is_ascii_digit);
        is_number.then(|| digits.iter().fold(0, |sum, digit| sum * 10 + u64::from(digit - b'0')))
    };
    let is = |at: usize, one_of: &[u8]| text.get(at).is_some_and(|byte| one_of.contains(byte));
    let (year, month, day) = (number(0, 4)?, number(5, 2)?, number(8, 2)?);
    if !(is(4, b"-") && is(7, b"-") && year >= 1970 && day >= 1 && day <= days_in(year, month)?) {
        return None;
    }
    let years: u64 = (1970..year).map(|year| if is_leap(year) { 366 } else { 365 }).sum();
    let months: u64 = (1..month).filter_map(|month| days_in(year, month)).sum();
    let midnight_s = (years + months + day - 1) * 86_400;
    if text.len() == 10 {
        return Some(midnight_s);
    }
    let (hour, minute, second) = (number(11, 2)?, number(14, 2)?, number(17, 2)?);
    if !(is(10, b"Tt ") && is(13, b":") && is(16, b":") && hour < 24 && minute < 60 && second <= 60)
    {
        return None;
    }
    let local_s = midnight_s + hour * 3600 + minute * 60 + second;
    let mut zone = &text[19..];
    if let Some(fraction) = zone.strip_prefix(b".") {
        let end = fraction.iter().position(|byte| !byte.is_ascii_digit()).filter(|end| *end > 0)?;
        zone = &fraction[end..];
    }
    match zone {
        b"Z" | b"z" => Some(local_s),
        [sign @ (b'+' | b'-'), hours @ .., b':', _, _] if hours.len() == 2 => {
            let at = text.len() - 5;
            let (hours, minutes) = (number(at, 2)?, number(at + 3, 2)?);
            let offset_s = hours * 3600 + minutes * 60;
            let is_offset = hours < 24 && minutes < 60;
            let utc_s = if *sign == b'+' {
                local_s.checked_sub(offset_s)
            } else {
                Some(local_s + offset_s)
            };
            utc_s.filter(|_| is_offset)
        }
        _ => None,
    }
}

fn is_leap(year: u64) -> bool {
    year.is_multiple_of(4) && !year.is_multiple_of(100) || year.is_multiple_of(400)
}

fn days_in(year: u64, month: u64) -> Option<u64> {
    match month {
        2 => Some(if is_leap(year) { 29 } else { 28 }),
        4 | 6 | 9 | 11 => Some(30),
        1..=12 => Some(31),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_as_they_are_typed() {
        let hours = |hours| Since::Ago(Duration::from_hours(hours));
        for (text, since) in [
            ("2h", hours(2)),
            ("3d", hours(72)),
            ("45m", Since::Ago(Duration::from_mins(45))),
            ("1796046281", Since::At(1_796_046_281)),
            ("1970-01-01", Since::At(0)),
            ("2000-02-29T00:00:00Z", Since::At(951_782_400)),
            ("2026-11-29T13:44:41Z", Since::At(1_795_959_881)),
            ("2026-11-29t13:44:41.123z", Since::At(1_795_959_881)),
            ("2026-11-29 15:44:41+02:00", Since::At(1_795_959_881)),
            ("2026-11-29T05:14:41-08:30", Since::At(1_795_959_881)),
            ("2100-03-01", Since::At(4_107_542_400)),
        ] {
            assert_eq!(parse_since(text), Ok(since), "{text}");
        }
        for text in [
            "",
            "3",
            "h",
            "-2h",
            "1y",
            "soon",
            "yesterday",
            "2026-11-31",
            "2026-13-01",
            "2025-02-29",
            "2100-02-29",
            "2026-11-29T",
            "2026-11-29T13:44",
            "2026-11-29T13:44:41",
            "2026-11-29T13:44:41.Z",
            "2026-11-29T24:00:00Z",
            "2026-11-29T13:44:41+0200",
            "2026-11-29T13:44:41+24:00",
            "2026-11-29T13:44:41Zx",
            "2026/11/29",
            "1970-01-01T00:00:00+01:00",
            "é",
            "2026-11-2é",
        ] {
            assert!(parse_since(text).is_err(), "{text}");
        }
    }
}
