//! Ways to evict, on a cache that is nothing but names and sizes.

use std::collections::{HashMap, HashSet, VecDeque};

/// What a compile stores: its record and its object.
#[derive(Debug, Clone, Copy)]
pub struct Entry {
    pub id: usize,
    pub bytes: u64,
}

/// What goes when there is no room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Policy {
    /// The oldest segment, as the store does it.
    OldestFirst,
    /// The same, but what was used since it was written is written once more, up to half a segment.
    SecondChance,
    /// Single entries, without segments: what cannot be had here, to compare with.
    LeastRecentlyUsed,
}

/// What a row of look-ups came to.
#[derive(Debug, Default)]
pub struct Figures {
    pub misses: usize,
    /// What was written again.
    pub copied_bytes: u64,
}

/// Replays look-ups on a cache of `max_bytes` in so many segments; each miss stores its entry.
pub fn replay(row: &[Entry], max_bytes: u64, segments: u64, policy: Policy) -> Figures {
    if policy == Policy::LeastRecentlyUsed {
        return replay_least_recently_used(row, max_bytes);
    }
    let mut log = Log {
        segment_bytes: max_bytes / segments,
        max_bytes,
        policy,
        segments: VecDeque::from([Vec::new()]),
        oldest: 0,
        places: HashMap::new(),
        used: HashSet::new(),
        figures: Figures::default(),
    };
    for entry in row {
        if log.places.contains_key(&entry.id) {
            log.used.insert(entry.id);
        } else {
            log.figures.misses += 1;
            log.append(*entry);
        }
    }
    log.figures
}

struct Log {
    segment_bytes: u64,
    max_bytes: u64,
    policy: Policy,
    segments: VecDeque<Vec<Entry>>,
    /// The number of the first of them.
    oldest: u64,
    /// Which segment has an entry.
    places: HashMap<usize, u64>,
    /// What was a hit since it was written.
    used: HashSet<usize>,
    figures: Figures,
}

impl Log {
    fn append(&mut self, entry: Entry) {
        let last = self.segments.back().expect("there is one");
        let has_room = |segment: &Vec<Entry>| {
            bytes_of(segment) + entry.bytes <= self.segment_bytes || segment.is_empty()
        };
        if !has_room(last) {
            self.segments.push_back(Vec::new());
        }
        // The segment that is begun counts as a whole, as its space is reserved.
        let is_too_much = |log: &Log| {
            let sealed = log.segments.iter().rev().skip(1).map(|segment| bytes_of(segment));
            sealed.sum::<u64>() + log.segment_bytes > log.max_bytes
        };
        while self.segments.len() > 1 && is_too_much(self) {
            self.evict();
        }
        let newest = self.oldest + self.segments.len() as u64 - 1;
        self.segments.back_mut().expect("there is one").push(entry);
        self.places.insert(entry.id, newest);
    }

    fn evict(&mut self) {
        let gone = self.segments.pop_front().expect("there are several");
        let mut left = self.segment_bytes / 2;
        for entry in &gone {
            self.places.remove(&entry.id);
        }
        self.oldest += 1;
        for entry in gone {
            let was_used = self.used.remove(&entry.id);
            if self.policy == Policy::SecondChance && was_used && entry.bytes <= left {
                left -= entry.bytes;
                self.figures.copied_bytes += entry.bytes;
                let newest = self.oldest + self.segments.len() as u64 - 1;
                self.segments.back_mut().expect("there is one").push(entry);
                self.places.insert(entry.id, newest);
            }
        }
    }
}

fn bytes_of(segment: &[Entry]) -> u64 {
    segment.iter().map(|entry| entry.bytes).sum()
}

fn replay_least_recently_used(row: &[Entry], max_bytes: u64) -> Figures {
    let mut recent: VecDeque<Entry> = VecDeque::new();
    let mut figures = Figures::default();
    for entry in row {
        match recent.iter().position(|known| known.id == entry.id) {
            Some(at) => {
                recent.remove(at);
            }
            None => figures.misses += 1,
        }
        recent.push_back(*entry);
        while recent.iter().map(|entry| entry.bytes).sum::<u64>() > max_bytes {
            recent.pop_front();
        }
    }
    figures
}
