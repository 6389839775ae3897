//! Analysers of sources and generators of sources: clang-tidy, cppcheck, protoc, flex, bison, moc and their kin.
//!
//! Each is a row: what is known of it beside what is observed. Read next: `mod.rs`, `docs/generators.md`.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use super::response::expand;
use super::{Decision, Family, Policy};
use crate::outcome::PassReason;

/// What is known of one tool.
#[derive(Debug)]
struct Row {
    name: &'static str,
    /// Whether it may have no result but text.
    prints: bool,
    /// Whether times of the files that it reads may be in the result.
    shows_times: bool,
    /// Whether it calls `time()` whatever it does.
    asks_time: bool,
    /// Words that stand in an input or in the result where the time is in the result.
    dates: &'static [&'static str],
}

const PLAIN: Row =
    Row { name: "", prints: false, shows_times: false, asks_time: false, dates: &[] };

/// How C names the time.
const C_DATES: &[&str] = &["__DATE__", "__TIME__", "__TIMESTAMP__"];
/// How Qt's older tools said when they ran.
const QT_DATES: &[&str] = &["Created: "];

const ROWS: &[Row] = &[
    Row { name: "bison", ..PLAIN },
    Row { name: "clang-tidy", prints: true, ..PLAIN },
    Row { name: "cppcheck", prints: true, asks_time: true, dates: C_DATES, ..PLAIN },
    Row { name: "flex", prints: true, ..PLAIN },
    Row { name: "glslangValidator", prints: true, ..PLAIN },
    Row { name: "include-what-you-use", prints: true, ..PLAIN },
    Row { name: "iwyu", prints: true, ..PLAIN },
    Row { name: "moc", prints: true, dates: QT_DATES, ..PLAIN },
    Row { name: "protoc", ..PLAIN },
    // A resource has the time at which its file was changed.
    Row { name: "rcc", prints: true, shows_times: true, ..PLAIN },
    Row { name: "swig", prints: true, ..PLAIN },
    Row { name: "uic", prints: true, dates: QT_DATES, ..PLAIN },
];

/// Options that take the next word as their value, of any of them.
#[rustfmt::skip]
const VALUES: &[&str] = &[
    "-o", "--output", "--outfile", "-I", "-D", "-U", "-F", "-f", "-p", "-n", "-b", "-S", "-P", "-name", "-checks", "--checks", "-M",
    "-config", "--config", "-config-file", "--config-file", "-extra-arg", "--extra-arg", "-header-filter", "--dep-file-path",
    "--compress", "--compress-algo", "--root", "--namespace", "--threshold", "--tr", "-g", "--source-entrypoint", "-e", "--vn",
    "-outdir", "-module", "-oh", "-MF", "-MT", "-l", "-features", "-proto_path", "--proto_path", "-Xiwyu", "-isystem", "-include", "-x",
];

/// What they tell about themselves.
const QUERIES: &[&str] = &["--help", "--version", "-help", "-version", "-h"];

/// Options by which the text holds times, or comes in another order each time.
#[rustfmt::skip]
const UNSTEADY: &[&str] = &[
    "--enable-check-profile", "-enable-check-profile", "--store-check-profile", "-store-check-profile", "--showtime", "--trace",
    "-j", "-ftime-report", "--profile",
];

fn row(tool: &OsStr) -> Option<&'static Row> {
    let name = Path::new(tool).file_name()?.to_str()?;
    let stem = name.trim_end_matches(|c: char| c.is_ascii_digit() || c == '.');
    let stem = stem.strip_suffix('-').filter(|_| stem != name).unwrap_or(stem);
    ROWS.iter().find(|row| row.name == stem || row.name == name)
}

/// What may be done with this command of the tool.
pub fn judge(tool: &OsStr, args: &[OsString]) -> Decision {
    let Some(row) = row(tool) else { return Decision::PassThrough(PassReason::UnknownTool) };
    let args = match expand(args) {
        Ok(args) => args,
        Err(reason) => return Decision::PassThrough(reason),
    };
    let words = || args.iter().map(|arg| arg.as_bytes());
    if words().any(|word| QUERIES.iter().any(|query| word == query.as_bytes())) {
        return Decision::PassThrough(PassReason::Query);
    }
    if words().any(|word| UNSTEADY.iter().any(|option| word.starts_with(option.as_bytes()))) {
        return Decision::PassThrough(PassReason::UnsupportedFlag);
    }
    if words().any(|word| word == b"-" || word.ends_with(b"=-") || word == b"--stdin") {
        return Decision::PassThrough(PassReason::StandardInput);
    }
    if words().any(|word| word.starts_with(b"/dev/") && word != b"/dev/null") {
        return Decision::PassThrough(PassReason::OutputNotAFile);
    }
    let (sources, output) = operands(&args);
    let has_project = words().any(|word| word.starts_with(b"--project="));
    if sources.is_empty() && !has_project {
        return Decision::PassThrough(PassReason::NoSource);
    }
    Decision::Cache(Policy {
        sources,
        primary_output: output,
        reads_metadata: row.shows_times,
        is_question: row.prints,
        asks_time: row.asks_time,
        dates: row.dates,
        runs_foreign_code: words().any(|word| word == b"-load" || word.starts_with(b"--load")),
        ..Policy::plain(Family::Generator)
    })
}

/// The words that are no option, and the value of `-o`.
fn operands(args: &[OsString]) -> (Vec<PathBuf>, Option<PathBuf>) {
    let (mut sources, mut output) = (Vec::new(), None);
    let mut words = args.iter();
    while let Some(word) = words.next() {
        if VALUES.iter().any(|option| word == option) {
            let value = words.next().map(PathBuf::from);
            output = if word == "-o" { value } else { output };
        } else if word == "--" {
            break;
        } else if !word.as_bytes().starts_with(b"-") {
            sources.push(word.into());
        }
    }
    (sources, output)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compilers::names;

    #[test]
    fn rows_are_names() {
        for row in ROWS {
            assert_eq!(
                names::family(OsStr::new(row.name)),
                Some(Family::Generator),
                "{}",
                row.name
            );
        }
        assert!(row(OsStr::new("/usr/bin/clang-tidy-14")).is_some_and(|row| row.prints));
    }

    #[test]
    fn commands() {
        let judged = |line: &str| {
            let mut words = line.split(' ').map(OsString::from);
            let tool = words.next().unwrap_or_default();
            judge(&tool, &words.collect::<Vec<_>>())
        };
        for (line, reason) in [
            ("flex -o a.c", PassReason::NoSource),
            ("flex -o a.c -", PassReason::StandardInput),
            ("moc -o a.cpp", PassReason::NoSource),
            ("cppcheck --file-list=-", PassReason::StandardInput),
            ("cppcheck -j4 a.c", PassReason::UnsupportedFlag),
            ("clang-tidy --version", PassReason::Query),
            ("clang-tidy --enable-check-profile a.c", PassReason::UnsupportedFlag),
            ("bison -o /dev/stdout a.y", PassReason::OutputNotAFile),
            ("swig -python -outdir out", PassReason::NoSource),
        ] {
            assert_eq!(judged(line), Decision::PassThrough(reason), "{line}");
        }
        for line in
            ["clang-tidy -p build a.c", "cppcheck --project=c.json", "protoc --cpp_out=. a.proto"]
        {
            assert!(matches!(judged(line), Decision::Cache(_)), "{line}");
        }
    }
}
