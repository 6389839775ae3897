//! Whether a record is true now: what each thing in a record means, written once for every kind of evidence.
//!
//! It never guesses: what cannot be compared differs. It changes nothing. Read next: `content.rs` (evidence before libc),
//! `wrapper/content_lookup/evidence.rs` (evidence that reads files).

use core::ffi::CStr;

use super::command::{Command, KnownInput, PATH_BYTES_MAX};
use crate::record::{self, Absence, Cold, Input, Record, Span, Variable};
use crate::shm::cpu;
use crate::shm::raw::{self, AsFd, Errno, FileState, Stream};

pub use super::difference::{By, Difference};
pub use super::environment::{Environment, may_count};

/// What a look-up knows of files, and what it accepts where something has changed.
pub trait Evidence<'a> {
    /// What `stat` says of a path.
    fn stat(&mut self, path: &CStr) -> Result<FileState, Errno>;
    /// What `lstat` says of a path.
    fn lstat(&mut self, path: &CStr) -> Result<FileState, Errno>;
    /// Whether a variable that has another value, or is set or not, counts as the recorded one.
    fn is_same_variable(&mut self, record: &Record<'a>, variable: &Variable) -> bool;
    /// Whether input number `at`, whose stamp is another one, counts as the recorded one.
    fn is_same_input(&mut self, record: &Record<'a>, at: usize, input: &Input) -> bool;
    /// Whether it counts which settings the project has: not where the key holds what they come to.
    fn heeds_project(&self) -> bool;
    /// Whether nothing is at `path` and nothing but a search for programs that is repeated depends on it.
    fn is_only_searched(&mut self, _path: &CStr) -> bool {
        false
    }
    /// The record's cold part.
    fn cold(&mut self) -> Option<Cold<'a>>;
    /// By what a record is true of which each part is: what only all parts together show is judged here.
    fn verdict(&mut self, record: &Record<'a>) -> Result<By, Difference<'a>>;
}

/// Judges `record` by what `evidence` knows.
pub fn judge<'a>(
    record: &Record<'a>,
    command: &Command,
    environment: &Environment,
    evidence: &mut impl Evidence<'a>,
) -> Result<By, Difference<'a>> {
    if record.command() != Some(command.bytes()) {
        return Err(Difference::Command);
    }
    judge_machine(record, command)?;
    judge_variables(record, environment, evidence)?;
    for (at, input) in record.inputs().enumerate() {
        let input = input.ok_or(Difference::Damaged)?;
        if let Err(difference) = judge_input(record, &input, evidence)
            && !evidence.is_same_input(record, at, &input)
        {
            return Err(difference);
        }
    }
    for absence in record.absences() {
        judge_absence(record, &absence.ok_or(Difference::Damaged)?, evidence)?;
    }
    judge_directories(record, evidence)?;
    evidence.verdict(record)
}

/// What standard input is, as far as it can be known without reading it: a flag of a record; 0 if it can be anything.
pub fn standard_input(command: &Command) -> u32 {
    match command.input {
        KnownInput::Closed => return record::INPUT_CLOSED,
        KnownInput::Source => return 0,
        KnownInput::Unknown => {}
    }
    match raw::stat_fd(raw::standard(Stream::Input)) {
        Err(Errno::BADF) => record::INPUT_CLOSED,
        Ok(state) if state.is_null_device() => record::INPUT_NULL,
        // What `make -j` gives to all but one of its children.
        Ok(_) if raw::is_drained(raw::standard(Stream::Input)) => record::INPUT_NULL,
        _ => 0,
    }
}

/// Whether standard output or standard error is closed. Then a tool may fail to speak, or open a file in that place.
pub fn is_mute() -> bool {
    let is_closed = |stream| raw::stat_fd(raw::standard(stream)) == Err(Errno::BADF);
    is_closed(Stream::Output) || is_closed(Stream::Error)
}

/// Judges what is neither file nor variable: the CPU, standard input, and where text would go.
pub fn judge_machine<'a>(record: &Record<'a>, command: &Command) -> Result<(), Difference<'a>> {
    if record.has(record::NEEDS_CPU) && record.head.cpu != cpu::identity() {
        return Err(Difference::Cpu);
    }
    let needed = record.head.flags & (record::INPUT_CLOSED | record::INPUT_NULL);
    if needed != 0 && needed != standard_input(command) {
        return Err(Difference::StandardInput);
    }
    if record.has(record::HAS_TEXT) || record.has(record::ASKS_STREAMS) {
        let (then, mut now) = (Streams::of(record), Streams::now());
        // Text of one stream alone goes where that stream goes; whether the other one is the same file does not matter.
        if !then.merged && (record.head.stdout.len_bytes == 0 || record.head.stderr.len_bytes == 0)
        {
            now.merged = false;
        }
        if then != now {
            return Err(Difference::Terminal);
        }
    }
    Ok(())
}

/// Where text goes, as far as a tool can tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Streams {
    /// Standard output is a terminal.
    pub out_terminal: bool,
    /// Standard error is a terminal.
    pub err_terminal: bool,
    /// Both are the same file.
    pub merged: bool,
    /// Columns of the terminal, 0 if none.
    pub columns: u32,
}

impl Streams {
    /// Those of this process.
    pub fn now() -> Streams {
        let (out, err) = (raw::standard(Stream::Output), raw::standard(Stream::Error));
        let (out_terminal, err_terminal) = (raw::is_terminal(out), raw::is_terminal(err));
        let same = |a: raw::FileState, b: raw::FileState| {
            (a.stat.dev, a.stat.ino, a.rdev) == (b.stat.dev, b.stat.ino, b.rdev)
        };
        let merged = match (raw::stat_fd(out.as_fd()), raw::stat_fd(err.as_fd())) {
            (Ok(a), Ok(b)) => same(a, b),
            _ => false,
        };
        let columns = match (out_terminal, err_terminal) {
            (_, true) => raw::terminal_columns(err),
            (true, false) => raw::terminal_columns(out),
            (false, false) => 0,
        };
        Streams { out_terminal, err_terminal, merged, columns }
    }

    fn of(record: &Record<'_>) -> Streams {
        Streams {
            out_terminal: record.has(record::OUT_TERMINAL),
            err_terminal: record.has(record::ERR_TERMINAL),
            merged: record.has(record::MERGED),
            columns: record.head.columns,
        }
    }
}

fn judge_variables<'a>(
    record: &Record<'a>,
    now: &Environment,
    evidence: &mut impl Evidence<'a>,
) -> Result<(), Difference<'a>> {
    for variable in record.variables() {
        let variable = variable.ok_or(Difference::Damaged)?;
        if variable.flags & record::TEXT_ONLY != 0 && !record.has(record::HAS_TEXT) {
            continue;
        }
        let name = record.string(variable.name).ok_or(Difference::Damaged)?;
        if !now.agrees(name, &variable) && !evidence.is_same_variable(record, &variable) {
            return Err(Difference::Variable(name));
        }
    }
    Ok(())
}

fn judge_input<'a>(
    record: &Record<'a>,
    input: &Input,
    evidence: &mut impl Evidence<'a>,
) -> Result<(), Difference<'a>> {
    let path = record.string(input.path).ok_or(Difference::Damaged)?;
    let is_as_stamped =
        |now: Result<FileState, Errno>| now.is_ok_and(|s| s.stat.stamp() == input.stamp);
    let is_of_its_kind = |now: Result<FileState, Errno>| now.is_ok_and(|s| s.mode == input.mode);
    let (agrees, difference) = match input.kind {
        record::CONTENT
        | record::REMADE
        | record::METADATA
        | record::ANSWERS
        | record::PROJECT_FILE => (is_as_stamped(evidence.stat(path)), Difference::Input(path)),
        record::LINK => (is_as_stamped(evidence.lstat(path)), Difference::Link(path)),
        record::EXISTS | record::PROJECT_ROOT => {
            (is_of_its_kind(evidence.lstat(path)), Difference::Existence(path))
        }
        record::LEADS => (is_of_its_kind(evidence.stat(path)), Difference::Existence(path)),
        record::LISTING => (is_as_stamped(evidence.stat(path)), Difference::Listing(path)),
        record::NO_PROJECT_FILE => {
            let errno = evidence.stat(path).err().map(|it| it.raw_os_error().cast_unsigned());
            (errno == Some(input.mode), Difference::Appeared(path))
        }
        _ => (false, Difference::Damaged),
    };
    if agrees { Ok(()) } else { Err(difference) }
}

/// Whether a look-up fails as it failed then. A link that leads nowhere fails as a missing name does.
fn judge_absence<'a>(
    record: &Record<'a>,
    absence: &Absence,
    evidence: &mut impl Evidence<'a>,
) -> Result<(), Difference<'a>> {
    let path = record.string(absence.path).ok_or(Difference::Damaged)?;
    let now = evidence.stat(path).err().map(|errno| errno.raw_os_error().cast_unsigned());
    if now == Some(absence.errno) || evidence.is_only_searched(path) {
        Ok(())
    } else {
        Err(Difference::Appeared(path))
    }
}

fn judge_directories<'a>(
    record: &Record<'a>,
    evidence: &mut impl Evidence<'a>,
) -> Result<(), Difference<'a>> {
    for directory in record.directories() {
        let directory = directory.ok_or(Difference::Damaged)?;
        let path = record.string(directory.path).ok_or(Difference::Damaged)?;
        let shown = if path.is_empty() { c"." } else { path };
        let difference = match evidence.stat(shown) {
            Ok(state) if state.stat.stamp() == directory.stamp => continue,
            Ok(state)
                if state.is_directory() && !became_link(record, path, evidence.lstat(shown)) =>
            {
                let cold = evidence.cold().ok_or(Difference::Damaged)?;
                judge_names(path, &cold, directory.names, evidence.heeds_project())
            }
            // Its being there was seen too, and is not noted elsewhere.
            _ => Err(Difference::Existence(path)),
        };
        if difference.is_err() && !is_only_searched_in(path, directory.names, evidence) {
            return difference;
        }
    }
    Ok(())
}

/// Whether nothing but programs whose search is repeated was looked for in a directory, and none of its names is there.
#[inline(never)]
fn is_only_searched_in<'a>(
    directory: &CStr,
    names: Span,
    evidence: &mut impl Evidence<'a>,
) -> bool {
    let Some(cold) = evidence.cold() else { return false };
    let mut buffer = [0u8; PATH_BYTES_MAX + 256];
    cold.names(names).all(|name| {
        let path = name.and_then(|name| join(&mut buffer, directory, name.to_bytes()));
        path.is_some_and(|path| evidence.is_only_searched(path))
    })
}

/// Whether a directory is a symlink to one now, and was none.
fn became_link(record: &Record<'_>, path: &CStr, now: Result<FileState, Errno>) -> bool {
    let was_link = |input: Option<Input>| {
        input.is_some_and(|input| {
            input.kind == record::LINK && record.string(input.path) == Some(path)
        })
    };
    now.is_ok_and(|state| state.is_symlink()) && !record.inputs().any(was_link)
}

/// Judges all names of `directory` one by one: each must lead nowhere, or be a directory if it ends in a slash. Those of a
/// project's settings begin with one.
///
/// Out of line: its buffer would be two pages more for every hit's stack.
#[inline(never)]
pub fn judge_names<'a>(
    directory: &'a CStr,
    cold: &Cold<'a>,
    names: Span,
    heeds_project: bool,
) -> Result<(), Difference<'a>> {
    let mut buffer = [0u8; PATH_BYTES_MAX + 256];
    for name in cold.names(names) {
        let name = name.ok_or(Difference::Damaged)?;
        if !heeds_project && name.to_bytes().starts_with(b"/") {
            continue;
        }
        let (bytes, is_directory) = match name.to_bytes().strip_suffix(b"/") {
            Some(bytes) => (bytes, true),
            None => (name.to_bytes(), false),
        };
        let path = join(&mut buffer, directory, bytes).ok_or(Difference::Damaged)?;
        let agrees = if is_directory {
            raw::lstat(path).is_ok_and(|state| state.is_directory())
        } else {
            raw::stat(path) == Err(Errno::NOENT)
        };
        if !agrees {
            return Err(Difference::NameIn(directory, name));
        }
    }
    Ok(())
}

/// `directory/name`, or `name` where the directory is the empty string.
fn join<'b>(buffer: &'b mut [u8], directory: &CStr, name: &[u8]) -> Option<&'b CStr> {
    let directory = directory.to_bytes();
    let slash: &[u8] = if directory.is_empty() || directory.ends_with(b"/") { b"" } else { b"/" };
    let mut end = 0;
    for piece in [directory, slash, name, b"\0"] {
        buffer.get_mut(end..end + piece.len())?.copy_from_slice(piece);
        end += piece.len();
    }
    CStr::from_bytes_with_nul(buffer.get(..end)?).ok()
}
