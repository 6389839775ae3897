//! The floor of a warm build: what cargo takes with a wrapper that looks nothing up and judges nothing, this program again.
//!
//! It knows a call by its words, directory and standard input, and gives what rustc gave for them: hard links with the present
//! time, then the saved texts. What failed, and what it does not understand, is run. It is a process as any wrapper must be:
//! asked before anything else in `main`, and static, it lasts less than 0.1 ms longer than an empty C program (0.91 and 0.84 ms
//! on a busy machine, and 0.89 for the same written in C). To the course it is one more cache: its builds are taken in turn with
//! the others', counted, and compared with the bare compiler's.

use std::env;
use std::ffi::OsString;
use std::fs::{self, File};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{self, Read, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Output, Stdio};

use rustix::fs::{AtFlags, CWD, Timespec, Timestamps, UTIME_NOW, utimensat};

use super::counts::Counts;

/// The directory of what was recorded; set, this program is the wrapper.
pub const RECORDS: &str = "IBID_BENCH_RECORDS";
/// The only word of a call that asks for the counters.
pub const COUNTERS: &str = "counters";

/// A file to which each call adds a letter.
const LOG: &str = "log";
const REPLAYED: char = 'r';
const MADE: char = 'm';
const LEFT_TO_RUSTC: char = 'l';

/// The parts of a record.
const FILES: &str = "files";
const STDOUT: &str = "stdout";
const STDERR: &str = "stderr";

/// What a call leaves besides text.
enum Leaves {
    Nothing,
    /// What is called so in a directory, with or without `lib` before and an ending behind.
    Files(PathBuf, String),
    /// Who knows.
    Unknown,
}

/// What this program does as the wrapper, if it is.
pub fn as_wrapper() -> Option<io::Result<ExitCode>> {
    let records = PathBuf::from(env::var_os(RECORDS)?);
    let words: Vec<OsString> = env::args_os().skip(1).collect();
    Some(if words == [COUNTERS] { print_log(&records) } else { answer(&records, &words) })
}

/// What the letters of the log say.
pub fn counts(log: &[u8]) -> Option<Counts> {
    let log = std::str::from_utf8(log).ok()?;
    let count = |letter| log.matches(letter).count() as u64;
    let (hits, made, passed_through) = (count(REPLAYED), count(MADE), count(LEFT_TO_RUSTC));
    Some(Counts { hits, made, passed_through })
}

fn print_log(records: &Path) -> io::Result<ExitCode> {
    // Before the first call there is none.
    io::stdout().write_all(&fs::read(records.join(LOG)).unwrap_or_default())?;
    Ok(ExitCode::SUCCESS)
}

fn note(records: &Path, letter: char) -> io::Result<()> {
    File::options().create(true).append(true).open(records.join(LOG))?.write_all(&[letter as u8])
}

fn answer(records: &Path, words: &[OsString]) -> io::Result<ExitCode> {
    let leaves = leaves(words);
    if matches!(leaves, Leaves::Unknown) {
        note(records, LEFT_TO_RUSTC)?;
        return Err(Command::new(&words[0]).args(&words[1..]).exec());
    }
    let mut input = Vec::new();
    if words.iter().any(|word| word == "-") {
        io::stdin().read_to_end(&mut input)?;
    }
    let mut hasher = DefaultHasher::new();
    (words, env::current_dir()?, &input).hash(&mut hasher);
    let record = records.join(format!("{:016x}", hasher.finish()));
    if replay(&record, &leaves)? {
        note(records, REPLAYED)?;
        return Ok(ExitCode::SUCCESS);
    }
    let done = run(words, &input)?;
    if done.status.success() {
        keep(&record, &leaves, &done)?;
    }
    note(records, if done.status.success() { MADE } else { LEFT_TO_RUSTC })?;
    io::stdout().write_all(&done.stdout)?;
    io::stderr().write_all(&done.stderr)?;
    Ok(ExitCode::from(done.status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(1)))
}

/// As cargo and build scripts say where: `--out-dir`, and a name of which no other call makes use there.
fn leaves(words: &[OsString]) -> Leaves {
    let Some(words) = words.iter().map(|word| word.to_str()).collect::<Option<Vec<&str>>>() else {
        return Leaves::Unknown;
    };
    let names_a_file = |word: &&str| {
        *word == "-o" || word.strip_prefix("--emit=").is_some_and(|kinds| kinds.contains('='))
    };
    let asks =
        |word: &&str| ["-vV", "-V", "--version"].contains(word) || word.starts_with("--print");
    match (value(&words, "--out-dir"), value(&words, "--crate-name")) {
        (Some(directory), Some(name)) if !words.iter().any(names_a_file) => {
            let extra = words.iter().find_map(|word| {
                word.strip_prefix("-C").unwrap_or(word).strip_prefix("extra-filename=")
            });
            Leaves::Files(directory.into(), format!("{name}{}", extra.unwrap_or_default()))
        }
        (None, _) if words.iter().any(asks) => Leaves::Nothing,
        _ => Leaves::Unknown,
    }
}

/// The value of an option, behind it or behind `=`.
fn value<'w>(words: &[&'w str], option: &str) -> Option<&'w str> {
    let at = words.iter().position(|word| word.starts_with(option))?;
    match words[at].strip_prefix(option)? {
        "" => words.get(at + 1).copied(),
        rest => rest.strip_prefix('='),
    }
}

/// Gives what was kept, if anything was.
fn replay(record: &Path, leaves: &Leaves) -> io::Result<bool> {
    let Ok(stdout) = fs::read(record.join(STDOUT)) else { return Ok(false) };
    if let Leaves::Files(directory, _) = leaves {
        for file in fs::read_dir(record.join(FILES))? {
            let file = file?;
            place(&file.path(), &directory.join(file.file_name()))?;
        }
    }
    io::stdout().write_all(&stdout)?;
    io::stderr().write_all(&fs::read(record.join(STDERR))?)?;
    Ok(true)
}

fn place(from: &Path, to: &Path) -> io::Result<()> {
    const NOW: Timespec = Timespec { tv_sec: 0, tv_nsec: UTIME_NOW };
    match fs::hard_link(from, to) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            fs::remove_file(to)?;
            fs::hard_link(from, to)?;
        }
        linked => linked?,
    }
    let times = Timestamps { last_access: NOW, last_modification: NOW };
    Ok(utimensat(CWD, to, &times, AtFlags::empty())?)
}

fn run(words: &[OsString], input: &[u8]) -> io::Result<Output> {
    let mut command = Command::new(&words[0]);
    command.args(&words[1..]).stdout(Stdio::piped()).stderr(Stdio::piped()).stdin(Stdio::piped());
    let mut child = command.spawn()?;
    if let Some(mut stdin) = child.stdin.take() {
        // One that does not read it is none the worse.
        let _ = stdin.write_all(input);
    }
    child.wait_with_output()
}

/// Records what a call gave; complete when it has its name.
fn keep(record: &Path, leaves: &Leaves, done: &Output) -> io::Result<()> {
    let new = record.with_extension(std::process::id().to_string());
    fs::create_dir_all(new.join(FILES))?;
    if let Leaves::Files(directory, stem) = leaves {
        for file in fs::read_dir(directory)? {
            let name = file?.file_name();
            if name.to_str().is_some_and(|name| is_called(name, stem)) {
                fs::hard_link(directory.join(&name), new.join(FILES).join(&name))?;
            }
        }
    }
    fs::write(new.join(STDOUT), &done.stdout)?;
    fs::write(new.join(STDERR), &done.stderr)?;
    fs::rename(new, record)
}

fn is_called(name: &str, stem: &str) -> bool {
    let rest = [Some(name), name.strip_prefix("lib")].into_iter().flatten();
    let mut rest = rest.filter_map(|name| name.strip_prefix(stem));
    rest.any(|rest| rest.is_empty() || rest.starts_with('.'))
}
