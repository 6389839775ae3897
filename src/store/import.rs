//! Takes over what another cache has exported.
//!
//! All of the file is verified before anything is stored; and what is stored then is found by content only: no stamp of
//! another machine is believed. Nothing here says who wrote the file. Read next: `export_format.rs`, `export.rs`.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::FileExt;

use xxhash_rust::xxh3::Xxh3;

use super::append::NewEntry;
use super::draft::Draft;
use super::export::{can_be_judged_by_content, is_whole};
use super::export_format::{FileHeader, MAGIC, TRAILER_DIGEST_OFFSET, TRAILER_MAGIC, Trailer};
use super::large::READING;
use super::verify::{blobs_of, decode_record};
use super::{Store, files};
use crate::error::StoreError;
use crate::outcome::InternalError;
use crate::record::BlobRef;
use crate::shm::layout::{
    Checked, DIRECTORY, ENTRY_BYTES_MAX, ENTRY_MAGIC, EntryHeader, Kind, SEGMENT_BYTES,
    SEGMENT_FIRST_UNIT, UNIT_BYTES, index_bytes,
};
use crate::shm::segments::Place;
use crate::shm::stat::Stamp;

/// How much is read at a time.
const CHUNK_BYTES: usize = 1 << 20;
const HEADER_BYTES: u64 = size_of::<EntryHeader>() as u64;

/// What is imported.
pub enum Source<'s> {
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

/// Why nothing was imported, or not all.
#[derive(Debug)]
pub enum ImportError {
    /// The file cannot be read.
    Read(io::Error),
    /// It cannot be copied into the cache's directory, from where it is read again.
    Copy(io::Error),
    /// It is something else.
    NotAnExport,
    /// Another version of ibid wrote it.
    Layout(String),
    /// It ends before the trailer.
    CutShort,
    /// What stands at this offset is not what was written.
    Damaged(u64),
    /// A record names a blob that is neither in the file nor in the cache.
    NoBlob(u64),
    /// It is no longer what was verified.
    Changed,
    /// The cache cannot take it.
    Store(StoreError),
}

impl fmt::Display for ImportError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ImportError::Read(error) => write!(f, "cannot be read: {error}"),
            ImportError::Copy(error) => write!(f, "cannot be copied into the cache: {error}"),
            ImportError::NotAnExport => write!(f, "is not an export of ibid"),
            ImportError::Layout(layout) => write!(
                f,
                "was written by another version of ibid (layout {layout}, here {DIRECTORY}); nothing is imported"
            ),
            ImportError::CutShort => write!(f, "is cut short; nothing is imported"),
            ImportError::Damaged(at) => write!(f, "is damaged at byte {at}; nothing is imported"),
            ImportError::NoBlob(at) => {
                write!(f, "lacks what its record at byte {at} gives; nothing is imported")
            }
            ImportError::Changed => write!(f, "was changed while it was read"),
            ImportError::Store(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for ImportError {}

impl From<StoreError> for ImportError {
    fn from(error: StoreError) -> ImportError {
        ImportError::Store(error)
    }
}

/// Verifies an export and stores what is new in it. `progress` is told how many of how many steps are done.
pub fn import(
    store: &Store,
    source: Source<'_>,
    progress: &mut dyn FnMut(usize, usize),
) -> Result<Imported, ImportError> {
    store.index()?;
    let copy;
    let (file, contents) = match source {
        Source::File(mut file) => {
            let bytes = file.metadata().map_err(ImportError::Read)?.len();
            let total = usize::try_from(bytes).unwrap_or(usize::MAX);
            let mut tell = |at| progress(usize::try_from(at).unwrap_or(usize::MAX), 2 * total);
            (file, Reader::new(&mut file, None, &mut tell).contents()?)
        }
        Source::Stream(stream) => {
            copy = store.unnamed_file()?;
            (&copy, Reader::new(stream, Some(&copy), &mut |_| {}).contents()?)
        }
    };
    let known = Known::of(store, &contents);
    contents.check_references(&known)?;
    let (wanted, mut imported) = contents.wanted(store, &known);
    let places = known.blobs.iter().map(|(digest, known)| (*digest, known.at)).collect();
    let mut importer = Importer { store, file, contents: &contents, places, progress };
    importer.run(&wanted, &mut imported)?;
    Ok(imported)
}

/// An entry of the file that is no blob.
struct Item {
    header: EntryHeader,
    /// Where its body begins.
    at: u64,
    /// What it names.
    blobs: Vec<BlobRef>,
}

impl Item {
    fn is_record(&self) -> bool {
        self.header.kind() == Some(Kind::Record)
    }

    /// What tells it from entries that say something else.
    fn identity(&self) -> Identity {
        identity(&self.header)
    }
}

/// Kind, key under which it is found by content, and what it says.
type Identity = (u32, [u8; 16], [u8; 16]);

fn identity(header: &EntryHeader) -> Identity {
    let is_record = header.kind() == Some(Kind::Record);
    let says = if is_record { header.identity } else { header.sum };
    (header.kind, key_by_content(header), says)
}

/// The key of the index under which an entry is found whatever the times of files are.
fn key_by_content(header: &EntryHeader) -> [u8; 16] {
    let (first, second) = header.key.split_at(16);
    let key = if header.kind() == Some(Kind::Record) { second } else { first };
    key.try_into().unwrap_or_default()
}

/// A blob that is whole, in the file or in the cache.
#[derive(Clone, Copy)]
struct Whole<At> {
    at: At,
    len_bytes: u64,
    sum: [u8; 16],
}

impl<At> Whole<At> {
    fn is(&self, blob: &BlobRef) -> bool {
        self.len_bytes == blob.len_bytes && self.sum == blob.sum
    }
}

/// What a file holds, in its order.
#[derive(Default)]
struct Contents {
    /// By digest, with where their bytes begin.
    blobs: HashMap<[u8; 32], Whole<u64>>,
    items: Vec<Item>,
}

impl Contents {
    /// Whether all blobs that a record names are in the file or in the cache.
    fn check_references(&self, known: &Known) -> Result<(), ImportError> {
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
    fn wanted(&self, store: &Store, known: &Known) -> (Vec<&Item>, Imported) {
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
struct Known {
    blobs: HashMap<[u8; 32], Whole<Place>>,
    others: HashSet<Identity>,
}

impl Known {
    fn of(store: &Store, contents: &Contents) -> Known {
        let named = contents.items.iter().flat_map(|item| &item.blobs);
        let named: HashSet<_> = named.map(|blob| blob.digest).collect();
        let items: HashSet<_> = contents.items.iter().map(Item::identity).collect();
        let mut known = Known::default();
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

/// Reads a file from the beginning to its end, and believes nothing of it.
struct Reader<'r> {
    from: &'r mut dyn Read,
    copy: Option<&'r File>,
    tell: &'r mut dyn FnMut(u64),
    digest: blake3::Hasher,
    at: u64,
    chunk: Vec<u8>,
}

impl<'r> Reader<'r> {
    fn new(
        from: &'r mut dyn Read,
        copy: Option<&'r File>,
        tell: &'r mut dyn FnMut(u64),
    ) -> Reader<'r> {
        let chunk = vec![0; CHUNK_BYTES];
        Reader { from, copy, tell, digest: blake3::Hasher::new(), at: 0, chunk }
    }

    /// Fills `into`, of which the first `hashed` bytes count for the file's digest.
    fn fill(&mut self, into: &mut [u8], hashed: usize) -> Result<(), ImportError> {
        self.from.read_exact(into).map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => ImportError::CutShort,
            _ => ImportError::Read(error),
        })?;
        self.digest.update(&into[..hashed]);
        if let Some(copy) = self.copy {
            copy.write_all_at(into, self.at).map_err(ImportError::Copy)?;
        }
        self.at += into.len() as u64;
        (self.tell)(self.at);
        Ok(())
    }

    /// Fills `into`, all of which counts for the file's digest.
    fn fill_whole(&mut self, into: &mut [u8]) -> Result<(), ImportError> {
        self.fill(into, into.len())
    }

    fn contents(mut self) -> Result<Contents, ImportError> {
        self.file_header()?;
        let mut contents = Contents::default();
        let (mut entries, mut blobs) = (0, 0);
        loop {
            let at = self.at;
            let mut head = [0; size_of::<EntryHeader>()];
            self.fill(&mut head, 0)?;
            let magic = u32::from_le_bytes([head[0], head[1], head[2], head[3]]);
            if magic == TRAILER_MAGIC {
                self.trailer(&bytemuck::pod_read_unaligned(&head), (entries, blobs, at))?;
                return Ok(contents);
            }
            self.digest.update(&head);
            let header: EntryHeader = bytemuck::pod_read_unaligned(&head);
            let is_right = magic == ENTRY_MAGIC
                && header.is_intact()
                && u64::from(header.hot_bytes) <= header.body_bytes;
            let kind = header.kind().filter(|_| is_right).ok_or(ImportError::Damaged(at))?;
            entries += 1;
            if kind == Kind::Blob {
                blobs += 1;
                self.blob(&header, &mut contents)?;
            } else {
                contents.items.push(self.item(header)?);
            }
        }
    }

    fn file_header(&mut self) -> Result<(), ImportError> {
        let mut bytes = [0; size_of::<FileHeader>()];
        let (magic, rest) = bytes.split_at_mut(MAGIC.len());
        match self.fill_whole(magic) {
            Err(ImportError::CutShort) => return Err(ImportError::NotAnExport),
            filled => filled?,
        }
        if *magic != MAGIC {
            return Err(ImportError::NotAnExport);
        }
        self.fill_whole(rest)?;
        let header: FileHeader = bytemuck::pod_read_unaligned(&bytes);
        if header.check != header.expected_check() || header.reserved != 0 {
            return Err(ImportError::Damaged(0));
        }
        if header.layout() == DIRECTORY {
            Ok(())
        } else {
            Err(ImportError::Layout(header.layout()))
        }
    }

    fn trailer(
        &mut self,
        trailer: &Trailer,
        (entries, blobs, at): (u64, u64, u64),
    ) -> Result<(), ImportError> {
        self.digest.update(&bytemuck::bytes_of(trailer)[..TRAILER_DIGEST_OFFSET]);
        let is_right = *self.digest.finalize().as_bytes() == trailer.digest
            && (trailer.entries, trailer.blobs, trailer.bytes) == (entries, blobs, at);
        if !is_right {
            return Err(ImportError::Damaged(at));
        }
        match self.fill(&mut [0], 0) {
            Err(ImportError::CutShort) => Ok(()),
            Err(error) => Err(error),
            Ok(()) => Err(ImportError::Damaged(self.at - 1)),
        }
    }

    fn blob(&mut self, header: &EntryHeader, into: &mut Contents) -> Result<(), ImportError> {
        let at = self.at;
        let (mut sum, mut digest) = (Xxh3::new(), blake3::Hasher::new());
        let mut chunk = std::mem::take(&mut self.chunk);
        let mut left = header.body_bytes;
        while left > 0 {
            let part = &mut chunk[..usize::try_from(left).unwrap_or(CHUNK_BYTES).min(CHUNK_BYTES)];
            self.fill_whole(part)?;
            sum.update(part);
            digest.update(part);
            left -= part.len() as u64;
        }
        self.chunk = chunk;
        let is_right = sum.digest128().to_le_bytes() == header.sum
            && *digest.finalize().as_bytes() == header.key;
        if !is_right {
            return Err(ImportError::Damaged(at));
        }
        let blob = Whole { at, len_bytes: header.body_bytes, sum: header.sum };
        into.blobs.insert(header.key, blob);
        Ok(())
    }

    fn item(&mut self, header: EntryHeader) -> Result<Item, ImportError> {
        let at = self.at;
        let damaged = ImportError::Damaged(at);
        if header.body_bytes > ENTRY_BYTES_MAX {
            return Err(damaged);
        }
        let mut body = vec![0; usize::try_from(header.body_bytes).unwrap_or(0)];
        self.fill_whole(&mut body)?;
        if header.kind() != Some(Kind::Record) {
            let item = Item { header, at, blobs: Vec::new() };
            return if is_whole(&header, &body) { Ok(item) } else { Err(damaged) };
        }
        let Some(draft) = decode_record(&header, &body).filter(can_be_judged_by_content) else {
            return Err(damaged);
        };
        if draft.identity() != header.identity {
            return Err(damaged);
        }
        Ok(Item { header, at, blobs: blobs_of(&draft).collect() })
    }
}

/// Stores what was verified.
struct Importer<'i> {
    store: &'i Store,
    file: &'i File,
    contents: &'i Contents,
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
        let mut body = vec![0; usize::try_from(item.header.body_bytes).unwrap_or(0)];
        self.file.read_exact_at(&mut body, item.at).map_err(ImportError::Read)?;
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
        let place = super::verify::hint(&stored);
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
            blob.hint = places.get(&blob.digest).map_or(0, |at| at.seq << 20 | u64::from(at.unit));
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
        let segments = self.max_bytes.saturating_sub(index_bytes) / SEGMENT_BYTES;
        // The one that is begun already, and the ends of all that do not fit an entry exactly.
        (segments.max(2) - 1) * (SEGMENT_BYTES - u64::from(SEGMENT_FIRST_UNIT) * UNIT_BYTES)
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
