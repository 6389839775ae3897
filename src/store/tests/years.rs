//! Rounds of reboots, copies and crashes on a cache that is too small for all: what hits is kept, the limit holds.

use std::fs;

use super::reference::{insert, look};
use super::{Scratch, draft, records};
use crate::shm::counters::Counter;
use crate::shm::events::{Ending, Event};
use crate::shm::layout::{SEGMENT_BYTES_MIN, UNIT_BYTES};
use crate::shm::words::Ordering::Relaxed;
use crate::store::{Store, create};

const MAX_BYTES: u64 = 8 << 20;

/// A hit by the newest record under a key, as the probe counts it.
pub(super) fn hit(store: &Store, key: [u8; 16]) {
    let (place, _) = store.cache.records(&key).next().expect("it is there");
    let time_ns = crate::shm::raw::now_ns();
    let mut event = Event { record: place.number(), time_ns, ..Event::new(Ending::DirectHit) };
    store.cache.volatile.count(&[(Counter::INVOCATION_HITS, 1)], &mut event);
}

/// Stores 1.2 MB that nobody asks for again.
fn put_new(store: &Store, round: u64) {
    for number in 0..30u64 {
        let bytes = (round << 8 | number).to_le_bytes().repeat(5000);
        store.put_blob(&bytes).expect("stored");
    }
}

pub(super) fn boot_anew(store: &Store) {
    store.control().expect("mapped").epoch.store(1, Relaxed);
    fs::remove_file(create::shared_memory_path(store.cache.index.header())).expect("it was there");
}

fn copy(store: &Store) {
    let (index, copy) = (store.directory().join("index"), store.directory().join("copy"));
    fs::copy(&index, &copy).expect("copied");
    fs::rename(&copy, &index).expect("renamed");
}

/// A process that died: a reservation that was not used, and a file that was being made.
fn leave_a_hole(store: &Store) {
    store.control().expect("mapped").cursor.fetch_add(4096 / UNIT_BYTES, Relaxed);
    let number = fs::read_dir(store.directory()).expect("read").count();
    let path = store.directory().join(format!("tmp-{number}"));
    fs::write(&path, [1; 4096]).expect("written");
}

#[test]
fn what_hits_in_every_round_survives_and_the_limit_holds() {
    const BASE: std::ops::RangeInclusive<u8> = 1..=8;
    const COLD: u8 = 100;
    let scratch = Scratch::new();
    let mut store = scratch.open_with(MAX_BYTES);
    for number in BASE.chain([COLD]) {
        insert(&store, number).expect("stored");
    }
    for round in 0..50 {
        for number in BASE {
            assert!(look(&store.cache, number), "{number} is lost in round {round}");
            hit(&store, [number; 16]);
        }
        match round % 5 {
            1 => boot_anew(&store),
            2 => copy(&store),
            3 => leave_a_hole(&store),
            4 => drop(store.settle()),
            _ => {}
        }
        store = scratch.open_with(MAX_BYTES);
        put_new(&store, round);
        let used = store.bytes_used();
        assert!(used <= MAX_BYTES + SEGMENT_BYTES_MIN, "{used} bytes in round {round}");
    }
    assert!(BASE.into_iter().all(|number| look(&store.cache, number)));
    assert!(!look(&store.cache, COLD), "nobody asked for it");
    assert!(store.window().oldest > 10, "segments were evicted");
    let report = super::verify::check(&scratch, false);
    assert_eq!(report.damage, []);
}

/// A record that is stored anew each time, with the blob of the first.
#[test]
fn superseded_records_go_first() {
    let scratch = Scratch::new();
    let store = scratch.open_with(MAX_BYTES);
    let blob = store.put_blob(&[7; 3000]).expect("stored");
    let draft = crate::store::draft::Draft { command: vec![1; 60_000], ..draft(1, blob) };
    for round in 0..500 {
        store.put_record(&draft).expect("stored");
        hit(&store, [1; 16]);
        assert!(store.read_blob(&blob).is_some(), "lost in round {round}");
    }
    assert_eq!(records(&store, [1; 16]), 1);
    assert!(store.cache.volatile.sum(Counter::EVICTIONS) > 10);
}

/// Where hits were lost, what may have been used survives once; where they were not, what was not used goes.
#[test]
fn unknown_is_not_cold() {
    for (is_lost, survives) in [(false, false), (true, true)] {
        let scratch = Scratch::new();
        let mut store = scratch.open_with(MAX_BYTES);
        insert(&store, 1).expect("stored");
        // Seconds tell the times apart.
        std::thread::sleep(std::time::Duration::from_millis(2100));
        if is_lost {
            boot_anew(&store);
        }
        store = scratch.open_with(MAX_BYTES);
        let mut round = 0;
        while store.cache.volatile.sum(Counter::EVICTIONS) == 0 {
            put_new(&store, round);
            round += 1;
        }
        assert_eq!(look(&store.cache, 1), survives, "lost: {is_lost}");
    }
}

#[test]
fn a_damaged_file_of_uses_is_made_anew() {
    let scratch = Scratch::new();
    let store = scratch.open_with(MAX_BYTES);
    insert(&store, 1).expect("stored");
    let path = store.directory().join(create::USED);
    fs::write(&path, "nonsense").expect("written");
    hit(&store, [1; 16]);
    for round in 0..12 {
        put_new(&store, round);
        hit(&store, [1; 16]);
    }
    assert!(look(&store.cache, 1));
    assert_ne!(fs::read(&path).expect("there"), b"nonsense");
}
