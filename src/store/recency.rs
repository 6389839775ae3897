//! When what is stored was last used: gathered from the events of hits, kept in a file, asked at eviction.
//!
//! A hit writes nothing for it but its event, which names its record. Events lie in memory that may vanish, so a process
//! that stores now and then puts what they say into the file `used`. Read next: `survivors.rs`, `docs/store.md`.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use xxhash_rust::xxh3::xxh3_64;

use super::append::now_s;
use super::create::{self, USED};
use super::draft::blobs_of;
use super::path_set::PathSet;
use super::{Store, files};
use crate::record::stored::base_place;
use crate::shm::events::{Ending, Event};
use crate::shm::fault;
use crate::shm::layout::{EntryHeader, Kind};
use crate::shm::segments::{Entry, Place};

const MAGIC: [u8; 8] = *b"ibidUSE1";
/// Magic, then the fields of [`Used`] before its times.
const HEAD_BYTES: usize = 40;
const ITEM_BYTES: usize = 12;
/// After so many events the file is written anew.
const EVENTS_DUE: u64 = 512;

/// When what was last used. All times are seconds since the epoch.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Used {
    /// When hits were last lost that nobody has looked at.
    lost_s: u64,
    /// Up to when events were looked at, in nanoseconds.
    until_ns: u64,
    /// How many events the volatile segment had then.
    events: u64,
    /// Which volatile segment that was: a hash of the index's epoch.
    epoch: u64,
    /// By the first half of a key of 16 bytes.
    times: HashMap<u64, u32>,
}

/// What is known of an entry's use since it came into its segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Use {
    /// It was not used.
    Not,
    /// It may have been: hits were lost.
    Unknown,
    /// It was, at that time.
    At(u32),
}

fn half(key: &[u8]) -> u64 {
    key.first_chunk().map_or(0, |half| u64::from_le_bytes(*half))
}

/// By what an entry is known: the keys of a record; the digest of a blob; of a path set its own key, and that of a record to
/// which it leads.
fn keys_of(header: &EntryHeader) -> [u64; 2] {
    let (first, second) = header.key.split_at(16);
    match header.kind() {
        Some(Kind::PathSet | Kind::CompressedSet) => [half(second), half(&header.identity)],
        Some(Kind::Record | Kind::Delta) => [half(first), half(second)],
        _ => [half(first); 2],
    }
}

impl Used {
    /// That of the cache in `directory`; where there is none, or a damaged one, all hits up to now are lost.
    pub(super) fn read(directory: &Path) -> Used {
        let bytes = fs::read(directory.join(USED)).unwrap_or_default();
        Used::decode(&bytes)
            .unwrap_or_else(|| Used { lost_s: u64::from(now_s()), ..Used::default() })
    }

    fn decode(bytes: &[u8]) -> Option<Used> {
        let (content, check) = bytes.split_last_chunk()?;
        let (head, items) = content.split_at_checked(HEAD_BYTES)?;
        if !head.starts_with(&MAGIC) || xxh3_64(content).to_le_bytes() != *check {
            return None;
        }
        let field = |at: usize| half(&head[8 * at..]);
        let item = |item: &[u8]| Some((half(item), u32::from_le_bytes(*item.last_chunk()?)));
        Some(Used {
            lost_s: field(1),
            until_ns: field(2),
            events: field(3),
            epoch: field(4),
            times: items.chunks_exact(ITEM_BYTES).filter_map(item).collect(),
        })
    }

    fn encode(&self) -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        for field in [self.lost_s, self.until_ns, self.events, self.epoch] {
            bytes.extend(field.to_le_bytes());
        }
        for (key, time) in &self.times {
            bytes.extend(key.to_le_bytes());
            bytes.extend(time.to_le_bytes());
        }
        bytes.extend(xxh3_64(&bytes).to_le_bytes());
        bytes
    }

    fn mark(&mut self, key: u64, time: u32) {
        let last = self.times.entry(key).or_default();
        *last = time.max(*last);
    }

    /// What is known of the use of an entry in a segment that was made at `made_s`.
    pub(super) fn of(&self, header: &EntryHeader, made_s: u64) -> Use {
        let times = keys_of(header).into_iter().filter_map(|key| self.times.get(&key));
        match times.max() {
            Some(time) if u64::from(*time) >= made_s => Use::At(*time),
            _ if self.lost_s > made_s => Use::Unknown,
            _ => Use::Not,
        }
    }

    /// When an entry was last used or stored.
    pub(super) fn last(&self, header: &EntryHeader) -> u32 {
        let times = keys_of(header).into_iter().filter_map(|key| self.times.get(&key).copied());
        times.max().unwrap_or(0).max(header.stored_s)
    }

    /// Keeps the `most` that were used last.
    fn keep(&mut self, most: usize) {
        if self.times.len() > most {
            let mut times: Vec<u32> = self.times.values().copied().collect();
            times.sort_unstable_by(|a, b| b.cmp(a));
            let oldest = times[most];
            self.times.retain(|_, time| *time > oldest);
        }
    }
}

impl Store {
    /// Puts what is new in the events into the file; what all of it says. To be called under the lock of eviction.
    pub(super) fn gather_use(&self) -> Used {
        let mut used = Used::read(&self.directory);
        let now = u64::from(now_s());
        let volatile = &self.cache.volatile;
        let events = volatile.events_written();
        let epoch = self.volatile_number();
        if used.epoch != epoch || events < used.events {
            // Another volatile segment: what the old one had last is lost.
            (used.lost_s, used.until_ns, used.epoch) = (now, 0, epoch);
            if files::segments(&self.directory).len() <= 1 {
                // Nothing was there that could have been hit.
                used.lost_s = 0;
            }
        } else if volatile.events_complete_since_ns() > used.until_ns {
            used.lost_s = now;
        }
        let from_ns = std::mem::replace(&mut used.until_ns, now * 1_000_000_000);
        used.events = events;
        let mut hits: BTreeMap<Place, u32> = BTreeMap::new();
        volatile.each_event(|event| {
            // Those of the last second may not have been there when it was looked at last.
            if event.time_ns + 2_000_000_000 >= from_ns
                && let Some(place) = Place::of_number(event.record)
                && uses_record(event)
            {
                let time = u32::try_from(event.time_ns / 1_000_000_000).unwrap_or(u32::MAX);
                let last = hits.entry(place).or_default();
                *last = time.max(*last);
            }
        });
        self.mark_hits(&hits, &mut used);
        used.keep(self.word_count());
        let path = self.directory.join(USED);
        let bytes = used.encode();
        // Without it the hits are lost, which the next one finds.
        let _ = files::whole_file(&path, bytes.len() as u64, |mut file| file.write_all(&bytes));
        fault::point("use: written");
        used
    }

    /// The same, where enough has happened since.
    pub(super) fn gather_use_if_due(&self) {
        let known = fs::File::open(self.directory.join(USED)).and_then(|mut file| {
            let mut head = [0; HEAD_BYTES];
            io::Read::read_exact(&mut file, &mut head)?;
            Ok(half(&head[24..]))
        });
        let events = self.cache.volatile.events_written();
        if events.abs_diff(known.unwrap_or(0)) >= EVENTS_DUE {
            self.gather_use_now();
        }
    }

    /// The same at once, if no other process does it.
    pub(super) fn gather_use_now(&self) {
        if let Ok(_lock) = files::lock(&self.directory, "lock-evict", false) {
            self.gather_use();
        }
    }

    fn mark_hits(&self, hits: &BTreeMap<Place, u32>, used: &mut Used) {
        let mut segment = None;
        for (place, time) in hits {
            if segment.as_ref().is_none_or(|(seq, _)| *seq != place.seq) {
                segment = Some((place.seq, self.map_segment(place.seq)));
            }
            let Some((_, Some(segment))) = &segment else { continue };
            let Some(entry) = segment.entry(*place) else { continue };
            for key in self.keys_used(&entry) {
                used.mark(key, *time);
            }
        }
    }

    /// The keys of all that a hit by this record needs: the record, the one that tells it, their blobs, and the path set by which
    /// it is found.
    fn keys_used(&self, entry: &Entry<'_>) -> HashSet<u64> {
        let mut keys = HashSet::new();
        if matches!(entry.header.kind(), Some(Kind::Record | Kind::Delta))
            && let Some(draft) = self.draft_of(entry)
        {
            keys.extend(keys_of(&entry.header));
            keys.extend(blobs_of(&draft).map(|blob| half(&blob.digest)));
            let (set, _) = PathSet::of(&draft, |variable| variable.value);
            keys.insert(half(set.own_key()));
        }
        if let Some(base) = base_place(entry)
            && let Some(segment) = self.map_segment(base.seq)
            && let Some(base) = segment.entry(base)
        {
            keys.extend(self.keys_used(&base));
        }
        keys
    }

    /// What tells volatile segments apart.
    fn volatile_number(&self) -> u64 {
        let path = create::shared_memory_path(self.cache.index.header());
        let state = fs::metadata(path).or_else(|_| fs::metadata(self.directory.join("volatile")));
        let boot = fs::read("/proc/sys/kernel/random/boot_id").unwrap_or_default();
        state.map_or(1, |state| {
            xxh3_64(&[&boot, &state.ino().to_le_bytes()[..], &state.dev().to_le_bytes()].concat())
        })
    }
}

/// Whether an event says that its record was used, or has just been stored.
fn uses_record(event: &Event) -> bool {
    matches!(event.ending(), Some(Ending::DirectHit | Ending::ContentHit | Ending::ToolFailure))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_and_damage_is_a_loss() {
        let mut used = Used { lost_s: 5, until_ns: 6, events: 7, epoch: 8, ..Used::default() };
        (0..9).for_each(|key| used.mark(key, 100 + u32::try_from(key).expect("small")));
        used.mark(8, 3);
        let bytes = used.encode();
        assert_eq!(Used::decode(&bytes), Some(used.clone()));
        for at in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[at] ^= 1;
            assert_eq!(Used::decode(&damaged), None, "{at}");
            assert_eq!(Used::decode(&bytes[..at]), None, "{at}");
        }
        used.keep(4);
        let mut kept: Vec<_> = used.times.keys().copied().collect();
        kept.sort_unstable();
        assert_eq!(kept, [5, 6, 7, 8]);
    }
}
