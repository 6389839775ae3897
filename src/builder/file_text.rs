//! The text of a file, told from programs and libraries, and from what is too long to be looked at.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

/// What a file says.
pub enum FileText {
    /// It is none of a person's: a program, a library.
    Compiled,
    /// What it says cannot be known.
    Unknown,
    /// Its bytes.
    Whole(Vec<u8>),
}

impl FileText {
    /// That of a file. Files that begin with one of `compiled` are that; those longer than `bytes_max` are not known.
    pub fn of(path: &Path, compiled: &[&[u8]], bytes_max: u64) -> FileText {
        let read = || -> std::io::Result<FileText> {
            let mut file = File::open(path)?;
            let mut bytes = Vec::new();
            file.by_ref().take(8).read_to_end(&mut bytes)?;
            if compiled.iter().any(|start| bytes.starts_with(start)) {
                return Ok(FileText::Compiled);
            }
            if file.metadata()?.len() > bytes_max {
                return Ok(FileText::Unknown);
            }
            file.read_to_end(&mut bytes)?;
            Ok(FileText::Whole(bytes))
        };
        read().unwrap_or(FileText::Unknown)
    }

    /// Whether the text `has` something: what is compiled has not, what is not known may.
    pub fn may_have(&self, has: impl FnOnce(&[u8]) -> bool) -> bool {
        match self {
            FileText::Compiled => false,
            FileText::Unknown => true,
            FileText::Whole(text) => has(text),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::FileText;

    #[test]
    fn texts_and_what_is_none() {
        let scratch = tempfile::tempdir().expect("a directory");
        let path = scratch.path().join("file");
        let has_b = |text: &str| {
            std::fs::write(&path, text).expect("written");
            FileText::of(&path, &[b"\x7fELF"], 9).may_have(|text| text.contains(&b'b'))
        };
        for (text, has) in [
            ("", false),
            ("b", true),
            ("123456789", false),
            ("12345678b", true),
            ("1234567890", true),
        ] {
            assert_eq!(has_b(text), has, "{text}");
        }
        assert!(!has_b("\x7fELFbbbbbbbbb"));
        assert!(FileText::of(&scratch.path().join("none"), &[], 9).may_have(|_| false));
    }
}
