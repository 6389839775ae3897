//! Tests of what is kept of failing runs: noted, compared, and forgotten.

use super::{Scratch, draft, records};
use crate::record;
use crate::store::draft::Draft;
use crate::store::fingerprint::Fingerprint;

#[test]
fn only_the_last_outcome_counts() {
    let scratch = Scratch::new();
    let store = scratch.open();
    let note = |outcome: u8| {
        let seen = Fingerprint { made_from: [7; 16], outcome: [outcome; 16] };
        store.note_outcome(&seen).expect("noted")
    };
    let outcomes = [1, 1, 2, 1, 1, 1, 2].map(note);
    assert_eq!(outcomes, [false, true, false, false, true, true, false]);
    let other = Fingerprint { made_from: [8; 16], outcome: [2; 16] };
    assert!(!store.note_outcome(&other).expect("noted"));
    assert!(scratch.open().note_outcome(&other).expect("noted"));
    assert_eq!(store.count_entries(), (0, 0));
}

#[test]
fn failing_runs_are_forgotten_and_others_stay() {
    let scratch = Scratch::new();
    let store = scratch.open();
    let blob = store.put_blob(b"object").expect("stored");
    let failing = Draft { flags: record::FAILS, ..draft(1, blob) };
    for draft in [&failing, &draft(1, blob)] {
        store.put_record(draft).expect("stored");
    }
    assert_eq!((records(&store, [1; 16]), records(&store, [0x81; 16])), (2, 2));
    store.forget_failures(&[1; 16]).expect("forgotten");
    assert_eq!((records(&store, [1; 16]), records(&store, [0x81; 16])), (1, 2));
    store.forget_failures(&[0x81; 16]).expect("forgotten");
    assert_eq!((records(&store, [1; 16]), records(&store, [0x81; 16])), (1, 1));
}
