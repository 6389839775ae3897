//! What the cache holds: when it was stored, how large it is, and what it saves.
//!
//! Everything is walked: for a large cache that takes seconds. Read next: `store/walk.rs`.

use std::collections::HashSet;

use super::History;
use crate::probe;
use crate::probe::event::number_of;
use crate::record::stored::base_place;
use crate::shm::events::Ending;
use crate::shm::layout::Kind;

/// What the cache holds.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Contents {
    /// Of each entry when it was stored (seconds since the epoch), and its bytes.
    pub entries: Vec<(u64, u64)>,
    /// The records.
    pub records: Vec<Held>,
}

/// A record that is held.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    /// Its place, as events hold it.
    pub place: u64,
    /// When it was stored, seconds since the epoch.
    pub stored_s: u64,
    /// How long the tool ran: what a hit saves.
    pub tool_us: u64,
    /// What it and its outputs take; outputs that are equal to others' are counted here, too.
    pub bytes: u64,
    /// Whether a call that is known was served by it.
    pub was_served: bool,
}

impl History<'_> {
    /// Looks at all entries.
    pub fn contents(&self) -> Contents {
        let is_hit = |ending| matches!(ending, Ending::DirectHit | Ending::ContentHit);
        let hits = self.entries.iter().filter(|entry| is_hit(entry.ending));
        let mut served: HashSet<u64> = hits.map(|entry| entry.event.record).collect();
        let mut contents = Contents::default();
        let mut arena = Vec::new();
        self.store.each_place(|place, entry| {
            let header = &entry.header;
            let stored_s = u64::from(header.stored_s);
            contents.entries.push((stored_s, header.body_bytes));
            if let Some(base) = base_place(entry).filter(|_| served.contains(&number_of(place))) {
                served.insert(number_of(base));
            }
            if header.kind() != Some(Kind::Record) {
                return;
            }
            arena.resize(usize::try_from(header.hot_bytes).unwrap_or(0), 0);
            let Some((record, _)) = probe::hot_part(&self.store.cache.segments, entry, &mut arena)
            else {
                return;
            };
            let outputs: u64 = record.outputs().flatten().map(|output| output.blob.len_bytes).sum();
            let place = number_of(place);
            contents.records.push(Held {
                place,
                stored_s,
                tool_us: record.head.tool_us,
                bytes: header.body_bytes + outputs,
                was_served: false,
            });
        });
        for held in &mut contents.records {
            held.was_served = served.contains(&held.place);
        }
        contents
    }
}
