//! The evidence before libc: stamps, and of files with another stamp what the digest table knows.
//!
//! What the table does not know is a difference: nothing is read here but the record's cold part, and that only where it is
//! needed. The evidence that reads files is `wrapper/content_lookup/evidence.rs`: this one is stricter.
//! Read next: `docs/content-lookup.md`.

use core::ffi::CStr;

use bytemuck::{Pod, Zeroable};

use super::difference::{By, Difference};
use super::judge::Evidence;
use crate::record::{self, Cold, Input, Record, Variable};
use crate::shm::access::Access;
use crate::shm::digests::DigestTable;
use crate::shm::raw::{self, Errno, FileState};
use crate::shm::stat::Stamp;

/// The most files of one record: each is compared with every input.
const CHANGED_MAX: usize = 1024;

/// What is known of a record beyond its hot part.
pub struct Contents<'a, 'c, F> {
    digests: DigestTable<'c>,
    access: Access,
    load: Option<F>,
    cold: Option<Cold<'a>>,
    /// Room for the files that have changed, of which so many are known.
    changed: &'a mut [Changed],
    count: usize,
}

/// A file that has another stamp and the same content. Bytes, so that it can lie anywhere.
#[repr(C)]
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
struct Changed {
    /// As it is now.
    stamp: Stamp,
    /// Which input it is.
    at: [u8; 8],
    /// Which file it was, see [`record::Proof::group`].
    group: [u8; 4],
}

impl<'a, 'c, F: FnOnce() -> Option<(Cold<'a>, &'a mut [u8])>> Contents<'a, 'c, F> {
    /// Nothing known yet of a record in a cache that is written by those of `access`. `load` gives its cold part and
    /// free memory.
    pub fn new(digests: DigestTable<'c>, access: Access, load: F) -> Self {
        Contents { digests, access, load: Some(load), cold: None, changed: &mut [], count: 0 }
    }

    fn keep(&mut self, record: &Record<'_>, at: usize, input: &Input) -> Option<()> {
        if record.has(record::STAMPS_ONLY) || input.kind != record::REMADE {
            return None;
        }
        // If it is a symlink now, it shows in what the tool writes where it leads; and the table may know a file that
        // others can read and we cannot.
        let state = raw::lstat(record.string(input.path)?).ok()?;
        if !state.is_regular() || !self.access.all_may_use(&state) {
            return None;
        }
        let stamp = state.stat.stamp();
        let digest = self.digests.find(&stamp)?;
        let proof = self.cold()?.proofs(record).get(at)?;
        // Whether its times agree with those of files of equal content is for the look-up that reads files.
        let is_same = digest == proof.digest && proof.times == 0;
        let place = self.changed.get_mut(self.count).filter(|_| is_same)?;
        *place = Changed { stamp, at: (at as u64).to_le_bytes(), group: proof.group.to_le_bytes() };
        self.count += 1;
        Some(())
    }

    /// Files that were one and the same still must be, and others still others (`#pragma once`).
    #[inline(never)]
    fn verdict_by_content(&self, record: &Record<'a>) -> Result<By, Difference<'a>> {
        let changed = self.changed.get(..self.count).ok_or(Difference::Damaged)?;
        let mut proofs = self.cold.ok_or(Difference::Damaged)?.proofs(record);
        let mut next = changed.iter().peekable();
        for (at, input) in record.inputs().enumerate() {
            let input = input.ok_or(Difference::Damaged)?;
            let proof = proofs.next().flatten().ok_or(Difference::Damaged)?;
            let known = next.next_if(|file| file.at == (at as u64).to_le_bytes());
            let Some(stamp) = known.map(|file| file.stamp).or_else(|| stamp_of(record, &input))
            else {
                continue;
            };
            let was = proof.group.to_le_bytes();
            if changed.iter().any(|file| (file.group == was) != (file.stamp == stamp)) {
                let path = record.string(input.path).ok_or(Difference::Damaged)?;
                return Err(Difference::Input(path));
            }
        }
        Ok(By::Content)
    }
}

impl<'a, F: FnOnce() -> Option<(Cold<'a>, &'a mut [u8])>> Evidence<'a> for Contents<'a, '_, F> {
    #[inline]
    fn stat(&mut self, path: &CStr) -> Result<FileState, Errno> {
        raw::stat(path)
    }

    #[inline]
    fn lstat(&mut self, path: &CStr) -> Result<FileState, Errno> {
        raw::lstat(path)
    }

    fn is_same_variable(&mut self, _record: &Record<'a>, _variable: &Variable) -> bool {
        false
    }

    /// Out of line: a hit by stamps does not come here.
    #[inline(never)]
    fn is_same_input(&mut self, record: &Record<'a>, at: usize, input: &Input) -> bool {
        self.keep(record, at, input).is_some()
    }

    #[inline]
    fn heeds_project(&self) -> bool {
        true
    }

    /// Loaded when it is asked for first.
    fn cold(&mut self) -> Option<Cold<'a>> {
        if let Some(load) = self.load.take() {
            let (cold, rest) = load()?;
            let len = CHANGED_MAX.min(rest.len() / size_of::<Changed>()) * size_of::<Changed>();
            self.changed = bytemuck::try_cast_slice_mut(rest.get_mut(..len)?).ok()?;
            self.cold = Some(cold);
        }
        self.cold
    }

    fn verdict(&mut self, record: &Record<'a>) -> Result<By, Difference<'a>> {
        if self.count == 0 { Ok(By::Stamps) } else { self.verdict_by_content(record) }
    }
}

/// The stamp, as it is now, of an input that agrees with its record; `None` of what is no file that could be another one's.
fn stamp_of(record: &Record<'_>, input: &Input) -> Option<Stamp> {
    let is_file = input.mode & raw::TYPE_MASK == raw::REGULAR;
    match input.kind {
        record::CONTENT | record::REMADE | record::METADATA | record::ANSWERS => Some(input.stamp),
        record::EXISTS | record::LEADS if is_file => {
            raw::stat(record.string(input.path)?).ok().map(|state| state.stat.stamp())
        }
        _ => None,
    }
}
