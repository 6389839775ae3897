//! What the cache takes on the disk: short segments, ends that are given back, several layouts under one limit.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use super::Scratch;
use super::gc::age;
use crate::store::{Store, files};

fn lens(store: &Store) -> Vec<u64> {
    files::segments(store.directory()).iter().map(|(_, len)| *len >> 20).collect()
}

/// The first segment is short; what is unused of a segment is not on the disk once it is left.
#[test]
fn segments_grow_and_their_unused_ends_are_given_back() {
    let scratch = Scratch::new();
    let store = scratch.open();
    assert!(store.bytes_used() < 1_000_000, "{}", store.bytes_used());
    let put = |number: u8, mib: usize| {
        let mut bytes = vec![number; mib << 20];
        bytes.push(number);
        store.put_blob(&bytes).expect("stored")
    };
    let mut blobs = vec![store.put_blob(b"small").expect("stored")];
    assert!(store.bytes_used() < 5_000_000, "{}", store.bytes_used());
    for (number, mib) in [(1, 1), (2, 3), (3, 40), (4, 1), (5, 30), (6, 40)] {
        blobs.push(put(number, mib));
    }
    assert_eq!(lens(&store), [1, 2, 4, 41, 64, 64]);
    // All but the last are cut to what is in them.
    let unused_bytes = 64 - 40;
    let most = (1 + 3 + 40 + 1 + 30 + 40 + unused_bytes + 1) << 20;
    assert!(store.bytes_used() < most, "{} of {most}", store.bytes_used());
    for blob in &blobs {
        let place = store.cache.find_blob(&blob.digest).expect("found");
        let entry = store.cache.segments.entry(place).expect("there");
        assert_eq!(entry.body_sum(), Some(blob.sum));
    }
}

/// A file that a copy has filled with zeros takes no more than before.
#[test]
fn a_copy_gives_the_unused_ends_back() {
    let scratch = Scratch::new();
    let mut blobs = Vec::new();
    for round in 0..6u8 {
        let store = scratch.open();
        blobs.push(store.put_blob(&[round; 5000]).expect("stored"));
        for name in fs::read_dir(store.directory()).expect("read").flatten() {
            let (path, copy) = (name.path(), store.directory().join("copy"));
            let bytes = fs::read(&path).expect("read");
            let state = name.metadata().expect("there");
            fs::write(&copy, bytes).expect("written");
            fs::set_permissions(&copy, state.permissions()).expect("set");
            fs::rename(&copy, &path).expect("renamed");
        }
    }
    let store = scratch.open();
    assert_eq!(lens(&store), [1; 6]);
    assert!(store.bytes_used() > 6 << 20, "the copy has no holes");
    blobs.push(store.put_blob(b"last").expect("stored"));
    let (index_bytes, open_bytes) = (520 << 10, 1 << 20);
    assert!(store.bytes_used() < index_bytes + open_bytes + (150 << 10), "{}", store.bytes_used());
    for blob in blobs {
        let place = store.cache.find_blob(&blob.digest).expect("found");
        assert_eq!(store.cache.segments.entry(place).expect("there").body_sum(), Some(blob.sum));
    }
}

/// Several caches in one directory have one limit; what was appended to the longest ago goes first, of whatever layout.
#[test]
fn other_layouts_count() {
    let scratch = Scratch::new();
    let other = scratch.path().join("cache/v0-0000-le64");
    fs::create_dir_all(&other).expect("made");
    let set_mode = |mode| fs::Permissions::from_mode(mode);
    fs::set_permissions(scratch.path().join("cache"), set_mode(0o700)).expect("set");
    for name in ["seg-1", "seg-2", "index", "notes"] {
        fs::write(other.join(name), vec![1; 4 << 20]).expect("written");
    }
    age(&other.join("seg-2"), Duration::from_hours(2));
    let store = scratch.open_with(24 << 20);
    let is_there = |name: &str| other.join(name).exists();
    let blobs: Vec<_> = (0..40u8)
        .map(|number| store.put_blob(&vec![number + 1; 1 << 19]).expect("stored"))
        .collect();
    assert!(store.bytes_used() <= 25 << 20, "{}", store.bytes_used());
    assert!(!is_there("seg-1") && !is_there("seg-2") && is_there("index") && is_there("notes"));
    assert!(blobs[25..].iter().all(|blob| store.cache.find_blob(&blob.digest).is_some()));
    assert!(store.cache.find_blob(&blobs[0].digest).is_none());
}
