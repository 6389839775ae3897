//! Words of eight bytes that several processes change: the only atomics of the house, behind a trait.
//!
//! The trait is what lets the index run on a plain vector, on a mapping, and under a model checker.
//! Orderings: readers load `Relaxed` and fence `Acquire` once; a publisher's compare-and-swap is `Release`.

#![allow(clippy::disallowed_types, reason = "this is where the house has its atomics")]

pub use core::sync::atomic::Ordering;
use core::sync::atomic::fence;

/// A word that several processes change.
pub type Word = core::sync::atomic::AtomicU64;

/// A row of shared words.
pub trait Words {
    /// How many there are.
    fn len(&self) -> usize;
    /// Whether there are none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
    /// The word at `at`, or 0 past the end (`Relaxed`).
    fn load(&self, at: usize) -> u64;
    /// Everything that was written before the words that were loaded is visible after this.
    fn acquire(&self) {
        fence(Ordering::Acquire);
    }
}

/// A row of shared words that may be changed.
pub trait WordsMut: Words {
    /// Puts `new` where `old` was (`Release`); whether that succeeded.
    fn replace(&self, at: usize, old: u64, new: u64) -> bool;
}

impl Words for [Word] {
    fn len(&self) -> usize {
        <[Word]>::len(self)
    }
    fn load(&self, at: usize) -> u64 {
        self.get(at).map_or(0, |word| word.load(Ordering::Relaxed))
    }
}

impl WordsMut for [Word] {
    fn replace(&self, at: usize, old: u64, new: u64) -> bool {
        self.get(at).is_some_and(|word| {
            word.compare_exchange(old, new, Ordering::Release, Ordering::Relaxed).is_ok()
        })
    }
}
