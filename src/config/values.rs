//! The values of settings: sizes, switches, the log's place. What is refused is refused with what to write instead.
//!
//! Only [`replace_file`] touches a file. Read next: `config.rs`.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::{fs, io};

use toml_edit::Item;

use super::{Log, SECRET_PREFIX};

/// A size in bytes: `10G` and `10GB` are decimal, `10GiB` is binary. A number without a unit is refused: to some programs it
/// is bytes, to others gigabytes.
pub fn parse_size(text: &str) -> Result<u64, String> {
    let refused = || format!("`{text}` is not a size, such as `10G`, `500M` or `1.5GiB`");
    let trimmed = text.trim();
    let end = trimmed.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(trimmed.len());
    let (number, unit) = trimmed.split_at(end);
    let unit_bytes: u64 = match unit.trim().to_ascii_lowercase().as_str() {
        "" => 0,
        "b" => 1,
        "k" | "kb" => 1_000,
        "m" | "mb" => 1_000_000,
        "g" | "gb" => 1_000_000_000,
        "t" | "tb" => 1_000_000_000_000,
        "ki" | "kib" => 1 << 10,
        "mi" | "mib" => 1 << 20,
        "gi" | "gib" => 1 << 30,
        "ti" | "tib" => 1 << 40,
        _ => return Err(refused()),
    };
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if whole.is_empty() || fraction.contains('.') || fraction.len() > 6 {
        return Err(refused());
    }
    let digits: u128 = format!("{whole}{fraction}").parse().map_err(|_| refused())?;
    if digits == 0 {
        return Err(refused());
    }
    if unit_bytes == 0 {
        return Err(format!("`{text}` has no unit: write `{}`", with_unit(number, digits)));
    }
    let places = 10_u128.pow(u32::try_from(fraction.len()).map_err(|_| refused())?);
    let bytes = digits.checked_mul(u128::from(unit_bytes)).ok_or_else(refused)? / places;
    match u64::try_from(bytes) {
        Ok(bytes) if bytes > 0 => Ok(bytes),
        _ => Err(refused()),
    }
}

/// What a number without a unit probably means: gigabytes if it is small, else bytes.
fn with_unit(number: &str, digits: u128) -> String {
    match digits {
        0..100_000 => format!("{number}G"),
        _ => u64::try_from(digits).map_or_else(|_| "10G".to_owned(), show_size),
    }
}

/// A number of bytes as [`parse_size`] takes it.
pub fn show_size(bytes: u64) -> String {
    let units = [(1_000_000_000_000, "T"), (1_000_000_000, "G"), (1_000_000, "M"), (1_000, "k")];
    units
        .iter()
        .find(|(unit_bytes, _)| bytes.is_multiple_of(*unit_bytes))
        .map_or_else(|| format!("{bytes}B"), |(size, unit)| format!("{}{unit}", bytes / size))
}

/// `true` or `false`, as the file and the environment write it.
pub fn switch(text: &str) -> Result<bool, String> {
    match text {
        "true" | "1" | "yes" | "on" => Ok(true),
        "false" | "0" | "no" | "off" => Ok(false),
        _ => Err(format!("`{text}` is neither `true` nor `false`")),
    }
}

/// Words that other programs take for a level or a switch. Here they would be the name of a file, in each directory in
/// which something is compiled.
const NOT_LOGS: &[&str] = &[
    "-", "all", "debug", "default", "disable", "disabled", "enable", "enabled", "err", "error",
    "false", "full", "info", "n", "no", "none", "notice", "off", "on", "quiet", "stdout", "syslog",
    "trace", "true", "verbose", "warn", "warning", "y", "yes",
];

/// The names of `[tools."NAME"]`. Each says, with or without `steady = true`, that what differs from run to run does not enter the
/// tool's result.
pub fn tools(item: &Item) -> Result<Vec<String>, String> {
    let bad = |name: &str| format!("tools.{name}: only `steady = true` or `false` may stand there");
    let table = item.as_table_like().ok_or("tools: write `[tools.\"./gen.py\"]`")?;
    let mut names = Vec::new();
    for (name, item) in table.iter() {
        let about = item.as_table_like().ok_or_else(|| bad(name))?;
        let steady = about.get("steady").map_or(Some(true), Item::as_bool);
        if about.iter().any(|(key, _)| key != "steady") {
            return Err(bad(name));
        }
        if steady.ok_or_else(|| bad(name))? {
            names.push(name.to_owned());
        }
    }
    Ok(names)
}

/// `stderr`, or a file.
pub fn log(value: &OsStr) -> Result<Log, String> {
    let text = value.to_string_lossy();
    if text == "stderr" {
        return Ok(Log::Stderr);
    }
    let lower = text.to_ascii_lowercase();
    let is_number = lower.chars().all(|c| c.is_ascii_digit());
    let is_filter = lower.contains('=') && !lower.contains('/');
    let is_stderr = lower == "stderr" || lower == "/dev/stderr";
    if is_number || is_filter || is_stderr || NOT_LOGS.contains(&&*lower) {
        return Err(format!(
            "`{text}` is no file: write `stderr`, or a path such as `/tmp/ibid.log`"
        ));
    }
    absolute(value).map(Log::File)
}

/// The file of a key. The key itself is refused without being repeated.
pub fn key_file(value: &OsStr) -> Result<PathBuf, String> {
    if value.to_string_lossy().contains(SECRET_PREFIX) {
        return Err("it is the path of a file that belongs here, not a key".into());
    }
    absolute(value)
}

/// The path from the root on.
pub fn absolute(value: &OsStr) -> Result<PathBuf, String> {
    std::path::absolute(value).map_err(|error| format!("{}: {error}", value.display()))
}

/// The path, from the root on, of a file that can be there.
pub fn writable_file(text: &str) -> Result<PathBuf, String> {
    let path = absolute(OsStr::new(text))?;
    match path.parent() {
        _ if path.is_dir() => Err(format!("{text} is a directory; name a file")),
        Some(parent) if !parent.is_dir() => {
            Err(format!("{} is no directory; make it first", parent.display()))
        }
        _ => Ok(path),
    }
}

/// What is wrong with a file's TOML, in one line.
pub fn toml_problem(path: &Path, text: &str, error: &toml_edit::TomlError) -> String {
    let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
    let line = before.matches('\n').count() + 1;
    let what = error.message().lines().map(str::trim).collect::<Vec<_>>().join(", ");
    format!("{} line {line}: {what}", path.display())
}

/// Replaces a settings file in one step, through a symlink if it is one.
pub fn replace_file(path: &Path, text: &str) -> io::Result<()> {
    let path = fs::canonicalize(path).unwrap_or_else(|_| path.to_path_buf());
    if let Some(dir) = path.parent() {
        fs::create_dir_all(dir)?;
    }
    let new = path.with_extension(format!("toml.{}", std::process::id()));
    fs::write(&new, text)?;
    fs::rename(&new, &path).inspect_err(|_| drop(fs::remove_file(&new)))
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;

    use super::{log, parse_size, show_size};

    #[test]
    fn sizes() {
        for (text, bytes) in [
            ("10G", 10_000_000_000),
            ("500M", 500_000_000),
            ("1.5GiB", 1_610_612_736),
            ("0.25k", 250),
            ("4096B", 4096),
            (" 2 gb ", 2_000_000_000),
        ] {
            assert_eq!(parse_size(text), Ok(bytes), "{text}");
            assert_eq!(parse_size(&show_size(bytes)), Ok(bytes), "{text}");
        }
        for text in [
            "",
            "G",
            "-1G",
            "1..5G",
            "1.2.3M",
            "ten",
            "10X",
            "0",
            "0G",
            "99999999999999999T",
            "0.1B",
        ] {
            assert!(parse_size(text).is_err_and(|why| why.contains("not a size")), "{text}");
        }
        for (text, fix) in [
            ("10", "`10G`"),
            (" 5 ", "`5G`"),
            ("1.5", "`1.5G`"),
            ("20000000000", "`20G`"),
            ("1234567", "`1234567B`"),
        ] {
            let why = parse_size(text).expect_err(text);
            assert!(why.contains("has no unit") && why.contains(fix), "{why}");
            let fix = fix.trim_matches('`');
            assert!(parse_size(fix).is_ok(), "{fix}");
        }
    }

    #[test]
    fn logs() {
        for text in ["1", "0", "2", "debug", "DEBUG", "true", "off", "info", "ibid=debug", "STDERR"]
        {
            assert!(log(OsStr::new(text)).is_err(), "{text}");
        }
        for text in ["stderr", "/tmp/1", "ibid.log", "./1", "log", "/a=b/c", "2024.log"] {
            assert!(log(OsStr::new(text)).is_ok(), "{text}");
        }
    }
}
