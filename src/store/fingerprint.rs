//! What failing runs gave the last time: a header in a segment for each, found by what the run was made from.
//!
//! A failing run is stored when it repeats itself; until then this is all that is kept of it. Read next: `builder/failing.rs`.

use super::Store;
use super::append::{NewEntry, now_s};
use crate::error::StoreError;
use crate::index::{self, candidates};
use crate::record::{self, Head};
use crate::shm::layout::{INDEX_WORDS_OFFSET, Kind};
use crate::shm::segments::{Entry, Place};

/// Two hashes that say of a failing run all that must be known of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fingerprint {
    /// Of the command and its inputs.
    pub made_from: [u8; 16],
    /// Of what it gave.
    pub outcome: [u8; 16],
}

impl Store {
    /// Whether this is what the run gave the last time; it is from now on.
    pub fn note_outcome(&self, seen: &Fingerprint) -> Result<bool, StoreError> {
        if self.last_outcome(&seen.made_from) == Some(seen.outcome) {
            return Ok(true);
        }
        let mut key = [0; 32];
        key[..16].copy_from_slice(&seen.made_from);
        let place = self.append(&NewEntry {
            kind: Kind::Fingerprint,
            key,
            hot_bytes: 0,
            stored_s: now_s(),
            sum: [0; 16],
            identity: seen.outcome,
            circumstances: 0,
            body: &[],
        })?;
        self.publish(&seen.made_from, place, |old| {
            self.cache.segments.entry(old).is_some_and(|old| is_of(&old, &seen.made_from))
        })?;
        Ok(false)
    }

    fn last_outcome(&self, made_from: &[u8; 16]) -> Option<[u8; 16]> {
        let places = candidates(&self.cache.index.words(), made_from, self.window());
        let entries = places.iter().filter_map(|place| self.cache.segments.entry(place));
        let mut known = entries.filter(|entry| is_of(entry, made_from));
        known.next().map(|entry| entry.header.identity)
    }

    /// Makes the failing runs under a key unfindable: the command is to be run anew, and may give something else.
    pub fn forget_failures(&self, key: &[u8; 16]) -> Result<(), StoreError> {
        let count = self.word_count();
        let words = self
            .index()?
            .words_mut(INDEX_WORDS_OFFSET, count)
            .ok_or_else(|| StoreError::Corrupt(self.directory.join("index")))?;
        let records = self.cache.records(key);
        let failing: Vec<Place> =
            records.filter(|(_, entry)| is_failing(entry)).map(|(place, _)| place).collect();
        for place in failing {
            self.populate_word(index::first_word(key, count))?;
            index::forget(words, key, place);
        }
        Ok(())
    }
}

fn is_of(entry: &Entry<'_>, made_from: &[u8; 16]) -> bool {
    entry.header.kind() == Some(Kind::Fingerprint) && entry.header.key.starts_with(made_from)
}

/// Whether a record is one of a failing run.
fn is_failing(entry: &Entry<'_>) -> bool {
    let mut head = [0; size_of::<Head>()];
    entry.copy_out(0, &mut head).is_some()
        && bytemuck::pod_read_unaligned::<Head>(&head).flags & record::FAILS != 0
}
