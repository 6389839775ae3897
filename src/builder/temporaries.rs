//! Whether the name of a temporary file shows in a result: it is another one at each run.
//!
//! A linker names the objects that it was given in messages, in map files and in what it packs up. Read next: `refusal.rs`.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Read as _};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use memchr::memmem;

use super::record_builder::RecordBuilder;
use crate::os::run::Text;

/// How much of an output is looked through at a time.
const PIECE_BYTES: usize = 1 << 20;
/// `ccXXXXXX`.
const GCC_NAME_BYTES: usize = 8;
/// A shorter name is not drawn, and may stand anywhere.
const NAME_BYTES_MIN: usize = 6;

impl RecordBuilder<'_> {
    /// Whether a temporary file's name is in a text, or in an output of a link.
    pub(super) fn shows_temporaries(&self, text: &Text) -> io::Result<bool> {
        if !self.policy.may_print_temporaries() {
            return Ok(false);
        }
        let temporaries = self.observation.temporaries.iter().filter(|path| self.is_drawn(path));
        let names = temporaries.flat_map(|path| drawn_names(path));
        let names: BTreeSet<&[u8]> = names.collect();
        if names.iter().any(|name| is_in(&text.stdout, name) || is_in(&text.stderr, name)) {
            return Ok(true);
        }
        if names.is_empty() || !self.policy.links {
            return Ok(false);
        }
        for output in &self.observation.outputs {
            if is_in_file(&names, &output.path)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Whether a temporary file may have a name that was drawn: not if an output has the same one. Of what Emscripten's scripts make
    /// in a directory, the directory's name is drawn, and files' that Python draws, which begin with `tmp`.
    fn is_drawn(&self, path: &Path) -> bool {
        let name = path.file_name().unwrap_or_default();
        let mut outputs = self.observation.outputs.iter();
        let is_outputs = outputs.any(|output| output.path.file_name() == Some(name));
        let is_in_drawn = self.policy.scripts.is_some()
            && !name.as_bytes().starts_with(b"tmp")
            && path.parent().is_some_and(|above| {
                self.observation.temporaries.iter().any(|other| other == above)
            });
        !is_outputs && !is_in_drawn
    }
}

/// What stands where a temporary file is named: its name, and the part of it after which gcc names others
/// (`ccXXXXXX.ltrans0.o`).
fn drawn_names(path: &Path) -> impl Iterator<Item = &[u8]> {
    let name = path.file_name().unwrap_or_default().as_bytes();
    let part = name.split(|byte| *byte == b'.').next().unwrap_or_default();
    let is_gccs = part.starts_with(b"cc") && part.len() == GCC_NAME_BYTES;
    let long = [name, part].into_iter().zip([name.len() >= NAME_BYTES_MIN, is_gccs]);
    long.filter_map(|(name, counts)| counts.then_some(name))
}

fn is_in_file(names: &BTreeSet<&[u8]>, path: &Path) -> io::Result<bool> {
    let longest_bytes = names.iter().map(|name| name.len()).max().unwrap_or(0);
    let mut file = File::open(path)?;
    let mut buffer = vec![0; PIECE_BYTES + longest_bytes];
    // What is left of the piece before: a name may be in two.
    let mut kept_bytes = 0;
    loop {
        let read_bytes = file.read(&mut buffer[kept_bytes..])?;
        let filled = &buffer[..kept_bytes + read_bytes];
        if names.iter().any(|name| is_in(filled, name)) {
            return Ok(true);
        }
        if read_bytes == 0 {
            return Ok(false);
        }
        let from = filled.len().saturating_sub(longest_bytes);
        kept_bytes = filled.len() - from;
        buffer.copy_within(from..from + kept_bytes, 0);
    }
}

fn is_in(text: &[u8], name: &[u8]) -> bool {
    memmem::find(text, name).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_are_drawn() {
        let names = |path| drawn_names(Path::new(path)).map(<[u8]>::to_vec).collect::<Vec<_>>();
        assert_eq!(
            names("/tmp/ccAbCdEf.ltrans0.o"),
            [&b"ccAbCdEf.ltrans0.o"[..], b"ccAbCdEf"].map(<[u8]>::to_vec)
        );
        assert_eq!(names("/tmp/a-3f2a1b.o"), [b"a-3f2a1b.o".to_vec()]);
        assert_eq!(names("conftest.tmp3f2a1b0"), [b"conftest.tmp3f2a1b0".to_vec()]);
        assert!(names("/").is_empty() && names("a.o").is_empty());
    }

    #[test]
    fn a_name_in_two_pieces() {
        let dir = tempfile::tempdir().expect("a directory");
        let file = dir.path().join("file");
        let names = BTreeSet::from([&b"ccAbCdEf"[..], b"longer-than-that"]);
        for at in [
            0,
            1,
            PIECE_BYTES - 9,
            PIECE_BYTES - 4,
            PIECE_BYTES,
            PIECE_BYTES + 15,
            3 * PIECE_BYTES - 5,
        ] {
            let mut text = vec![b'c'; at];
            text.extend(b"ccAbCdEf and more");
            std::fs::write(&file, &text).expect("written");
            assert!(is_in_file(&names, &file).expect("read"), "{at}");
            text[at + 2] = b'x';
            std::fs::write(&file, &text).expect("written");
            assert!(!is_in_file(&names, &file).expect("read"), "{at}");
        }
    }
}
