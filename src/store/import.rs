//! Takes over what another cache has exported.
//!
//! All of the file is verified before anything is stored; and what is stored then is found by content only: no stamp of
//! another machine is believed. Nothing here says who wrote the file. Read next: `export_reader.rs`, `export.rs`.

use std::collections::{HashMap, HashSet};
use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::FileExt;

use rustix::fs::{MemfdFlags, memfd_create};

use super::append::NewEntry;
use super::decode::{decode_record, is_whole};
use super::draft::Draft;
pub use super::export_reader::ImportError;
use super::export_reader::{
    ExportContents, HEADER_BYTES, Identity, Item, Reader, Whole, identity, key_by_content,
};
use super::large::READING;
use super::space::segment_bytes_max;
use super::{Store, files};
use crate::error::StoreError;
use crate::outcome::InternalError;
use crate::record::BlobRef;
use crate::shm::layout::{EntryHeader, Kind, UNIT_BYTES, index_bytes};
use crate::shm::segments::Place;
use crate::shm::stat::Stamp;

/// What is imported.
pub enum ImportFrom<'s> {
    /// A file, which is read twice.
    File(&'s File),
    /// A pipe and the like: it is copied to a file in the cache first.
    Stream(&'s mut dyn Read),
}

/// What was done.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Imported {
    /// Records that were added.
    pub records: u64,
    /// Blobs that were added.
    pub blobs: u64,
    /// Bytes that were added.
    pub bytes: u64,
    /// Records that were there already.
    pub known: u64,
    /// Records, the oldest, that the cache has no room for.
    pub left_out: u64,
}

/// Verifies an export and stores what is new in it. `progress` is told how many of how many steps are done.
pub fn import(
    store: &Store,
    source: ImportFrom<'_>,
    progress: &mut dyn FnMut(usize, usize),
) -> Result<Imported, ImportError> {
    store.index()?;
    let copy;
    let (file, contents) = match source {
        ImportFrom::File(mut file) => {
            let bytes = file.metadata().map_err(ImportError::Read)?.len();
            let total = usize::try_from(bytes).unwrap_or(usize::MAX);
            let mut tell = |at| progress(usize::try_from(at).unwrap_or(usize::MAX), 2 * total);
            (file, Reader::new(&mut file, None, &mut tell).contents()?)
        }
        ImportFrom::Stream(stream) => {
            copy = store.unnamed_file()?;
            (&copy, Reader::new(stream, Some(&copy), &mut |_| {}).contents()?)
        }
    };
    let grown;
    // A record has two words, a blob and a path set one.
    let words = 2 * contents.items.len() as u64 + contents.blobs.len() as u64;
    let store = if store.grow_index(words, true, &mut |_, _| {}).map_err(ImportError::Store)? {
        grown = store.reopened().map_err(ImportError::Store)?;
        &grown
    } else {
        store
    };
    let known = KnownHere::of(store, &contents);
    contents.check_references(&known)?;
    let (wanted, mut imported) = contents.wanted(store, &known);
    let places = known.blobs.iter().map(|(digest, known)| (*digest, known.at)).collect();
    let mut importer = Importer { store, file, contents: &contents, places, progress };
    importer.run(&wanted, &mut imported)?;
    Ok(imported)
}

/// Verifies an export of one record and stores it, if it stands under this result key; the microseconds that its tool took.
pub fn import_result(
    store: &Store,
    mut file: &File,
    result_key: &[u8; 16],
) -> Result<u64, ImportError> {
    store.index()?;
    let contents = Reader::new(&mut file, None, &mut |_| {}).contents()?;
    let [item] = &contents.items[..] else { return Err(ImportError::Damaged(0)) };
    if !item.is_record() || item.header.key[16..] != *result_key {
        return Err(ImportError::Damaged(item.at));
    }
    contents.check_references(&KnownHere::default())?;
    let (places, progress) = (HashMap::new(), &mut |_, _| {});
    let mut importer = Importer { store, file, contents: &contents, places, progress };
    importer.item(item, &mut Imported::default())?;
    let body = importer.body(item)?;
    Ok(decode_record(&item.header, &body).map_or(0, |draft| draft.tool_us))
}

/// The same of an export that is in memory.
pub fn import_result_in(
    store: &Store,
    export: &[u8],
    result_key: &[u8; 16],
) -> Result<u64, ImportError> {
    let file = memfd_create("ibid", MemfdFlags::CLOEXEC);
    let file = File::from(file.map_err(|error| ImportError::Copy(error.into()))?);
    // It is read from its beginning: this moves no position.
    file.write_all_at(export, 0).map_err(ImportError::Copy)?;
    import_result(store, &file, result_key)
}

impl ExportContents {
    /// Whether all blobs that a record names are in the file or in the cache.
    fn check_references(&self, known: &KnownHere) -> Result<(), ImportError> {
        for item in &self.items {
            let is_there = |blob: &BlobRef| match self.blobs.get(&blob.digest) {
                Some(own) => own.is(blob),
                None => known.blobs.get(&blob.digest).is_some_and(|known| known.is(blob)),
            };
            if !item.blobs.iter().all(is_there) {
                return Err(ImportError::NoBlob(item.at - HEADER_BYTES));
            }
        }
        Ok(())
    }

    /// What is to be stored, the newest that there is room for, in the file's order.
    fn wanted(&self, store: &Store, known: &KnownHere) -> (Vec<&Item>, Imported) {
        let mut imported = Imported::default();
        let mut room = store.room_bytes();
        let (mut wanted, mut counted) = (Vec::new(), HashSet::new());
        let mut is_full = false;
        for item in self.items.iter().rev() {
            let is_new = |blob: &&BlobRef| {
                !known.blobs.contains_key(&blob.digest) && !counted.contains(&blob.digest)
            };
            let new: Vec<_> = item.blobs.iter().filter(is_new).collect();
            let is_known = known.others.contains(&item.identity());
            if is_known && new.is_empty() {
                imported.known += u64::from(item.is_record());
                continue;
            }
            let sizes = new.iter().map(|blob| blob.len_bytes).chain([item.header.body_bytes]);
            let is_too_large = sizes.clone().any(|bytes| store.entry_bytes(bytes).is_err());
            let bytes: u64 = sizes.map(room_of).sum();
            is_full |= !is_too_large && bytes > room;
            if is_full || is_too_large {
                imported.left_out += u64::from(item.is_record());
                continue;
            }
            room -= bytes;
            counted.extend(new.iter().map(|blob| blob.digest));
            wanted.push(item);
        }
        wanted.reverse();
        (wanted, imported)
    }
}

/// What an entry with so long a body takes in a segment.
fn room_of(body_bytes: u64) -> u64 {
    (body_bytes + HEADER_BYTES).next_multiple_of(UNIT_BYTES)
}

/// What of a file's contents the cache has.
#[derive(Default)]
struct KnownHere {
    blobs: HashMap<[u8; 32], Whole<Place>>,
    others: HashSet<Identity>,
}

impl KnownHere {
    fn of(store: &Store, contents: &ExportContents) -> KnownHere {
        let named = contents.items.iter().flat_map(|item| &item.blobs);
        let named: HashSet<_> = named.map(|blob| blob.digest).collect();
        let items: HashSet<_> = contents.items.iter().map(Item::identity).collect();
        let mut known = KnownHere::default();
        store.each_place(|place, entry| {
            if entry.header.kind() == Some(Kind::Blob) {
                let EntryHeader { key, sum, body_bytes: len_bytes, .. } = entry.header;
                // One that is damaged does not count.
                if named.contains(&key) && entry.body_sum() == Some(sum) {
                    known.blobs.insert(key, Whole { at: place, len_bytes, sum });
                }
            } else if items.contains(&identity(&entry.header)) {
                known.others.insert(identity(&entry.header));
            }
        });
        known
    }
}

/// Stores what was verified.
struct Importer<'i> {
    store: &'i Store,
    file: &'i File,
    contents: &'i ExportContents,
    /// Where blobs stand in the cache.
    places: HashMap<[u8; 32], Place>,
    progress: &'i mut dyn FnMut(usize, usize),
}

impl Importer<'_> {
    fn run(&mut self, wanted: &[&Item], imported: &mut Imported) -> Result<(), ImportError> {
        // The lowest segment that each record needs: it may be evicted before the import is done.
        let mut first_segments = Vec::new();
        for (done, item) in wanted.iter().enumerate() {
            let first = self.item(item, imported)?;
            if item.is_record() {
                first_segments.push(first);
            }
            (self.progress)(wanted.len() + done + 1, 2 * wanted.len());
        }
        let oldest = self.store.window().oldest;
        let is_there = |first: &&Option<u64>| first.is_some_and(|seq| seq >= oldest);
        imported.records = first_segments.iter().filter(is_there).count() as u64;
        imported.left_out += first_segments.len() as u64 - imported.records;
        Ok(())
    }

    /// Stores an item and what it names; the number of the lowest segment that they are in. `None` if a blob that was in
    /// the cache has been evicted.
    fn item(&mut self, item: &Item, imported: &mut Imported) -> Result<Option<u64>, ImportError> {
        let mut first = u64::MAX;
        for blob in &item.blobs {
            let Some(place) = self.blob(blob, imported)? else { return Ok(None) };
            first = first.min(place.seq);
        }
        let body = self.body(item)?;
        let place = if item.is_record() {
            let draft = decode_record(&item.header, &body).ok_or(ImportError::Changed)?;
            self.record(draft, item.header.stored_s)?
        } else if is_whole(&item.header, &body) {
            self.store.put_entry(&item.header, &body)?
        } else {
            return Err(ImportError::Changed);
        };
        imported.bytes += item.header.body_bytes;
        Ok(Some(first.min(place.seq)))
    }

    fn body(&self, item: &Item) -> Result<Vec<u8>, ImportError> {
        let mut body = vec![0; usize::try_from(item.header.body_bytes).unwrap_or(0)];
        self.file.read_exact_at(&mut body, item.at).map_err(ImportError::Read)?;
        Ok(body)
    }

    /// Where a blob stands, which is stored if it does not yet.
    fn blob(
        &mut self,
        blob: &BlobRef,
        imported: &mut Imported,
    ) -> Result<Option<Place>, ImportError> {
        let oldest = self.store.window().oldest;
        if let Some(place) = self.places.get(&blob.digest).filter(|place| place.seq >= oldest) {
            return Ok(Some(*place));
        }
        let Some(own) = self.contents.blobs.get(&blob.digest) else { return Ok(None) };
        let stored = self.store.put_part(self.file, own.at, own.len_bytes);
        let stored = stored.map_err(|error| match error {
            StoreError::Io { what: READING, source, .. } => ImportError::Read(source),
            error => ImportError::Store(error),
        })?;
        if stored.digest != blob.digest {
            return Err(ImportError::Changed);
        }
        let place = stored.place();
        self.places.insert(blob.digest, place);
        imported.blobs += 1;
        imported.bytes += blob.len_bytes;
        Ok(Some(place))
    }

    /// Stores a record whose blobs are stored, for the look-up by content.
    fn record(&mut self, mut draft: Draft, stored_s: u32) -> Result<Place, ImportError> {
        let places = &self.places;
        let named = draft.outputs.iter_mut().map(|output| &mut output.blob);
        for blob in named.chain(&mut draft.stdout).chain(&mut draft.stderr) {
            blob.set_place(places.get(&blob.digest).copied().unwrap_or(Place { seq: 0, unit: 0 }));
        }
        let unknown = Stamp([0; 16]);
        draft.inputs.iter_mut().for_each(|input| input.stamp = unknown);
        draft.directories.iter_mut().for_each(|directory| directory.stamp = unknown);
        let place = self.store.append_record(&draft, stored_s)?;
        self.store.publish_by_content(&draft, place)?;
        Ok(place)
    }
}

impl Store {
    /// How many bytes of entries can be stored without evicting those that were stored just before.
    fn room_bytes(&self) -> u64 {
        let index_bytes = index_bytes(self.cache.index.header().buckets);
        // The one that is begun already, and the next one.
        let segment_bytes = segment_bytes_max(self.max_bytes);
        self.max_bytes.saturating_sub(index_bytes + 2 * segment_bytes).max(segment_bytes / 2)
    }

    /// Stores an entry that is neither a record nor a blob, as another cache had it.
    pub(super) fn put_entry(&self, header: &EntryHeader, body: &[u8]) -> Result<Place, StoreError> {
        let damaged = || StoreError::Corrupt(self.directory.clone());
        let place = self.append(&NewEntry::of(header, &[body]).ok_or_else(damaged)?)?;
        self.publish(&key_by_content(header), place, |old| {
            let old = self.cache.segments.entry(old);
            old.is_some_and(|old| identity(&old.header) == identity(header))
        })?;
        Ok(place)
    }

    /// A file in the cache's directory that nobody else sees.
    fn unnamed_file(&self) -> Result<File, StoreError> {
        let failed = || StoreError::io("cannot write", &self.directory, InternalError::Append);
        let (path, file) = files::temporary_file(&self.segment_path(0)).map_err(failed())?;
        fs::remove_file(path).map_err(failed())?;
        Ok(file)
    }
}
