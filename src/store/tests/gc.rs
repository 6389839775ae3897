//! Tests of `gc`: what goes by size and by age, what no cache uses, and an index that grows.

use std::fs::{self, File};
use std::time::{Duration, SystemTime};

use super::{Scratch, draft, records};
use crate::shm::layout::SEGMENT_BYTES;
use crate::store::draft::{Draft, DraftOutput};
use crate::store::gc::{Collected, Wanted, collect};
use crate::store::path_set::PathSet;
use crate::store::verify::verify;
use crate::store::{MAX_BYTES_DEFAULT, Store, files};

const HOUR: Duration = Duration::from_hours(1);

fn tidy(scratch: &Scratch, store: &Store, max_bytes: u64, max_age: Option<Duration>) -> Collected {
    let wanted = Wanted { max_bytes, max_age, dry_run: false };
    collect(&scratch.path().join("cache"), store, wanted, &mut |_, _| {}).expect("collected")
}

/// Fills five segments, of which the first has nothing, the second one blob, the third two, the next ones four; two are
/// in the sixth.
fn fill_segments(store: &Store) -> Vec<[u8; 32]> {
    let blob = |number| store.put_blob(&vec![number; 15 << 20]).expect("stored").digest;
    (1..14).map(blob).collect()
}

fn seqs(store: &Store) -> Vec<u64> {
    files::segments(store.directory()).iter().map(|(seq, _)| *seq).collect()
}

pub(super) fn age(path: &std::path::Path, age: Duration) {
    let time = SystemTime::now() - age;
    let times = fs::FileTimes::new().set_modified(time).set_accessed(time);
    File::open(path).expect("opened").set_times(times).expect("set");
}

#[test]
fn by_size_and_by_age() {
    let scratch = Scratch::new();
    let store = scratch.open();
    let blobs = fill_segments(&store);
    assert_eq!(seqs(&store), [1, 2, 3, 4, 5, 6]);
    let of_three = 3 * SEGMENT_BYTES;
    let collected = tidy(&scratch, &store, of_three, None);
    let bytes = collected.bytes >> 20;
    assert_eq!((collected.segments, bytes), (3, 45));
    assert_eq!(seqs(&store), [4, 5, 6]);
    assert!(
        store.cache.find_blob(&blobs[0]).is_none() && store.cache.find_blob(&blobs[12]).is_some()
    );

    age(&store.segment_path(4), 3 * HOUR);
    assert_eq!(tidy(&scratch, &store, of_three, Some(2 * HOUR)).segments, 1);
    assert_eq!(seqs(&store), [5, 6]);
    age(&store.segment_path(5), 3 * HOUR);
    age(&store.segment_path(6), 3 * HOUR);
    assert_eq!(tidy(&scratch, &store, of_three, Some(2 * HOUR)).segments, 2);
    let again = store.put_blob(b"again").expect("stored");
    assert!(scratch.open().cache.find_blob(&again.digest).is_some());
}

#[test]
fn what_is_nobody_s_goes_and_the_rest_stays() {
    let scratch = Scratch::new();
    let store = scratch.open();
    let outer = scratch.path().join("cache");
    for name in ["tmp-1", "tmp-2", "mine"] {
        fs::write(store.directory().join(name), "x").expect("written");
    }
    for name in ["v1-aa01-le64", "v9-ffff-le64", "v1-mine", "vault-a-b"] {
        fs::create_dir(outer.join(name)).expect("made");
        fs::write(outer.join(name).join("index"), "x").expect("written");
    }
    for name in ["tmp-1", "mine"] {
        age(&store.directory().join(name), 2 * HOUR);
    }
    for name in ["v1-aa01-le64", "v1-mine", "vault-a-b"] {
        age(&outer.join(name).join("index"), 24 * 31 * HOUR);
    }
    let collected = tidy(&scratch, &store, MAX_BYTES_DEFAULT, None);
    assert_eq!((collected.temporaries, collected.layouts), (1, 1));
    let is_there = |path: &str| outer.join(path).exists();
    assert!(is_there("v9-ffff-le64") && is_there("v1-mine") && is_there("vault-a-b"));
    assert!(!is_there("v1-aa01-le64"));
    assert!(store.directory().join("mine").exists() && store.directory().join("tmp-2").exists());
}

#[test]
fn an_index_that_is_too_full_is_made_larger() {
    let scratch = Scratch::new();
    let small = scratch.open();
    let digests: Vec<_> = (0..34_000u32)
        .map(|number| small.put_blob(&number.to_le_bytes()).expect("stored").digest)
        .collect();
    let blob = small.put_blob(b"object").expect("stored");
    small.put_record(&draft(1, blob)).expect("stored");
    let before = small.count_entries();
    let collected = tidy(&scratch, &small, MAX_BYTES_DEFAULT, None);
    assert!(collected.index_grew);
    let store = scratch.open();
    assert_eq!(store.word_count(), 4 * small.word_count());
    assert_eq!(store.count_entries(), before);
    assert_eq!((records(&store, [1; 16]), records(&store, [0x81; 16])), (1, 1));
    let found = digests.iter().filter(|digest| store.cache.find_blob(digest).is_some()).count();
    assert_eq!(found as u64, before.1 - 1);
    assert!(!tidy(&scratch, &store, MAX_BYTES_DEFAULT, None).index_grew);

    // A process that has the old one goes on: what it stores is found, and nothing of it comes into the way of what is new.
    let old = small.put_blob(b"by the old one").expect("stored");
    let new = store.put_blob(b"by the new one").expect("stored");
    assert!(new.hint >> 20 > small.window().newest + 1);
    let both = [old, new];
    assert!(both.iter().all(|blob| scratch.open().cache.find_blob(&blob.digest).is_some()));
}

/// An index grows by itself at the end of a process that has begun a segment or come to a full bucket: entries as small as
/// these fill buckets before the next segment is begun.
#[test]
fn an_index_grows_by_itself() {
    let scratch = Scratch::new();
    let words = scratch.open().word_count();
    let mut digests = Vec::new();
    for process in 0..150u32 {
        let store = scratch.open();
        for number in 0..1000u32 {
            let bytes = (process * 1000 + number).to_le_bytes();
            digests.push(store.put_blob(&bytes).expect("stored").digest);
        }
        store.settle();
    }
    let store = scratch.open();
    assert!(store.word_count() > digests.len() && words < digests.len());
    let lost = digests.iter().filter(|digest| store.cache.find_blob(digest).is_none()).count();
    assert!(lost <= digests.len() / 10_000, "{lost} of {}", digests.len());
}

/// Of two records that share a blob one is dropped: the blob stays until the other one goes, too.
#[test]
fn records_that_are_chosen_go_with_what_only_they_need() {
    let scratch = Scratch::new();
    let store = scratch.open();
    let [shared, own] =
        [1u8, 2].map(|number| store.put_blob(&vec![number; 100_000]).expect("stored"));
    let output = |blob| DraftOutput { blob, ..draft(0, shared).outputs[0].clone() };
    for number in 1..=2 {
        let mut draft = draft(number, shared);
        if number == 1 {
            draft.outputs.push(output(own));
        }
        let (set, _) = PathSet::of(&draft, |variable| variable.value);
        store.put_path_set(&[number; 16], &set, &draft.result_key).expect("stored");
        store.put_record(&draft).expect("stored");
    }
    let discard = |numbers: &[u8], dry_run| {
        let is_one = &mut |draft: &Draft| numbers.contains(&draft.direct_key[0]);
        store.discard(dry_run, is_one, &mut |_, _| {}).expect("it can")
    };
    let disk_bytes = || store.bytes_used();
    let before = disk_bytes();
    let expected = discard(&[1], true);
    assert_eq!((expected.records, store.count_entries()), (1, (2, 2)));
    assert!(expected.bytes > 100_000 && expected.bytes < 110_000, "{expected:?}");
    assert_eq!(discard(&[1], false), expected);
    // Whole pages become holes.
    assert!(disk_bytes() <= before - 90_000, "{} of {before}", disk_bytes());
    let other = scratch.open();
    assert_eq!((records(&other, [1; 16]), records(&other, [0x81; 16])), (0, 0));
    assert_eq!((records(&other, [2; 16]), records(&other, [0x82; 16])), (1, 1));
    assert!(other.read_blob(&shared).is_some() && other.read_blob(&own).is_none());
    // Both have the same names: a set of them is needed.
    assert_eq!((other.path_sets(&[1; 16]).len(), other.path_sets(&[2; 16]).len()), (1, 1));
    assert_eq!(discard(&[1], false).records, 0);
    assert_eq!(discard(&[2], false).records, 1);
    assert_eq!(other.path_sets(&[1; 16]).len() + other.path_sets(&[2; 16]).len(), 0);
    assert_eq!(scratch.open().count_entries(), (0, 0));
    assert!(disk_bytes() <= before - 180_000);
    let report = verify(&scratch.path().join("cache"), MAX_BYTES_DEFAULT, false, &mut |_, _| {});
    assert!(report.expect("verified").damage.is_empty());
    // What was dropped is stored anew.
    let again = store.put_blob(&vec![1; 100_000]).expect("stored");
    store.put_record(&draft(1, again)).expect("stored");
    assert!(scratch.open().read_blob(&again).is_some() && records(&store, [1; 16]) == 1);
}

/// Whether a record is there that needs a blob, a process cannot know that cannot open the record's segment: what it drops then
/// is missing, and never another content.
#[test]
fn records_are_dropped_by_a_process_that_cannot_open_a_segment() {
    let scratch = Scratch::new();
    let store = scratch.open();
    let content = vec![1; 100_000];
    let shared = store.put_blob(&content).expect("stored");
    store.put_record(&draft(1, shared)).expect("stored");
    // The rest of the first segment.
    store.put_blob(&vec![9; 1 << 20]).expect("stored");
    store.put_record(&draft(2, shared)).expect("stored");
    assert_eq!(seqs(&store), [1, 2]);

    let (there, away) = (store.segment_path(2), scratch.path().join("away"));
    fs::rename(&there, &away).expect("moved");
    let other = scratch.open();
    let is_one = &mut |draft: &Draft| draft.direct_key[0] == 1;
    assert_eq!(other.discard(false, is_one, &mut |_, _| {}).expect("it can").records, 1);
    fs::rename(&away, &there).expect("moved back");

    for store in [&store, &other, &scratch.open()] {
        assert_eq!((records(store, [1; 16]), records(store, [2; 16])), (0, 1));
        assert!(store.read_blob(&shared).is_none());
    }
    // The next miss stores it again, and the record is whole.
    let again = store.put_blob(&content).expect("stored");
    assert_eq!((again.digest, records(&store, [2; 16])), (shared.digest, 1));
    assert_eq!(scratch.open().read_blob(&again).as_deref(), Some(&content[..]));
}
