//! Writes a record as a delta of the one by which its result was found.
//!
//! A delta is found by its direct key alone: it saves a place its look-up by content, and no more is lost with it. So a result is
//! stored once, and a place or a touched file that it serves costs what differs there. Read next: `record/delta.rs`, `draft.rs`.

use bytemuck::{bytes_of, cast_slice};
use xxhash_rust::xxh3::xxh3_128;

use super::Store;
use super::append::{NewEntry, now_s};
use super::draft::Draft;
use super::space::segment_bytes_max;
use super::walk::body_of;
use crate::error::StoreError;
use crate::index::Window;
use crate::record::delta::{DeltaHead, LITERAL, Step};
use crate::record::{self, Cold, Head, Record, Span};
use crate::shm::layout::Kind;
use crate::shm::segments::Place;

impl Store {
    /// Stores a record under its direct key, as a delta of the record at `base`, which stays as it is. If that is soon to be
    /// evicted, or has little in common with it, all of it is stored, under both keys; so is a failing run, which is
    /// forgotten by its records' words.
    pub fn put_record_like(&self, draft: &Draft, base: Place) -> Result<Place, StoreError> {
        let may_be_told = draft.flags & record::FAILS == 0 && !self.is_soon_evicted(base);
        let Some(body) = may_be_told.then(|| self.delta(draft, base)).flatten() else {
            return self.put_record(draft);
        };
        let place = self.append(&NewEntry {
            kind: Kind::Delta,
            key: draft.keys(),
            // A longer one is refused.
            hot_bytes: u32::try_from(body.len()).unwrap_or(u32::MAX),
            stored_s: now_s(),
            sum: xxh3_128(&body).to_le_bytes(),
            identity: draft.identity(),
            circumstances: draft.circumstances(),
            body: &[&body],
        })?;
        self.publish_directly(draft, place)?;
        Ok(place)
    }

    /// Whether the segment of `place` is among the older half, in a cache that may be more than half full.
    pub(super) fn is_soon_evicted(&self, place: Place) -> bool {
        let Window { oldest, newest } = self.window();
        let segments = newest.saturating_sub(oldest) + 1;
        let bytes_max = segments.saturating_mul(segment_bytes_max(self.max_bytes));
        let age = newest.saturating_sub(place.seq);
        bytes_max > self.max_bytes / 2 && age >= segments / 2
    }

    /// `None` if the record is not to be told by that one.
    fn delta(&self, draft: &Draft, place: Place) -> Option<Vec<u8>> {
        let entry = self.cache.segments.entry(place)?;
        let header = entry.header;
        if header.kind() != Some(Kind::Record) {
            return None;
        }
        let body = body_of(&entry)?;
        let (hot, cold) = body.split_at_checked(usize::try_from(header.hot_bytes).ok()?)?;
        let base = Record::read(hot)?;
        let made = draft.encode_like(&base, &Cold(cold))?;
        let (of_base, of_made) = (&base.head, &Record::read(&made.hot)?.head);
        let hot_part =
            Script::of(&made.hot, hot, size_of::<Head>(), &hot_tables(of_base, of_made))?;
        let cold_part = Script::of(&made.cold, cold, 0, &cold_tables(of_base, of_made))?;
        if hot_part.literals.len() + cold_part.literals.len()
            >= hot_part.copied_bytes + cold_part.copied_bytes
        {
            return None;
        }
        let head = DeltaHead {
            base: place.number(),
            base_sum: header.sum,
            hot_bytes: u32::try_from(made.hot.len()).ok()?,
            cold_bytes: u32::try_from(made.cold.len()).ok()?,
            hot_steps: u32::try_from(hot_part.steps.len()).ok()?,
            cold_steps: u32::try_from(cold_part.steps.len()).ok()?,
        };
        let steps = [hot_part.steps, cold_part.steps].concat();
        let parts = [bytes_of(&head), cast_slice(&steps), &hot_part.literals, &cold_part.literals];
        Some(parts.concat())
    }
}

/// A table of a part, and the base's of the same kind.
struct TablePair {
    /// Where it stands: bytes.
    made: std::ops::Range<usize>,
    /// Where the base's does.
    base: std::ops::Range<usize>,
    entry_bytes: usize,
}

impl TablePair {
    fn of<T>(base: Span, made: Span) -> TablePair {
        let entry_bytes = size_of::<T>();
        let range =
            |span: Span| span.at as usize..span.at as usize + span.len as usize * entry_bytes;
        TablePair { made: range(made), base: range(base), entry_bytes }
    }
}

/// In the order in which they are written.
fn hot_tables(base: &Head, made: &Head) -> [TablePair; 5] {
    [
        TablePair::of::<record::Variable>(base.variables, made.variables),
        TablePair::of::<record::Input>(base.inputs, made.inputs),
        TablePair::of::<record::Directory>(base.directories, made.directories),
        TablePair::of::<record::Absence>(base.absences, made.absences),
        TablePair::of::<record::Output>(base.outputs, made.outputs),
    ]
}

fn cold_tables(base: &Head, made: &Head) -> [TablePair; 2] {
    [
        TablePair::of::<record::Proof>(base.proofs, made.proofs),
        TablePair::of::<record::Search>(base.searches, made.searches),
    ]
}

/// How many entries from where it is expected one is looked for.
const AWAY: usize = 8;

/// What makes a part of the base's.
#[derive(Default)]
struct Script {
    steps: Vec<Step>,
    literals: Vec<u8>,
    /// How much of the tables is copied.
    copied_bytes: usize,
}

impl Script {
    /// That of a part that begins with the base's bytes, of which only the head is another one, and has tables behind them.
    fn of(made: &[u8], base: &[u8], head_bytes: usize, tables: &[TablePair]) -> Option<Script> {
        let mut script = Script::default();
        script.add_literal(made.get(..head_bytes)?)?;
        script.add_copy(head_bytes, base.len().checked_sub(head_bytes)?)?;
        let mut at = base.len();
        for table in tables {
            script.add_literal(made.get(at..table.made.start)?)?;
            at = table.made.end;
            script.add_table(
                made.get(table.made.clone())?,
                base.get(table.base.clone())?,
                table,
            )?;
        }
        script.add_literal(made.get(at..)?)?;
        Some(script)
    }

    fn add_table(&mut self, entries: &[u8], base: &[u8], table: &TablePair) -> Option<()> {
        let of_base: Vec<&[u8]> = base.chunks_exact(table.entry_bytes).collect();
        let mut next = 0;
        for entry in entries.chunks_exact(table.entry_bytes) {
            let is_same = |at: &usize| of_base.get(*at).is_some_and(|other| *other == entry);
            let near = (0..=AWAY).flat_map(|away| [Some(next + away), next.checked_sub(away)]);
            if let Some(at) = near.flatten().find(is_same) {
                self.add_copy(table.base.start + at * table.entry_bytes, entry.len())?;
                self.copied_bytes += entry.len();
                next = at + 1;
            } else {
                self.add_literal(entry)?;
                next += 1;
            }
        }
        Some(())
    }

    fn add_copy(&mut self, at: usize, len: usize) -> Option<()> {
        let at = u32::try_from(at).ok()?;
        self.add(at, len, |last| last.at != LITERAL && last.at + last.len == at)
    }

    fn add_literal(&mut self, bytes: &[u8]) -> Option<()> {
        self.literals.extend_from_slice(bytes);
        self.add(LITERAL, bytes.len(), |last| last.at == LITERAL)
    }

    /// Makes the last step longer, if what is added goes on from it.
    fn add(&mut self, at: u32, len: usize, goes_on: impl FnOnce(&Step) -> bool) -> Option<()> {
        let len = u32::try_from(len).ok()?;
        match self.steps.last_mut().filter(|last| goes_on(last)) {
            Some(last) => last.len += len,
            None if len == 0 => {}
            None => self.steps.push(Step { at, len }),
        }
        Some(())
    }
}
