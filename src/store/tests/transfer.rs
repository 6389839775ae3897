//! Tests of export and import: what another cache gets, and what it does not take.

use std::fs::File;
use std::io::Write;
use std::path::PathBuf;

use bytemuck::Zeroable;

use super::{Scratch, draft, records};
use crate::record::{self, Record};
use crate::shm::layout::{Checked, EntryHeader, Kind, SEGMENT_BYTES};
use crate::shm::words::Words;
use crate::store::draft::Draft;
use crate::store::export::{Exported, Which, export};
use crate::store::export_format::{
    FileHeader, MAGIC, TRAILER_DIGEST_OFFSET, TRAILER_MAGIC, Trailer,
};
use crate::store::fingerprint::Fingerprint;
use crate::store::import::{ImportError, ImportFrom, Imported, import};
use crate::store::verify::verify;
use crate::store::{MAX_BYTES_DEFAULT, Store};

/// A small cache has a small index, which is soon read.
const MAX_BYTES: u64 = 2 * SEGMENT_BYTES + (1 << 20);
const HEADER_BYTES: usize = size_of::<EntryHeader>();

/// Headers and bodies, as they stand in a file.
type Entries = Vec<(EntryHeader, Vec<u8>)>;

fn exported(store: &Store, since_s: u64) -> (Vec<u8>, Exported) {
    let mut bytes = Vec::new();
    let exported =
        export(store, &Which::Since(since_s), &mut bytes, &mut |_, _| {}).expect("written");
    assert_eq!(exported.bytes, bytes.len() as u64);
    (bytes, exported)
}

fn take(store: &Store, bytes: &[u8]) -> Result<Imported, ImportError> {
    import(store, ImportFrom::Stream(&mut &bytes[..]), &mut |_, _| {})
}

fn take_file(scratch: &Scratch, store: &Store, bytes: &[u8]) -> Imported {
    let path: PathBuf = scratch.path().join("export");
    File::create(&path).expect("made").write_all(bytes).expect("written");
    let file = File::open(&path).expect("opened");
    import(store, ImportFrom::File(&file), &mut |_, _| {}).expect("imported")
}

/// Cursor and all words: what has changed if anything was stored.
fn state(store: &Store) -> (u64, Vec<u64>) {
    let words = store.cache.index.words();
    (store.cache.index.cursor(), (0..words.len()).map(|at| words.load(at)).collect())
}

fn is_whole(scratch: &Scratch, max_bytes: u64) -> (u64, u64) {
    let directory = scratch.path().join("cache");
    let report = verify(&directory, max_bytes, false, &mut |_, _| {}).expect("checked");
    assert!(report.damage.is_empty(), "{report:?}");
    (report.records, report.blobs)
}

fn filled(scratch: &Scratch, numbers: std::ops::Range<u8>) -> Store {
    let store = scratch.open_with(MAX_BYTES);
    for number in numbers {
        let blob = store.put_blob(&[number; 70]).expect("stored");
        store.put_record(&draft(number, blob)).expect("stored");
    }
    store
}

#[test]
fn another_cache_finds_by_content_what_was_exported() {
    let (from, to) = (Scratch::new(), Scratch::new());
    let (bytes, exported) = exported(&filled(&from, 1..4), 0);
    assert_eq!((exported.records, exported.blobs, exported.left_out), (3, 3, 0));
    let store = filled(&to, 3..6);
    let imported = take_file(&to, &store, &bytes);
    assert_eq!((imported.records, imported.blobs, imported.known), (2, 2, 1));
    for number in 1..4 {
        assert_eq!(records(&store, [number ^ 0x80; 16]), 1, "{number}");
        // What stats say is true of another machine.
        assert_eq!(records(&store, [number; 16]), usize::from(number == 3), "{number}");
    }
    let (_, record) = store.cache.records(&[0x81; 16]).next().expect("it is there");
    let mut hot = vec![0; record.header.hot_bytes as usize];
    record.copy_out(0, &mut hot).expect("inside");
    let named = Record::read(&hot).expect("whole").outputs().next().flatten().expect("one");
    let blob = store.cache.segments.entry(named.blob.place()).expect("where the record says");
    assert_eq!((blob.header.key, blob.header.body_bytes), (named.blob.digest, 70));
    assert_eq!(is_whole(&to, MAX_BYTES), (5, 5));

    let before = state(&store);
    let again = take(&store, &bytes).expect("imported");
    assert_eq!(again, Imported { known: 3, ..Imported::default() });
    assert_eq!(state(&store), before);
}

#[test]
fn an_empty_cache_is_exported_and_imported() {
    let (from, to) = (Scratch::new(), Scratch::new());
    let (bytes, written) = exported(&from.open(), 0);
    assert_eq!(written, Exported { bytes: bytes.len() as u64, ..Exported::default() });
    assert_eq!(take(&to.open(), &bytes).expect("imported"), Imported::default());
}

#[test]
fn only_what_was_stored_since() {
    let (from, to) = (Scratch::new(), Scratch::new());
    let store = from.open();
    for (number, stored_s) in [(1, 1000), (2, 2000), (3, 3000)] {
        let blob = store.put_blob(&[number; 70]).expect("stored");
        let draft = draft(number, blob);
        let place = store.append_record(&draft, stored_s).expect("stored");
        store.publish_by_content(&draft, place).expect("published");
    }
    for (since_s, records) in [(0, 3), (1000, 3), (1001, 2), (3000, 1), (3001, 0)] {
        let (_, written) = exported(&store, since_s);
        assert_eq!((written.records, written.blobs), (records, records), "{since_s}");
    }
    // The time goes with the record.
    let other = to.open();
    take(&other, &exported(&store, 0).0).expect("imported");
    assert_eq!(exported(&other, 2000).1.records, 2);
}

/// What can only be true by stats, what is damaged, and what nobody names.
#[test]
fn what_is_of_no_use_elsewhere_is_left_out() {
    let scratch = Scratch::new();
    let store = filled(&scratch, 1..2);
    let blob = store.put_blob(b"text").expect("stored");
    let mut by_stats = draft(9, blob);
    by_stats.flags = record::STAMPS_ONLY;
    store.put_record(&by_stats).expect("stored");
    store.put_blob(b"named by nobody").expect("stored");
    let mut gone = store.put_blob(b"gone").expect("stored");
    gone.digest[31] ^= 1;
    store.put_record(&draft(8, gone)).expect("stored");
    let (_, written) = exported(&store, 0);
    assert_eq!((written.records, written.blobs, written.left_out), (1, 1, 2));
}

/// What failed on one machine fails on that one only, for all that is known.
#[test]
fn failing_runs_stay() {
    let scratch = Scratch::new();
    let store = filled(&scratch, 1..2);
    let failing =
        Draft { flags: record::FAILS, ..draft(9, store.put_blob(b"text").expect("stored")) };
    store.put_record(&failing).expect("stored");
    store.note_outcome(&Fingerprint { made_from: [9; 16], outcome: [7; 16] }).expect("noted");
    let (bytes, written) = exported(&store, 0);
    assert_eq!((written.records, written.blobs, written.left_out), (1, 1, 1));
    let written: Vec<_> = entries(&bytes).iter().map(|(header, _)| header.kind()).collect();
    assert_eq!(written, [Some(Kind::Blob), Some(Kind::Record)]);
}

/// Each byte, and each length.
#[test]
fn of_a_file_that_is_not_as_it_was_written_nothing_is_imported() {
    let (from, to) = (Scratch::new(), Scratch::new());
    let (bytes, _) = exported(&filled(&from, 1..3), 0);
    let store = filled(&to, 5..6);
    let before = state(&store);
    for at in 0..bytes.len() {
        let mut changed = bytes.clone();
        changed[at] ^= 1 << (at % 8);
        assert!(take(&store, &changed).is_err(), "byte {at}");
        assert!(take(&store, &bytes[..at]).is_err(), "{at} bytes");
    }
    assert!(take(&store, &[&bytes[..], b"x"].concat()).is_err(), "a byte more");
    assert_eq!(state(&store), before);
    assert_eq!(is_whole(&to, MAX_BYTES), (1, 1));
    take(&store, &bytes).expect("the same file, unharmed");
}

/// The entries of an export.
fn entries(bytes: &[u8]) -> Vec<(EntryHeader, Vec<u8>)> {
    let mut entries = Vec::new();
    let mut at = size_of::<FileHeader>();
    while at + HEADER_BYTES < bytes.len() {
        let header: EntryHeader = bytemuck::pod_read_unaligned(&bytes[at..at + HEADER_BYTES]);
        let body = at + HEADER_BYTES;
        at = body + usize::try_from(header.body_bytes).expect("small");
        entries.push((header, bytes[body..at].to_vec()));
    }
    entries
}

/// A file with these entries that is right in all its sums.
fn forged(head: FileHeader, entries: &[(EntryHeader, Vec<u8>)]) -> Vec<u8> {
    let mut bytes = bytemuck::bytes_of(&head).to_vec();
    for (header, body) in entries {
        bytes.extend(bytemuck::bytes_of(&header.sealed()));
        bytes.extend(body);
    }
    let is_blob = |entry: &&(EntryHeader, Vec<u8>)| entry.0.kind() == Some(Kind::Blob);
    let mut trailer = Trailer {
        magic: TRAILER_MAGIC,
        entries: entries.len() as u64,
        blobs: entries.iter().filter(is_blob).count() as u64,
        bytes: bytes.len() as u64,
        ..Trailer::zeroed()
    };
    let mut hasher = blake3::Hasher::new();
    hasher.update(&bytes).update(&bytemuck::bytes_of(&trailer)[..TRAILER_DIGEST_OFFSET]);
    trailer.digest = *hasher.finalize().as_bytes();
    bytes.extend(bytemuck::bytes_of(&trailer));
    bytes
}

/// All sums of the file are right, and still it is not true.
#[test]
fn forged_files_are_seen_through() {
    let (from, to) = (Scratch::new(), Scratch::new());
    let (bytes, _) = exported(&filled(&from, 1..3), 0);
    let head = FileHeader::new(5);
    let all = entries(&bytes);
    assert_eq!(all.len(), 4);
    let store = to.open_with(MAX_BYTES);
    let refused = |what: &str, change: &dyn Fn(&mut Entries)| {
        let mut entries = all.clone();
        change(&mut entries);
        let before = state(&store);
        let error = take(&store, &forged(head, &entries)).expect_err(what);
        assert_eq!(state(&store), before, "{what}");
        error
    };
    let error = refused("no blob", &|entries| drop(entries.remove(0)));
    assert!(matches!(error, ImportError::NoBlob(_)), "{error}");
    refused("other bytes under the blob's key", &|entries| {
        entries[0].1[3] ^= 1;
        entries[0].0.sum = xxhash_rust::xxh3::xxh3_128(&entries[0].1).to_le_bytes();
    });
    refused("a blob with another sum", &|entries| entries[0].0.sum[0] ^= 1);
    refused("a blob of another length", &|entries| {
        entries[0].1.push(7);
        entries[0].0.body_bytes += 1;
        entries[0].0.sum = xxhash_rust::xxh3::xxh3_128(&entries[0].1).to_le_bytes();
        entries[0].0.key = *blake3::hash(&entries[0].1).as_bytes();
    });
    refused("an unknown kind", &|entries| entries[2].0.kind = 77);
    refused("a fingerprint of a failing run", &|entries| {
        entries[2] =
            (EntryHeader { kind: Kind::Fingerprint.number(), ..EntryHeader::zeroed() }, vec![]);
        entries[2].0.magic = crate::shm::layout::ENTRY_MAGIC;
        entries[2].0.sum = xxhash_rust::xxh3::xxh3_128(&[]).to_le_bytes();
    });
    refused("a record as a blob", &|entries| entries[2].0.kind = Kind::Blob.number());
    refused("a blob as a record", &|entries| entries[0].0.kind = Kind::Record.number());
    refused("a record that says something else", &|entries| entries[2].0.identity[0] ^= 1);
    refused("another content key", &|entries| entries[2].0.key[20] ^= 1);
    refused("a hot part beyond the body", &|entries| {
        entries[2].0.hot_bytes = u32::try_from(entries[2].1.len() + 1).expect("small");
    });
    refused("a shorter hot part", &|entries| entries[2].0.hot_bytes -= 8);
    refused("a length beyond the file", &|entries| entries[0].0.body_bytes = u64::MAX - 7);
    refused("a record of such a length", &|entries| entries[3].0.body_bytes = 1 << 60);
    take(&store, &forged(head, &all)).expect("as it was");
}

#[test]
fn the_export_of_another_layout_is_named() {
    let (from, to) = (Scratch::new(), Scratch::new());
    let all = entries(&exported(&filled(&from, 1..3), 0).0);
    let mut head = FileHeader::new(5);
    head.layout[4] ^= 1;
    head.check = head.expected_check();
    let store = to.open_with(MAX_BYTES);
    let error = take(&store, &forged(head, &all)).expect_err("another layout");
    assert!(matches!(&error, ImportError::Layout(name) if *name == head.layout()), "{error}");
    for other in [&b""[..], b"ibid", b"int a;\n", &[0; 4096], &MAGIC[..7]] {
        let error = take(&store, other).expect_err("something else");
        assert!(matches!(error, ImportError::NotAnExport), "{error}");
    }
}

/// An entry that says no more than its header: what other kinds are stored by.
#[test]
fn an_entry_of_any_kind_keeps_its_header_and_its_bytes() {
    let (from, to) = (Scratch::new(), Scratch::new());
    let (bytes, _) = exported(&filled(&from, 1..2), 0);
    let (header, body) = entries(&bytes).pop().expect("a record");
    let store = to.open_with(MAX_BYTES);
    for _ in 0..2 {
        store.put_entry(&header, &body).expect("stored");
        let (_, entry) = store.cache.records(&[0x81; 16]).next().expect("found");
        let mut found = vec![0; body.len()];
        entry.copy_out(0, &mut found).expect("inside");
        assert!(found == body && entry.header.stored_s == header.stored_s);
        assert_eq!(records(&store, [0x81; 16]), 1);
    }
}

/// The newest come first, whatever there was before.
#[test]
fn of_more_than_there_is_room_for_the_newest_are_imported() {
    let (from, to) = (Scratch::new(), Scratch::new());
    let store = from.open();
    for number in 0..14 {
        let blob = store.put_blob(&vec![number; 15 << 20]).expect("stored");
        store.put_record(&draft(number, blob)).expect("stored");
    }
    let (bytes, written) = exported(&store, 0);
    assert_eq!((written.records, written.blobs), (14, 14));
    let small = to.open_with(2 * SEGMENT_BYTES + (40 << 20));
    small.put_blob(&vec![99; 3 << 20]).expect("stored");
    let imported = take_file(&to, &small, &bytes);
    assert_eq!((imported.records, imported.left_out), (9, 5));
    for number in 0..14 {
        assert_eq!(records(&small, [number ^ 0x80; 16]), usize::from(number >= 5), "{number}");
    }
    assert_eq!(is_whole(&to, MAX_BYTES_DEFAULT).0, 9);
    let used = small.bytes_used();
    assert!(used <= small.max_bytes, "{used}");

    // One that is larger than an eighth of the cache is left out by itself.
    let tiny = Scratch::new();
    let store = tiny.open_with(MAX_BYTES);
    let imported = take(&store, &bytes).expect("imported");
    assert_eq!((imported.records, imported.left_out), (6, 8));
    let tinier = Scratch::new();
    let imported = take(&tinier.open_with(100 << 20), &bytes).expect("imported");
    assert_eq!((imported.records, imported.left_out), (0, 14));
}

#[test]
fn a_blob_that_is_larger_than_a_segment_is_carried_over() {
    let (from, to) = (Scratch::new(), Scratch::new());
    let large = from.path().join("large");
    let bytes: Vec<u8> = (0..70u32 << 20).map(|at| (at >> 7).to_le_bytes()[0]).collect();
    std::fs::write(&large, &bytes).expect("written");
    let store = from.open();
    let blob = store.put_file(&File::open(&large).expect("opened")).expect("stored");
    store.put_record(&draft(1, blob)).expect("stored");
    let (file, written) = exported(&store, 0);
    assert_eq!((written.records, written.blobs), (1, 1));
    let other = to.open();
    let imported = take_file(&to, &other, &file);
    assert_eq!((imported.records, imported.blobs), (1, 1));
    assert_eq!(is_whole(&to, MAX_BYTES_DEFAULT), (1, 1));
    let place = other.cache.find_blob(&blob.digest).expect("there");
    let entry = other.cache.segments.entry(place).expect("whole");
    assert_eq!(entry.body_sum(), Some(blob.sum));
}
