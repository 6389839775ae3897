//! What two commands have in common: a command with place-holders for its places and for what its outputs are called.
//!
//! Commands that are alike are found under the same content key. It decides nothing about results. Read next: `places.rs`,
//! `free_outputs.rs` (whether a result is free of its outputs' names), `docs/places.md`.

use xxhash_rust::xxh3::Xxh3;

use super::places::{Places, holds_holder};
use crate::compilers::{OutputWord, Policy};
use crate::probe::command::{DIRECTORY, ROOT, TOOL, fields};

/// Stand for the name of the output, and for that of the depfile.
const OUTPUT: u8 = 4;
const DEPFILE: u8 = 5;

/// A command without its root, with place-holders.
#[derive(Debug, PartialEq, Eq)]
pub struct Likeness(Vec<Vec<u8>>);

/// What a command calls its outputs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutputNames {
    /// The name of the object.
    pub output: Vec<u8>,
    /// The name of the depfile, if one is written and its name is known; else empty.
    pub depfile: Vec<u8>,
}

impl Likeness {
    /// Of a command's bytes. Without places the working directory is left out. With it come the outputs' names, if they may be
    /// others.
    pub fn of(command: &[u8], places: &Places, policy: &Policy) -> (Likeness, Option<OutputNames>) {
        let mut args: Vec<Vec<u8>> = fields(command).skip(TOOL + 1).map(<[u8]>::to_vec).collect();
        let names = hide_outputs(&mut args, policy);
        let is_part = |at: usize| at != ROOT && (at != DIRECTORY || !places.is_empty());
        let facts = command.get(..8).map(<[u8]>::to_vec);
        let before = fields(command).take(TOOL + 1).enumerate().filter(|(at, _)| is_part(*at));
        let before = before.map(|(_, field)| places.hide(field));
        let args = args.iter().map(|arg| places.hide(arg));
        (Likeness(facts.into_iter().chain(before).chain(args).collect()), names)
    }

    /// Adds the parts to a key, each with its length before it, so that none can be taken for another.
    pub fn add_to(&self, hasher: &mut Xxh3) {
        for part in &self.0 {
            hasher.update(&(part.len() as u64).to_le_bytes());
            hasher.update(part);
        }
    }
}

impl OutputNames {
    /// Whether an output is called so.
    pub fn is(&self, path: &[u8]) -> bool {
        self.renamed(path, self).is_some()
    }

    /// What is called `path` here, and is an output, in a command that calls its outputs so. Empty if it has no name there.
    pub fn renamed<'n>(&self, path: &[u8], now: &'n OutputNames) -> Option<&'n [u8]> {
        let names = [(&self.output, &now.output), (&self.depfile, &now.depfile)];
        let found = names.into_iter().find(|(then, _)| **then == path && !path.is_empty());
        found.map(|(_, now)| now.as_slice())
    }
}

/// Puts place-holders where the arguments name the output and the depfile; `None` if that cannot be done, or must not.
fn hide_outputs(args: &mut [Vec<u8>], policy: &Policy) -> Option<OutputNames> {
    if !policy.outputs_may_be_renamed || args.iter().any(|arg| holds_holder(arg)) {
        return None;
    }
    let words = policy.output_words(args.iter().map(Vec::as_slice));
    let of = |which: OutputWord| {
        let mut names = words.iter().filter(|(_, _, it)| *it == which);
        let (at, from, _) = names.next()?;
        names.next().is_none().then(|| args[*at][*from..].to_vec())
    };
    let output = of(OutputWord::Output).filter(|name| is_plain(name))?;
    let has_depfile = words.iter().any(|(_, _, which)| *which == OutputWord::Depfile);
    let depfile = if has_depfile {
        of(OutputWord::Depfile).filter(|name| is_plain(name) && *name != output)?
    } else {
        derived_depfile(&output).unwrap_or_default()
    };
    for (at, from, which) in words {
        let holder = match which {
            OutputWord::Output => OUTPUT,
            OutputWord::Depfile => DEPFILE,
            OutputWord::Target if args[at][from..] == output => OUTPUT,
            OutputWord::Target => continue,
        };
        args[at].truncate(from);
        args[at].push(holder);
    }
    Some(OutputNames { output, depfile })
}

/// Where gcc and clang write a depfile that is not named: beside the output, under the name with another ending.
fn derived_depfile(output: &[u8]) -> Option<Vec<u8>> {
    let name_at = output.iter().rposition(|byte| *byte == b'/').map_or(0, |at| at + 1);
    let dot = output.get(name_at..)?.iter().rposition(|byte| *byte == b'.');
    let stem = output.get(..name_at + dot.filter(|at| *at > 0)?)?;
    Some([stem, b".d"].concat())
}

/// Whether a depfile holds a name as it is written on the command line: no character is escaped, nothing is left out.
fn is_plain(name: &[u8]) -> bool {
    let is_letter = |byte: &u8| byte.is_ascii_alphanumeric() || b"/._+-".contains(byte);
    name.iter().all(is_letter)
        && !name.is_empty()
        && !name.ends_with(b"/")
        && !name.starts_with(b"-")
        && !name.starts_with(b"./")
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;

    use super::*;
    use crate::compilers::{Decision, decide};

    fn hidden(line: &str) -> (Vec<String>, Option<OutputNames>) {
        let words: Vec<OsString> = line.split(' ').map(OsString::from).collect();
        let decision = decide(&words[0], &words[1..], false, || None);
        let Decision::Cache(policy) = decision else { panic!("{line}") };
        let mut args: Vec<_> = line.split(' ').skip(1).map(|it| it.as_bytes().to_vec()).collect();
        let names = hide_outputs(&mut args, &policy);
        (args.into_iter().map(|it| String::from_utf8(it).expect("text")).collect(), names)
    }

    #[test]
    fn outputs_that_are_hidden() {
        for (line, shown, output, depfile) in [
            ("gcc -c a.c -o a.o", "-c a.c -o \u{4}", "a.o", "a.d"),
            ("gcc -c a.c -oa.o", "-c a.c -o\u{4}", "a.o", "a.d"),
            (
                "gcc -MD -MT x/a.o -MF x/.d/a.Po -c a.c -o x/a.o",
                "-MD -MT \u{4} -MF \u{5} -c a.c -o \u{4}",
                "x/a.o",
                "x/.d/a.Po",
            ),
            (
                "gcc -MD -MT all -c a.c -o x/a.c.o",
                "-MD -MT all -c a.c -o \u{4}",
                "x/a.c.o",
                "x/a.c.d",
            ),
        ] {
            let (args, names) = hidden(line);
            assert_eq!(args.join(" "), shown, "{line}");
            let expected = OutputNames { output: output.into(), depfile: depfile.into() };
            assert_eq!(names, Some(expected), "{line}");
        }
    }

    #[test]
    fn outputs_that_are_not() {
        for line in [
            "gcc -c a.c",
            "gcc -c a.c -o ./a.o",
            "gcc -c a.c -o a.o -o b.o",
            "gcc -c a.c -o a.o -MF a.o",
            "gcc -c a.c -o a.o -MF a.d -MF b.d",
            "gcc -c a.c -o a\u{4}.o",
            "gcc --coverage -c a.c -o a.o",
            "gcc -flto -c a.c -o a.o",
            "gcc -save-temps -c a.c -o a.o",
            "gcc a.c -o a",
        ] {
            assert_eq!(hidden(line).1, None, "{line}");
        }
    }

    #[test]
    fn depfiles_that_are_not_named() {
        for (output, depfile) in
            [("a.o", Some("a.d")), ("x.y/a.c.o", Some("x.y/a.c.d")), ("x.y/a", None), (".o", None)]
        {
            let found = derived_depfile(output.as_bytes());
            assert_eq!(found.as_deref(), depfile.map(str::as_bytes), "{output}");
        }
    }
}
