//! Archivers, linkers and copiers of objects by name: ar, ld, strip, objcopy and their kin.
//!
//! Only what makes one file from others: what changes its input in place, or prints it, runs bare. Read next: `archive.rs`.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use super::command::NATIVE;
use super::response::expand;
use super::{Decision, Family, Policy, ShowsDirectory};
use crate::outcome::PassReason;

/// Options of linkers that take the next word as their value, and may so hide what it says.
const LINKER_VALUES: &[&str] = &[
    "-L",
    "-l",
    "-T",
    "-e",
    "-u",
    "-z",
    "-m",
    "-h",
    "-y",
    "-Map",
    "-plugin",
    "-plugin-opt",
    "-rpath",
];
/// Options of `strip` and `objcopy` that take the next word as their value.
const COPIER_VALUES: &[&str] = &["-I", "-O", "-F", "-B", "-j", "-R", "-N", "-K", "-G", "-W", "-L"];
/// What a linker, an archiver or a copier tells about itself.
const QUERIES: &[&str] =
    &["--version", "--help", "-V", "-v", "-h", "-H", "--target-help", "--info"];

/// What may be done with this command of an archiver.
pub fn judge_archiver(args: &[OsString]) -> Decision {
    match expand(args).and_then(|args| archive(&args)) {
        Ok(Archive { path, shows_times, is_thin }) => Decision::Cache(Policy {
            primary_output: Some(path),
            reads_metadata: shows_times,
            adds_to_outputs: true,
            // A thin one holds the way from its directory to its members.
            shows_directory: if is_thin { ShowsDirectory::Perhaps } else { ShowsDirectory::Never },
            ..Policy::plain(Family::Archiver)
        }),
        Err(reason) => Decision::PassThrough(reason),
    }
}

/// The archive that is made.
struct Archive {
    path: PathBuf,
    /// Whether it is to hold the times of its members.
    shows_times: bool,
    /// Whether it only names its members.
    is_thin: bool,
}

fn archive(args: &[OsString]) -> Result<Archive, PassReason> {
    if args.iter().any(|arg| QUERIES.contains(&&*arg.to_string_lossy())) {
        return Err(PassReason::Query);
    }
    let is_long = |arg: &&OsString| arg.as_bytes().starts_with(b"--");
    if args.iter().filter(is_long).any(|arg| arg != "--thin") {
        return Err(PassReason::UnsupportedFlag);
    }
    let mut words = args.iter().filter(|arg| !is_long(arg));
    let letters = words.next().ok_or(PassReason::NoSource)?.to_string_lossy();
    let letters = letters.trim_start_matches('-');
    let has = |any: &[char]| letters.contains(any);
    if letters.is_empty() || has(&['M']) {
        return Err(PassReason::StandardInput);
    }
    if has(&['t', 'p']) {
        return Err(PassReason::Query);
    }
    // Those that work on what is there already.
    if !has(&['r', 'q']) || has(&['d', 'm', 'x', 'a', 'b', 'i', 'N', 'o']) {
        return Err(PassReason::UnsupportedFlag);
    }
    let path = words.next().ok_or(PassReason::NoSource)?.into();
    let is_thin = has(&['T']) || args.iter().any(|arg| arg == "--thin");
    Ok(Archive { path, shows_times: has(&['U', 'u']), is_thin })
}

/// What may be done with this command of a linker.
pub fn judge_linker(args: &[OsString]) -> Decision {
    let args = match expand(args) {
        Ok(args) => args,
        Err(reason) => return Decision::PassThrough(reason),
    };
    let has = |name: &str| args.iter().any(|arg| arg == name);
    if QUERIES.iter().any(|query| *query != "-h" && has(query)) {
        return Decision::PassThrough(PassReason::Query);
    }
    let says = |text: &str| {
        args.iter()
            .any(|arg| arg.as_bytes().windows(text.len()).any(|part| part == text.as_bytes()))
    };
    if says("build-id=uuid") {
        return Decision::PassThrough(PassReason::UnsupportedFlag);
    }
    if operands(&args, LINKER_VALUES).is_empty() {
        return Decision::PassThrough(PassReason::NoSource);
    }
    let output = output(&args).unwrap_or_else(|| "a.out".into());
    let discards = output == Path::new("/dev/null");
    if says("/dev/std") || says("/dev/tty") {
        return Decision::PassThrough(PassReason::OutputNotAFile);
    }
    Decision::Cache(Policy {
        primary_output: Some(output).filter(|_| !discards),
        is_question: discards,
        discards_output: discards,
        links: true,
        // Intermediate code is compiled by the linker.
        depends_on_cpu: NATIVE.into_iter().any(says),
        ..Policy::plain(Family::Linker)
    })
}

/// What may be done with this command of `strip` or `objcopy`. The mode of its input goes over to its output.
pub fn judge_copier(args: &[OsString]) -> Decision {
    let args = match expand(args) {
        Ok(args) => args,
        Err(reason) => return Decision::PassThrough(reason),
    };
    if args.iter().any(|arg| QUERIES.contains(&&*arg.to_string_lossy())) {
        return Decision::PassThrough(PassReason::Query);
    }
    let operands = operands(&args, COPIER_VALUES);
    let output = output(&args).or_else(|| match operands.as_slice() {
        [_, output] => Some(PathBuf::from(output)),
        _ => None,
    });
    let Some(output) = output.filter(|output| !output.starts_with("/dev")) else {
        return Decision::PassThrough(PassReason::UnsupportedFlag);
    };
    Decision::Cache(Policy {
        primary_output: Some(output),
        reads_metadata: true,
        adds_to_outputs: true,
        ..Policy::plain(Family::Copier)
    })
}

/// The file that `-o` names.
fn output(args: &[OsString]) -> Option<PathBuf> {
    let mut found = None;
    let mut words = args.iter();
    while let Some(word) = words.next() {
        if word == "-o" || word == "--output" || word == "--output-file" {
            found = words.next().map(PathBuf::from);
        } else if let Some(joined) = word.as_bytes().strip_prefix(b"--output=") {
            found = Some(PathBuf::from(OsStr::from_bytes(joined)));
        }
    }
    found
}

/// The words that are no option, and no value of one.
fn operands(args: &[OsString], with_value: &[&str]) -> Vec<OsString> {
    let mut operands = Vec::new();
    let mut words = args.iter();
    while let Some(word) = words.next() {
        if word == "-o" || with_value.iter().any(|option| word == option) {
            words.next();
        } else if !word.as_bytes().starts_with(b"-") {
            operands.push(word.clone());
        }
    }
    operands
}
