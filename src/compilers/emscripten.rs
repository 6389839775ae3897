//! Emscripten's emcc, em++ and emar: scripts in Python that run clang, wasm-ld, Binaryen's tools and scripts in node.
//!
//! What these scripts read and write is observed as of any program. Known of them is that no result of theirs holds what
//! their interpreters ask for: the time, random numbers, numbers of processes. Options that make that untrue pass
//! through. Read next: `interpreters.rs`, `command.rs`, `docs/emscripten.md`.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use super::response::{expand, words};
use super::{Decision, Family, Policy, ShowsDirectory, binutils, command};
use crate::env;
use crate::outcome::PassReason;

/// Options that take the next word as their value, or have it behind a `=`. What counts of it is the next column.
const OPTIONS: &[(&str, Value)] = &[
    ("--js-library", Value::Script),
    ("--em-config", Value::Script),
    ("--pre-js", Value::Template),
    ("--post-js", Value::Template),
    ("--extern-pre-js", Value::Template),
    ("--extern-post-js", Value::Template),
    ("--shell-file", Value::Template),
    ("--embed-file", Value::Packed),
    ("--exclude-file", Value::Word),
    ("--cache", Value::Word),
    ("--closure", Value::Word),
    ("--closure-args", Value::Word),
    ("--compiler-wrapper", Value::Word),
    ("--default-obj-ext", Value::Word),
    ("--js-opts", Value::Word),
    ("--llvm-lto", Value::Word),
    ("--llvm-opts", Value::Word),
    ("--memory-init-file", Value::Word),
    ("--minify", Value::Word),
    ("--oformat", Value::Word),
    ("--output_eol", Value::Word),
    ("--output-eol", Value::Word),
    ("--source-map-base", Value::Word),
    ("--valid-abspath", Value::Word),
    ("-s", Value::Word),
];

/// What the value of an option is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Value {
    /// Code that runs.
    Script,
    /// Text of which parts may run: those between `{{{` and `}}}`, and conditions.
    Template,
    /// A file that goes into the result as it is, perhaps with `@` and its name there.
    Packed,
    /// Anything else.
    Word,
}

/// Options that do something else than to compile or link.
const QUERIES: &[&str] =
    &["--cflags", "--check", "--clear-cache", "--clear-ports", "--generate-config", "--show-ports"];

/// Options whose result differs from run to run, or that run a command of the user's: a package to be
/// loaded has a number that is drawn.
const UNSTEADY: &[&str] = &["--js-transform", "--preload-file", "--use-preload-cache"];

/// Variables with which Emscripten shows times and numbers of processes, keeps its temporary files, or writes into its
/// cache without its lock.
const UNSTEADY_VARIABLES: &[&str] =
    &["EMCC_AUTODEBUG", "EMCC_DEBUG", "EMPROFILE", "EM_EXCLUSIVE_CACHE_ACCESS"];

/// What a command line says of the scripts that run beside Emscripten's own.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Scripts {
    /// Files that hold code.
    pub code: Vec<PathBuf>,
    /// Files of which parts may be code.
    pub templates: Vec<PathBuf>,
    /// Files and directories that go into the result as they are.
    pub packed: Vec<PathBuf>,
}

/// Whether this is Emscripten's archiver.
pub fn is_archiver(tool: &OsStr) -> bool {
    Path::new(tool).file_name() == Some(OsStr::new("emar"))
}

/// What may be done with this command of `emar`, which hands all its words to `llvm-ar`.
pub fn judge_archiver(args: &[OsString]) -> Decision {
    if has_unsteady_variable() {
        return Decision::PassThrough(PassReason::UnsupportedFlag);
    }
    let mut scripts = Scripts::default();
    scripts.note_configuration();
    // `emar.py` makes names of members out of the names of their directories.
    with_scripts(binutils::judge_archiver(args), scripts, false)
}

/// What may be done with this command of `emcc` or `em++`.
pub fn judge(args: &[OsString]) -> Decision {
    let all = match with_variable(args) {
        Ok(all) => all,
        Err(reason) => return Decision::PassThrough(reason),
    };
    let is_one_of = |names: &[&str]| {
        all.iter().any(|word| names.iter().any(|name| word.as_bytes() == name.as_bytes()))
    };
    if is_one_of(QUERIES) {
        return Decision::PassThrough(PassReason::Query);
    }
    let is_unsteady = |word: &OsString| {
        UNSTEADY.iter().any(|option| word.as_bytes().starts_with(option.as_bytes()))
    };
    if has_unsteady_variable() || all.iter().any(is_unsteady) {
        return Decision::PassThrough(PassReason::UnsupportedFlag);
    }
    let mut scripts = Scripts::default();
    scripts.note_configuration();
    match scripts.take_from(&all) {
        Some(plain) => {
            // Scripts of the user's may ask for their directory.
            let may_serve_others = scripts == Scripts::default();
            with_scripts(command::judge(Family::Emscripten, &plain), scripts, may_serve_others)
        }
        None => Decision::PassThrough(PassReason::Unparsed),
    }
}

fn has_unsteady_variable() -> bool {
    UNSTEADY_VARIABLES.iter().any(|name| env::is_on(name))
}

/// The words of the command and those of `EMCC_CFLAGS`, with what is in response files.
fn with_variable(args: &[OsString]) -> Result<Vec<OsString>, PassReason> {
    let added = env::get("EMCC_CFLAGS").unwrap_or_default();
    let all: Vec<OsString> = args.iter().cloned().chain(words(added.as_bytes())).collect();
    expand(&all)
}

/// The policy of a command that scripts run. A compile's words go to clang as they are; what the scripts of a link make of their
/// directory is not known, nor what is made of an output's name.
fn with_scripts(decision: Decision, scripts: Scripts, may_serve_others: bool) -> Decision {
    match decision {
        Decision::Cache(policy) => {
            let shows_nothing = may_serve_others && !policy.links;
            let shows_directory =
                if shows_nothing { policy.shows_directory } else { ShowsDirectory::Perhaps };
            Decision::Cache(Policy {
                shows_directory,
                takes_maps: shows_nothing && policy.takes_maps,
                outputs_may_be_renamed: false,
                scripts: Some(scripts),
                ..policy
            })
        }
        passed @ Decision::PassThrough(_) => passed,
    }
}

impl Scripts {
    /// The settings file is Python.
    fn note_configuration(&mut self) {
        self.code.extend(env::get_nonempty("EM_CONFIG").map(PathBuf::from));
    }

    /// Notes the values of Emscripten's own options; the other words, or nothing if a value is missing.
    fn take_from(&mut self, args: &[OsString]) -> Option<Vec<OsString>> {
        let mut plain = Vec::new();
        let mut words = args.iter();
        while let Some(word) = words.next() {
            let known = OPTIONS.iter().find_map(|(name, kind)| {
                let rest = word.as_bytes().strip_prefix(name.as_bytes())?;
                let joined = rest.strip_prefix(b"=").filter(|_| name.starts_with("--"));
                (rest.is_empty() || joined.is_some()).then_some((*kind, joined))
            });
            let Some((kind, joined)) = known else {
                plain.push(word.clone());
                continue;
            };
            let value = match joined {
                Some(joined) => OsStr::from_bytes(joined),
                None => words.next()?,
            };
            self.note(kind, value);
        }
        Some(plain)
    }

    fn note(&mut self, kind: Value, value: &OsStr) {
        match kind {
            Value::Script => self.code.push(value.into()),
            Value::Template => self.templates.push(value.into()),
            Value::Packed => {
                let name = value.as_bytes().split(|byte| *byte == b'@').next().unwrap_or_default();
                self.packed.push(OsStr::from_bytes(name).into());
            }
            Value::Word => {}
        }
    }
}
