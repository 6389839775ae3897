//! Words in texts.

/// Whether a word stands in a text by itself; letters are ASCII's, digits, and `others`.
pub fn has_word(text: &[u8], word: &[u8], others: &[u8]) -> bool {
    let is_letter = |byte: Option<&u8>| {
        byte.is_some_and(|byte| byte.is_ascii_alphanumeric() || others.contains(byte))
    };
    memchr::memmem::find_iter(text, word).any(|at| {
        let before = at.checked_sub(1).and_then(|at| text.get(at));
        !is_letter(before) && !is_letter(text.get(at + word.len()))
    })
}

#[cfg(test)]
mod tests {
    use super::has_word;

    #[test]
    fn words_by_themselves() {
        for (text, is_word) in [
            ("id", true),
            (" id;", true),
            ("idle", false),
            ("$id", true),
            ("_id", false),
            ("idid id", true),
        ] {
            assert_eq!(has_word(text.as_bytes(), b"id", b"_"), is_word, "{text}");
        }
        assert!(!has_word(b"$id", b"id", b"_$"));
    }
}
