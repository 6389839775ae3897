//! Policies that evict single entries, which a log of segments cannot: what it loses by that.

use std::collections::{HashMap, HashSet, VecDeque};

use super::trace::{Entry, bytes_of};
use super::{Cache, Found};

/// Least recently used, and greedy dual (GDSF of Cherkasova, 1998): an age for all, and for each what it saves a byte, times its uses.
pub struct Ranked {
    max_bytes: u64,
    is_by_worth: bool,
    bytes: u64,
    clock: f64,
    /// By id: entry, uses, rank. The lowest rank goes.
    kept: HashMap<usize, (Entry, u32, f64)>,
}

impl Ranked {
    pub fn new(max_bytes: u64, is_by_worth: bool) -> Ranked {
        Ranked { max_bytes, is_by_worth, bytes: 0, clock: 0.0, kept: HashMap::new() }
    }
}

impl Cache for Ranked {
    fn look_up(&mut self, entry: Entry) -> Found {
        let known = self.kept.get(&entry.id).map(|(_, uses, _)| *uses);
        let uses = known.unwrap_or(0) + 1;
        if known.is_none() {
            while self.bytes + entry.bytes > self.max_bytes
                && let Some(lowest) = self.kept.values().min_by(|a, b| a.2.total_cmp(&b.2)).copied()
            {
                self.kept.remove(&lowest.0.id);
                self.bytes -= lowest.0.bytes;
                if self.is_by_worth {
                    self.clock = lowest.2;
                }
            }
            self.bytes += entry.bytes;
        }
        let rank = if self.is_by_worth {
            self.clock + f64::from(uses) * entry.worth()
        } else {
            self.clock += 1.0;
            self.clock
        };
        self.kept.insert(entry.id, (entry, uses, rank));
        Found { is_hit: known.is_some(), written: if known.is_some() { 0 } else { entry.bytes } }
    }
}

/// First in, first out, but what was used since the hand last came by stays where it is (SIEVE of Zhang and others, 2024).
pub struct Sieve {
    max_bytes: u64,
    bytes: u64,
    /// The newest last.
    queue: VecDeque<Entry>,
    hand: usize,
    kept: HashSet<usize>,
    used: HashSet<usize>,
}

impl Sieve {
    pub fn new(max_bytes: u64) -> Sieve {
        Sieve {
            max_bytes,
            bytes: 0,
            queue: VecDeque::new(),
            hand: 0,
            kept: HashSet::new(),
            used: HashSet::new(),
        }
    }

    fn evict(&mut self) {
        loop {
            self.hand %= self.queue.len();
            let entry = self.queue[self.hand];
            if self.used.remove(&entry.id) {
                self.hand += 1;
                continue;
            }
            self.queue.remove(self.hand);
            self.kept.remove(&entry.id);
            self.bytes -= entry.bytes;
            return;
        }
    }
}

impl Cache for Sieve {
    fn look_up(&mut self, entry: Entry) -> Found {
        if self.kept.contains(&entry.id) {
            self.used.insert(entry.id);
            return Found { is_hit: true, written: 0 };
        }
        while self.bytes + entry.bytes > self.max_bytes && !self.queue.is_empty() {
            self.evict();
        }
        self.bytes += entry.bytes;
        self.queue.push_back(entry);
        self.kept.insert(entry.id);
        Found { is_hit: false, written: entry.bytes }
    }
}

/// Two queues (S3-FIFO of Yang and others, 2023): a tenth for what is new; what is used there, or comes again soon, goes to the other.
pub struct TwoQueues {
    max_bytes: u64,
    new: VecDeque<Entry>,
    main: VecDeque<Entry>,
    /// What was dropped from the first queue lately, the newest last.
    ghosts: VecDeque<usize>,
    /// Uses of what is kept, at most three.
    uses: HashMap<usize, u32>,
}

impl TwoQueues {
    pub fn new(max_bytes: u64) -> TwoQueues {
        let (new, main, ghosts) = Default::default();
        TwoQueues { max_bytes, new, main, ghosts, uses: HashMap::new() }
    }

    fn evict(&mut self) {
        if bytes_of(&self.new) > self.max_bytes / 10 || self.main.is_empty() {
            let Some(entry) = self.new.pop_front() else { return };
            if self.uses.get(&entry.id).is_some_and(|uses| *uses > 1) {
                self.uses.insert(entry.id, 0);
                self.main.push_back(entry);
            } else {
                self.uses.remove(&entry.id);
                self.ghosts.push_back(entry.id);
                while self.ghosts.len() > self.main.len().max(16) {
                    self.ghosts.pop_front();
                }
            }
            return;
        }
        while let Some(entry) = self.main.pop_front() {
            match self.uses.get_mut(&entry.id) {
                Some(uses) if *uses > 0 => {
                    *uses -= 1;
                    self.main.push_back(entry);
                }
                _ => {
                    self.uses.remove(&entry.id);
                    return;
                }
            }
        }
    }
}

impl Cache for TwoQueues {
    fn look_up(&mut self, entry: Entry) -> Found {
        if let Some(uses) = self.uses.get_mut(&entry.id) {
            *uses = (*uses + 1).min(3);
            return Found { is_hit: true, written: 0 };
        }
        while bytes_of(&self.new) + bytes_of(&self.main) + entry.bytes > self.max_bytes
            && !self.uses.is_empty()
        {
            self.evict();
        }
        let ghost = self.ghosts.iter().position(|id| *id == entry.id);
        match ghost {
            Some(at) => {
                self.ghosts.remove(at);
                self.main.push_back(entry);
            }
            None => self.new.push_back(entry),
        }
        self.uses.insert(entry.id, 0);
        Found { is_hit: false, written: entry.bytes }
    }
}
