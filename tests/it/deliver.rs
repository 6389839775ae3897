//! Tests of delivery: what is written is what was checked.

use std::ffi::{CString, OsStr};
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use ibid::probe::deliver::Undelivered;
use ibid::probe::deliver_record;
use ibid::record::{self, Record};
use ibid::shm::layout::SEGMENT_BYTES;
use ibid::store::Store;
use ibid::store::draft::{Draft, Output};

/// More than three pieces.
const LARGE_BYTES: usize = 200_000;

struct Scratch {
    directory: tempfile::TempDir,
    store: Store,
}

impl Scratch {
    fn new() -> Scratch {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(&directory.path().join("cache"), 2 * SEGMENT_BYTES).unwrap();
        Scratch { directory, store }
    }

    /// A record with an output.
    fn recorded(&self, bytes: &[u8]) -> (Draft, PathBuf) {
        let path = self.directory.path().join("out.o");
        let output = Output {
            path: CString::new(path.as_os_str().as_bytes()).unwrap(),
            create_mode: 0o666,
            mode: 0o644,
            flags: 0,
            blob: self.store.put_blob(bytes).unwrap(),
        };
        (Draft { outputs: vec![output], ..Draft::default() }, path)
    }

    fn deliver(&self, draft: &Draft, room: usize) -> Result<(), Undelivered> {
        let hot = draft.encode().hot;
        let record = Record::read(&hot).unwrap();
        deliver_record(&self.store.cache, &record, 0o022, &mut vec![0; room], || {})
    }

    /// Flips a bit of the first segment where `bytes` end.
    fn damage_the_end_of(&self, bytes: &[u8]) {
        let segment = self.store.directory().join("seg-0000000000000001");
        let stored = fs::read(&segment).unwrap();
        let at = stored.windows(bytes.len()).position(|window| window == bytes).unwrap();
        let last = at + bytes.len() - 1;
        let file = fs::File::options().write(true).open(segment).unwrap();
        file.write_all_at(&[stored[last] ^ 1], last as u64).unwrap();
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // The volatile segment lies outside the directory; its name stands in the index.
        let name = self.store.cache.index.header().volatile;
        let name = name.split(|byte| *byte == 0).next().unwrap_or(b"");
        let _ = fs::remove_file(Path::new("/dev/shm").join(OsStr::from_bytes(name)));
    }
}

fn content(len: usize) -> Vec<u8> {
    (0..=250).cycle().take(len).collect()
}

#[test]
fn outputs_of_any_size_are_delivered() {
    let scratch = Scratch::new();
    for len in [0, 1, 65_536, 65_537, LARGE_BYTES] {
        let bytes = content(len);
        let (draft, path) = scratch.recorded(&bytes);
        assert_eq!(scratch.deliver(&draft, 1 << 20), Ok(()));
        assert!(fs::read(&path).unwrap() == bytes, "{len} bytes");
    }
}

#[test]
fn damaged_bytes_are_not_left_behind() {
    for len in [1000, LARGE_BYTES] {
        let scratch = Scratch::new();
        let bytes = content(len);
        let (draft, path) = scratch.recorded(&bytes);
        scratch.damage_the_end_of(&bytes);
        assert_eq!(scratch.deliver(&draft, 1 << 20), Err(Undelivered::Corrupt));
        assert!(!path.exists(), "{len} bytes");
    }
}

#[test]
fn text_that_is_longer_than_the_room_is_not_cut() {
    let scratch = Scratch::new();
    let (mut draft, path) = scratch.recorded(b"object");
    draft.flags |= record::HAS_TEXT;
    draft.stderr = Some(scratch.store.put_blob(&content(LARGE_BYTES)).unwrap());
    assert_eq!(scratch.deliver(&draft, 100_000), Err(Undelivered::NoRoom));
    assert!(!path.exists(), "nothing is touched");
}

#[test]
fn a_large_output_that_is_appended_to_is_left_to_the_tool() {
    for (len, expected) in [(1000, Ok(())), (LARGE_BYTES, Err(Undelivered::Special))] {
        let scratch = Scratch::new();
        let (mut draft, path) = scratch.recorded(&content(len));
        draft.outputs[0].flags |= record::ONLY_IF_ABSENT;
        assert_eq!(scratch.deliver(&draft, 1 << 20), expected);
        assert_eq!(path.exists(), expected.is_ok());
    }
}
