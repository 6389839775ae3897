//! Gives the unused end of a segment back to the file system: a hole, under which the file's length stays.
//!
//! An entry's header is written last, so nothing can be found where only zeros stand. Should another process write there
//! after all, because it has an older index, its entry is found nowhere, or fails its sum. Read next: `append.rs`.

use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};

use rustix::fs::{FallocateFlags, SeekFrom, fallocate, seek};

use super::{Store, files};
use crate::shm::fault;
use crate::shm::layout::{SEGMENT_BYTES, UNIT_BYTES};

/// Holes begin at a multiple of this.
const PAGE_BYTES: u64 = 4096;
/// How much is read at a time.
const CHUNK_BYTES: usize = 256 << 10;

impl Store {
    /// Gives back what is unused from `unit` of segment `seq` on, to which nothing will be appended.
    pub(super) fn give_back_from(&self, seq: u64, unit: u64) {
        let from = (unit * UNIT_BYTES).next_multiple_of(PAGE_BYTES);
        if let Some((file, bytes)) = self.open_segment(seq)
            && bytes <= SEGMENT_BYTES
            && from < bytes
        {
            punch(&file, from, bytes);
        }
    }

    /// Gives back the unused ends of all segments before `seq`: of the one that an earlier epoch appended to, and of those
    /// that a copy has filled with zeros.
    pub(super) fn give_back_before(&self, seq: u64) {
        for (old, bytes) in files::segments(&self.directory) {
            if old >= seq || bytes > SEGMENT_BYTES {
                continue;
            }
            let Some((file, bytes)) = self.open_segment(old) else { continue };
            let Ok(end) = end_of_data(&file, bytes) else { continue };
            let from = end.next_multiple_of(PAGE_BYTES);
            let disk_bytes = file.metadata().map_or(0, |state| state.blocks() * 512);
            if from < bytes && disk_bytes > from {
                punch(&file, from, bytes);
            }
        }
    }
}

/// Makes a hole of the whole pages of a part of a file.
pub(super) fn punch_pages(file: &File, from: u64, to: u64) {
    let (from, to) = (from.next_multiple_of(PAGE_BYTES), to / PAGE_BYTES * PAGE_BYTES);
    if from < to {
        let how = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        let _ = fallocate(file, how, from, to - from);
    }
}

/// Where a file system cannot do it, the space comes back with the segment.
fn punch(file: &File, from: u64, to: u64) {
    fault::point("tail: about to be given back");
    let _ =
        fallocate(file, FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE, from, to - from);
    fault::point("tail: given back");
}

/// Behind which byte of `bytes` there are only zeros.
fn end_of_data(file: &File, bytes: u64) -> io::Result<u64> {
    let mut end = 0;
    let mut chunk = vec![0; CHUNK_BYTES];
    // The last stretch of data first; reserved space is none on most file systems.
    for (from, to) in stretches(file, bytes).into_iter().rev() {
        end = to;
        while end > from {
            let len = usize::try_from(end - from).unwrap_or(CHUNK_BYTES).min(CHUNK_BYTES);
            let part = &mut chunk[..len];
            file.read_exact_at(part, end - len as u64)?;
            if let Some(last) = part.iter().rposition(|byte| *byte != 0) {
                return Ok(end - len as u64 + last as u64 + 1);
            }
            end -= len as u64;
        }
    }
    Ok(end)
}

/// The stretches of a file that have data; all of it where that cannot be asked.
fn stretches(file: &File, bytes: u64) -> Vec<(u64, u64)> {
    let (mut found, mut at) = (Vec::new(), 0);
    while at < bytes {
        let from = match seek(file, SeekFrom::Data(at)) {
            Ok(from) => from,
            Err(rustix::io::Errno::NXIO) => break,
            Err(_) => return vec![(0, bytes)],
        };
        let Ok(to) = seek(file, SeekFrom::Hole(from)) else { return vec![(0, bytes)] };
        if to <= from {
            break;
        }
        found.push((from, to.min(bytes)));
        at = to;
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn data_ends_at_the_last_byte_that_is_not_zero() {
        const BYTES: u64 = 3 << 20;
        let file = tempfile::tempfile().expect("a file");
        file.set_len(BYTES).expect("set");
        assert_eq!(end_of_data(&file, BYTES).expect("read"), 0);
        for at in [0, 1, 4095, 4096, (1 << 20) + 77, BYTES - 1] {
            file.write_all_at(&[1], at).expect("written");
            assert_eq!(end_of_data(&file, BYTES).expect("read"), at + 1);
        }
        let full_of_zeros = tempfile::tempfile().expect("a file");
        full_of_zeros.write_all_at(&vec![0; 3 << 20], 0).expect("written");
        assert_eq!(end_of_data(&full_of_zeros, BYTES).expect("read"), 0);
        full_of_zeros.write_all_at(&[7], 300_000).expect("written");
        assert_eq!(end_of_data(&full_of_zeros, BYTES).expect("read"), 300_001);
    }
}
