//! Tests of delivery: what is written is what was checked.

use std::ffi::{CString, OsStr};
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use ibid::probe::deliver::{Terms, Undelivered};
use ibid::probe::deliver_record;
use ibid::record::{self, Record};
use ibid::shm::layout::SEGMENT_BYTES;
use ibid::shm::raw;
use ibid::store::Store;
use ibid::store::draft::{Draft, DraftOutput};

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
        let output = DraftOutput {
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
        let terms = Terms { creation_mask: 0o022, may_show: None };
        deliver_record(&self.store.cache, &record, terms, &mut vec![0; room], || {})
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

/// Where the file system has files without a name, a fault leaves nothing that a tool could append to.
#[test]
fn an_output_that_is_appended_to() {
    for len in [1000, LARGE_BYTES] {
        let scratch = Scratch::new();
        let (mut draft, path) = scratch.recorded(&content(len));
        draft.outputs[0].flags |= record::ONLY_IF_ABSENT;
        assert_eq!(scratch.deliver(&draft, 1 << 20), Ok(()));
        assert!(fs::read(&path).unwrap() == content(len));
        assert_eq!(scratch.deliver(&draft, 1 << 20), Err(Undelivered::Special));
    }
}

/// As many as a record holds; the first ones small, the last one large.
#[test]
fn any_number_of_outputs() {
    for count in [256, 257, 600] {
        let scratch = Scratch::new();
        let (mut draft, path) = scratch.recorded(b"one of many");
        let first = draft.outputs[0].clone();
        draft.outputs.clear();
        let name = |at: usize| path.with_file_name(format!("out-{at}.o"));
        for at in 0..count {
            let path = CString::new(name(at).as_os_str().as_bytes()).unwrap();
            draft.outputs.push(DraftOutput { path, ..first.clone() });
        }
        draft.outputs.last_mut().unwrap().blob =
            scratch.store.put_blob(&content(LARGE_BYTES)).unwrap();
        // New, and in the place of those.
        for _ in 0..2 {
            assert_eq!(scratch.deliver(&draft, 1 << 20), Ok(()));
            assert!((0..count - 1).all(|at| fs::read(name(at)).unwrap() == b"one of many"));
            assert!(fs::read(name(count - 1)).unwrap() == content(LARGE_BYTES));
        }
        assert_eq!(scratch.deliver(&draft, 1000), Err(Undelivered::NoRoom));
    }
}

/// A file that gets its name at the end has the mode, the name and the content of one that has it from the beginning.
#[test]
fn an_output_that_is_named_when_it_is_whole() {
    for len in [0, 1, LARGE_BYTES] {
        let scratch = Scratch::new();
        let (mut draft, path) = scratch.recorded(&content(len));
        draft.outputs[0].flags |= record::NAMED_WHOLE | record::SET_MODE;
        draft.outputs[0].mode = 0o600;
        for _ in 0..2 {
            assert_eq!(scratch.deliver(&draft, 1 << 20), Ok(()));
            assert!(fs::read(&path).unwrap() == content(len), "{len} bytes");
            let state = fs::metadata(&path).unwrap();
            assert_eq!((state.mode() & 0o7777, state.nlink()), (0o600, 1));
        }
    }
}

/// What fails in the middle leaves the old file, or none; what was made before where nothing had been is removed.
#[test]
fn a_delivery_that_fails_in_the_middle() {
    for (flags, is_there) in
        [(0, false), (record::NAMED_WHOLE, false), (0, true), (record::NAMED_WHOLE, true)]
    {
        let scratch = Scratch::new();
        let bytes = content(LARGE_BYTES);
        let (mut draft, path) = scratch.recorded(&bytes);
        let first = path.with_file_name("first.d");
        let blob = scratch.store.put_blob(b"first").unwrap();
        let name = CString::new(first.as_os_str().as_bytes()).unwrap();
        draft.outputs.insert(0, DraftOutput { path: name, blob, ..draft.outputs[0].clone() });
        draft.outputs[1].flags |= flags;
        if is_there {
            for path in [&first, &path] {
                fs::write(path, "old").unwrap();
                fs::set_permissions(path, fs::Permissions::from_mode(0o644)).unwrap();
            }
        }
        scratch.damage_the_end_of(&bytes);
        assert_eq!(scratch.deliver(&draft, 1 << 20), Err(Undelivered::Corrupt));
        assert_eq!(first.exists(), is_there);
        // The new one was to get its name when it is whole: the old one is still there.
        assert_eq!(fs::read(&path).ok(), is_there.then(|| b"old".to_vec()), "{flags} {is_there}");
    }
}

/// Another process has put its own file where ours was.
#[test]
fn only_a_file_of_our_own_is_removed() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("out.o");
    let name = CString::new(path.as_os_str().as_bytes()).unwrap();
    fs::write(&path, "ours").unwrap();
    let ours = raw::lstat(&name).unwrap().stat;
    fs::write(directory.path().join("new"), "theirs").unwrap();
    fs::rename(directory.path().join("new"), &path).unwrap();
    raw::unlink_if(&name, (ours.dev, ours.ino));
    assert_eq!(fs::read(&path).unwrap(), b"theirs");
    let theirs = raw::lstat(&name).unwrap().stat;
    raw::unlink_if(&name, (theirs.dev, theirs.ino));
    assert!(!path.exists());
}
