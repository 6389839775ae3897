//! The index on a plain vector.

use std::vec::Vec;

use super::*;
use crate::shm::words::Word;

const WINDOW: Window = Window { oldest: 1, newest: 3 };

fn words() -> Vec<Word> {
    (0..4 * BUCKET_WORDS).map(|_| Word::new(0)).collect()
}

fn key(n: u8) -> [u8; 16] {
    let mut key = [0; 16];
    key[8] = n;
    key
}

fn found(words: &[Word], key: &[u8; 16], window: Window) -> Vec<Place> {
    candidates(words, key, window).iter().collect()
}

#[test]
fn what_is_published_is_found_newest_first() {
    let words = words();
    let places =
        [Place { seq: 1, unit: 70 }, Place { seq: 3, unit: 64 }, Place { seq: 2, unit: 99 }];
    for place in places {
        assert!(publish(&words[..], &key(1), place, WINDOW, |_| false));
    }
    assert_eq!(found(&words, &key(1), WINDOW), [places[1], places[2], places[0]]);
    assert_eq!(found(&words, &key(2), WINDOW), []);
}

#[test]
fn a_key_keeps_its_newest_entries() {
    let words = words();
    for unit in 64..64 + 20 {
        publish(&words[..], &key(1), Place { seq: 1, unit }, WINDOW, |_| false);
    }
    let units: Vec<u32> = found(&words, &key(1), WINDOW).iter().map(|place| place.unit).collect();
    assert_eq!(units, (76..84).rev().collect::<Vec<_>>());
}

#[test]
fn a_superseded_entry_goes_first() {
    let words = words();
    let (old, new) = (Place { seq: 1, unit: 64 }, Place { seq: 2, unit: 65 });
    publish(&words[..], &key(1), old, WINDOW, |_| false);
    publish(&words[..], &key(1), new, WINDOW, |place| place == old);
    assert_eq!(found(&words, &key(1), WINDOW), [new]);
}

#[test]
fn a_full_bucket_loses_its_oldest_entry() {
    let words = words();
    for n in 0..17 {
        publish(&words[..], &key(n), Place { seq: 1, unit: 100 + u32::from(n) }, WINDOW, |_| false);
    }
    assert_eq!(found(&words, &key(0), WINDOW), []);
    assert_eq!(found(&words, &key(16), WINDOW), [Place { seq: 1, unit: 116 }]);
}

#[test]
fn evicted_segments_are_not_proposed_and_their_words_are_reused() {
    let words = words();
    let place = Place { seq: 1, unit: 64 };
    publish(&words[..], &key(1), place, WINDOW, |_| false);
    let later = Window { oldest: 2, newest: 3 };
    assert_eq!(found(&words, &key(1), later), []);
    let (at, old) = victim(&words[..], &key(9), later, &|_| false).expect("a word");
    assert_eq!((at % BUCKET_WORDS, place_of(old, WINDOW)), (0, Some(place)));
}

#[test]
fn segment_numbers_wrap() {
    let newest = (1 << SEQ_BITS) + 5;
    let window = Window { oldest: newest - 10, newest };
    let words = words();
    for seq in [newest, newest - 6, newest - 10] {
        let place = Place { seq, unit: 64 };
        publish(&words[..], &key(1), place, window, |_| false);
        assert!(found(&words, &key(1), window).contains(&place));
    }
    assert_eq!(place_of(word_of(&key(1), Place { seq: newest - 11, unit: 64 }), window), None);
}

#[test]
fn what_is_forgotten_is_gone() {
    let words = words();
    let place = Place { seq: 2, unit: 64 };
    publish(&words[..], &key(1), place, WINDOW, |_| false);
    forget(&words[..], &key(1), place);
    assert_eq!(found(&words, &key(1), WINDOW), []);
}

#[test]
fn the_volatile_segment_has_a_plain_name() {
    assert!(is_plain_name(b"ibid-0-1851a25ef614c458\0\0"));
    for name in [&b"ibid-0-1851"[..], b"\0", b"ibid-/../../etc/x\0", b"ibid-\xff\0", b"other-0\0"] {
        assert!(!is_plain_name(name), "{name:?}");
    }
}
