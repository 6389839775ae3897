//! What the cache directory takes on the disk, as `du` counts it, and which segments are too much of it.
//!
//! It counts the directories of all layouts: they share one limit. Read next: `rotate.rs`, `tail.rs`.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::Store;
use crate::shm::layout::{DIRECTORY, SEGMENT_BYTES, SEGMENT_BYTES_MIN, SEGMENT_UNITS, UNIT_BYTES};

/// A segment file of any layout.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SegmentFile {
    pub(super) path: PathBuf,
    pub(super) seq: u64,
    /// What it takes on the disk.
    pub(super) disk_bytes: u64,
    /// When it was last appended to.
    changed: SystemTime,
}

/// The files of a cache directory.
#[derive(Debug, Default)]
pub(super) struct Space {
    /// What all of them take, the directories themselves included.
    pub(super) disk_bytes: u64,
    /// How much of that are files that are being made, or were left behind by a process that died.
    temporary_bytes: u64,
    /// The segments of this layout, by number.
    pub(super) own: Vec<SegmentFile>,
    /// Those of other layouts, by age.
    pub(super) others: Vec<SegmentFile>,
}

/// What is to go so that a limit holds.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Excess {
    /// The lowest segment of this layout that stays.
    pub(super) first: u64,
    /// Segments of other layouts.
    pub(super) others: Vec<PathBuf>,
}

impl Space {
    /// That of the cache directory `outer`.
    pub(super) fn of(outer: &Path) -> Space {
        let mut space = Space::default();
        space.add(outer, None);
        for entry in fs::read_dir(outer).into_iter().flatten().flatten() {
            let path = entry.path();
            match entry.file_name().to_str().filter(|name| is_layout(name)) {
                Some(name) if path.is_dir() && !path.is_symlink() => {
                    let is_own = name == DIRECTORY;
                    space.add(&path, None);
                    for file in fs::read_dir(&path).into_iter().flatten().flatten() {
                        space.add(&file.path(), Some(is_own));
                    }
                }
                _ => space.add(&path, None),
            }
        }
        space.own.sort_by_key(|segment| segment.seq);
        space.others.sort_by_key(|segment| (segment.changed, segment.seq));
        space
    }

    /// Adds a file; `is_own` says in which layout's directory it lies, if it lies in one.
    fn add(&mut self, path: &Path, is_own: Option<bool>) {
        let Ok(state) = fs::symlink_metadata(path) else { return };
        let disk_bytes = state.blocks() * 512;
        self.disk_bytes += disk_bytes;
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or("");
        if is_own == Some(true) && name.starts_with("tmp-") {
            self.temporary_bytes += disk_bytes;
        }
        let number = name.strip_prefix("seg-").map(|digits| u64::from_str_radix(digits, 16));
        let (Some(is_own), Some(Ok(seq)), true) = (is_own, number, state.is_file()) else { return };
        let changed = state.modified().unwrap_or(SystemTime::UNIX_EPOCH);
        let segment = SegmentFile { path: path.to_path_buf(), seq, disk_bytes, changed };
        if is_own { self.own.push(segment) } else { self.others.push(segment) }
    }

    /// What is to go so that no more than `max_bytes` stay: what was appended to the longest ago, of whatever layout.
    /// Segment `newest` of this layout always stays; temporary files go by their age.
    pub(super) fn excess(&self, max_bytes: u64, newest: u64) -> Excess {
        let own: Vec<_> = self.own.iter().filter(|segment| segment.seq <= newest).collect();
        let mut excess =
            Excess { first: own.first().map_or(newest, |segment| segment.seq), others: vec![] };
        let mut too_much = (self.disk_bytes - self.temporary_bytes).saturating_sub(max_bytes);
        let (mut own, mut others) = (own.windows(2).peekable(), self.others.iter().peekable());
        while too_much > 0 {
            let older = match (own.peek(), others.peek()) {
                (Some([own, _]), Some(other)) => other.changed <= own.changed,
                (None, Some(_)) => true,
                _ => false,
            };
            let gone = if older {
                let Some(other) = others.next() else { break };
                excess.others.push(other.path.clone());
                other.disk_bytes
            } else {
                let Some([gone, next]) = own.next() else { break };
                excess.first = next.seq;
                gone.disk_bytes
            };
            too_much = too_much.saturating_sub(gone);
        }
        excess
    }
}

/// Whether a directory has the name of a layout's.
pub(super) fn is_layout(name: &str) -> bool {
    let mut parts = name.split('-');
    let format = parts.next().and_then(|part| part.strip_prefix('v'));
    format.is_some_and(|format| format.parse::<u32>().is_ok()) && parts.count() == 2
}

/// The longest segment that several entries share in a cache of so many bytes: it is evicted in some eight steps.
pub(super) fn segment_bytes_max(max_bytes: u64) -> u64 {
    let eighth = (max_bytes / 8).clamp(SEGMENT_BYTES_MIN, SEGMENT_BYTES);
    1 << eighth.ilog2()
}

impl Store {
    /// The cache directory (`IBID_DIR`).
    pub(super) fn outer(&self) -> &Path {
        self.directory.parent().unwrap_or(&self.directory)
    }

    pub(super) fn space(&self) -> Space {
        Space::of(self.outer())
    }

    /// Whether more than half of what the cache may take is taken. Looks at all its files.
    pub fn is_half_full(&self) -> bool {
        self.bytes_used() > self.max_bytes / 2
    }

    /// Bytes of all entries, and of those parts of left segments that no entry uses.
    pub fn bytes_stored(&self) -> u64 {
        let window = self.window();
        let unit = (self.cache.index.cursor() & 0xffff_ffff).min(u64::from(SEGMENT_UNITS));
        let bytes = |segment: &SegmentFile| {
            if segment.seq == window.newest { unit * UNIT_BYTES } else { segment.disk_bytes }
        };
        let own = self.space().own;
        let is_there =
            |segment: &&SegmentFile| (window.oldest..=window.newest).contains(&segment.seq);
        own.iter().filter(is_there).map(bytes).sum()
    }

    /// What the cache directory takes on the disk, as `du` counts it.
    pub fn bytes_used(&self) -> u64 {
        self.space().disk_bytes
    }
}
