//! Words of eight bytes that several processes change: the only atomics of the crate, behind a trait.
//!
//! The trait is what lets the index run on a plain vector, on a mapping, and under a model checker.
//! Orderings: readers load `Relaxed` and fence `Acquire` once; a publisher's compare-and-swap is `Release`.

#![allow(clippy::disallowed_types, reason = "this is where the crate has its atomics")]

pub use core::sync::atomic::Ordering;
use core::sync::atomic::fence;

/// A word that several processes change.
pub type Word = core::sync::atomic::AtomicU64;

/// What the protocols ask of one shared word: those of production, and the modelled ones of a model checker.
pub trait Shared {
    /// Its value.
    fn get(&self, order: Ordering) -> u64;
    /// Gives it a value.
    fn set(&self, new: u64, order: Ordering);
    /// Adds to it; what it was before.
    fn add(&self, more: u64, order: Ordering) -> u64;
    /// Puts `new` where `old` was (`Release`), or gives what is there.
    fn swap(&self, old: u64, new: u64) -> Result<(), u64>;
    /// Everything that was written before the words that were loaded is visible after this.
    fn acquire();
}

/// One text for the words of production and for those of the model checkers, so that they have the same orderings.
macro_rules! shared_word {
    ($word:ty, $fence:path) => {
        impl $crate::shm::words::Shared for $word {
            fn get(&self, order: Ordering) -> u64 {
                self.load(order)
            }
            fn set(&self, new: u64, order: Ordering) {
                $crate::shm::fault::point("word: about to be set");
                self.store(new, order);
                $crate::shm::fault::point("word: set");
            }
            fn add(&self, more: u64, order: Ordering) -> u64 {
                $crate::shm::fault::point("word: about to be added to");
                let old = self.fetch_add(more, order);
                $crate::shm::fault::point("word: added to");
                old
            }
            fn swap(&self, old: u64, new: u64) -> Result<(), u64> {
                $crate::shm::fault::point("word: about to be swapped");
                let seen = self.compare_exchange(old, new, Ordering::Release, Ordering::Relaxed);
                $crate::shm::fault::point("word: swapped");
                seen.map(drop)
            }
            fn acquire() {
                $fence(Ordering::Acquire);
            }
        }
    };
}
shared_word!(Word, fence);
#[cfg(test)]
pub(crate) use shared_word;

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
    fn acquire(&self);
}

/// A row of shared words that may be changed.
pub trait WordsMut: Words {
    /// Puts `new` where `old` was (`Release`); whether that succeeded.
    fn replace(&self, at: usize, old: u64, new: u64) -> bool;
}

impl<W: Shared> Words for [W] {
    fn len(&self) -> usize {
        <[W]>::len(self)
    }
    fn load(&self, at: usize) -> u64 {
        self.get(at).map_or(0, |word| word.get(Ordering::Relaxed))
    }
    fn acquire(&self) {
        W::acquire();
    }
}

impl<W: Shared> WordsMut for [W] {
    fn replace(&self, at: usize, old: u64, new: u64) -> bool {
        self.get(at).is_some_and(|word| word.swap(old, new).is_ok())
    }
}
