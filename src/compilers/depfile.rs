//! Depfiles of gcc and clang: with other names they are what the compiler would have written.
//!
//! Both break lines, each in its own way. Where they do was found by what gcc 12 and clang 14 write. Read next: `mod.rs`.

use super::Family;

/// How a compiler breaks the lines of a depfile.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Breaks {
    /// A line does not grow beyond this, where there is a choice.
    columns: usize,
    /// What is left free behind a name.
    reserve: usize,
    /// How a line goes on.
    start: &'static str,
    /// For how many columns that counts.
    start_columns: usize,
}

const GCC: Breaks = Breaks { columns: 72, reserve: 0, start: " ", start_columns: 1 };
const CLANG: Breaks = Breaks { columns: 75, reserve: 3, start: "  ", start_columns: 3 };

/// A depfile with other names in it (`name` is given each word, or as much as is not broken), with line breaks as this compiler makes them. `None` if it holds characters that
/// have to be escaped, or is no depfile of this compiler's.
pub fn renamed(family: Family, text: &[u8], name: impl Fn(&[u8]) -> Vec<u8>) -> Option<Vec<u8>> {
    let breaks = match family {
        Family::Gcc => GCC,
        Family::Clang | Family::Emscripten => CLANG,
        Family::Rustc => return Some(name(text)),
        _ => return None,
    };
    let mut renamed = Vec::with_capacity(text.len());
    for line in lines(text)? {
        if !line.is_empty() {
            write(&mut renamed, breaks, &words(&line)?, &name);
        }
        renamed.push(b'\n');
    }
    Some(renamed)
}

/// The lines of a depfile, each as one although it was broken; `None` if one does not end.
fn lines(text: &[u8]) -> Option<Vec<Vec<u8>>> {
    let mut lines = vec![Vec::new()];
    for line in text.strip_suffix(b"\n")?.split(|byte| *byte == b'\n') {
        let last = lines.last_mut()?;
        if let Some(part) = line.strip_suffix(b"\\") {
            last.extend_from_slice(part);
        } else {
            last.extend_from_slice(line);
            lines.push(Vec::new());
        }
    }
    lines.pop().is_some_and(|rest| rest.is_empty()).then_some(lines)
}

/// The target of a rule, and what it is made from; `None` if there are several targets, or characters that are escaped.
fn words(line: &[u8]) -> Option<Vec<&[u8]>> {
    if line.iter().any(|byte| b"\\$#\t".contains(byte)) {
        return None;
    }
    let words = line.split(|byte| *byte == b' ').filter(|word| !word.is_empty());
    let mut words: Vec<_> = words.collect();
    let target = words.first_mut()?;
    *target = target.strip_suffix(b":")?;
    Some(words)
}

fn write(into: &mut Vec<u8>, breaks: Breaks, words: &[&[u8]], name: impl Fn(&[u8]) -> Vec<u8>) {
    let mut column = 0;
    for (at, word) in words.iter().enumerate() {
        let mut word = name(word);
        if at == 0 {
            word.push(b':');
        } else if column + word.len() + breaks.reserve > breaks.columns {
            into.extend_from_slice(b" \\\n");
            into.extend_from_slice(breaks.start.as_bytes());
            column = breaks.start_columns;
        } else {
            into.push(b' ');
            column += 1;
        }
        column += word.len();
        into.extend(word);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What gcc 12 and clang 14 write, and what they write where names are longer.
    #[test]
    fn lines_are_broken_as_the_compilers_do() {
        let long = |word: &[u8]| {
            word.strip_prefix(b"/p/")
                .map_or(word.to_vec(), |rest| [&b"/a/much/longer/place/"[..], rest].concat())
        };
        let short = "a.o: /p/a.c /p/a.h\n";
        let moved = "a.o: /a/much/longer/place/a.c /a/much/longer/place/a.h\n";
        for family in [Family::Gcc, Family::Clang] {
            assert_eq!(renamed(family, short.as_bytes(), long).as_deref(), Some(moved.as_bytes()));
            for text in [
                "",
                "a.o: a.c",
                "a.o b.o: a.c\n",
                "a.o: a\\ b.c\n",
                "a.o: $$x.c\n",
                "a.c\n",
                "a.o: b \\\n",
            ] {
                assert_eq!(renamed(family, text.as_bytes(), long), None, "{text}");
            }
        }
        assert_eq!(renamed(Family::Archiver, short.as_bytes(), long), None);
    }
}
