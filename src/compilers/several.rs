//! Commands with several sources that are the same as one call for each of them, one after the other.
//!
//! gcc and clang compile the sources of a call in their order, each as if it stood alone, and go on after one that fails. What
//! they say of the call itself they say once, which a call for each source would repeat: who runs these looks for it
//! ([`says_itself`]). Read next: `command.rs`, `wrapper/several.rs`.

use std::ffi::{OsStr, OsString};
use std::path::Path;

use super::Family;
use super::diagnostics::plain;
use super::names::family;
use super::words::is_like;

/// Parts of words with which a call for each source gives something else: the whole command line is in the output or in a file of all
/// sources, a code for each kind of end is wanted, or what the driver does is written elsewhere.
const FOR_ALL: &[&str] = &[
    "record-",
    "-MJ",
    "cdb-fragment",
    "-pass-exit-codes",
    "-dumpbase",
    "specs",
    "--config",
    "offload",
    "openmp-targets",
];

/// What clang says of is that it is of no use in a call that does not link; a `*` at the end stands for any rest.
#[rustfmt::skip]
const UNUSED: &[&str] = &[
    "-l*", "-L*", "-Wl,*", "-Xlinker", "-s", "-z", "-shared", "-static", "-rdynamic", "-pie", "-no-pie", "-nostdlib", "-r",
];

/// Extensions of sources of one language each.
const LANGUAGES: [&[&str]; 3] =
    [&["c"], &["C", "CPP", "c++", "cc", "cp", "cpp", "cxx"], &["S", "sx"]];

/// The arguments of a call for each of `sources`, which are the words of `args` that are no option's, and where they stand; none if
/// that is not the same as the one call.
pub(super) fn calls(
    args: &[OsString],
    family: Family,
    sources: &[(usize, &Path)],
) -> Vec<Vec<OsString>> {
    let is_for_all = |word: &OsString| {
        let word = &*word.to_string_lossy();
        FOR_ALL.iter().any(|part| word.contains(part))
            || ["-x", "--language", "@"].iter().any(|beginning| word.starts_with(beginning))
            || family == Family::Clang && UNUSED.iter().any(|pattern| is_like(word, pattern))
    };
    if sources.len() < 2
        || !matches!(family, Family::Gcc | Family::Clang)
        || args.iter().any(is_for_all)
        || !are_of_one_language(sources)
        || !have_different_stems(sources)
    {
        return Vec::new();
    }
    let without_others = |(mine, _): &(usize, &Path)| {
        let is_anothers = |place: usize| sources.iter().any(|(at, _)| *at == place && at != mine);
        let kept = args.iter().enumerate().filter(|(place, _)| !is_anothers(*place));
        kept.map(|(_, word)| word.clone()).collect()
    };
    sources.iter().map(without_others).collect()
}

/// What a driver says of its options depends on the languages that it sees.
fn are_of_one_language(sources: &[(usize, &Path)]) -> bool {
    let is_of = |language: &[&str], source: &Path| {
        source.extension().and_then(OsStr::to_str).is_some_and(|it| language.contains(&it))
    };
    LANGUAGES.iter().any(|language| sources.iter().all(|(_, source)| is_of(language, source)))
}

/// Two sources of one name write one file.
fn have_different_stems(sources: &[(usize, &Path)]) -> bool {
    let mut stems: Vec<_> = sources.iter().map(|(_, source)| source.file_stem()).collect();
    stems.sort_unstable();
    stems.windows(2).all(|pair| pair[0] != pair[1])
}

/// Whether a line of `text` may be the driver's own, and not that of a compiler or assembler that it ran: it begins with the name of a
/// program. In doubt it is the driver's.
pub fn says_itself(text: &[u8]) -> bool {
    let is_word = |name: &str| !name.is_empty() && !name.contains([' ', '.', '/', ':', '\'']);
    has_line_of(text, |name| {
        is_word(name) && !name.starts_with("cc1") || family(OsStr::new(name)).is_some()
    })
}

/// Whether a line of `text` is certainly a driver's own.
pub fn certainly_says_itself(text: &[u8]) -> bool {
    has_line_of(text, |name| matches!(family(OsStr::new(name)), Some(Family::Gcc | Family::Clang)))
}

/// Whether a line of `text` begins with such a name and a colon.
fn has_line_of(text: &[u8], is_it: impl Fn(&str) -> bool) -> bool {
    plain(text).lines().any(|line| line.split_once(": ").is_some_and(|(name, _)| is_it(name)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_driver_says() {
        for (text, is_its_own) in [
            ("", false),
            ("clang: warning: -lfoo: 'linker' input unused\n", true),
            ("a.c:1:2: warning: x\ngcc: warning: '-pipe' ignored\n", true),
            ("gcc-4.8: error: x", true),
            ("x86_64-linux-gnu-gcc-12: fatal error: Killed signal terminated program cc1\n", true),
            ("\x1b[01m\x1b[Kgcc:\x1b[m\x1b[K \x1b[01;31m\x1b[Kerror: \x1b[m\x1b[Kx\n", true),
            ("\x1b[1mclang: \x1b[0m\x1b[0;1;35mwarning: \x1b[0mx\n", true),
            ("as: unrecognized option\n", true),
            ("a.c:1:2: warning: x\n    1 | int a;\n      | ^\n1 warning generated.\n", false),
            (
                "In file included from b.h:1,\n                 from a.c:1:\nc.h: In function 'f':\n",
                false,
            ),
            ("cc1: warning: command-line option '-fno-rtti' is valid for C++\n", false),
            ("cc1plus: all warnings being treated as errors\n", false),
            ("a.s: Assembler messages:\na.s:1: Error: no such instruction: `foo'\n", false),
            ("a.c: In function 'f':\ncompilation terminated.\n", false),
        ] {
            assert_eq!(says_itself(text.as_bytes()), is_its_own, "{text}");
        }
        for (text, is_certain) in [
            ("clang: error: assembler command failed with exit code 1\n", true),
            ("x86_64-linux-gnu-gcc-12: fatal error: Killed signal terminated program cc1\n", true),
            ("grammar: In function 'f':\n", false),
            ("objcopy: b.dwo: Bad file descriptor\n", false),
            ("[{\"kind\": \"error\"}]\n", false),
        ] {
            assert_eq!(certainly_says_itself(text.as_bytes()), is_certain, "{text}");
        }
    }
}
