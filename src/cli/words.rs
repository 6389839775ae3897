//! What the words after `ibid` are: a subcommand, a mistyped one, an old habit, or a tool.
//!
//! It runs nothing. A word that ibid does not know is a tool, unless it can only be a slip: then nothing runs, because a
//! slip may be the name of a program (`init`). Read next: `mod.rs`, `args.rs`.

use std::ffi::{OsStr, OsString};
use std::path::Path;

use super::SUBCOMMANDS;
use super::args::{ConfigAction, ConfigArgs, Stats, SubcommandArgs};
use super::texts::printable;
use crate::compilers::{is_launcher, is_tool_name};
use crate::config::{distance, nearest};

/// What is said where a build took `ibid` alone for the compiler.
pub const NO_COMPILER: &str = "ibid: the compiler is missing: write `ibid gcc -c a.c`; where CC=\"ibid gcc\" is cut to its first word, \
    set CMAKE_C_COMPILER_LAUNCHER=ibid (cmake), CC_KNOWN_WRAPPER_CUSTOM=ibid (Rust's cc crate), or use `ibid install`";

/// Options that compilers have and no subcommand.
const COMPILER_OPTIONS: &[&str] =
    &["-E", "-S", "-dM", "-###", "-MM", "-MD", "-MMD", "-MF", "-MT", "-O0", "-O1", "-O2", "-O3"];
/// Those that go on in the same word.
const COMPILER_OPTIONS_OPEN: &[&str] =
    &["-D", "-I", "-W", "-f", "-m", "-std=", "-isystem", "-dump", "-print-", "-l", "-L"];
/// Those that only count behind the name of a tool.
const TOOL_OPTIONS: &[&str] = &["-", "-c", "-o", "-x", "-g", "-vV", "--crate-name", "--emit"];
const SOURCES: &[&str] =
    &["c", "cc", "cpp", "cxx", "C", "c++", "i", "ii", "s", "S", "m", "mm", "o", "a", "rs"];

/// Words of other caches and of habit, and what they are here.
const ALIASES: &[(&str, &str)] = &[
    ("check", "doctor"),
    ("clean", "clear"),
    ("cleanup", "gc"),
    ("diagnose", "doctor"),
    ("help", "--help"),
    ("init", "install"),
    ("list", "config"),
    ("prune", "gc"),
    ("purge", "clear"),
    ("reset", "clear"),
    ("run", "exec"),
    ("set", "config"),
    ("settings", "config"),
    ("setup", "install"),
    ("show-stats", "stats"),
    ("statistics", "stats"),
    ("status", "stats"),
    ("test", "doctor"),
    ("trim", "gc"),
    ("version", "--version"),
    ("why", "explain"),
    ("wrap", "exec"),
    ("zero", "stats"),
];

/// Whether the words, our own name first, are for us; otherwise the first of them is a tool.
pub fn is_ours(words: &[OsString]) -> bool {
    let Some(first) = words.get(1) else { return true };
    let bytes = first.as_encoded_bytes();
    if bytes.contains(&b'/') {
        return false;
    }
    bytes.starts_with(b"-") || is_subcommand(first) || slip(words).is_some()
}

/// The subcommand, or option, that was probably meant where the first word is none and nothing can be run by it.
pub fn slip(words: &[OsString]) -> Option<&'static str> {
    let (first, rest) = words.get(1..)?.split_first()?;
    let bytes = first.as_encoded_bytes();
    let is_word = !bytes.is_empty() && !bytes.starts_with(b"-") && !bytes.contains(&b'/');
    if !is_word || is_subcommand(first) || is_tool_name(first) || is_launcher(Path::new(first)) {
        return None;
    }
    let text = first.to_string_lossy().to_lowercase();
    if rest.is_empty() {
        return Some(meant(&text));
    }
    let near = SUBCOMMANDS.into_iter().filter(|name| is_near(&text, name));
    let near = near.min_by_key(|name| distance(&text, name));
    let is_alias = ALIASES.iter().any(|(alias, _)| *alias == text);
    let meant = near.or_else(|| is_alias.then(|| meant(&text)))?;
    (!follows_a_tool(rest)).then_some(meant)
}

fn is_subcommand(word: &OsStr) -> bool {
    SUBCOMMANDS.iter().any(|name| OsStr::new(name) == word)
}

/// The name that is most like `word`; what other programs call a thing is what it is called here.
fn meant(word: &str) -> &'static str {
    let alias = ALIASES.iter().find(|(alias, _)| *alias == word);
    alias.map_or_else(|| nearest(word, &SUBCOMMANDS), |(_, name)| name)
}

/// Whether `word` is `name` with a slip or two, or the beginning of it.
fn is_near(word: &str, name: &str) -> bool {
    let slips_max = match name.len() {
        0..=3 => 0,
        4..=5 => 1,
        _ => 2,
    };
    let is_beginning = word.len() >= 4 && name.starts_with(word);
    is_beginning || distance(word, name) <= slips_max
}

/// A whole command line as ccache and sccache take it.
pub fn old_habit(words: &[OsString]) -> Option<SubcommandArgs> {
    let stats = |zero| SubcommandArgs::Stats(Stats { zero, ..Stats::default() });
    let max_size = |value: &str| {
        let (key, value) = ("max_size".to_owned(), value.to_owned());
        SubcommandArgs::Config(ConfigArgs { action: Some(ConfigAction::Set { key, value }) })
    };
    let words: Option<Vec<&str>> = words.iter().skip(1).map(|word| word.to_str()).collect();
    Some(match words?[..] {
        ["-s" | "--show-stats"] => stats(false),
        ["-z" | "--zero-stats"] => stats(true),
        ["-C" | "--clear"] => SubcommandArgs::Clear,
        ["-M" | "--max-size", size] if !is_source(OsStr::new(size)) => max_size(size),
        [word] => max_size(word.strip_prefix("--max-size=")?),
        _ => return None,
    })
}

/// clap's refusal of `words` as one line, with the help that would say more. Its usage is left out.
pub fn in_one_line(refusal: &str, words: &[OsString]) -> String {
    let parts = refusal.lines().map(str::trim).filter(|line| !line.is_empty());
    let parts =
        parts.take_while(|line| !line.starts_with("Usage:") && !line.starts_with("For more"));
    let mut shown = String::new();
    for part in parts {
        if !shown.is_empty() {
            shown += if part.starts_with("tip:") { "; " } else { " " };
        }
        shown += part;
    }
    let shown = printable(shown.strip_prefix("error: ").unwrap_or(&shown));
    let subcommand =
        words.first().and_then(|word| word.to_str()).filter(|word| SUBCOMMANDS.contains(word));
    let subcommand = subcommand.map_or_else(String::new, |word| format!(" {word}"));
    format!("{shown}; try `ibid{subcommand} --help`")
}

/// Whether words that begin with an option look like a compiler's arguments.
pub fn is_compile(words: &[OsString]) -> bool {
    let first = words.first().filter(|word| word.as_encoded_bytes().starts_with(b"-"));
    first.is_some_and(|first| is_compiler_option(first) || words.iter().any(|word| is_source(word)))
}

/// Whether these words look like the arguments of a tool, and not like those of a subcommand: `--` before them is one's.
fn follows_a_tool(words: &[OsString]) -> bool {
    let is_tools = |word: &OsString| {
        let bytes = word.as_encoded_bytes();
        is_compiler_option(word)
            || is_source(word)
            || bytes.starts_with(b"@")
            || TOOL_OPTIONS.iter().any(|option| option.as_bytes() == bytes)
    };
    words.iter().take_while(|word| *word != "--").any(is_tools)
}

fn is_compiler_option(word: &OsStr) -> bool {
    let text = word.to_str().unwrap_or_default();
    COMPILER_OPTIONS.contains(&text)
        || COMPILER_OPTIONS_OPEN.iter().any(|open| text.starts_with(open))
}

fn is_source(word: &OsStr) -> bool {
    let extension = Path::new(word).extension().and_then(OsStr::to_str);
    extension.is_some_and(|extension| SOURCES.contains(&extension))
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;

    use super::{is_ours, slip};

    fn words(line: &str) -> Vec<OsString> {
        line.split(' ').map(OsString::from).collect()
    }

    #[test]
    fn tools_and_subcommands() {
        for ours in ["ibid", "ibid stats", "ibid --version", "ibid -h", "ibid exec", "ibid stat"] {
            assert!(is_ours(&words(ours)), "{ours}");
        }
        for tool in ["ibid gcc", "ibid ./stats", "ibid /sbin/init", "ibid ccache", "ibid emcc"] {
            assert!(!is_ours(&words(tool)), "{tool}");
        }
    }

    #[test]
    fn slips() {
        for (line, meant) in [
            ("ibid init", "install"),
            ("ibid init 3", "install"),
            ("ibid setup --cargo", "install"),
            ("ibid set max_size 5G", "config"),
            ("ibid help", "--help"),
            ("ibid stat", "stats"),
            ("ibid stast --json", "stats"),
            ("ibid STATS --json", "stats"),
            ("ibid true", "verify"),
            ("ibid doc", "doctor"),
            ("ibid docter -v", "doctor"),
            ("ibid verfiy --repair", "verify"),
            ("ibid exlpain -- gcc -c a.c", "explain"),
            ("ibid expalin --json -- gcc -c a.c", "explain"),
            ("ibid conf get max_size", "config"),
            ("ibid no-such-program", "config"),
        ] {
            let found = slip(&words(line));
            assert!(found.is_some(), "{line}");
            if line != "ibid true" && line != "ibid no-such-program" {
                assert_eq!(found, Some(meant), "{line}");
            }
        }
        for tool in [
            "ibid mycc -c a.c",
            "ibid stat -c a.c",
            "ibid stats1 -O2 a.cpp -o a",
            "ibid demo1 main.rs",
            "ibid gcx --version",
            "ibid ghc --make Main",
            "ibid go build",
            "ibid make -j4",
            "ibid sh -c true",
            "ibid wrap -c a.c",
            "ibid run gcc -c a.c",
            "ibid true x",
            "ibid cc",
            "ibid gcc-12",
            "ibid x86_64-linux-gnu-g++",
            "ibid rustc",
        ] {
            assert_eq!(slip(&words(tool)), None, "{tool}");
        }
    }
}
