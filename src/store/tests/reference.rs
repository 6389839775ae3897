//! The model of a store that the tests of crashes and power losses compare with: what an entry holds follows from its
//! number, so that what is found can be compared with what it should be.

use std::ffi::CString;
use std::io::Write;

use crate::error::StoreError;
use crate::index::cache::Cache;
use crate::record::{self, BlobRef, Cold, Record};
use crate::shm::layout::Kind;
use crate::shm::segments::{Entry, Place};
use crate::shm::stat::Stamp;
use crate::store::draft::{Draft, DraftDirectory, DraftInput, DraftOutput};
use crate::store::path_set::PathSet;
use crate::store::walk::body_of;
use crate::store::{Store, name_blob};

pub(super) use crate::random::Random;

/// Says what a test did, past the capture of the test harness.
pub(super) fn tell(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}

pub(super) fn is_long() -> bool {
    #[allow(clippy::disallowed_methods, reason = "a test asks how long it may take")]
    std::env::var_os("IBID_TEST_LONG").is_some_and(|value| value != "0" && !value.is_empty())
}

/// The object of entry `number`: a few bytes or a few pages.
fn bytes_of(number: u8) -> Vec<u8> {
    let len = usize::from(number) * 2711 % 13_000 + 7;
    (0..=250u8).cycle().take(len).map(|byte| byte.wrapping_mul(7) ^ number).collect()
}

/// The record of entry `number`, which is about two pages long.
fn draft_of(number: u8, blob: BlobRef) -> Draft {
    let path = |name: &str, at: u8| CString::new(format!("{name}-{number}-{at}")).expect("no NUL");
    Draft {
        command: vec![number; 200],
        direct_key: [number; 16],
        result_key: [number ^ 0x80; 16],
        inputs: (0..60)
            .map(|at| DraftInput {
                path: path("input", at),
                kind: record::CONTENT,
                mode: 0o100_644,
                stamp: Stamp([at ^ number; 16]),
                digest: [at.wrapping_add(number); 32],
                group: u32::from(at),
                times: 0,
            })
            .collect(),
        directories: vec![DraftDirectory {
            path: path("directory", 0),
            stamp: Stamp([number; 16]),
            names: (0..80).map(|at| path("absent", at)).collect(),
        }],
        outputs: vec![DraftOutput {
            path: path("object", 0),
            create_mode: 0o666,
            mode: 0o644,
            flags: 0,
            blob,
        }],
        ..Draft::default()
    }
}

/// Stores entry `number`, its object first, as a compile does.
pub(super) fn insert(store: &Store, number: u8) -> Result<(), StoreError> {
    let blob = store.put_blob(&bytes_of(number))?;
    store.put_record(&draft_of(number, blob)).map(drop)
}

/// The same with its path set.
pub(super) fn insert_with_set(store: &Store, number: u8) -> Result<(), StoreError> {
    insert(store, number)?;
    let (set, _) = PathSet::of(&draft_of(number, name_blob(b"")), |variable| variable.value);
    store.put_path_set(&[number; 16], &set, &[number ^ 0x80; 16])
}

/// Entry `number` for another command, which is told by the record of the first.
fn told(number: u8, blob: BlobRef) -> Draft {
    Draft { command: vec![number; 190], direct_key: [number ^ 0x40; 16], ..draft_of(number, blob) }
}

/// Stores entry `number` for another command, as a delta.
pub(super) fn insert_delta(store: &Store, number: u8) {
    let (base, _) = store.cache.records(&[number; 16]).next().expect("it was stored");
    let place = store.put_record_like(&told(number, name_blob(&bytes_of(number))), base);
    let entry = store.cache.segments.entry(place.expect("stored")).expect("there");
    assert_eq!(entry.header.kind(), Some(Kind::Delta));
}

/// Looks entry `number` for that command up; whether it is there. What is found must be right in every byte.
pub(super) fn look_told(store: &Store, number: u8) -> bool {
    store.cache.records(&[number ^ 0x40; 16]).any(|(_, entry)| {
        let Some(found) = store.draft_of(&entry) else { return false };
        let (is, should_be) = (found.encode(), told(number, found.outputs[0].blob).encode());
        assert!(is.hot == should_be.hot && is.cold == should_be.cold, "a wrong delta: {found:?}");
        assert_eq!(found.outputs[0].blob.digest, name_blob(&bytes_of(number)).digest);
        true
    })
}

/// Whether entry `number` is there, compressed, with its path set. It must be right in every byte.
pub(super) fn look_compressed(store: &Store, number: u8) -> bool {
    let entries = store.compressed(&[number ^ 0x80; 16]);
    entries.iter().filter_map(|entry| store.draft_of(entry)).any(|found| {
        let should_be = draft_of(number, found.outputs[0].blob).encode();
        assert!(found.encode().hot == should_be.hot, "a wrong record: {found:?}");
        assert_eq!(found.outputs[0].blob.digest, name_blob(&bytes_of(number)).digest);
        store.has_compressed() && store.path_sets(&[number; 16]).len() == 1
    })
}

/// Looks entry `number` up as a hit does; whether it is there. What passes the checks of a hit must be right in
/// every byte.
pub(super) fn look(cache: &Cache, number: u8) -> bool {
    cache.records(&[number; 16]).any(|(_, entry)| {
        let Some(found) = read(&entry) else { return false };
        let blob = found.outputs[0].blob;
        let (is, should_be) = (found.encode(), draft_of(number, blob).encode());
        assert!(is.hot == should_be.hot && is.cold == should_be.cold, "a wrong record: {found:?}");
        let hinted = Place {
            seq: blob.hint >> 20,
            unit: u32::try_from(blob.hint & 0xf_ffff).expect("20 bits"),
        };
        [Some(hinted), cache.find_blob(&blob.digest)].into_iter().flatten().any(|place| {
            let entry = cache.segments.entry(place).filter(|entry| {
                entry.header.key == blob.digest && entry.header.body_bytes == blob.len_bytes
            });
            let Some(entry) = entry.filter(|entry| entry.body_sum() == Some(blob.sum)) else {
                return false;
            };
            assert!(body_of(&entry) == Some(bytes_of(number)), "wrong bytes of entry {number}");
            true
        })
    })
}

/// The record in an entry, if its check sums are right.
fn read(entry: &Entry<'_>) -> Option<Draft> {
    let bytes = body_of(entry)?;
    let (hot, cold) = bytes.split_at_checked(usize::try_from(entry.header.hot_bytes).ok()?)?;
    let sum = |bytes| xxhash_rust::xxh3::xxh3_128(bytes).to_le_bytes();
    let record = Record::read(hot).filter(|_| sum(hot) == entry.header.sum)?;
    if sum(cold) != record.head.cold_sum {
        return None;
    }
    Some(Draft::decode(&record, &Cold(cold), &entry.header.key).expect("its check sums are right"))
}
