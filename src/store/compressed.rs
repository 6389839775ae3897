//! Results that were not used for long, compressed: a record with what it gives, as an export has them, and its path set.
//!
//! The look-up before libc does not know them. The look-up by content takes one where nothing else is true: it is stored anew,
//! as if it were imported, and then judged as anything else. Read next: `compress.rs` (what is compressed, and when), `layer.rs`.

use std::io::Cursor;

use xxhash_rust::xxh3::{Xxh3, xxh3_128};

use super::Store;
use super::append::NewEntry;
use super::decode::decode_record;
use super::draft::Draft;
use super::export_reader::{ExportContents, Reader};
use super::walk::body_of;
use crate::error::StoreError;
use crate::index::candidates;
use crate::shm::layout::{EntryHeader, Kind};
use crate::shm::segments::{Entry, Place};

/// How hard is compressed: with more, objects of C++ with debug information become little smaller, and it takes longer.
const LEVEL: i32 = 3;

/// The index key of the compressed results of a result key: they take no room from its records.
fn index_key(result_key: &[u8; 16]) -> [u8; 16] {
    let mut hasher = Xxh3::new();
    hasher.update(b"ibid compressed");
    hasher.update(result_key);
    hasher.digest128().to_le_bytes()
}

/// What was compressed to the body of an entry; `None` if that is damaged.
pub(super) fn unpacked(entry: &Entry<'_>) -> Option<Vec<u8>> {
    let body = body_of(entry)?;
    // The sum is that of what stands here: a decompressor is given nothing else.
    (xxh3_128(&body).to_le_bytes() == entry.header.sum).then_some(())?;
    zstd::stream::decode_all(Cursor::new(body)).ok()
}

/// A compressed result as an export of one record, and what is in that; `None` if it is damaged.
pub(super) fn contents(entry: &Entry<'_>) -> Option<(Vec<u8>, ExportContents)> {
    let bytes = unpacked(entry)?;
    let contents = Reader::new(&mut Cursor::new(&bytes), None, &mut |_| {}).contents().ok()?;
    let is_right = matches!(&contents.items[..], [item] if item.is_record()
        && item.header.key[16..] == entry.header.key[16..]);
    is_right.then_some((bytes, contents))
}

/// The record of a compressed result.
pub(super) fn draft(entry: &Entry<'_>) -> Option<Draft> {
    let (bytes, contents) = contents(entry)?;
    let item = contents.items.first()?;
    let at = usize::try_from(item.at).ok()?;
    let len = usize::try_from(item.header.body_bytes).ok()?;
    decode_record(&item.header, bytes.get(at..)?.get(..len)?)
}

impl Store {
    /// The compressed results of a result key, newest first.
    pub(super) fn compressed(&self, result_key: &[u8; 16]) -> Vec<Entry<'_>> {
        let index = &self.cache.index;
        let places = candidates(&index.words(), &index_key(result_key), index.window());
        let entries = places.iter().filter_map(|place| self.cache.segments.entry(place));
        let is_it = |entry: &Entry<'_>| {
            entry.header.kind() == Some(Kind::Compressed) && entry.header.key[16..] == *result_key
        };
        entries.filter(is_it).collect()
    }

    /// Stores an export of the record with this header, compressed; the bytes of the entry. `None` if it becomes little smaller.
    pub(super) fn put_compressed(
        &self,
        record: &EntryHeader,
        export: &[u8],
    ) -> Result<Option<u64>, StoreError> {
        let body = compress(export)?;
        if 4 * body.len() > 3 * export.len() {
            return Ok(None);
        }
        let result_key = record.key.last_chunk().copied().unwrap_or_default();
        let index_key = index_key(&result_key);
        let mut key = [0; 32];
        key[..16].copy_from_slice(&index_key);
        key[16..].copy_from_slice(&result_key);
        let place = self.append(&NewEntry {
            kind: Kind::Compressed,
            key,
            hot_bytes: 0,
            stored_s: record.stored_s,
            sum: xxh3_128(&body).to_le_bytes(),
            identity: record.identity,
            circumstances: 0,
            body: &[&body],
        })?;
        self.publish(&index_key, place, |_| false)?;
        Ok(Some(entry_bytes(&body)))
    }

    /// Appends a path set with this header anew, compressed: where, and the bytes of the entry.
    pub(super) fn append_compressed_set(
        &self,
        header: &EntryHeader,
        bytes: &[u8],
    ) -> Result<(Place, u64), StoreError> {
        let body = compress(bytes)?;
        let sum = xxh3_128(&body).to_le_bytes();
        let damaged = || StoreError::Corrupt(self.directory.clone());
        let parts = [&body[..]];
        let entry = NewEntry::of(header, &parts).ok_or_else(damaged)?;
        let place = self.append(&NewEntry { kind: Kind::CompressedSet, sum, ..entry })?;
        Ok((place, entry_bytes(&body)))
    }
}

fn compress(bytes: &[u8]) -> Result<Vec<u8>, StoreError> {
    // It fails for want of memory only.
    zstd::bulk::compress(bytes, LEVEL).map_err(|_| StoreError::MemoryLimit)
}

fn entry_bytes(body: &[u8]) -> u64 {
    (size_of::<EntryHeader>() + body.len()) as u64
}
