//! Tests of compression: what is compressed, what it becomes again, and what damage does.

use std::ffi::CString;
use std::time::Duration;

use super::reference::Random;
use super::years::hit;
use super::{Scratch, records};
use crate::record;
use crate::shm::layout::Kind;
use crate::shm::segments::Place;
use crate::shm::stat::Stamp;
use crate::store::compress::{Compressed, Until};
use crate::store::draft::{Draft, DraftInput, DraftOutput};
use crate::store::export::{Which, export};
use crate::store::import::{ImportFrom, import};
use crate::store::layer::CopiedUp;
use crate::store::path_set::PathSet;
use crate::store::{Store, append};

/// All that can be.
const ALL: Until = Until { raw_bytes: 0, idle: None };

/// An object that becomes a few times smaller: lines of which some letters differ.
fn object(number: u8) -> Vec<u8> {
    let mut random = Random::new(u64::from(number));
    let line = |_| format!("_ZN4ibid5store{:04}compressedEv\n", random.below(10_000));
    (0..3000).map(line).collect::<String>().into_bytes()
}

fn text(text: String) -> CString {
    CString::new(text).expect("no NUL")
}

/// A record of a command of its own, with 200 inputs.
fn draft(store: &Store, number: u8, object: &[u8]) -> Draft {
    let input = |at: usize| DraftInput {
        path: text(format!("/usr/include/c++/12/bits/header_{number}_{at}.h")),
        kind: record::CONTENT,
        mode: 0o100_644,
        stamp: Stamp([number; 16]),
        digest: *blake3::hash(&[number, u8::try_from(at % 256).expect("a byte")]).as_bytes(),
        group: u32::try_from(at).expect("small"),
        times: 0,
    };
    let mut draft = Draft {
        command: vec![number; 300],
        direct_key: [number; 16],
        inputs: (0..200).map(input).collect(),
        outputs: vec![DraftOutput {
            path: text(format!("{number}.o")),
            create_mode: 0o666,
            mode: 0o644,
            flags: 0,
            blob: store.put_blob(object).expect("stored"),
        }],
        ..Draft::default()
    };
    let (set, contents) = PathSet::of(&draft, |variable| variable.value);
    draft.result_key = set.result_key(&[number; 16], b"", &contents);
    draft
}

fn insert(store: &Store, number: u8) -> Draft {
    let draft = draft(store, number, &object(number));
    store.put_record(&draft).expect("stored");
    let (set, _) = PathSet::of(&draft, |variable| variable.value);
    store.put_path_set(&[number; 16], &set, &draft.result_key).expect("stored");
    draft
}

fn compress(store: &Store, until: Until) -> Compressed {
    store.compress(until, false, &mut |_, _| {}).expect("compressed")
}

/// Looks a compressed result up as the look-up by content does.
fn restore(store: &Store, draft: &Draft) -> CopiedUp {
    let content_key = [draft.direct_key[0]; 16];
    let (_, contents) = PathSet::of(draft, |variable| variable.value);
    store.restore(&content_key, &mut |set| {
        Some([set.result_key(&content_key, b"/elsewhere", &contents), draft.result_key])
    })
}

/// Whether the record stands there as if it had been imported, and its object is whole.
fn is_there(store: &Store, wanted: &Draft) -> bool {
    let Some((_, entry)) = store.cache.records(&wanted.result_key).next() else { return false };
    let found = store.draft_of(&entry).expect("whole");
    let said = |draft: &Draft| {
        let mut draft = draft.clone();
        draft.inputs.iter_mut().for_each(|input| input.stamp = Stamp([0; 16]));
        draft.outputs.iter_mut().for_each(|output| output.blob.hint = 0);
        (draft.encode().hot, draft.encode().cold, draft.identity())
    };
    assert!(said(&found) == said(wanted), "another record");
    let object = object(wanted.direct_key[0]);
    assert!(store.read_blob(&found.outputs[0].blob) == Some(object), "another object");
    true
}

fn report(scratch: &Scratch) -> (u64, u64) {
    let report = super::verify::check(scratch, false);
    assert_eq!(report.damage, []);
    (report.records, report.blobs)
}

#[test]
fn what_is_compressed_is_restored() {
    let scratch = Scratch::new();
    let store = scratch.open();
    assert_eq!(compress(&store, ALL), Compressed::default());
    let drafts: Vec<_> = (1..=40).map(|number| insert(&store, number)).collect();
    let newest = store.window().newest;
    let old_bytes = || -> u64 {
        let own = store.space().own;
        own.iter().filter(|segment| segment.seq <= newest).map(|segment| segment.disk_bytes).sum()
    };
    let before = old_bytes();
    let planned = store.compress(ALL, true, &mut |_, _| {}).expect("planned");
    assert_eq!(store.count_entries(), (40, 40));
    let done = compress(&store, ALL);
    assert_eq!((done.results, planned.results), (40, 40));
    assert!(done.from_bytes > planned.from_bytes, "path sets, too");
    assert!(3 * done.to_bytes < done.from_bytes, "{done:?}");
    assert!(store.has_compressed());
    assert_eq!(store.count_entries(), (40, 0));
    assert_eq!(report(&scratch), (40, 0));
    assert_eq!(compress(&store, ALL), Compressed::default(), "it is done");
    let after = old_bytes();
    assert!(after < before - done.from_bytes / 2, "{before} bytes, then {after}");
    insert(&store, 41);
    let store = scratch.open();
    for draft in &drafts {
        assert!(!is_there(&store, draft) && records(&store, draft.direct_key) == 0);
        assert_eq!(restore(&store, draft), CopiedUp::Found);
        assert!(is_there(&store, draft));
        assert_eq!(restore(&store, draft), CopiedUp::Nothing, "it was judged");
    }
    assert_eq!(report(&scratch), (81, 41));
    // What is compressed once more need not be written.
    let again = compress(&store, ALL);
    assert_eq!(again.results, 41);
    assert!(again.to_bytes < done.to_bytes / 10, "{again:?}");
    assert_eq!(restore(&store, &drafts[7]), CopiedUp::Found);
    assert!(is_there(&store, &drafts[7]));
}

#[test]
fn what_was_used_last_stays_as_it_is() {
    let scratch = Scratch::new();
    let store = scratch.open();
    let drafts: Vec<_> = (1..=20).map(|number| insert(&store, number)).collect();
    // Seconds tell the times apart.
    std::thread::sleep(Duration::from_millis(2100));
    let hot = [3, 4, 17].map(|number: u8| drafts[usize::from(number) - 1].clone());
    for draft in &hot {
        hit(&store, draft.direct_key);
    }
    let idle = Until { raw_bytes: u64::MAX, idle: Some(Duration::from_secs(1)) };
    assert_eq!(compress(&store, Until { raw_bytes: u64::MAX, idle: None }).results, 0);
    assert_eq!(compress(&store, idle).results, 17);
    for draft in &drafts {
        let is_hot = hot.iter().any(|hot| hot.direct_key == draft.direct_key);
        assert_eq!(is_there(&store, draft), is_hot);
        assert_eq!(records(&store, draft.direct_key) == 1, is_hot);
    }
    assert_eq!(report(&scratch), (20, 3));
}

#[test]
fn what_others_need_stays() {
    let scratch = Scratch::new();
    let store = scratch.open();
    let old = insert(&store, 1);
    let touched = insert(&store, 2);
    std::thread::sleep(Duration::from_millis(2100));
    // Another record with the object of the first, and one that is told by the second.
    let shared = draft(&store, 3, &object(1));
    store.put_record(&shared).expect("stored");
    let (base, _) = store.cache.records(&touched.direct_key).next().expect("there");
    let told = Draft { direct_key: [9; 16], ..touched.clone() };
    let delta = store.put_record_like(&told, base).expect("stored");
    let kind = |place: Place| store.cache.segments.entry(place).and_then(|it| it.header.kind());
    assert_eq!(kind(delta), Some(Kind::Delta));
    let idle = Until { raw_bytes: u64::MAX, idle: Some(Duration::from_secs(1)) };
    assert_eq!(compress(&store, idle).results, 1);
    assert!(!is_there(&store, &old) && is_there(&store, &touched));
    assert!(store.read_blob(&shared.outputs[0].blob).is_some());
    assert_eq!(records(&store, [9; 16]), 1);
    assert_eq!(report(&scratch), (4, 2));
    assert_eq!(compress(&store, ALL).results, 2);
    assert_eq!((store.count_entries(), records(&store, [9; 16])), ((3, 0), 0));
}

#[test]
fn what_may_not_be_compressed_stays() {
    let scratch = Scratch::new();
    let store = scratch.open_with(12 << 20);
    // What survives an eviction there has 256 KiB.
    for (number, len, stays) in [(4, 256 << 10, false), (5, (256 << 10) + 1, true)] {
        store.put_record(&draft(&store, number, &vec![7; len])).expect("stored");
        assert_eq!(compress(&store, ALL).results == 0, stays, "{len} bytes");
        assert_eq!(store.count_entries().1 == 1, stays);
    }
    let scratch = Scratch::new();
    let store = scratch.open();
    for (number, flags) in [(1, record::STAMPS_ONLY), (2, record::FAILS), (3, 0)] {
        let mut draft = draft(&store, number, &object(number));
        draft.flags = flags;
        if number == 3 {
            draft.result_key = [0; 16];
        }
        store.put_record(&draft).expect("stored");
    }
    assert_eq!(compress(&store, ALL), Compressed::default());
    assert_eq!(store.count_entries(), (3, 3));
}

/// Any byte of a compressed result or path set that is another one: it is not found, and the rest is.
#[test]
fn damage_is_a_miss() {
    let scratch = Scratch::new();
    let store = scratch.open();
    let (one, other) = (insert(&store, 1), insert(&store, 2));
    compress(&store, ALL);
    let mut found = Vec::new();
    store.each_place(|place, entry| found.push((place, entry.header)));
    let of_one = |header: &crate::shm::layout::EntryHeader| header.key[16..] == one.result_key;
    let (place, header) = *found.iter().find(|(_, header)| of_one(header)).expect("there");
    let body = place.offset() as u64 + 128;
    let file = append::open_segment(&store, place.seq);
    for at in [0, header.body_bytes / 2, header.body_bytes - 1] {
        let mut byte = [0];
        std::os::unix::fs::FileExt::read_exact_at(&file, &mut byte, body + at).expect("read");
        let write = |byte: u8| {
            std::os::unix::fs::FileExt::write_all_at(&file, &[byte], body + at).expect("written");
        };
        write(byte[0] ^ 0x55);
        let store = scratch.open();
        assert_eq!(restore(&store, &one), CopiedUp::Failed, "byte {at}");
        assert_eq!(super::verify::check(&scratch, false).damage.len(), 1);
        write(byte[0]);
    }
    let store = scratch.open();
    assert_eq!(restore(&store, &other), CopiedUp::Found);
    assert!(is_there(&store, &other));
    assert_eq!(restore(&store, &one), CopiedUp::Found);
}

#[test]
fn an_export_has_what_is_compressed() {
    let (scratch, other) = (Scratch::new(), Scratch::new());
    let store = scratch.open();
    let drafts: Vec<_> = (1..=5).map(|number| insert(&store, number)).collect();
    compress(&store, ALL);
    insert(&store, 6);
    // One is there in both ways.
    assert_eq!(restore(&store, &drafts[2]), CopiedUp::Found);
    let mut bytes = Vec::new();
    let done = export(&store, &Which::Since(0), &mut bytes, &mut |_, _| {}).expect("written");
    assert_eq!((done.records, done.blobs, done.left_out), (6, 6, 0));
    let taken = other.open();
    let from = ImportFrom::Stream(&mut &bytes[..]);
    let imported = import(&taken, from, &mut |_, _| {}).expect("taken");
    assert_eq!((imported.records, imported.blobs), (6, 6));
    for draft in &drafts {
        assert!(is_there(&taken, draft));
        assert_eq!(taken.path_sets(&[draft.direct_key[0]; 16]).len(), 1);
    }
}

/// A cache from which much is asked again keeps several times as much as would fit into it.
#[test]
fn a_full_cache_keeps_more_than_fits() {
    const MAX_BYTES: u64 = 12 << 20;
    let kept = |compresses: bool| {
        let scratch = Scratch::new();
        let mut store = scratch.open_with(MAX_BYTES);
        let mut drafts = Vec::new();
        for number in 1..=250 {
            drafts.push(insert(&store, number));
            let is_due = store.settle();
            if compresses && is_due {
                compress(&store, Until::of(MAX_BYTES));
            }
            if is_due {
                store = scratch.open_with(MAX_BYTES);
            }
            let used = store.bytes_used();
            assert!(used <= MAX_BYTES + (2 << 20), "{used} bytes");
        }
        report(&scratch);
        // What is restored takes room from others.
        let is_compressed = |draft: &Draft| !store.compressed(&draft.result_key).is_empty();
        let is_found = |draft: &&Draft| is_there(&store, draft) || is_compressed(draft);
        drafts.iter().filter(is_found).count()
    };
    let (without, with) = (kept(false), kept(true));
    assert!(with > 2 * without, "{with} of 250, {without} without");
}

/// A layer is never written, and has compressed results all the same.
#[test]
fn a_layer_gives_what_is_compressed() {
    let (scratch, below) = (Scratch::new(), Scratch::new());
    let layer = below.open();
    let draft = insert(&layer, 1);
    compress(&layer, ALL);
    let store = scratch.open();
    let opened = store.open_layer(&below.path().join("cache")).expect("a layer");
    let copied = store.copy_up(&opened, &[1; 16], &mut |_| Some([[0; 16], draft.result_key]));
    assert_eq!(copied, CopiedUp::Found);
    assert!(is_there(&store, &draft));
    assert_eq!(layer.count_entries(), (1, 0));
}

#[test]
fn results_that_are_chosen_go_also_where_they_are_compressed() {
    let scratch = Scratch::new();
    let store = scratch.open();
    for number in 1..=4 {
        insert(&store, number);
    }
    compress(&store, ALL);
    insert(&store, 5);
    let mut seen = 0;
    store.each_record(|_| seen += 1);
    assert_eq!(seen, 5);
    let is_second = &mut |draft: &Draft| draft.direct_key == [2; 16];
    let dropped = store.discard(false, is_second, &mut |_, _| {}).expect("dropped");
    assert_eq!(dropped.records, 1);
    assert_eq!(report(&scratch), (4, 1));
    assert!(store.path_sets(&[2; 16]).is_empty());
    assert_eq!(store.path_sets(&[3; 16]).len(), 1);
}
