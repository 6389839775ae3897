//! Figures, names and refusals as a person reads them, in a line of a terminal or on a page.

use std::io::{self, ErrorKind};
use std::path::Path;

/// A count with the word for one or for more.
pub fn plural(count: impl TryInto<u64>, one: &str, more: &str) -> String {
    let count = count.try_into().unwrap_or(u64::MAX);
    format!("{count} {}", if count == 1 { one } else { more })
}

/// A number of milliseconds.
pub fn duration(ms: u64) -> String {
    let s = ms / 1000;
    match s {
        0..10 => seconds(ms),
        10..120 => format!("{s} s"),
        120..7200 => format!("{} min {} s", s / 60, s % 60),
        _ => format!("{} h {} min", s / 3600, s / 60 % 60),
    }
}

/// A number of milliseconds, in seconds to a tenth.
pub fn seconds(ms: u64) -> String {
    format!("{}.{} s", ms / 1000, ms % 1000 / 100)
}

/// A number of bytes.
pub fn bytes(count: u64) -> String {
    const UNITS: [&str; 4] = ["B", "kB", "MB", "GB"];
    let mut unit = 0;
    let mut scaled = count;
    while scaled >= 10_000 && unit + 1 < UNITS.len() {
        scaled /= 1000;
        unit += 1;
    }
    format!("{scaled} {}", UNITS[unit])
}

/// A part of a whole, to a tenth; `-` where there is no whole.
pub fn percent(part: u64, whole: u64) -> String {
    let tenths = (part * 1000).checked_div(whole);
    tenths.map_or_else(|| "-".to_owned(), |tenths| format!("{}.{} %", tenths / 10, tenths % 10))
}

/// Without control characters: what a name holds must not reach a terminal.
pub fn printable(text: &str) -> String {
    let mut shown = String::new();
    for c in text.chars() {
        if c.is_control() { shown.extend(c.escape_default()) } else { shown.push(c) }
    }
    shown
}

/// How wide a terminal is taken to be.
pub const COLUMNS: usize = 80;

/// Lines of words that fit behind an indent of so many columns; a word that is longer than a line stays whole.
pub fn wrapped<W: AsRef<str>>(words: impl IntoIterator<Item = W>, indent: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in words {
        let word = word.as_ref();
        let last = lines.last_mut().expect("there is one");
        if last.is_empty() {
            last.push_str(word);
        } else if last.chars().count() + 1 + word.chars().count() <= COLUMNS - indent {
            *last += " ";
            *last += word;
        } else {
            lines.push(word.to_owned());
        }
    }
    lines
}

/// Why a file cannot be written, and what to do, in a line.
pub fn cannot_write(path: &Path, error: &io::Error) -> String {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    let parent = parent.unwrap_or(Path::new("."));
    let path = path.display();
    match error.kind() {
        ErrorKind::NotFound | ErrorKind::NotADirectory => {
            format!("cannot write {path}: {} is no directory; make it first", parent.display())
        }
        ErrorKind::IsADirectory => format!("cannot write {path}: it is a directory; name a file"),
        ErrorKind::PermissionDenied => {
            format!("cannot write {path}: you may not; name a file in a directory of yours")
        }
        ErrorKind::ReadOnlyFilesystem => {
            format!("cannot write {path}: its file system is read-only; name another file")
        }
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => {
            format!("cannot write {path}: its disk is full; make room, or name another file")
        }
        _ => format!("cannot write {path}: {error}"),
    }
}

/// Why a file cannot be read, in a line.
pub fn cannot_read(path: &Path, error: &io::Error) -> String {
    let path = path.display();
    match error.kind() {
        ErrorKind::NotFound => format!("cannot read {path}: it is not there; name another file"),
        ErrorKind::IsADirectory => format!("cannot read {path}: it is a directory; name a file"),
        ErrorKind::PermissionDenied => format!("cannot read {path}: you may not; ask its owner"),
        _ => format!("cannot read {path}: {error}"),
    }
}

/// A name with control characters, quotes and backslashes escaped.
pub fn escaped(name: &[u8]) -> String {
    String::from_utf8_lossy(name).escape_debug().to_string()
}

/// A text that is longer than this many characters loses its beginning: the end of a path says most.
pub fn shortened(text: &str, chars_max: usize) -> String {
    let len = text.chars().count();
    if len <= chars_max {
        return text.to_owned();
    }
    // One of them is the sign.
    let Some(kept) = chars_max.checked_sub(1) else { return String::new() };
    ['…'].into_iter().chain(text.chars().skip(len - kept)).collect()
}

#[cfg(test)]
mod tests {
    use super::{bytes, duration, wrapped};

    #[test]
    fn lines_fit_a_terminal() {
        let long = "word ".repeat(60);
        assert!(wrapped(long.split_whitespace(), 6).iter().all(|line| line.len() <= 74));
        assert_eq!(wrapped(["x".repeat(100)], 6), ["x".repeat(100)]);
    }

    #[test]
    fn for_a_person() {
        for (ms, text) in
            [(0, "0.0 s"), (1234, "1.2 s"), (59_999, "59 s"), (7_199_000, "119 min 59 s")]
        {
            assert_eq!(duration(ms), text);
        }
        assert_eq!(duration(10_000_000), "2 h 46 min");
        assert_eq!(bytes(9999), "9999 B");
        assert_eq!(bytes(10_000), "10 kB");
    }
}
