//! What the cache holds, by age and by worth: how long the tools ran for what takes so much.
//!
//! Read next: `wrapper/history/contents.rs`.

use crate::wrapper::history::{Contents, Held};

/// Things of about one age, or of about one worth.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Class {
    /// In words.
    pub name: &'static str,
    /// How many records.
    pub records: usize,
    /// How many of them served a call that is known.
    pub served: usize,
    /// What is held.
    pub bytes: u64,
    /// How long the tools ran.
    pub tool_us: u64,
}

const HOUR_S: u64 = 60 * 60;
const DAY_S: u64 = 24 * HOUR_S;
const AGES: [(&str, u64); 5] = [
    ("under an hour", HOUR_S),
    ("under a day", DAY_S),
    ("under a week", 7 * DAY_S),
    ("under a month", 30 * DAY_S),
    ("older", u64::MAX),
];
/// Milliseconds of compile time for a MB.
const WORTHS: [(&str, u64); 4] = [
    ("over 10 s for a MB", 10_000),
    ("1 to 10 s for a MB", 1_000),
    ("0.1 to 1 s for a MB", 100),
    ("under 0.1 s for a MB", 0),
];

fn empty(name: &'static str) -> Class {
    Class { name, records: 0, served: 0, bytes: 0, tool_us: 0 }
}

impl Class {
    fn add(&mut self, held: &Held) {
        self.records += 1;
        self.served += usize::from(held.was_served);
        self.tool_us = self.tool_us.saturating_add(held.tool_us);
    }
}

/// By age; bytes are those of all entries of that age, each once.
pub fn by_age(contents: &Contents, now_s: u64) -> Vec<Class> {
    let mut classes: Vec<Class> = AGES.iter().map(|(name, _)| empty(name)).collect();
    let at = |stored_s: u64| {
        let age_s = now_s.saturating_sub(stored_s);
        AGES.iter().position(|(_, below_s)| age_s < *below_s).unwrap_or(AGES.len() - 1)
    };
    for (stored_s, bytes) in &contents.entries {
        classes[at(*stored_s)].bytes += bytes;
    }
    for held in &contents.records {
        classes[at(held.stored_s)].add(held);
    }
    classes
}

/// By compile time for what is held; bytes are those of records with their outputs.
pub fn by_worth(contents: &Contents) -> Vec<Class> {
    let mut classes: Vec<Class> = WORTHS.iter().map(|(name, _)| empty(name)).collect();
    for held in &contents.records {
        let worth = worth_ms(held);
        let at = WORTHS.iter().position(|(_, least)| worth >= *least).unwrap_or(WORTHS.len() - 1);
        classes[at].add(held);
        classes[at].bytes += held.bytes;
    }
    classes
}

/// Milliseconds of compile time for a MB.
fn worth_ms(held: &Held) -> u64 {
    held.tool_us.saturating_mul(1000) / held.bytes.max(1)
}

#[cfg(test)]
mod tests {
    use super::{by_age, by_worth};
    use crate::wrapper::history::{Contents, Held};

    fn held(stored_s: u64, tool_us: u64, bytes: u64) -> Held {
        Held { place: 1, stored_s, tool_us, bytes, was_served: tool_us > 1_000_000 }
    }

    #[test]
    fn classes() {
        let now_s = 100_000_000;
        let records = vec![
            held(now_s, 20_000_000, 1_000_000),
            held(now_s - 3600, 2_000_000, 1_000_000),
            held(now_s - 86_400 * 40, 1000, 1_000_000),
            // From a clock that was wrong.
            held(now_s + 50, 0, 0),
        ];
        let entries = records.iter().map(|held| (held.stored_s, held.bytes)).collect();
        let contents = Contents { entries, records };
        let ages = by_age(&contents, now_s);
        let counts: Vec<_> = ages.iter().map(|class| (class.records, class.bytes)).collect();
        assert_eq!(counts, [(2, 1_000_000), (1, 1_000_000), (0, 0), (0, 0), (1, 1_000_000)]);
        assert_eq!((ages[0].tool_us, ages[0].served), (20_000_000, 1));
        let worths = by_worth(&contents);
        let counts: Vec<_> = worths.iter().map(|class| class.records).collect();
        assert_eq!(counts, [1, 1, 0, 2]);
    }
}
