//! The two parts of a stored record, copied into memory of our own and checked there; of a delta, made of its base's.
//!
//! Read next: `delta.rs`.

use xxhash_rust::xxh3::xxh3_128;

use super::delta::{Delta, DeltaHead};
use super::{Cold, Record};
use crate::shm::layout::Kind;
use crate::shm::segments::{Entry, Place, Segments};

/// Copies a record's hot part into `arena`, checks it, and gives it with what is left of the arena. `None` if it is damaged, or is
/// the delta of a record that is not there.
pub fn hot_part<'a>(
    segments: &Segments,
    entry: &Entry<'_>,
    arena: &'a mut [u8],
) -> Option<(Record<'a>, &'a mut [u8])> {
    let (bytes, rest) = summed(entry, arena)?;
    if entry.header.kind() != Some(Kind::Delta) {
        return Some((Record::read(bytes)?, rest));
    }
    let delta = Delta::read(bytes)?;
    let base = base_of(segments, entry)?;
    let (hot, rest) = rest.split_at_mut_checked(delta.head.hot_bytes as usize)?;
    let (of_base, _) = summed(&base, &mut *rest)?;
    delta.hot(of_base, hot)?;
    Some((Record::read(hot)?, rest))
}

/// Copies a record's cold part into `arena`, checks it, and gives it with what is left of the arena.
pub fn cold_part<'a>(
    segments: &Segments,
    entry: &Entry<'_>,
    record: &Record<'_>,
    arena: &'a mut [u8],
) -> Option<(Cold<'a>, &'a mut [u8])> {
    let (cold, rest) = if entry.header.kind() == Some(Kind::Delta) {
        let (bytes, rest) = summed(entry, arena)?;
        let delta = Delta::read(bytes)?;
        let base = base_of(segments, entry)?;
        let (cold, rest) = rest.split_at_mut_checked(delta.head.cold_bytes as usize)?;
        let (of_base, _) = cold_bytes(&base, &mut *rest)?;
        delta.cold(of_base, cold)?;
        (&*cold, rest)
    } else {
        cold_bytes(entry, arena)?
    };
    let is_right = xxh3_128(cold).to_le_bytes() == record.head.cold_sum;
    is_right.then_some((Cold(cold), rest))
}

/// How much memory both parts of a record need, one after the other: bytes.
pub fn arena_bytes(segments: &Segments, entry: &Entry<'_>) -> Option<usize> {
    let of = |bytes: u64| usize::try_from(bytes).ok();
    let own = of(entry.header.body_bytes)?;
    if entry.header.kind() != Some(Kind::Delta) {
        return Some(own);
    }
    let (head, base) = (delta_head(entry)?, base_of(segments, entry)?);
    let made = of(u64::from(head.hot_bytes) + u64::from(head.cold_bytes))?;
    own.checked_mul(2)?.checked_add(made)?.checked_add(of(base.header.body_bytes)?)
}

/// The record that tells a delta: the very one of which it was made.
pub fn base_of<'s>(segments: &'s Segments, delta: &Entry<'_>) -> Option<Entry<'s>> {
    let head = delta_head(delta)?;
    let entry = segments.entry(Place::of_number(head.base)?)?;
    let is_it = entry.header.kind() == Some(Kind::Record) && entry.header.sum == head.base_sum;
    is_it.then_some(entry)
}

/// Where the record stands, or stood, that tells a delta.
pub fn base_place(delta: &Entry<'_>) -> Option<Place> {
    Place::of_number(delta_head(delta)?.base)
}

fn delta_head(entry: &Entry<'_>) -> Option<DeltaHead> {
    let mut head = [0; size_of::<DeltaHead>()];
    (entry.header.kind() == Some(Kind::Delta)).then_some(())?;
    entry.copy_out(0, &mut head)?;
    Some(bytemuck::pod_read_unaligned(&head))
}

/// The bytes of an entry of which its header has the sum.
fn summed<'a>(entry: &Entry<'_>, arena: &'a mut [u8]) -> Option<(&'a [u8], &'a mut [u8])> {
    let len = usize::try_from(entry.header.hot_bytes).ok()?;
    let (bytes, rest) = arena.split_at_mut_checked(len)?;
    entry.copy_out(0, bytes)?;
    let is_right = xxh3_128(bytes).to_le_bytes() == entry.header.sum;
    is_right.then_some((&*bytes, rest))
}

/// The bytes after these.
fn cold_bytes<'a>(entry: &Entry<'_>, arena: &'a mut [u8]) -> Option<(&'a [u8], &'a mut [u8])> {
    let hot_bytes = u64::from(entry.header.hot_bytes);
    let len = usize::try_from(entry.header.body_bytes.checked_sub(hot_bytes)?).ok()?;
    let (bytes, rest) = arena.split_at_mut_checked(len)?;
    entry.copy_out(hot_bytes, bytes)?;
    Some((&*bytes, rest))
}
