//! Tests of `verify`: what is damage and what is not, and what is left after it was dropped.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;

use super::{Scratch, draft, records};
use crate::shm::layout::{
    DIRECTORY, INDEX_WORDS_OFFSET, SEGMENT_BYTES, SEGMENT_BYTES_MIN, UNIT_BYTES,
};
use crate::store::Store;
use crate::store::verify::{Fault, VerifyReport, verify};

/// A small cache has a small index, which is soon read.
const MAX_BYTES: u64 = 2 * SEGMENT_BYTES + (1 << 20);

pub(super) fn check(scratch: &Scratch, repair: bool) -> VerifyReport {
    verify(&scratch.path().join("cache"), MAX_BYTES, repair, &mut |_, _| {}).expect("checked")
}

fn faults(report: &VerifyReport) -> Vec<Fault> {
    report.damage.iter().map(|damage| damage.fault).collect()
}

fn fill(store: &Store) {
    for number in 1..4 {
        let blob = store.put_blob(&[number; 70]).expect("stored");
        store.put_record(&draft(number, blob)).expect("stored");
    }
}

fn file(scratch: &Scratch, name: &str) -> File {
    let path = scratch.path().join("cache").join(DIRECTORY).join(name);
    OpenOptions::new().read(true).write(true).open(path).expect("opened")
}

fn flip(file: &File, at: u64) {
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).expect("read");
    file.write_all_at(&[byte[0] ^ 0x20], at).expect("written");
}

#[test]
fn what_is_whole_is_counted_and_what_is_missing_is_empty() {
    let scratch = Scratch::new();
    assert_eq!(check(&scratch, false), VerifyReport::default());
    fill(&scratch.open_with(MAX_BYTES));
    let report = check(&scratch, false);
    assert_eq!((report.records, report.blobs, report.misses), (3, 3, 0));
    assert!(report.bytes > 210 && report.damage.is_empty(), "{report:?}");
}

/// Wherever a byte flips that a look-up relies on, it is reported; dropped, everything else is there still.
#[test]
fn every_flipped_byte_of_an_entry_is_reported_and_dropped() {
    let scratch = Scratch::new();
    let store = scratch.open_with(MAX_BYTES);
    fill(&store);
    let (named, _) = store.named();
    let mut places: Vec<_> = named.iter().map(|named| named.place).collect();
    places.dedup();
    assert_eq!(places.len(), 6);
    let (index, segment) = (file(&scratch, "index"), file(&scratch, "seg-0000000000000001"));
    let mut words = vec![0; store.word_count() * 8];
    index.read_exact_at(&mut words, INDEX_WORDS_OFFSET as u64).expect("read");
    for place in places.into_iter().take(2) {
        let entry = store.cache.segments.entry(place).expect("there");
        for at in (0..128 + entry.header.body_bytes).step_by(5) {
            let at = u64::from(place.unit) * UNIT_BYTES + at;
            flip(&segment, at);
            assert!(!check(&scratch, false).damage.is_empty(), "{at}");
            assert!(!check(&scratch, true).damage.is_empty(), "{at}");
            let report = check(&scratch, false);
            assert!(report.damage.is_empty() && report.records >= 2, "{at}: {report:?}");
            flip(&segment, at);
            index.write_all_at(&words, INDEX_WORDS_OFFSET as u64).expect("written");
            assert_eq!(records(&store, [1; 16]), 1, "as it was");
        }
    }
}

#[test]
fn a_damaged_blob_takes_its_records_with_it_and_is_stored_anew() {
    let scratch = Scratch::new();
    let store = scratch.open_with(MAX_BYTES);
    fill(&store);
    let place = store.cache.find_blob(blake3::hash(&[2; 70]).as_bytes()).expect("found");
    flip(&file(&scratch, "seg-0000000000000001"), place.offset() as u64 + 130);
    assert_eq!(faults(&check(&scratch, true)), [Fault::Blob, Fault::Output]);
    assert_eq!((records(&store, [2; 16]), records(&store, [3; 16])), (0, 1));
    flip(&file(&scratch, "seg-0000000000000001"), place.offset() as u64 + 130);
    fill(&store);
    flip(&file(&scratch, "seg-0000000000000001"), place.offset() as u64 + 130);
    fill(&store);
    let again = store.cache.find_blob(blake3::hash(&[2; 70]).as_bytes()).expect("found");
    let entry = store.cache.segments.entry(again).expect("there");
    assert!(again > place && entry.body_sum() == Some(entry.header.sum));
}

#[test]
fn headers_of_the_index_and_of_a_segment() {
    for (name, fault, left) in
        [("index", Fault::Index, 0), ("seg-0000000000000001", Fault::Segment, 0)]
    {
        let scratch = Scratch::new();
        fill(&scratch.open_with(MAX_BYTES));
        flip(&file(&scratch, name), 20);
        assert_eq!(faults(&check(&scratch, false)), [fault]);
        assert_eq!(faults(&check(&scratch, true)), [fault]);
        let report = check(&scratch, false);
        assert_eq!((report.damage.len(), report.records), (0, left));
        let store = scratch.open_with(MAX_BYTES);
        fill(&store);
        assert_eq!((records(&store, [1; 16]), check(&scratch, false).records), (1, 3));
    }
}

#[test]
fn a_word_that_leads_to_another_key_is_dropped() {
    let scratch = Scratch::new();
    let store = scratch.open_with(MAX_BYTES);
    fill(&store);
    let (named, _) = store.named();
    let index = file(&scratch, "index");
    flip(&index, INDEX_WORDS_OFFSET as u64 + named[0].at as u64 * 8 + 7);
    assert_eq!(faults(&check(&scratch, true)), [Fault::Stray]);
    assert!(check(&scratch, false).damage.is_empty());
}

#[test]
fn what_is_gone_and_what_nobody_names_is_no_damage() {
    let scratch = Scratch::new();
    let store = scratch.open_with(MAX_BYTES);
    fill(&store);
    let segment = file(&scratch, "seg-0000000000000001");
    segment.write_all_at(&[0x5a; 4096], SEGMENT_BYTES_MIN / 2).expect("written");
    assert!(check(&scratch, false).damage.is_empty());
    // A record in a later segment than its blob, which is evicted.
    let first = store.put_blob(&[9; 70]).expect("stored");
    for number in 0..4u8 {
        let filler = vec![number; 15 << 20];
        store.put_blob(&filler).expect("stored");
    }
    store.put_blob(&vec![8; 15 << 20]).expect("stored");
    store.put_record(&draft(9, first)).expect("stored");
    std::fs::remove_file(store.segment_path(1)).expect("removed");
    let report = check(&scratch, false);
    assert!(report.damage.is_empty() && report.misses > 0, "{report:?}");
    assert_eq!(report.records, 1);
}
