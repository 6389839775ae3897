//! Key -> places of entries: a set-associative table of words, without chains and without locks.
//!
//! A word only ever proposes a place; the entry that stands there is the judge. Safe Rust, on any row of words.
//! Read next: `shm/words.rs`, `docs/store.md`.

use core::ffi::CStr;

use crate::shm::layout::{
    BUCKET_WORDS, CURSOR_OFFSET, Checked, FORMAT, INDEX_MAGIC, INDEX_WORDS_OFFSET, IndexHeader,
    OLDEST_OFFSET, SEGMENT_BYTES, index_bytes,
};
use crate::shm::map::{Map, WordsView};
use crate::shm::raw::{self, AsFd, BorrowedFd};
use crate::shm::segments::Place;
use crate::shm::words::{Words, WordsMut};

pub mod cache;
pub mod control;

/// Bits of a word: `tag:24 | big:1 | seq:19 | unit:20`.
const UNIT_BITS: u32 = 20;
const SEQ_BITS: u32 = 19;
const TAG_SHIFT: u32 = 40;
const SEQ_MASK: u64 = (1 << SEQ_BITS) - 1;
const UNIT_MASK: u64 = (1 << UNIT_BITS) - 1;

/// How many entries one key may own; publishing another one drops the oldest.
pub const ENTRIES_PER_KEY: usize = 8;

/// Which segments are there: `oldest ..= newest`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// The lowest number that has not been evicted.
    pub oldest: u64,
    /// The one that is appended to.
    pub newest: u64,
}

impl Window {
    /// The full number whose low bits a word holds, if it lies in the window.
    fn resolve(self, low: u64) -> Option<u64> {
        let behind = self.newest.wrapping_sub(low) & SEQ_MASK;
        self.newest.checked_sub(behind).filter(|seq| *seq >= self.oldest && *seq > 0)
    }
}

fn tag_of(key: &[u8; 16]) -> u64 {
    u64::from(u32::from_le_bytes([key[8], key[9], key[10], 0])) << TAG_SHIFT
}

/// The first word of a key's bucket.
pub fn first_word(key: &[u8; 16], words: usize) -> usize {
    let buckets = (words / BUCKET_WORDS).max(1);
    let low = u32::from_le_bytes([key[0], key[1], key[2], key[3]]);
    (low as usize % buckets) * BUCKET_WORDS
}

fn word_of(key: &[u8; 16], place: Place) -> u64 {
    tag_of(key) | (place.seq & SEQ_MASK) << UNIT_BITS | u64::from(place.unit) & UNIT_MASK
}

/// Whether the word at slot `at`, of `words` words, can be one of `key`'s.
pub fn belongs(at: usize, word: u64, key: &[u8; 16], words: usize) -> bool {
    at / BUCKET_WORDS * BUCKET_WORDS == first_word(key, words)
        && word & !((1 << TAG_SHIFT) - 1) == tag_of(key)
}

/// The place that a word names, if its segment is still there.
pub fn place_of(word: u64, window: Window) -> Option<Place> {
    if word == 0 {
        return None;
    }
    let seq = window.resolve(word >> UNIT_BITS & SEQ_MASK)?;
    Some(Place { seq, unit: u32::try_from(word & UNIT_MASK).ok()? })
}

/// Places at which entries with this key may stand, newest first.
#[derive(Debug, Clone, Copy)]
pub struct Candidates {
    places: [Place; BUCKET_WORDS],
    len: usize,
}

impl Candidates {
    /// By insertion, since they are few; the library's sort would be one more page of code to map on a hit.
    fn sort(&mut self) {
        for end in 1..self.len {
            for at in (1..=end).rev() {
                match self.places.get_mut(at - 1..=at) {
                    Some([older, newer]) if *older < *newer => core::mem::swap(older, newer),
                    _ => break,
                }
            }
        }
    }

    /// Newest first.
    pub fn iter(&self) -> impl Iterator<Item = Place> + '_ {
        self.places.iter().take(self.len).copied()
    }
}

/// Looks a key up.
pub fn candidates(words: &(impl Words + ?Sized), key: &[u8; 16], window: Window) -> Candidates {
    let mut found = Candidates { places: [Place { seq: 0, unit: 0 }; BUCKET_WORDS], len: 0 };
    let from = first_word(key, words.len());
    for at in from..from + BUCKET_WORDS {
        let word = words.load(at);
        if word & !((1 << TAG_SHIFT) - 1) != tag_of(key) {
            continue;
        }
        if let (Some(place), Some(slot)) = (place_of(word, window), found.places.get_mut(found.len))
        {
            *slot = place;
            found.len += 1;
        }
    }
    words.acquire();
    found.sort();
    found
}

/// Makes `place` findable under `key`; whether it is. `supersedes` says of another place with the same tag whether it
/// may go because the new entry says the same. Losing a race is legal: a later miss publishes again.
pub fn publish(
    words: &(impl WordsMut + ?Sized),
    key: &[u8; 16],
    place: Place,
    window: Window,
    supersedes: impl Fn(Place) -> bool,
) -> bool {
    let new = word_of(key, place);
    for _ in 0..4 {
        let Some((at, old)) = victim(words, key, window, &supersedes) else { return false };
        if old == new || words.replace(at, old, new) {
            return true;
        }
    }
    false
}

/// The word that names `place` instead of what `word` names, under the same key.
pub fn moved(word: u64, place: Place) -> u64 {
    let tag = word & !((1 << TAG_SHIFT) - 1);
    tag | (place.seq & SEQ_MASK) << UNIT_BITS | u64::from(place.unit) & UNIT_MASK
}

/// Whether the next entry under a new key of this key's bucket takes another one's place.
pub fn is_full(words: &(impl Words + ?Sized), key: &[u8; 16], window: Window) -> bool {
    let from = first_word(key, words.len());
    (from..from + BUCKET_WORDS).all(|at| place_of(words.load(at), window).is_some())
}

/// Takes `place` out from under `key`.
pub fn forget(words: &(impl WordsMut + ?Sized), key: &[u8; 16], place: Place) {
    let old = word_of(key, place);
    let from = first_word(key, words.len());
    for at in from..from + BUCKET_WORDS {
        if words.load(at) == old {
            words.replace(at, old, 0);
        }
    }
}

/// The word to put a new one in the place of: a superseded one, the oldest of a key that has enough, an empty or dead
/// one, or else the oldest of the bucket.
fn victim(
    words: &(impl Words + ?Sized),
    key: &[u8; 16],
    window: Window,
    supersedes: &impl Fn(Place) -> bool,
) -> Option<(usize, u64)> {
    let tag = tag_of(key);
    let from = first_word(key, words.len());
    let bucket = || (from..from + BUCKET_WORDS).map(|at| (at, words.load(at)));
    let own = || {
        bucket().filter_map(|(at, word)| {
            let place = place_of(word, window)?;
            (word & !((1 << TAG_SHIFT) - 1) == tag).then_some((place, at, word))
        })
    };
    let oldest = |(_, at, word): (Place, usize, u64)| (at, word);
    if let Some(found) = own().find(|(place, ..)| supersedes(*place)) {
        return Some(oldest(found));
    }
    if own().count() >= ENTRIES_PER_KEY {
        return own().min().map(oldest);
    }
    bucket().find(|(_, word)| place_of(*word, window).is_none()).or_else(|| {
        bucket()
            .filter_map(|(at, word)| Some((place_of(word, window)?, at, word)))
            .min()
            .map(oldest)
    })
}

/// An open index, for reading.
#[derive(Debug)]
pub struct Index {
    map: Map,
    header: IndexHeader,
}

impl Index {
    /// Opens `index` in `directory`; `None` if there is none that can be trusted.
    pub fn open(directory: BorrowedFd<'_>) -> Option<Index> {
        let file = raw::open_read_at(directory, NAME).ok()?;
        let len = raw::stat_fd(file.as_fd()).ok().filter(raw::FileState::is_regular)?.stat.size;
        if len < INDEX_WORDS_OFFSET as u64 {
            return None;
        }
        let map = Map::new(file.as_fd(), usize::try_from(len).ok()?).ok()?;
        let header = map.get(0)?;
        is_trusted(&header, len).then_some(Index { map, header })
    }

    /// The immutable head.
    pub fn header(&self) -> &IndexHeader {
        &self.header
    }

    /// All words.
    pub fn words(&self) -> WordsView<'_> {
        self.map
            .words(INDEX_WORDS_OFFSET, word_count(&self.header))
            .unwrap_or_else(WordsView::empty)
    }

    /// Which segments are there now.
    pub fn window(&self) -> Window {
        Window { oldest: self.load(OLDEST_OFFSET), newest: self.cursor() >> 32 }
    }

    /// Where the next entry goes: segment number `<< 32 |` unit.
    pub fn cursor(&self) -> u64 {
        self.load(CURSOR_OFFSET)
    }

    fn load(&self, offset: usize) -> u64 {
        self.map.words(offset, 1).map_or(0, |words| words.load(0))
    }
}

/// The name of the index file.
pub const NAME: &CStr = c"index";

/// Whether a header and the length of its file fit each other and this program.
pub fn is_trusted(header: &IndexHeader, len: u64) -> bool {
    header.magic == INDEX_MAGIC
        && header.format == FORMAT
        && header.header_bytes as usize == size_of::<IndexHeader>()
        && header.segment_bytes == SEGMENT_BYTES
        && header.is_intact()
        && header.buckets.is_power_of_two()
        && header.buckets <= 1 << 28
        && index_bytes(header.buckets) == len
        && is_plain_name(&header.volatile)
}

/// Whether a volatile segment's name is one of ours: it must not lead out of that directory; any process may have written it.
fn is_plain_name(name: &[u8]) -> bool {
    let end = name.iter().position(|byte| *byte == 0).unwrap_or(name.len());
    let (name, rest) = name.split_at(end);
    !rest.is_empty()
        && name.starts_with(b"ibid-")
        && name.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'-')
}

/// How many words an index has.
pub fn word_count(header: &IndexHeader) -> usize {
    usize::try_from(header.buckets).unwrap_or(0) * BUCKET_WORDS
}

#[cfg(test)]
mod model_tests;
#[cfg(test)]
mod tests;
