//! Inputs of equal content: a compiler may take one for the other, and leave the second one out.
//!
//! gcc does so with files that are to be included once, if their sizes and modification times (in seconds) are equal, too;
//! clang goes by which file it is, which every look-up compares. So where such a file may be among them, a record keeps
//! which of them had equal times. Read next: `inputs.rs`, `content_lookup.rs`.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::hash::Hash;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use memchr::memmem;
use rustc_hash::FxHashMap;

use super::file_text::FileText;
use crate::compilers::has_word;
use crate::os::elf;
use crate::record;
use crate::shm::raw;
use crate::store::draft::DraftInput;

/// A larger file is taken for one that may hold anything.
const TEXT_BYTES_MAX: u64 = 4 << 20;
const SECOND_NS: i64 = 1_000_000_000;

/// Notes which inputs of equal content have equal times, `mtimes_ns` being those of all inputs, where it may count for this
/// command. False if there are too many of them to be noted.
pub fn note_times(inputs: &mut [DraftInput], mtimes_ns: &[i64], command: &[u8]) -> bool {
    let mut sets: FxHashMap<[u8; 32], Vec<usize>> = FxHashMap::default();
    for (at, input) in inputs.iter().enumerate().filter(|(_, input)| is_read(input)) {
        sets.entry(input.digest).or_default().push(at);
    }
    let is_one_file =
        |set: &[usize]| set.iter().all(|at| inputs[*at].group == inputs[set[0]].group);
    sets.retain(|_, set| !is_one_file(set));
    let equal: Vec<Vec<usize>> = sets.into_values().collect();
    if equal.is_empty() || !may_be_once_only(inputs, &equal, command) {
        return true;
    }
    for set in equal {
        let (mut seconds, mut times) = (FxHashMap::default(), FxHashMap::default());
        for at in set {
            let time_ns = mtimes_ns[at];
            let Some(second) = class(&mut seconds, time_ns.div_euclid(SECOND_NS)) else {
                return false;
            };
            let Some(time) = class(&mut times, time_ns) else { return false };
            inputs[at].times = u32::from(second) << 16 | u32::from(time);
        }
    }
    true
}

/// Whether it is a file whose content was read.
fn is_read(input: &DraftInput) -> bool {
    matches!(input.kind, record::CONTENT | record::REMADE | record::METADATA)
        && input.digest != [0; 32]
}

/// A number for each time, from 1 on.
fn class(classes: &mut FxHashMap<i64, u16>, time: i64) -> Option<u16> {
    let next = u16::try_from(classes.len() + 1).ok()?;
    Some(*classes.entry(time).or_insert(next))
}

/// Whether one of these files of equal content may be a file that is included once: it says so itself, or a macro makes
/// it say so, or another file imports it. True in doubt. (Not covered: a macro that pastes the word `once` together.)
fn may_be_once_only(inputs: &[DraftInput], equal: &[Vec<usize>], command: &[u8]) -> bool {
    let words: [&[u8]; 3] = [b"once", b"import", b"charset"];
    if words.iter().any(|word| contains(command, word)) {
        return true;
    }
    let says =
        |input: &DraftInput, has: &dyn Fn(&[u8]) -> bool| text_of(input).may_have(|text| has(text));
    equal.iter().any(|set| says(&inputs[set[0]], &|text| contains(text, b"once")))
        || inputs.iter().filter(|input| is_read(input)).any(|input| says(input, &marks_others))
}

/// Whether a file may make another one that is included once: by an `import`, or by a macro with that pragma.
fn marks_others(text: &[u8]) -> bool {
    let mut lines = text.split(|byte| *byte == b'\n');
    let mut line = Vec::new();
    while let Some(next) = lines.next() {
        let words = next.trim_ascii_start();
        let is_import = words.starts_with(b"import") || words.starts_with(b"export");
        if is_import && has_word(words, b"import", b"_") {
            return true;
        }
        if ![&b"#"[..], b"%:", b"??="].iter().any(|sign| contains(next, sign)) {
            continue;
        }
        line.clear();
        line.extend_from_slice(next);
        // A directive goes on behind a comment, over lines if need be.
        while ends_in_comment(&line)
            && let Some(next) = lines.next()
        {
            line.extend_from_slice(next);
        }
        let sign = line.trim_ascii_start().strip_prefix(b"#").unwrap_or(&[]);
        let is_own = sign.trim_ascii_start().starts_with(b"pragma");
        if contains(&line, b"import") && has_word(&line, b"import", b"_")
            || !is_own && contains(&line, b"once")
        {
            return true;
        }
    }
    false
}

fn ends_in_comment(line: &[u8]) -> bool {
    let mut rest = line;
    while let Some(at) = find(rest, b"/*", 0) {
        let Some(end) = find(rest, b"*/", at + 2) else { return true };
        rest = rest.get(end + 2..).unwrap_or(&[]);
    }
    false
}

/// The text of an input as it was when it was read, without the ends of lines that continue.
fn text_of(input: &DraftInput) -> FileText {
    let path = Path::new(OsStr::from_bytes(input.path.to_bytes()));
    let text = FileText::of(path, &[elf::MAGIC], TEXT_BYTES_MAX);
    if !raw::stat(&input.path).is_ok_and(|now| now.stat.stamp() == input.stamp) {
        return FileText::Unknown;
    }
    match text {
        FileText::Whole(bytes) => FileText::Whole(joined_lines(&bytes)),
        other => other,
    }
}

/// A word may go on in the next line: behind a backslash (or its trigraph), with blanks after it perhaps.
fn joined_lines(text: &[u8]) -> Vec<u8> {
    let mut joined = Vec::with_capacity(text.len());
    for line in text.split_inclusive(|byte| *byte == b'\n') {
        let bare = line.trim_ascii_end();
        let bare = bare.strip_suffix(b"\\").or_else(|| bare.strip_suffix(b"??/"));
        joined.extend_from_slice(bare.filter(|_| line.ends_with(b"\n")).unwrap_or(line));
    }
    joined
}

fn contains(text: &[u8], part: &[u8]) -> bool {
    find(text, part, 0).is_some()
}

fn find(text: &[u8], part: &[u8], from: usize) -> Option<usize> {
    memmem::find(text.get(from..)?, part).map(|at| from + at)
}

/// Times that were equal still are, and others still differ.
#[derive(Default)]
pub struct EqualTimes {
    seconds: Pairs<([u8; 32], u32), ([u8; 32], i64)>,
    times: Pairs<([u8; 32], u32), ([u8; 32], i64)>,
}

impl EqualTimes {
    /// Whether an input, modified at `mtime_ns` by now, agrees with those that were asked about before.
    pub fn agree(&mut self, input: &DraftInput, mtime_ns: i64) -> bool {
        let digest = input.digest;
        input.times == 0
            || self
                .seconds
                .agree((digest, input.times >> 16), (digest, mtime_ns.div_euclid(SECOND_NS)))
                && self.times.agree((digest, input.times & 0xffff), (digest, mtime_ns))
    }
}

/// Pairs of which no two share one half only.
pub struct Pairs<A, B> {
    ahead: HashMap<A, B>,
    back: HashMap<B, A>,
}

impl<A, B> Default for Pairs<A, B> {
    fn default() -> Self {
        Pairs { ahead: HashMap::new(), back: HashMap::new() }
    }
}

impl<A: Copy + Eq + Hash, B: Copy + Eq + Hash> Pairs<A, B> {
    /// Whether these two may be a pair.
    pub fn agree(&mut self, a: A, b: B) -> bool {
        *self.ahead.entry(a).or_insert(b) == b && *self.back.entry(b).or_insert(a) == a
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_that_go_on_in_the_next_line() {
        for text in ["#pragma on\\\nce\n", "#pragma on\\ \t\r\nce", "#pragma on??/\nce"] {
            assert!(contains(&joined_lines(text.as_bytes()), b"once"), "{text}");
        }
        assert!(!contains(&joined_lines(b"on\nce"), b"once"));
        assert_eq!(joined_lines(b"a\n\\"), b"a\n\\");
    }

    #[test]
    fn words_and_parts_of_words() {
        for (text, is_word) in [
            ("#import <a.h>", true),
            ("# /**/ import\"a.h\"", true),
            ("import", true),
            ("/* important */ __declspec(dllimport) reimport_", false),
            ("important import", true),
            ("", false),
        ] {
            assert_eq!(has_word(text.as_bytes(), b"import", b"_"), is_word, "{text}");
        }
    }

    #[test]
    fn files_that_mark_others() {
        for (text, marks) in [
            ("#pragma once\n# define A 1 /* and\n at all */\nat once\nimportant();\n", false),
            ("#import \"a.h\"\n", true),
            (" %: /* a\n b */ import <a.h>\n", true),
            ("export import <a.h>;\n", true),
            ("#define O once\n", true),
            ("#define O /*\n*/ once\n", true),
            ("#define ONCE _Pragma(\"once\")\n", true),
        ] {
            assert_eq!(marks_others(text.as_bytes()), marks, "{text}");
        }
    }

    #[test]
    fn pairs() {
        let mut pairs = Pairs::default();
        assert!(pairs.agree(1, 10) && pairs.agree(2, 20) && pairs.agree(1, 10));
        assert!(!pairs.agree(1, 20) && !pairs.agree(3, 10));
    }
}
