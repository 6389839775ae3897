//! Tests of the store: create, append, publish, rotate, evict, clear, and what damage does.

use std::ffi::CString;
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::Path;

use super::draft::{Draft, DraftOutput};
use super::*;
use crate::shm::events::{Ending, Event, Text};
use crate::shm::layout::UNIT_BYTES;

mod compress;
mod crash;
mod delta;
mod fingerprint;
mod gc;
mod power;
mod reference;
mod space;
mod transfer;
mod verify;
mod years;

struct Scratch {
    directory: tempfile::TempDir,
}

impl Scratch {
    fn new() -> Scratch {
        Scratch { directory: tempfile::tempdir().expect("a temporary directory") }
    }

    fn path(&self) -> &Path {
        self.directory.path()
    }

    fn open(&self) -> Store {
        self.open_with(MAX_BYTES_DEFAULT)
    }

    fn open_with(&self, max_bytes: u64) -> Store {
        Store::open(&self.path().join("cache"), max_bytes).expect("the store opens")
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // The volatile segment lies outside the directory; its name stands in the index.
        let Ok(store) = Store::open(&self.path().join("cache"), MAX_BYTES_DEFAULT) else { return };
        let name = store.cache.index.header().volatile;
        let name = String::from_utf8_lossy(&name).trim_end_matches('\0').to_owned();
        let _ = std::fs::remove_file(Path::new("/dev/shm").join(name));
    }
}

fn draft(number: u8, blob: BlobRef) -> Draft {
    Draft {
        command: vec![number; 40],
        direct_key: [number; 16],
        result_key: [number ^ 0x80; 16],
        outputs: vec![DraftOutput {
            path: CString::new("a.o").expect("no NUL"),
            create_mode: 0o666,
            mode: 0o644,
            flags: 0,
            blob,
        }],
        ..Draft::default()
    }
}

fn records(store: &Store, key: [u8; 16]) -> usize {
    store.cache.records(&key).count()
}

#[test]
fn the_volatile_segment_of_an_index_that_is_no_more_goes() {
    let scratch = Scratch::new();
    let object = |store: &Store| create::shared_memory_path(store.cache.index.header());
    let old = object(&scratch.open());
    assert!(old.exists());
    let index = scratch.path().join("cache").join(DIRECTORY).join("index");
    std::fs::remove_file(index).expect("it was there");
    let new = object(&scratch.open());
    assert!(new != old && new.exists() && !old.exists());
}

#[test]
fn a_blob_is_stored_once_and_comes_back() {
    let scratch = Scratch::new();
    let store = scratch.open();
    let bytes = vec![7u8; 100_000];
    let first = store.put_blob(&bytes).expect("stored");
    let cursor = store.cache.index.cursor();
    assert_eq!(store.put_blob(&bytes).expect("stored").hint, first.hint);
    assert_eq!(store.cache.index.cursor(), cursor);
    let place = store.cache.find_blob(&first.digest).expect("found");
    let entry = store.cache.segments.entry(place).expect("there");
    let mut back = vec![0; bytes.len()];
    entry.copy_out(0, &mut back).expect("all of it");
    assert!(back == bytes && entry.body_sum() == Some(first.sum));
}

#[test]
fn a_record_is_found_under_both_keys_by_another_process() {
    let scratch = Scratch::new();
    let store = scratch.open();
    let blob = store.put_blob(b"object").expect("stored");
    store.put_record(&draft(1, blob)).expect("stored");
    let other = scratch.open();
    assert_eq!((records(&other, [1; 16]), records(&other, [0x81; 16])), (1, 1));
    assert_eq!(other.count_entries(), (1, 1));
}

#[test]
fn a_record_survives_encoding() {
    let scratch = Scratch::new();
    let store = scratch.open();
    let blob = store.put_blob(b"object").expect("stored");
    let draft = draft(3, blob);
    store.put_record(&draft).expect("stored");
    let key = [3; 16];
    let (_, entry) = store.cache.records(&key).next().expect("found");
    let mut bytes = vec![0; usize::try_from(entry.header.body_bytes).expect("small")];
    entry.copy_out(0, &mut bytes).expect("all of it");
    let (hot, cold) = bytes.split_at(usize::try_from(entry.header.hot_bytes).expect("small"));
    let record = crate::record::Record::read(hot).expect("a head");
    let back =
        Draft::decode(&record, &crate::record::Cold(cold), &entry.header.key).expect("whole");
    assert_eq!(format!("{back:?}"), format!("{draft:?}"));
}

#[test]
fn the_same_record_learnt_anew_takes_the_old_ones_place() {
    let scratch = Scratch::new();
    let store = scratch.open();
    let blob = store.put_blob(b"object").expect("stored");
    for _ in 0..3 {
        store.put_record(&draft(1, blob)).expect("stored");
    }
    assert_eq!(records(&store, [1; 16]), 1);
    let other = store.put_blob(b"another object").expect("stored");
    store.put_record(&draft(1, other)).expect("stored");
    assert_eq!(records(&store, [1; 16]), 2);
}

#[test]
fn full_segments_are_left_and_the_oldest_go() {
    const MAX_BYTES: u64 = 128 << 20;
    let scratch = Scratch::new();
    let store = scratch.open_with(MAX_BYTES);
    let mut blobs = Vec::new();
    for number in 0..14u8 {
        let mut bytes = vec![number + 1; 15 << 20];
        bytes.push(number);
        blobs.push(store.put_blob(&bytes).expect("stored"));
        assert!(store.bytes_used() <= MAX_BYTES);
    }
    let window = store.window();
    assert!(store.cache.volatile.sum(Counter::EVICTIONS) >= 1);
    assert!(store.bytes_used() > MAX_BYTES / 2);
    let found = |blob: &BlobRef| store.cache.find_blob(&blob.digest).is_some();
    assert!(!found(&blobs[0]) && blobs[7..].iter().all(found));
    let seqs: Vec<_> = files::segments(store.directory()).iter().map(|(seq, _)| *seq).collect();
    assert_eq!(seqs, (window.oldest..=window.newest).collect::<Vec<_>>());
}

/// A file of so many bytes that are not all the same.
fn large_file(scratch: &Scratch, mib: usize) -> std::fs::File {
    let path = scratch.path().join("large");
    let bytes: Vec<u8> = (0..mib << 20).map(|at| at.to_le_bytes()[1]).collect();
    std::fs::write(&path, bytes).expect("written");
    std::fs::File::open(&path).expect("opened")
}

#[test]
fn what_is_larger_than_a_segment_has_one_of_its_own() {
    let scratch = Scratch::new();
    let store = scratch.open();
    let before = store.put_blob(b"before").expect("stored");
    let file = large_file(&scratch, 70);
    let large = store.put_file(&file).expect("stored");
    let after = store.put_blob(b"after").expect("stored");
    let seqs = [before, large, after].map(|blob| blob.hint >> 20);
    assert_eq!(seqs, [1, 2, 3]);
    assert_eq!(store.put_file(&file).expect("stored").hint, large.hint);
    let lens: Vec<u64> = files::segments(store.directory()).iter().map(|(_, len)| *len).collect();
    assert_eq!(lens, [1 << 20, (70 << 20) + 8192, 1 << 20]);
    let other = scratch.open();
    let place = other.cache.find_blob(&large.digest).expect("found");
    let entry = other.cache.segments.entry(place).expect("there");
    assert_eq!((entry.header.body_bytes, entry.body_sum()), (70 << 20, Some(large.sum)));
    let names = std::fs::read_dir(store.directory()).expect("read").flatten();
    assert!(names.map(|entry| entry.file_name()).all(|n| !n.to_string_lossy().starts_with("tmp")));
}

#[test]
fn what_is_larger_than_an_eighth_of_the_cache_is_refused() {
    let scratch = Scratch::new();
    let file = large_file(&scratch, 70);
    let small = scratch.open_with(70 << 23);
    assert!(matches!(small.put_file(&file), Err(StoreError::TooLarge(_))));
    let large = scratch.open_with((70 << 23) + 1024);
    large.put_file(&file).expect("stored");
    let tiny = scratch.open_with(1 << 20);
    assert!(matches!(tiny.put_blob(&vec![1; 200_000]), Err(StoreError::TooLarge(_))));
    tiny.put_blob(&vec![1; 100_000]).expect("stored");
}

/// Several processes give large files numbers while others rotate: nobody writes into another's segment.
#[test]
fn large_files_among_many_small_ones() {
    let scratch = Scratch::new();
    drop(scratch.open());
    let file = large_file(&scratch, 65);
    std::thread::scope(|scope| {
        for thread in 0..3u8 {
            let (scratch, file) = (&scratch, &file);
            scope.spawn(move || {
                let store = scratch.open();
                for number in 0..2u8 {
                    let large = store.put_file(file).expect("stored");
                    let mut bytes = vec![number; 12 << 20];
                    bytes[0] = thread + 1;
                    let small = store.put_blob(&bytes).expect("stored");
                    for blob in [large, small] {
                        let place = store.cache.find_blob(&blob.digest).expect("found");
                        let entry = store.cache.segments.entry(place).expect("there");
                        assert_eq!(entry.body_sum(), Some(blob.sum));
                    }
                }
            });
        }
    });
    let checked = super::verify::verify(
        &scratch.path().join("cache"),
        MAX_BYTES_DEFAULT,
        false,
        &mut |_, _| {},
    );
    assert_eq!(checked.expect("checked").damage, []);
}

#[test]
fn numbers_of_the_control_words_that_are_nonsense() {
    let scratch = Scratch::new();
    for (cursor, oldest) in [(1 << 32 | 64, u64::MAX), (u64::MAX, 0), (0, 7), (u64::MAX, u64::MAX)]
    {
        let store = scratch.open();
        store.put_blob(b"before").expect("stored");
        let control = store.control().expect("mapped");
        control.cursor.store(cursor, crate::shm::words::Ordering::Relaxed);
        control.oldest.store(oldest, crate::shm::words::Ordering::Relaxed);
        let blob = store.put_blob(b"after").expect("stored");
        store.put_record(&draft(1, blob)).expect("stored");
        let store = scratch.open();
        let found = store.cache.find_blob(&blob.digest).is_some();
        assert!(found && records(&store, [1; 16]) > 0, "{cursor:x} {oldest:x}");
    }
}

#[test]
fn a_copied_cache_is_appended_to_in_a_segment_of_its_own() {
    let scratch = Scratch::new();
    let store = scratch.open();
    store.put_blob(b"one").expect("stored");
    let seq = store.window().newest;
    // A new inode of the index is what a restored copy has.
    let index = store.directory().join("index");
    let copy = store.directory().join("copy");
    std::fs::copy(&index, &copy).expect("copied");
    std::fs::rename(&copy, &index).expect("renamed");
    let again = scratch.open();
    let blob = again.put_blob(b"two").expect("stored");
    assert_eq!(blob.hint >> 20, seq + 1);
    assert!(again.cache.find_blob(blake3::hash(b"one").as_bytes()).is_some());
}

#[test]
fn after_another_boot_a_new_segment_is_begun() {
    let scratch = Scratch::new();
    let store = scratch.open();
    let before = store.put_blob(b"one").expect("stored");
    let epoch = &store.control().expect("mapped").epoch;
    epoch.store(1, crate::shm::words::Ordering::Relaxed);
    let again = scratch.open();
    let after = again.put_blob(b"two").expect("stored");
    assert_eq!(after.hint >> 20, (before.hint >> 20) + 1);
    assert!([before, after].iter().all(|blob| again.cache.find_blob(&blob.digest).is_some()));
}

#[test]
fn clear_forgets_everything_but_the_counters() {
    let scratch = Scratch::new();
    let store = scratch.open();
    store.count(Counter::MISSES);
    let blob = store.put_blob(b"object").expect("stored");
    store.put_record(&draft(1, blob)).expect("stored");
    store.clear().expect("cleared");
    let store = scratch.open();
    assert_eq!(store.count_entries(), (0, 0));
    assert_eq!(store.cache.volatile.sum(Counter::MISSES), 1);
    let again = store.put_blob(b"object").expect("stored");
    assert!(again.hint >> 20 > blob.hint >> 20, "numbers of segments go on");
}

#[test]
fn every_damaged_byte_of_a_blob_or_its_header_is_noticed() {
    let scratch = Scratch::new();
    let store = scratch.open();
    let blob = store.put_blob(b"an object of some bytes").expect("stored");
    let place = store.cache.find_blob(&blob.digest).expect("found");
    let file = append::open_segment(&store, place.seq);
    for at in 0..128 + blob.len_bytes {
        let at = u64::from(place.unit) * UNIT_BYTES + at;
        let mut byte = [0];
        file.read_exact_at(&mut byte, at).expect("read");
        file.write_all_at(&[byte[0] ^ 0x10], at).expect("written");
        let is_whole = store.cache.segments.entry(place).is_some_and(|entry| {
            entry.header.key == blob.digest && entry.body_sum() == Some(blob.sum)
        });
        assert!(!is_whole, "a flipped bit at {at}");
        file.write_all_at(&byte, at).expect("written");
    }
    assert!(store.cache.find_blob(&blob.digest).is_some());
}

#[test]
fn a_damaged_index_is_made_anew() {
    let scratch = Scratch::new();
    drop(scratch.open());
    let index = scratch.path().join("cache").join(DIRECTORY).join("index");
    for bytes in [&b""[..], b"nonsense", &[0xff; 8192]] {
        std::fs::write(&index, bytes).expect("written");
        assert!(scratch.open().put_blob(b"object").is_ok());
    }
    std::fs::remove_file(&index).expect("removed");
    std::fs::create_dir(&index).expect("created");
    assert!(scratch.open().put_blob(b"object").is_ok());
}

#[test]
fn a_directory_that_others_may_write_is_refused() {
    let scratch = Scratch::new();
    let cache = scratch.path().join("cache");
    std::fs::create_dir(&cache).expect("created");
    std::fs::set_permissions(&cache, std::fs::Permissions::from_mode(0o777)).expect("set");
    let refused = Store::open(&cache, MAX_BYTES_DEFAULT).expect_err("refused");
    assert!(refused.to_string().contains("cache"), "{refused}");
    std::fs::set_permissions(&cache, std::fs::Permissions::from_mode(0o700)).expect("set");
}

#[test]
fn many_threads_store_and_find() {
    let scratch = Scratch::new();
    drop(scratch.open());
    std::thread::scope(|scope| {
        for thread in 0..4u32 {
            let scratch = &scratch;
            scope.spawn(move || {
                let store = scratch.open();
                for number in 0..200u32 {
                    let bytes = (thread % 2 * 1000 + number).to_le_bytes().repeat(40);
                    let blob = store.put_blob(&bytes).expect("stored");
                    let place = store.cache.find_blob(&blob.digest).expect("found");
                    let entry = store.cache.segments.entry(place).expect("there");
                    assert_eq!(entry.body_sum(), Some(blob.sum));
                }
            });
        }
    });
    let (_, blobs) = scratch.open().count_entries();
    // Two threads that store the same bytes at once may both append them.
    assert!((400..=800).contains(&blobs), "{blobs}");
}

#[test]
fn a_segment_without_rings_is_made_anew() {
    const BYTES_WITHOUT_RINGS: u64 = 561_152;
    let scratch = Scratch::new();
    let store = scratch.open();
    store.count(Counter::MISSES);
    let path = create::shared_memory_path(store.cache.index.header());
    let file = std::fs::File::options().write(true).open(&path).expect("it is there");
    drop(store);
    file.set_len(BYTES_WITHOUT_RINGS).expect("cut");
    let store = scratch.open();
    assert_eq!(store.cache.volatile.sum(Counter::MISSES), 0, "another segment");
    store.cache.volatile.count(&[(Counter::MISSES, 2)], &mut Event::new(Ending::Miss));
    assert_eq!(store.cache.volatile.sum(Counter::MISSES), 2);
    let mut seen = 0;
    store.cache.volatile.each_event(|_| seen += 1);
    assert_eq!(seen, 1);
}

/// The newest stay, none of them torn, and counters are not written over.
#[test]
fn events_that_are_more_than_a_ring_holds() {
    let scratch = Scratch::new();
    let store = scratch.open();
    for time_ns in 1..=5000 {
        let mut event = Event { time_ns, ..Event::new(Ending::DirectHit) };
        event.push(Text::What, &[b'x'; 200][..usize::try_from(time_ns % 200).expect("small")]);
        store.cache.volatile.count(&[(Counter::INVOCATION_HITS, 1)], &mut event);
    }
    let mut times = Vec::new();
    store.cache.volatile.each_event(|event| times.push(event.time_ns));
    times.sort_unstable();
    // One process has one ring.
    assert_eq!(times, (5000 - 1280 + 1..=5000).collect::<Vec<u64>>());
    assert_eq!(store.cache.volatile.sum(Counter::INVOCATION_HITS), 5000);
    store.cache.volatile.zero();
    store.cache.volatile.each_event(|_| panic!("zero removes events"));
    assert_eq!(store.cache.volatile.sum(Counter::INVOCATION_HITS), 0);
}
