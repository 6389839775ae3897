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
use super::words::{is_like, takes_value};

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

/// The arguments of a call for each of `sources`, which are all words of `args` that are no option's; none if that is not the same as
/// the one call.
pub(super) fn calls<'a>(
    args: &[OsString],
    family: Family,
    sources: impl Iterator<Item = &'a Path>,
) -> Vec<Vec<OsString>> {
    let sources: Vec<&Path> = sources.collect();
    let at = places_of_inputs(args);
    let is_for_all = |word: &OsString| {
        let word = &*word.to_string_lossy();
        FOR_ALL.iter().any(|part| word.contains(part))
            || ["-x", "--language", "@"].iter().any(|beginning| word.starts_with(beginning))
            || family == Family::Clang && UNUSED.iter().any(|pattern| is_like(word, pattern))
    };
    if sources.len() < 2
        || !matches!(family, Family::Gcc | Family::Clang)
        || at.len() != sources.len()
        || args.iter().any(is_for_all)
        || !are_of_one_language(&sources)
        || !have_different_stems(&sources)
    {
        return Vec::new();
    }
    let without_others = |mine: &usize| {
        let is_kept = |(place, _): &(usize, &OsString)| place == mine || !at.contains(place);
        args.iter().enumerate().filter(is_kept).map(|(_, word)| word.clone()).collect()
    };
    at.iter().map(without_others).collect()
}

/// Where words stand that are neither options nor values of options.
fn places_of_inputs(args: &[OsString]) -> Vec<usize> {
    let mut places = Vec::new();
    let (mut is_value, mut has_ended) = (false, false);
    for (place, word) in args.iter().enumerate() {
        let option = &*word.to_string_lossy();
        if std::mem::take(&mut is_value) {
            continue;
        }
        if has_ended || !option.starts_with('-') {
            places.push(place);
        } else {
            has_ended = option == "--";
            is_value = takes_value(option);
        }
    }
    places
}

/// What a driver says of its options depends on the languages that it sees.
fn are_of_one_language(sources: &[&Path]) -> bool {
    let extension =
        |source: &&Path| source.extension().and_then(OsStr::to_str).unwrap_or_default().to_owned();
    let all: Vec<String> = sources.iter().map(extension).collect();
    LANGUAGES.iter().any(|language| all.iter().all(|it| language.contains(&it.as_str())))
}

/// Two sources of one name write one file.
fn have_different_stems(sources: &[&Path]) -> bool {
    let mut stems: Vec<_> = sources.iter().map(|source| source.file_stem()).collect();
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

    fn calls_of(line: &str, sources: &str) -> Vec<String> {
        let args: Vec<OsString> = line.split(' ').map(OsString::from).collect();
        let all = calls(&args, Family::Clang, sources.split(' ').map(Path::new));
        let join = |call: Vec<OsString>| call.join(OsStr::new(" ")).into_string().expect("UTF-8");
        all.into_iter().map(join).collect()
    }

    #[test]
    fn a_call_for_each_source() {
        for (line, sources, expected) in [
            ("-c a.c b.c", "a.c b.c", &["-c a.c", "-c b.c"][..]),
            (
                "a.cc -I inc -c d/b.cpp -g",
                "a.cc d/b.cpp",
                &["a.cc -I inc -c -g", "-I inc -c d/b.cpp -g"],
            ),
            (
                "-S -include x.c -- a.c b.c",
                "a.c b.c",
                &["-S -include x.c -- a.c", "-S -include x.c -- b.c"],
            ),
            ("-c a.S b.S c.S", "a.S b.S c.S", &["-c a.S", "-c b.S", "-c c.S"]),
        ] {
            assert_eq!(calls_of(line, sources), expected, "{line}");
        }
    }

    #[test]
    fn calls_that_are_one() {
        for (line, sources) in [
            ("-c a.c", "a.c"),
            ("-c a.c b.cc", "a.c b.cc"),
            ("-c a.c d/a.c", "a.c d/a.c"),
            ("-c a.c a.c", "a.c a.c"),
            ("-c a.c b.o c.c", "a.c c.c"),
            ("-x c -c a.c b.c", "a.c b.c"),
            ("-c -xc a.c b.c", "a.c b.c"),
            ("-c @r a.c b.c", "a.c b.c"),
            ("-c -MJ x a.c b.c", "a.c b.c"),
            ("-c -frecord-gcc-switches a.c b.c", "a.c b.c"),
            ("-c -grecord-command-line a.c b.c", "a.c b.c"),
            ("-c --config=x a.c b.c", "a.c b.c"),
            ("-c --language=c a.c b.c", "a.c b.c"),
            ("-c -lm a.c b.c", "a.c b.c"),
            ("-c -specs=x a.c b.c", "a.c b.c"),
            ("-c a.f90 b.f90", "a.f90 b.f90"),
            ("-c a.i b.i", "a.i b.i"),
        ] {
            assert_eq!(calls_of(line, sources), [""; 0], "{line}");
        }
    }

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
