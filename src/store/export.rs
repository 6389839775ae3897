//! Writes what a cache holds as one stream of bytes, for another cache to read.
//!
//! Written is what the index leads to and what is whole: records that can be true in another place or at another time,
//! the blobs that they name, and all path sets. Failing runs, damage and what is evicted meanwhile are left out.
//! Read next: `export_format.rs`, `import.rs`.

use std::collections::{HashMap, HashSet};
use std::io::{self, Write};

use bytemuck::Zeroable;
use xxhash_rust::xxh3::xxh3_128;

use super::Store;
use super::append::now_s;
use super::compressed;
use super::decode::is_whole;
use super::draft::{Draft, blobs_of, is_of_use_elsewhere};
use super::export_format::{FileHeader, TRAILER_DIGEST_OFFSET, TRAILER_MAGIC, Trailer};
use super::export_reader::ExportContents;
use super::verify::blob_is_whole;
use super::walk::Segment;
use crate::record::BlobRef;
use crate::record::stored::base_place;
use crate::shm::layout::{ENTRY_BYTES_MAX, EntryHeader, Kind};
use crate::shm::segments::{Entry, Place};

/// How much of a large blob is read at a time.
const CHUNK_BYTES: usize = 1 << 20;

/// What was written.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Exported {
    /// Records.
    pub records: u64,
    /// Blobs.
    pub blobs: u64,
    /// All bytes.
    pub bytes: u64,
    /// Records that were left out: damaged, with a blob that is gone, true only by the stats of files, or of failing runs.
    pub left_out: u64,
}

/// Which records are written.
#[derive(Debug, Clone)]
pub enum Which {
    /// Those that were stored then (seconds since the epoch) or later, or a delta of them was.
    Since(u64),
    /// Those that stand in these places.
    At(HashSet<Place>),
}

impl Which {
    fn has(&self, place: Place, entry: &Entry<'_>) -> bool {
        match self {
            Which::Since(since_s) => u64::from(entry.header.stored_s) >= *since_s,
            Which::At(places) => places.contains(&place),
        }
    }

    /// The records that tell such deltas: these are of no use elsewhere, but say that their records were used.
    fn bases(&self, store: &Store) -> HashSet<Place> {
        let mut bases = HashSet::new();
        store.each_place(|place, entry| {
            bases.extend(base_place(entry).filter(|_| self.has(place, entry)));
        });
        bases
    }
}

/// Writes records of `store` with their blobs. `progress` is told how many of how many bytes are written.
pub fn export(
    store: &Store,
    which: &Which,
    to: &mut dyn Write,
    progress: &mut dyn FnMut(usize, usize),
) -> io::Result<Exported> {
    Selection::of(store, which).write(store, to, progress)
}

/// Writes the newest record under this result key that is of use elsewhere, with its blobs; its flags. `None` if there is none
/// that is whole, or if it is longer than `bytes_max`: then what was written is of no use.
pub fn export_result(
    store: &Store,
    result_key: &[u8; 16],
    bytes_max: u64,
    to: &mut dyn Write,
) -> io::Result<Option<u32>> {
    let found = store.cache.records(result_key).find_map(|(place, entry)| {
        let draft = store.draft_of(&entry).filter(is_of_use_elsewhere)?;
        (draft.result_key == *result_key).then_some((place, entry, draft))
    });
    let Some((place, entry, draft)) = found else { return Ok(None) };
    let bytes: u64 = blobs_of(&draft).map(|blob| blob.len_bytes).sum();
    if bytes + entry.header.body_bytes > bytes_max {
        return Ok(None);
    }
    let find = |digest: &[u8; 32]| store.cache.find_blob(digest);
    let is_written = export_record(store, (place, &entry), &draft, &find, to)?;
    Ok(is_written.then_some(draft.flags))
}

/// Writes one record with its blobs, of which `find` says where each stands; whether all of it is whole.
pub(super) fn export_record(
    store: &Store,
    (place, entry): (Place, &Entry<'_>),
    draft: &Draft,
    find: &dyn Fn(&[u8; 32]) -> Option<Place>,
    to: &mut dyn Write,
) -> io::Result<bool> {
    let mut selection = Selection::default();
    selection.add_record(place, entry, draft, &mut HashMap::new());
    selection.find_blobs(find);
    Ok(selection.write(store, to, &mut |_, _| {})?.records == 1)
}

/// What is to be written.
#[derive(Default)]
struct Selection {
    /// Blobs that a record names, and where each should stand.
    blobs: Vec<(Place, BlobRef)>,
    /// Everything else, in the order of the places.
    others: Vec<Other>,
    /// Compressed results.
    compressed: Vec<Place>,
    bytes: u64,
    left_out: u64,
}

/// An entry that is no blob.
struct Other {
    place: Place,
    is_record: bool,
    /// What it names, in `blobs`.
    blobs: Vec<u32>,
}

impl Selection {
    fn of(store: &Store, which: &Which) -> Selection {
        let mut selection = Selection::default();
        let bases = which.bases(store);
        let (mut numbers, mut found) = (HashMap::new(), HashMap::new());
        let (mut compressed, mut identities) = (Vec::new(), HashSet::new());
        store.each_place(|place, entry| {
            let Some(kind) = entry.header.kind() else { return };
            if kind == Kind::Blob {
                found.insert(entry.header.key, place);
            } else if kind == Kind::Compressed {
                compressed.extend(which.has(place, entry).then_some((place, entry.header)));
            } else if matches!(kind, Kind::PathSet | Kind::CompressedSet) {
                // What a record may need to be found, whenever that was stored.
                selection.add(place, entry, false, Vec::new());
            } else if kind == Kind::Record && (which.has(place, entry) || bases.contains(&place)) {
                match store.draft_of(entry).filter(is_of_use_elsewhere) {
                    Some(draft) => {
                        identities.insert(entry.header.identity);
                        selection.add_record(place, entry, &draft, &mut numbers);
                    }
                    None => selection.left_out += 1,
                }
            }
        });
        selection.find_blobs(|digest| found.get(digest).copied());
        // What was restored is there as a record, too.
        compressed.retain(|(_, header)| !identities.contains(&header.identity));
        selection.bytes += compressed.iter().map(|(_, header)| header.body_bytes).sum::<u64>();
        selection.compressed = compressed.into_iter().map(|(place, _)| place).collect();
        selection
    }

    /// Sets where each blob stands now, and counts their bytes.
    fn find_blobs(&mut self, find: impl Fn(&[u8; 32]) -> Option<Place>) {
        for (place, blob) in &mut self.blobs {
            *place = find(&blob.digest).unwrap_or(*place);
            self.bytes += blob.len_bytes;
        }
    }

    fn add(&mut self, place: Place, entry: &Entry<'_>, is_record: bool, blobs: Vec<u32>) {
        self.bytes += entry.header.body_bytes;
        self.others.push(Other { place, is_record, blobs });
    }

    fn add_record(
        &mut self,
        place: Place,
        entry: &Entry<'_>,
        draft: &Draft,
        numbers: &mut HashMap<[u8; 32], u32>,
    ) {
        let number = |blob: BlobRef| {
            *numbers.entry(blob.digest).or_insert_with(|| {
                self.blobs.push((blob.place(), blob));
                u32::try_from(self.blobs.len() - 1).unwrap_or(u32::MAX)
            })
        };
        let blobs = blobs_of(draft).map(number).collect();
        self.add(place, entry, true, blobs);
    }

    fn records(&self) -> u64 {
        let others = self.others.iter().filter(|other| other.is_record);
        (others.count() + self.compressed.len()) as u64
    }

    /// Writes all of it that is whole.
    fn write(
        &self,
        store: &Store,
        to: &mut dyn Write,
        progress: &mut dyn FnMut(usize, usize),
    ) -> io::Result<Exported> {
        let mut writer = Writer::new(to, self.bytes, progress)?;
        let is_written = self.write_blobs(store, &mut writer)?;
        let own = self.blobs.iter().zip(&is_written).filter(|(_, is_written)| **is_written);
        let mut known: HashSet<_> = own.map(|((_, blob), _)| blob.digest).collect();
        self.each_compressed(store, |bytes, contents| {
            // A header stands before each body.
            let new = contents.blobs.iter().filter(|(digest, _)| known.insert(**digest));
            new.map(|(_, blob)| writer.entry_at(bytes, blob.at, blob.len_bytes)).sum()
        })?;
        let mut records = self.write_others(store, &is_written, &mut writer)?;
        records += self.each_compressed(store, |bytes, contents| {
            let items = contents.items.iter();
            items.map(|item| writer.entry_at(bytes, item.at, item.header.body_bytes)).sum()
        })?;
        let (blobs, bytes) = (writer.blobs, writer.finish()?);
        let left_out = self.left_out + self.records() - records;
        Ok(Exported { records, blobs, bytes, left_out })
    }

    /// Writes the blobs in the order of their places; which of them were whole.
    fn write_blobs(&self, store: &Store, writer: &mut Writer<'_>) -> io::Result<Vec<bool>> {
        let mut is_written = vec![false; self.blobs.len()];
        let mut order: Vec<_> = (0..self.blobs.len()).collect();
        order.sort_unstable_by_key(|number| self.blobs[*number].0);
        let seq = |number: usize| self.blobs[number].0.seq;
        let mut body = Vec::new();
        for run in order.chunk_by(|a, b| seq(*a) == seq(*b)) {
            let Some(segment) = store.map_segment(seq(run[0])) else { continue };
            for number in run {
                let (place, blob) = &self.blobs[*number];
                let Some(entry) = segment.entry(*place) else { continue };
                let is_it = entry.header.kind() == Some(Kind::Blob)
                    && entry.header.key == blob.digest
                    && entry.header.sum == blob.sum
                    && entry.header.body_bytes == blob.len_bytes;
                is_written[*number] = is_it && writer.blob(&entry, &mut body)?;
            }
        }
        Ok(is_written)
    }

    /// Writes everything else, but no record that names a blob which was not written; how many records that are.
    fn write_others(
        &self,
        store: &Store,
        is_written: &[bool],
        writer: &mut Writer<'_>,
    ) -> io::Result<u64> {
        let has_blobs = |other: &&Other| {
            other.blobs.iter().all(|number| is_written.get(*number as usize) == Some(&true))
        };
        let others: Vec<_> = self.others.iter().filter(has_blobs).collect();
        let (mut records, mut body) = (0, Vec::new());
        for run in others.chunk_by(|a, b| a.place.seq == b.place.seq) {
            let Some(segment) = store.map_segment(run[0].place.seq) else { continue };
            for other in run {
                if let Some(header) = copy_whole(&segment, other, &mut body) {
                    writer.entry(&header, &body)?;
                    records += u64::from(other.is_record);
                }
            }
        }
        Ok(records)
    }

    /// Visits the compressed results that are whole; the sum of what the visits say.
    fn each_compressed(
        &self,
        store: &Store,
        mut visit: impl FnMut(&[u8], &ExportContents) -> io::Result<u64>,
    ) -> io::Result<u64> {
        let mut sum = 0;
        for place in &self.compressed {
            let segment = store.map_segment(place.seq);
            let entry = segment.as_ref().and_then(|segment| segment.entry(*place));
            if let Some((bytes, contents)) = entry.as_ref().and_then(compressed::contents) {
                sum += visit(&bytes, &contents)?;
            }
        }
        Ok(sum)
    }
}

/// Copies an entry's body out; its header, if the bytes are those that were written.
fn copy_whole(segment: &Segment, other: &Other, body: &mut Vec<u8>) -> Option<EntryHeader> {
    let entry = segment.entry(other.place)?;
    if entry.header.kind() == Some(Kind::CompressedSet) {
        *body = compressed::unpacked(&entry)?;
        let sum = xxh3_128(body).to_le_bytes();
        let (kind, body_bytes) = (Kind::PathSet.number(), body.len() as u64);
        let header = EntryHeader { kind, body_bytes, sum, ..entry.header }.sealed();
        return is_whole(&header, body).then_some(header);
    }
    copy_body(&entry, body)?;
    is_whole(&entry.header, body).then_some(entry.header)
}

fn copy_body(entry: &Entry<'_>, body: &mut Vec<u8>) -> Option<()> {
    body.clear();
    body.resize(usize::try_from(entry.header.body_bytes).ok()?, 0);
    entry.copy_out(0, body)
}

/// Writes entries, and counts and hashes what it writes.
struct Writer<'w> {
    to: &'w mut dyn Write,
    digest: blake3::Hasher,
    bytes: u64,
    entries: u64,
    blobs: u64,
    /// How many bytes there will be, nearly.
    total: usize,
    progress: &'w mut dyn FnMut(usize, usize),
}

impl<'w> Writer<'w> {
    fn new(
        to: &'w mut dyn Write,
        total: u64,
        progress: &'w mut dyn FnMut(usize, usize),
    ) -> io::Result<Writer<'w>> {
        let total = usize::try_from(total).unwrap_or(usize::MAX);
        let digest = blake3::Hasher::new();
        let mut writer = Writer { to, digest, bytes: 0, entries: 0, blobs: 0, total, progress };
        writer.write(bytemuck::bytes_of(&FileHeader::new(u64::from(now_s()))))?;
        Ok(writer)
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.digest.update(bytes);
        self.to.write_all(bytes)?;
        self.bytes += bytes.len() as u64;
        (self.progress)(usize::try_from(self.bytes).unwrap_or(usize::MAX), self.total);
        Ok(())
    }

    fn header(&mut self, header: &EntryHeader) -> io::Result<()> {
        self.entries += 1;
        let placeless = EntryHeader { seq: 0, unit: 0, uuid: [0; 16], ..*header }.sealed();
        self.write(bytemuck::bytes_of(&placeless))
    }

    fn entry(&mut self, header: &EntryHeader, body: &[u8]) -> io::Result<()> {
        self.blobs += u64::from(header.kind() == Some(Kind::Blob));
        self.header(header)?;
        self.write(body)
    }

    /// Writes an entry of another export, whose body begins there; how many entries that is.
    fn entry_at(&mut self, export: &[u8], at: u64, body_bytes: u64) -> io::Result<u64> {
        let missing = || io::Error::from(io::ErrorKind::UnexpectedEof);
        let at = usize::try_from(at).map_err(|_| missing())?;
        let end = at + usize::try_from(body_bytes).map_err(|_| missing())?;
        let head = at.checked_sub(size_of::<EntryHeader>()).and_then(|from| export.get(from..at));
        let header = bytemuck::pod_read_unaligned(head.ok_or_else(missing)?);
        self.entry(&header, export.get(at..end).ok_or_else(missing)?)?;
        Ok(1)
    }

    /// Writes a blob if it is whole; whether it is.
    fn blob(&mut self, entry: &Entry<'_>, body: &mut Vec<u8>) -> io::Result<bool> {
        if entry.header.body_bytes > ENTRY_BYTES_MAX {
            return self.large_blob(entry);
        }
        let is_whole = copy_body(entry, body).is_some()
            && xxh3_128(body).to_le_bytes() == entry.header.sum
            && *blake3::hash(body).as_bytes() == entry.header.key;
        if is_whole {
            self.entry(&entry.header, body)?;
        }
        Ok(is_whole)
    }

    /// It is read twice, because it is never whole in memory.
    fn large_blob(&mut self, entry: &Entry<'_>) -> io::Result<bool> {
        if !blob_is_whole(entry) {
            return Ok(false);
        }
        self.header(&entry.header)?;
        let (mut chunk, mut digest) = (vec![0; CHUNK_BYTES], blake3::Hasher::new());
        let mut at = 0;
        while at < entry.header.body_bytes {
            let left = usize::try_from(entry.header.body_bytes - at).unwrap_or(usize::MAX);
            let part = &mut chunk[..CHUNK_BYTES.min(left)];
            entry.copy_out(at, part).ok_or(io::ErrorKind::UnexpectedEof)?;
            digest.update(part);
            self.write(part)?;
            at += part.len() as u64;
        }
        if *digest.finalize().as_bytes() != entry.header.key {
            return Err(io::Error::other("the cache was changed while it was read"));
        }
        self.blobs += 1;
        Ok(true)
    }

    /// Writes the trailer; how many bytes were written.
    fn finish(mut self) -> io::Result<u64> {
        let mut trailer = Trailer {
            magic: TRAILER_MAGIC,
            entries: self.entries,
            blobs: self.blobs,
            bytes: self.bytes,
            ..Trailer::zeroed()
        };
        self.digest.update(&bytemuck::bytes_of(&trailer)[..TRAILER_DIGEST_OFFSET]);
        trailer.digest = *self.digest.finalize().as_bytes();
        self.write(bytemuck::bytes_of(&trailer))?;
        self.to.flush()?;
        Ok(self.bytes)
    }
}
