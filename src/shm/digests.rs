//! The digest table: stamp -> BLAKE3 digest of the content, shared by all processes, so that a header is hashed once.
//!
//! Entries are written without a lock; an entry that two processes wrote at once fails its check and is absent.
//! A stamp that is too young to be reliable must never be entered: the caller checks that.

use super::stat::Stamp;
use super::words::{Ordering, Word};
use xxhash_rust::xxh3::xxh3_64;

/// Words of an entry: stamp 2, digest 4, reserved 1, check 1.
const ENTRY_WORDS: usize = 8;
/// Entries of a set.
const WAYS: usize = 4;

/// A view of the table.
#[derive(Debug, Clone, Copy)]
pub struct DigestTable<'a>(&'a [Word]);

impl<'a> DigestTable<'a> {
    /// A table in `words`, eight for each entry.
    pub fn new(words: &'a [Word]) -> DigestTable<'a> {
        DigestTable(words)
    }

    /// The digest of the content of a file that has `stamp`.
    pub fn find(&self, stamp: &Stamp) -> Option<[u8; 32]> {
        self.set(stamp).find_map(|entry| {
            let bytes = read(entry);
            (bytes.get(..16)? == stamp.0 && is_intact(&bytes))
                .then(|| bytes.get(16..48)?.try_into().ok())
                .flatten()
        })
    }

    /// Enters a digest; an older entry of the same set may have to go.
    pub fn enter(&self, stamp: &Stamp, digest: &[u8; 32]) {
        let mut bytes = [0u8; ENTRY_WORDS * 8];
        bytes[..16].copy_from_slice(&stamp.0);
        bytes[16..48].copy_from_slice(digest);
        let check = check_of(&bytes);
        bytes[56..].copy_from_slice(&check.to_le_bytes());
        let victim = usize::from(stamp.0[8]) % WAYS;
        let place = self.set(stamp).position(|entry| !is_intact(&read(entry))).unwrap_or(victim);
        let Some(entry) = self.set(stamp).nth(place) else { return };
        for (word, value) in entry.iter().zip(bytes.chunks_exact(8)) {
            word.store(u64::from_le_bytes(value.try_into().unwrap_or([0; 8])), Ordering::Relaxed);
        }
    }

    fn set(&self, stamp: &Stamp) -> impl Iterator<Item = &'a [Word]> {
        let sets = self.0.len() / (ENTRY_WORDS * WAYS);
        let number = usize::from(u16::from_le_bytes([stamp.0[0], stamp.0[1]])) % sets.max(1);
        let from = number * ENTRY_WORDS * WAYS;
        self.0.get(from..from + ENTRY_WORDS * WAYS).unwrap_or(&[]).chunks_exact(ENTRY_WORDS)
    }
}

fn read(entry: &[Word]) -> [u8; ENTRY_WORDS * 8] {
    let mut bytes = [0u8; ENTRY_WORDS * 8];
    for (place, word) in bytes.chunks_exact_mut(8).zip(entry) {
        place.copy_from_slice(&word.load(Ordering::Relaxed).to_le_bytes());
    }
    bytes
}

fn check_of(bytes: &[u8; ENTRY_WORDS * 8]) -> u64 {
    // Not zero for an entry of zeros, so that an empty place is not an entry.
    xxh3_64(&bytes[..56]) | 1
}

fn is_intact(bytes: &[u8; ENTRY_WORDS * 8]) -> bool {
    bytes[56..] == check_of(bytes).to_le_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> std::vec::Vec<Word> {
        (0..64 * ENTRY_WORDS).map(|_| Word::new(0)).collect()
    }

    #[test]
    fn what_is_entered_is_found_and_nothing_else() {
        let words = table();
        let table = DigestTable::new(&words);
        let stamp = Stamp([3; 16]);
        assert_eq!(table.find(&stamp), None);
        assert_eq!(table.find(&Stamp([0; 16])), None);
        table.enter(&stamp, &[9; 32]);
        assert_eq!(table.find(&stamp), Some([9; 32]));
        assert_eq!(table.find(&Stamp([4; 16])), None);
    }

    #[test]
    fn a_torn_entry_is_absent() {
        let words = table();
        let table = DigestTable::new(&words);
        let stamp = Stamp([3; 16]);
        table.enter(&stamp, &[9; 32]);
        for word in words.iter().filter(|w| w.load(Ordering::Relaxed) == u64::MAX / 255 * 9).take(1)
        {
            word.store(1, Ordering::Relaxed);
        }
        assert_eq!(table.find(&stamp), None);
    }

    #[test]
    fn more_than_fits_does_no_harm() {
        let words = table();
        let table = DigestTable::new(&words);
        for i in 0..=255u8 {
            table.enter(&Stamp([i; 16]), &[i; 32]);
            assert_eq!(table.find(&Stamp([i; 16])), Some([i; 32]));
        }
    }
}
