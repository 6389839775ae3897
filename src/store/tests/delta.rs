//! Records that are told by others: all draws come back as they were, and what is wrong with a delta is a miss.

use std::ffi::CString;
use std::fs;
use std::os::unix::fs::FileExt;

use super::years::boot_anew;
use super::{Scratch, draft, records};
use crate::record::stored::{base_of, base_place};
use crate::shm::layout::{EntryHeader, Kind};
use crate::shm::segments::Place;
use crate::shm::stat::Stamp;
use crate::store::draft::{Draft, DraftDirectory, DraftInput, DraftVariable};
use crate::store::verify::verify;
use crate::store::{BlobRef, MAX_BYTES_DEFAULT, Store};

/// A small generator of numbers that are the same in each run (xorshift).
struct Draws(u64);

impl Draws {
    fn below(&mut self, end: u8) -> u8 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        u8::try_from(self.0 % u64::from(end)).expect("small")
    }

    fn key(&mut self) -> [u8; 16] {
        std::array::from_fn(|_| self.below(u8::MAX))
    }
}

/// Some stand there several times, one is empty.
fn name(number: u8) -> CString {
    let text = if number == 0 { String::new() } else { format!("name-{number}") };
    CString::new(text).expect("no NUL")
}

fn input(draws: &mut Draws) -> DraftInput {
    DraftInput {
        path: name(draws.below(200)),
        kind: u32::from(draws.below(7)),
        mode: 0o644,
        stamp: Stamp([draws.below(4); 16]),
        digest: [draws.below(4); 32],
        group: 0,
        times: u32::from(draws.below(2)),
    }
}

fn large(draws: &mut Draws, blob: BlobRef) -> Draft {
    let variable = |number| DraftVariable { name: name(number), value: None, flags: 0 };
    let directory = |draws: &mut Draws| DraftDirectory {
        path: name(draws.below(200)),
        stamp: Stamp([draws.below(4); 16]),
        names: (0..draws.below(5)).map(name).collect(),
    };
    Draft {
        inputs: (0..150).map(|_| input(draws)).collect(),
        directories: (0..20).map(|_| directory(draws)).collect(),
        variables: (0..30).map(variable).collect(),
        absences: (0..draws.below(20)).map(|number| (name(number), 2)).collect(),
        searches: (0..10).map(|number| (name(number), name(number + 1))).collect(),
        direct_key: draws.key(),
        result_key: draws.key(),
        ..draft(1, blob)
    }
}

/// Another state of the same: stamps, names, entries more and less.
fn changed(draws: &mut Draws, draft: &Draft) -> Draft {
    let mut other = draft.clone();
    other.direct_key = draws.key();
    other.tool_us += 7;
    for _ in 0..draws.below(6) {
        let at = usize::from(draws.below(u8::try_from(other.inputs.len()).expect("few")));
        match draws.below(4) {
            0 => other.inputs[at].stamp = Stamp([9; 16]),
            1 => other.inputs[at].path = CString::new("/another/place/a.h").expect("no NUL"),
            2 => other.inputs.insert(at, input(draws)),
            _ => drop(other.inputs.remove(at)),
        }
    }
    match draws.below(5) {
        0 => other.directories[3].names.push(name(9)),
        1 => drop(other.directories.remove(1)),
        2 => other.command = b"another command".to_vec(),
        3 => other.searches.push((name(3), name(3))),
        _ => other.places = CString::new("/another").expect("no NUL"),
    }
    other
}

fn put(store: &Store, draws: &mut Draws) -> (Draft, Place, Draft, Place) {
    let blob = store.put_blob(b"object").expect("stored");
    let first = large(draws, blob);
    let base = store.put_record(&first).expect("stored");
    let other = changed(draws, &first);
    let place = store.put_record_like(&other, base).expect("stored");
    (first, base, other, place)
}

#[test]
fn deltas_give_back_what_was_stored() {
    let scratch = Scratch::new();
    let store = scratch.open();
    for seed in 1..300 {
        let (_, base, other, place) = put(&store, &mut Draws(seed * 0x9e37_79b9_7f4a));
        let entry = store.cache.segments.entry(place).expect("there");
        assert_eq!(entry.header.kind(), Some(Kind::Delta), "seed {seed}");
        let of_base = store.cache.segments.entry(base).expect("there").header.body_bytes;
        assert!(entry.header.body_bytes < of_base / 2, "seed {seed}");
        let back = store.draft_of(&entry).expect("whole");
        assert_eq!(format!("{back:?}"), format!("{other:?}"), "seed {seed}");
    }
    let report = verify(&scratch.path().join("cache"), MAX_BYTES_DEFAULT, false, &mut |_, _| {});
    let report = report.expect("checked");
    assert!(report.damage.is_empty(), "{:?}", report.damage);
}

/// A process keeps only some segments mapped: a walk through all deltas comes to the bases in more of them.
#[test]
fn deltas_in_many_segments() {
    const SEGMENTS: u64 = 70;
    let scratch = Scratch::new();
    let mut store = scratch.open();
    for seed in 1..=SEGMENTS {
        let (_, base, _, place) = put(&store, &mut Draws(seed * 0x9e37_79b9_7f4a));
        let entry = store.cache.segments.entry(place).expect("there");
        assert_eq!((entry.header.kind(), base.seq), (Some(Kind::Delta), seed));
        boot_anew(&store);
        store = scratch.open();
    }
    let report = verify(&scratch.path().join("cache"), MAX_BYTES_DEFAULT, false, &mut |_, _| {});
    let report = report.expect("checked");
    assert!(report.damage.is_empty(), "{:?}", report.damage);
    let mut found = 0;
    store.each_record(|_| found += 1);
    assert_eq!([found, report.records, store.count_entries().0], [2 * SEGMENTS; 3]);
}

/// A record in an older segment is a base as long as it is not soon evicted: where it is, all is stored.
#[test]
fn a_base_that_is_soon_evicted() {
    let kind_after = |boots: usize, max_bytes| {
        let scratch = Scratch::new();
        let mut store = scratch.open_with(max_bytes);
        let draws = &mut Draws(11);
        let (first, base, _, _) = put(&store, draws);
        for _ in 0..boots {
            boot_anew(&store);
            store = scratch.open_with(max_bytes);
            store.put_record(&large(draws, first.outputs[0].blob)).expect("stored");
        }
        let place = store.put_record_like(&changed(draws, &first), base).expect("stored");
        let header = store.cache.segments.entry(place).expect("there").header;
        (place.seq, header.kind())
    };
    for boots in [1, 2, 5] {
        assert_eq!(kind_after(boots, MAX_BYTES_DEFAULT).1, Some(Kind::Delta), "{boots} boots");
    }
    assert_eq!(kind_after(2, 8 << 20), (3, Some(Kind::Delta)));
    assert_eq!(kind_after(5, 8 << 20), (6, Some(Kind::Record)));
}

#[test]
fn a_delta_is_found_by_its_direct_key_alone() {
    let scratch = Scratch::new();
    let store = scratch.open();
    let (first, base, other, place) = put(&store, &mut Draws(3));
    assert_eq!((records(&store, first.direct_key), records(&store, other.direct_key)), (1, 1));
    let (by_content, _) = store.cache.records(&first.result_key).next().expect("found");
    assert_eq!((by_content, records(&store, first.result_key)), (base, 1));
    // The same again takes its word; one that has nothing in common is stored whole.
    store.put_record_like(&other, base).expect("stored");
    assert_eq!(records(&store, other.direct_key), 1);
    let blob = store.put_blob(b"another").expect("stored");
    let alone = store.put_record_like(&draft(9, blob), base).expect("stored");
    let entry = store.cache.segments.entry(alone).expect("there");
    assert_eq!(entry.header.kind(), Some(Kind::Record));
    // A delta tells none.
    let again = store.put_record_like(&other, place).expect("stored");
    let entry = store.cache.segments.entry(again).expect("there");
    assert_eq!(entry.header.kind(), Some(Kind::Record));
}

/// Each byte of a delta and of its base that is another one: nothing is read of it, or what was stored.
#[test]
fn damage_is_a_miss() {
    let scratch = Scratch::new();
    let store = scratch.open();
    let (_, base, other, place) = put(&store, &mut Draws(5));
    let of = |store: &Store| {
        let entry = store.cache.segments.entry(place)?;
        Some(format!("{:?}", store.draft_of(&entry)?))
    };
    let expected = format!("{other:?}");
    assert_eq!(of(&store).as_ref(), Some(&expected));
    let path = store.segment_path(place.seq);
    let file = fs::OpenOptions::new().read(true).write(true).open(&path).expect("a segment");
    for entry in [place, base] {
        let from = entry.offset() as u64;
        let body = store.cache.segments.entry(entry).expect("there").header.body_bytes;
        let len = size_of::<EntryHeader>() as u64 + body;
        let mut missed = 0;
        for at in (from..from + len).step_by(7) {
            let mut byte = [0];
            file.read_exact_at(&mut byte, at).expect("read");
            file.write_all_at(&[byte[0] ^ 0x10], at).expect("written");
            match of(&scratch.open()) {
                None => missed += 1,
                Some(read) => assert_eq!(read, expected, "at {at}"),
            }
            file.write_all_at(&byte, at).expect("written");
        }
        assert!(missed > 10, "{missed}");
    }
    assert_eq!(of(&scratch.open()), Some(expected));
}

#[test]
fn the_base_is_gone_or_another_one() {
    let scratch = Scratch::new();
    let store = scratch.open();
    let (_, base, _, place) = put(&store, &mut Draws(7));
    let entry = store.cache.segments.entry(place).expect("there");
    assert_eq!(base_place(&entry), Some(base));
    // Another record stands there: a copy of its header under another sum.
    let path = store.segment_path(base.seq);
    let file = fs::OpenOptions::new().write(true).open(&path).expect("a segment");
    let mut header = store.cache.segments.entry(base).expect("there").header;
    header.sum[0] ^= 1;
    let header = crate::shm::layout::EntryHeader::sealed(header);
    file.write_all_at(bytemuck::bytes_of(&header), base.offset() as u64).expect("written");
    let other = scratch.open();
    let entry = other.cache.segments.entry(place).expect("there");
    assert!(base_of(&other.cache.segments, &entry).is_none() && other.draft_of(&entry).is_none());
}
