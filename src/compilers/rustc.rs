//! rustc, and clippy-driver around it: one crate to whatever it is compiled to, linking included.
//!
//! cargo's questions (`-vV`, `--print`) are cached too: their result is what they print. The option syntax is that of the
//! `getopts` crate; of the values only those are looked at that change what may be done with the command.
//! Read next: `docs/rust.md`, which says why two things that rustc reads are no inputs.

use std::collections::HashSet;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use super::devices::is_no_file;
use super::{Decision, Family, Policy, ShowsDirectory, StandardInput};
use crate::outcome::PassReason;

/// More text than this is no argument file.
const FILE_MAX_BYTES: u64 = 16 << 20;
/// Short options that take a value, and long ones.
const SHORT_WITH_VALUE: &[u8] = b"ACDFLWZlo";
const LONG_WITH_VALUE: &[&str] = &[
    "allow",
    "cap-lints",
    "cfg",
    "check-cfg",
    "codegen",
    "color",
    "crate-name",
    "crate-type",
    "deny",
    "diagnostic-width",
    "edition",
    "emit",
    "env-set",
    "error-format",
    "explain",
    "extern",
    "forbid",
    "force-warn",
    "json",
    "out-dir",
    "print",
    "remap-path-prefix",
    "remap-path-scope",
    "sysroot",
    "target",
    "warn",
];
/// Beginnings of `-Z` options that print or write times, or the state of the incremental directory.
const UNREPEATABLE: &[&str] =
    &["incremental-info", "llvm-time-trace", "self-profile", "time-", "time_", "print-llvm-passes"];

/// Beginnings of `-C` options with which a place may be in what is written although its names are mapped, or cannot be looked
/// for there.
const UNMAPPED: &[&str] = &[
    "embed-bitcode=y",
    "instrument-coverage",
    "linker-plugin-lto",
    "llvm-args",
    "lto",
    "passes",
    "profile-",
    "remark",
    "save-temps",
    "split-debuginfo=p",
    "split-debuginfo=u",
];

/// What is printed of rustc and of the target alone.
const PLACELESS: &[&str] = &[
    "cfg",
    "check-cfg",
    "crate-name",
    "file-names",
    "host-tuple",
    "split-debuginfo",
    "sysroot",
    "target-libdir",
];

/// What a command line says.
#[derive(Debug, Default)]
#[allow(clippy::struct_excessive_bools, reason = "what was typed: a flag for each flag")]
struct TypedRustc {
    sources: Vec<PathBuf>,
    is_question: bool,
    /// The question is not one of those whose answer is known to say nothing of the working directory.
    asks_for_more: bool,
    asks_for_help: bool,
    unsupported: bool,
    unparsed: bool,
    standard_input: Option<StandardInput>,
    standard_output: bool,
    cpu: bool,
    output: Option<PathBuf>,
    depfile: Option<PathBuf>,
    incremental: Option<PathBuf>,
    output_directory: Option<PathBuf>,
    /// Whether maps of names would not hide a place in what it writes, or the user gives maps himself.
    unmapped: bool,
    /// Search directories for other things than crates that are named here, each as often as rustc lists it.
    unlisted: Vec<PathBuf>,
    /// Search directories as they were said: rustc lists each once, however often the same is said.
    searched: HashSet<OsString>,
}

/// How the name of rustc's library begins.
pub const DRIVER_LIBRARY: &str = "librustc_driver-";

/// Libraries that a program with rustc in it may be linked to without it being another one's: rustc's, and libc's.
pub const DRIVER_LIBRARIES: &[&str] = &[
    DRIVER_LIBRARY,
    "libstd-",
    "libLLVM",
    "libc.so.",
    "libgcc_s.so.",
    "libm.so.",
    "libdl.so.",
    "libpthread.so.",
    "librt.so.",
    "ld-linux-",
];

/// What it names if it asks for the time, random numbers or process numbers by itself: libc's functions and std's, in the
/// names that the linker sees; and ways to reach them that show no name.
pub const DRIVER_ASKS: &[&[u8]] = &[
    b"\0time\0",
    b"clock_gettime",
    b"gettimeofday",
    b"timespec_get",
    b"SystemTime",
    b"getrandom",
    b"arc4random",
    b"getpid",
    b"gettid",
    b"getppid",
    b"getsid",
    b"getpgrp",
    b"7process2id",
    b"getrusage",
    b"sysinfo",
    b"getloadavg",
    b"\0syscall\0",
    b"\0dlsym\0",
    b"\0dlopen\0",
];

/// What may be done with this command of rustc.
pub fn judge(args: &[OsString]) -> Decision {
    // `clippy-driver /path/of/rustc ARGS…`, as cargo runs a wrapper for the workspace; `rustc +TOOLCHAIN ARGS…`, of rustup.
    let is_rustc = |word: &OsString| Path::new(word).file_stem().is_some_and(|s| s == "rustc");
    let is_toolchain = |word: &OsString| word.as_bytes().starts_with(b"+");
    let is_no_option = |word: &OsString| is_rustc(word) || is_toolchain(word);
    let args = if args.first().is_some_and(is_no_option) { &args[1..] } else { args };
    let typed = match expand(args) {
        Ok(args) => TypedRustc::read(&args),
        Err(reason) => return Decision::PassThrough(reason),
    };
    if let Some(reason) = typed.why_not() {
        return Decision::PassThrough(reason);
    }
    let (standard_input, takes_maps) = (typed.reads_input(), typed.takes_maps());
    let is_same_everywhere = typed.is_question && !typed.asks_for_more;
    let shows_directory =
        if is_same_everywhere { ShowsDirectory::Never } else { ShowsDirectory::Perhaps };
    Decision::Cache(Policy {
        sources: typed.sources,
        primary_output: typed.output,
        depfile: typed.depfile,
        depends_on_cpu: typed.cpu,
        standard_input,
        takes_maps,
        shows_directory,
        output_directory: typed.output_directory,
        is_question: typed.is_question,
        private_trees: typed.incremental.into_iter().collect(),
        unlisted: typed.unlisted,
        ..Policy::plain(Family::Rustc)
    })
}

/// The arguments with every `@file` replaced by its lines, which are not looked at again.
fn expand(args: &[OsString]) -> Result<Vec<OsString>, PassReason> {
    let mut expanded = Vec::with_capacity(args.len());
    for arg in args {
        match arg.as_bytes().strip_prefix(b"@") {
            None => expanded.push(arg.clone()),
            Some(file) => expanded.extend(lines(Path::new(OsStr::from_bytes(file)))?),
        }
    }
    Ok(expanded)
}

fn lines(file: &Path) -> Result<Vec<OsString>, PassReason> {
    let found = fs::metadata(file).map_err(|_| PassReason::Unparsed)?;
    if !found.is_file() {
        return Err(PassReason::StandardInput);
    }
    if found.len() > FILE_MAX_BYTES {
        return Err(PassReason::Unparsed);
    }
    let text = fs::read(file).map_err(|_| PassReason::Unparsed)?;
    if text.is_empty() {
        return Ok(Vec::new());
    }
    let text = text.strip_suffix(b"\n").unwrap_or(&text);
    let line = |line: &[u8]| line.strip_suffix(b"\r").unwrap_or(line).to_vec();
    Ok(text.split(|byte| *byte == b'\n').map(|bytes| OsString::from_vec(line(bytes))).collect())
}

/// Where in a word a path begins, if the word is one, or an option with one; `before` is the word before it.
pub fn path_at(before: &[u8], word: &[u8]) -> Option<usize> {
    /// Where it begins in the value of an option: behind the name of a crate, or the kind of a directory.
    fn in_value(option: &[u8], value: &[u8]) -> Option<usize> {
        let behind = |mark: u8| value.iter().position(|byte| *byte == mark).map(|at| at + 1);
        match option {
            b"--out-dir" | b"-o" => Some(0),
            b"--extern" => behind(b'='),
            b"-L" => Some(behind(b'=').unwrap_or(0)),
            b"-C" | b"--codegen" => value.starts_with(b"incremental=").then(|| behind(b'='))?,
            _ => None,
        }
    }
    let is_value = match before {
        [b'-', b'-', name @ ..] => LONG_WITH_VALUE.iter().any(|option| option.as_bytes() == name),
        [b'-', letter] => SHORT_WITH_VALUE.contains(letter),
        _ => false,
    };
    if is_value {
        return in_value(before, word);
    }
    match word {
        [b'-', b'-', ..] => {
            let at = word.iter().position(|byte| *byte == b'=')? + 1;
            Some(at + in_value(&word[..at - 1], &word[at..])?)
        }
        [b'-', _, ..] => Some(2 + in_value(&word[..2], &word[2..])?),
        _ => Some(0),
    }
}

impl TypedRustc {
    fn read(args: &[OsString]) -> TypedRustc {
        let mut typed = TypedRustc::default();
        let mut words = args.iter();
        while let Some(word) = words.next() {
            match word.as_bytes() {
                b"--" => {
                    typed.unmapped = true;
                    words.by_ref().for_each(|word| typed.source(word));
                }
                [b'-', b'-', long @ ..] => {
                    let mut halves = long.splitn(2, |byte| *byte == b'=');
                    let name = String::from_utf8_lossy(halves.next().unwrap_or_default());
                    let has_value = LONG_WITH_VALUE.contains(&&*name);
                    let joined = halves.next().map(OsStr::from_bytes);
                    let value = joined.or_else(|| {
                        let next = if has_value { words.next() } else { None };
                        next.map(OsString::as_os_str)
                    });
                    match value {
                        Some(value) if has_value => typed.option(&name, value),
                        _ => typed.flag(&name),
                    }
                }
                [b'-', short @ ..] if !short.is_empty() => {
                    if let Some(name) = typed.short(short) {
                        match words.next() {
                            Some(value) => typed.option(name, value),
                            None => typed.unparsed = true,
                        }
                    }
                }
                _ => typed.source(word),
            }
        }
        typed
    }

    /// A word of short options; gives the one that has its value in the next word.
    fn short(&mut self, word: &[u8]) -> Option<&'static str> {
        for (at, letter) in word.iter().enumerate() {
            let name = match letter {
                b'C' => "codegen",
                b'L' => "library-path",
                b'Z' => "unstable",
                b'o' => "output",
                b'h' => "help",
                b'V' => "version",
                b'W' | b'A' | b'D' | b'F' => "warn",
                _ => "other",
            };
            if !SHORT_WITH_VALUE.contains(letter) {
                self.flag(name);
                continue;
            }
            let value = &word[at + 1..];
            if value.is_empty() {
                return Some(name);
            }
            self.option(name, OsStr::from_bytes(value));
            return None;
        }
        None
    }

    fn source(&mut self, word: &OsStr) {
        self.sources.push(word.into());
        let is_there = |name: &str| word.as_bytes().starts_with(name.as_bytes());
        if word == "-" {
            self.standard_input = Some(StandardInput::Source);
        } else if ["/dev/stdin", "/dev/fd/", "/proc/self/fd/"].into_iter().any(is_there) {
            self.standard_input = Some(StandardInput::Perhaps);
        }
    }

    /// Some questions are answered before the source is read.
    fn reads_input(&self) -> StandardInput {
        match self.standard_input {
            None => StandardInput::Unread,
            Some(_) if self.is_question => StandardInput::Perhaps,
            Some(reads) => reads,
        }
    }

    fn flag(&mut self, name: &str) {
        match name {
            "help" => self.asks_for_help = true,
            "version" => self.is_question = true,
            name if LONG_WITH_VALUE.contains(&name) => self.unparsed = true,
            _ => {}
        }
    }

    fn option(&mut self, name: &str, value: &OsStr) {
        let text = &*value.to_string_lossy();
        let rest =
            |prefix: &str| value.as_bytes().strip_prefix(prefix.as_bytes()).map(OsStr::from_bytes);
        match name {
            "explain" => self.asks_for_help = true,
            "warn" | "codegen" | "unstable" if text == "help" => self.asks_for_help = true,
            "codegen" => {
                self.cpu |= text.contains("=native");
                self.unmapped |= UNMAPPED.iter().any(|start| text.starts_with(start));
                self.incremental =
                    rest("incremental=").map(PathBuf::from).or(self.incremental.take());
            }
            "unstable" => {
                self.cpu |= text.contains("=native");
                let text = text.replace('_', "-");
                self.unsupported |= UNREPEATABLE.iter().any(|start| text.starts_with(start));
                self.unmapped = true;
            }
            "remap-path-prefix" | "remap-path-scope" => self.unmapped = true,
            "out-dir" => self.output_directory = Some(value.into()),
            "target" => self.cpu |= Path::new(text).extension().is_some_and(|e| e == "json"),
            "library-path" if self.searched.insert(value.to_owned()) => {
                let kinds = ["dependency=", "native=", "framework="];
                self.unlisted.extend(kinds.into_iter().find_map(rest).map(PathBuf::from));
            }
            "print" => {
                self.is_question = true;
                self.asks_for_more |= !PLACELESS.contains(&text);
                // The list says which of them this one is.
                self.cpu |= text.starts_with("target-cpus");
                self.standard_output |= text.ends_with("=-");
            }
            "emit" => self.emit(text),
            "output" => {
                self.standard_output |= is_no_file(Path::new(text));
                self.output = Some(value.into());
            }
            _ => {}
        }
    }

    /// Whether it compiles one crate to files that maps of names keep free of places.
    fn takes_maps(&self) -> bool {
        self.sources.len() == 1
            && self.standard_input.is_none()
            && self.output_directory.is_some()
            && !self.is_question
            && !self.unmapped
    }

    /// `--emit KIND[=FILE],…`.
    fn emit(&mut self, kinds: &str) {
        let is_known = |kind: &str| matches!(kind, "dep-info" | "metadata" | "link");
        self.unmapped |= !kinds.split(',').all(is_known);
        for (kind, file) in kinds.split(',').filter_map(|kind| kind.split_once('=')) {
            self.standard_output |= is_no_file(Path::new(file));
            if kind == "dep-info" {
                self.depfile = Some(file.into());
            }
        }
    }

    fn why_not(&self) -> Option<PassReason> {
        let reasons = [
            (self.unparsed, PassReason::Unparsed),
            (self.asks_for_help, PassReason::Query),
            (self.unsupported, PassReason::UnsupportedFlag),
            (self.standard_output, PassReason::OutputNotAFile),
            (self.sources.len() > 1, PassReason::SeveralSources),
            (self.sources.is_empty() && !self.is_question, PassReason::NoSource),
        ];
        reasons.into_iter().find(|(holds, _)| *holds).map(|(_, reason)| reason)
    }
}

#[cfg(test)]
mod tests {
    use super::path_at;

    #[test]
    fn words_that_are_paths() {
        for (before, word, at) in [
            ("--crate-name", "/p/x", None),
            ("x", "/p/src/lib.rs", Some(0)),
            ("--out-dir", "/p/target", Some(0)),
            ("x", "--out-dir=/p/target", Some(10)),
            ("--extern", "a=/p/liba.rlib", Some(2)),
            ("--extern", "/p", None),
            ("x", "--extern=a=/p/liba.rlib", Some(11)),
            ("-L", "dependency=/p", Some(11)),
            ("-L", "/p", Some(0)),
            ("x", "-Lnative=/p", Some(9)),
            ("-C", "incremental=/p", Some(12)),
            ("x", "-Cincremental=/p", Some(14)),
            ("-C", "link-arg=/p", None),
            ("--cfg", "/p", None),
            ("x", "--cfg=x=\"/p\"", None),
        ] {
            assert_eq!(path_at(before.as_bytes(), word.as_bytes()), at, "{before} {word}");
        }
    }
}
