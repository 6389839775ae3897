//! A log of segments, as the store has it: the oldest segment goes, and what is to survive is written again.

use std::collections::{HashMap, HashSet, VecDeque};

use super::trace::{Entry, bytes_of};
use super::{Cache, Found};

/// What survives the segment that goes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Survives {
    Nothing,
    /// What was used since it was written, but nothing larger than a fourth of a segment: what the store does.
    Used,
    /// The same, and of what was not used what saves most for a byte, up to a part of a segment.
    UsedAndWorth(f64),
    /// Up to a part of a segment, by what it saves for a byte; what was not used counts for `unused` of that, and what was last asked
    /// for `half_life` look-ups ago for half.
    Worth {
        of_all: f64,
        unused: f64,
        half_life: f64,
    },
}

/// What is not stored when it is made first.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Admits {
    All,
    /// What has so many bytes and saves less than so many microseconds for each MiB is stored when it is made again, while more
    /// than half of the cache is used: what the store does with what linkers make.
    AtSecondUse {
        bytes: u64,
        below_us_per_mib: u64,
    },
}

pub struct Log {
    segment_bytes: u64,
    max_bytes: u64,
    survives: Survives,
    admits: Admits,
    segments: VecDeque<Vec<Entry>>,
    /// The number of the first of them.
    oldest: u64,
    /// Which segment has an entry.
    places: HashMap<usize, u64>,
    /// What was used since it was written.
    used: HashSet<usize>,
    /// When an entry was last asked for.
    last: HashMap<usize, u64>,
    seen: HashSet<usize>,
    now: u64,
}

impl Log {
    pub fn new(max_bytes: u64, survives: Survives, admits: Admits) -> Log {
        Log {
            // As `store/space.rs` has it.
            segment_bytes: 1 << (max_bytes / 8).clamp(1 << 20, 64 << 20).ilog2(),
            max_bytes,
            survives,
            admits,
            segments: VecDeque::from([Vec::new()]),
            oldest: 0,
            places: HashMap::new(),
            used: HashSet::new(),
            last: HashMap::new(),
            seen: HashSet::new(),
            now: 0,
        }
    }

    fn append(&mut self, entry: Entry) -> u64 {
        let begins_segment = |segment: &Vec<Entry>| {
            !segment.is_empty() && bytes_of(segment) + entry.bytes > self.segment_bytes
        };
        if self.segments.back().is_none_or(begins_segment) {
            self.segments.push_back(Vec::new());
        }
        let newest = self.oldest + self.segments.len() as u64 - 1;
        self.segments.back_mut().expect("there is one").push(entry);
        self.places.insert(entry.id, newest);
        entry.bytes
    }

    /// The segment that is begun counts as a whole, as its space is reserved.
    fn is_too_much(&self) -> bool {
        let sealed = self.segments.iter().rev().skip(1).map(bytes_of);
        sealed.sum::<u64>() + self.segment_bytes > self.max_bytes
    }

    /// Evicts until there is room, like the store at most four times a segment's length of survivors in one pass; what it wrote.
    fn make_room(&mut self) -> u64 {
        let (mut left, mut written) = (4 * self.segment_bytes, 0);
        while self.segments.len() > 1 && self.is_too_much() {
            let gone = self.segments.pop_front().expect("there are several");
            let number = self.oldest;
            self.oldest += 1;
            let live: Vec<Entry> = gone
                .into_iter()
                .filter(|entry| self.places.get(&entry.id) == Some(&number))
                .collect();
            for entry in &live {
                self.places.remove(&entry.id);
            }
            for entry in self.choose(live, &mut left) {
                written += self.append(entry);
            }
        }
        written
    }

    /// What is to be written again of a segment that goes.
    fn choose(&mut self, live: Vec<Entry>, left: &mut u64) -> Vec<Entry> {
        let part = |part: f64| (self.segment_bytes as f64 * part) as u64;
        let (used, unused): (Vec<_>, Vec<_>) =
            live.into_iter().partition(|entry| self.used.contains(&entry.id));
        let chosen = match self.survives {
            Survives::Nothing => Vec::new(),
            Survives::Used => self.most(used, *left, |log, entry| log.last[&entry.id] as f64),
            Survives::UsedAndWorth(of_unused) => {
                let mut used = self.most(used, *left, |log, entry| log.last[&entry.id] as f64);
                let room = part(of_unused).min(left.saturating_sub(bytes_of(&used)));
                used.extend(self.most(unused, room, |_, entry| entry.worth()));
                used
            }
            Survives::Worth { of_all, unused: weight, half_life } => {
                let recent = |log: &Log, entry: &Entry| {
                    let age = (log.now - log.last[&entry.id]) as f64;
                    let weight = if log.used.contains(&entry.id) { 1.0 } else { weight };
                    weight * (-age / half_life).exp2() * entry.worth()
                };
                self.most([used, unused].concat(), part(of_all).min(*left), recent)
            }
        };
        for entry in &chosen {
            *left -= entry.bytes;
            self.used.remove(&entry.id);
        }
        chosen
    }

    /// Those with the highest rank that have room.
    fn most(
        &self,
        mut entries: Vec<Entry>,
        mut room: u64,
        rank: impl Fn(&Log, &Entry) -> f64,
    ) -> Vec<Entry> {
        entries.sort_by(|a, b| rank(self, b).total_cmp(&rank(self, a)));
        entries.retain(|entry| {
            let has_room = entry.bytes <= room.min(self.segment_bytes / 4);
            room -= if has_room { entry.bytes } else { 0 };
            has_room
        });
        entries
    }

    fn is_admitted(&mut self, entry: &Entry) -> bool {
        let Admits::AtSecondUse { bytes, below_us_per_mib } = self.admits else { return true };
        let is_cheap = entry.cost_us < entry.bytes / (1 << 20) * below_us_per_mib;
        let used: u64 = self.segments.iter().map(bytes_of).sum();
        let is_put_off = entry.bytes >= bytes && is_cheap && used > self.max_bytes / 2;
        !is_put_off || !self.seen.insert(entry.id)
    }
}

impl Cache for Log {
    fn look_up(&mut self, entry: Entry) -> Found {
        self.now += 1;
        self.last.insert(entry.id, self.now);
        if self.places.contains_key(&entry.id) {
            self.used.insert(entry.id);
            return Found { is_hit: true, written: 0 };
        }
        self.used.remove(&entry.id);
        if !self.is_admitted(&entry) {
            return Found { is_hit: false, written: 0 };
        }
        let written = self.append(entry);
        Found { is_hit: false, written: written + self.make_room() }
    }
}
