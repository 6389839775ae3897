//! Which word of a command is its source, as far as a name tells: for what is shown to people.

/// Whether a word looks like a source's name.
pub fn names_a_source(word: &[u8]) -> bool {
    const EXTENSIONS: [&[u8]; 11] =
        [b"c", b"cc", b"cpp", b"cxx", b"C", b"c++", b"m", b"mm", b"rs", b"S", b"s"];
    let extension = word.rsplit(|byte| *byte == b'.').next().unwrap_or_default();
    !word.starts_with(b"-") && extension.len() < word.len() && EXTENSIONS.contains(&extension)
}

#[cfg(test)]
mod tests {
    use super::names_a_source;

    #[test]
    fn sources() {
        for (word, is_one) in [("a.c", true), ("src/lib.rs", true), ("-Ia.c", false), ("c", false)]
        {
            assert_eq!(names_a_source(word.as_bytes()), is_one, "{word}");
        }
    }
}
