//! The hit: key, judge, deliver; nothing else happens on this way, and nothing is allocated.
//!
//! Before libc starts `before_libc` is called with the start-up stack; after it the wrapper walks the same steps.
//! Read next: `command.rs`, `judge.rs`, `deliver.rs`.

use core::cell::Cell;
use core::ffi::CStr;

use crate::index::{self, Index};
use crate::record::{Cold, Record};
use crate::shm::counters::{Counter, Volatile};
use crate::shm::layout::{self, Kind};
use crate::shm::raw::{self, AsFd, OwnedFd};
use crate::shm::segments::{Entry, Place, Segments};
use crate::shm::start::Start;

pub mod command;
pub mod deliver;
pub mod judge;

use command::{Call, Command, PATH_BYTES_MAX};
use deliver::{Blobs, Undelivered};
use judge::{Difference, Environment};

/// A cache, opened for reading.
#[derive(Debug)]
pub struct Cache {
    /// The index.
    pub index: Index,
    /// The segments.
    pub segments: Segments,
    /// Counters and hints.
    pub volatile: Volatile,
}

impl Cache {
    /// Opens the cache below `directory` (`IBID_DIR`); `None` if there is none that can be used as it is.
    pub fn open(directory: &CStr) -> Option<Cache> {
        let directory = open_layout_directory(directory)?;
        let index = Index::open(directory.as_fd())?;
        let volatile = open_volatile(directory.as_fd(), index.header())?;
        let segments = Segments::new(directory, index.header().uuid);
        Some(Cache { index, segments, volatile })
    }

    /// Where a blob with this digest stands, by the index.
    pub fn find_blob(&self, digest: &[u8; 32]) -> Option<Place> {
        let key = index_key_of_blob(digest);
        index::candidates(&self.index.words(), &key, self.index.window()).iter().find(|place| {
            self.segments
                .entry(*place)
                .is_some_and(|e| e.header.kind() == Some(Kind::Blob) && e.header.key == *digest)
        })
    }

    /// The records under an invocation key or a portable key, newest first.
    pub fn records<'c>(&'c self, key: &'c [u8; 16]) -> impl Iterator<Item = (Place, Entry<'c>)> + 'c {
        let candidates = index::candidates(&self.index.words(), key, self.index.window());
        let mut at = 0;
        core::iter::from_fn(move || {
            loop {
                let place = candidates.iter().nth(at)?;
                at += 1;
                let Some(entry) = self.segments.entry(place) else { continue };
                let (invocation, portable) = entry.header.key.split_at(16);
                if entry.header.kind() == Some(Kind::Record) && (key == invocation || key == portable) {
                    return Some((place, entry));
                }
            }
        })
    }
}

/// The index key of a blob: the first half of its digest.
pub fn index_key_of_blob(digest: &[u8; 32]) -> [u8; 16] {
    digest.first_chunk().copied().unwrap_or_default()
}

/// Opens the directory of this layout, which must be ours alone to write.
pub fn open_layout_directory(directory: &CStr) -> Option<OwnedFd> {
    let outer = raw::open_directory(directory).ok()?;
    let mut name = [0u8; 32];
    name.get_mut(..layout::DIRECTORY.len())?.copy_from_slice(layout::DIRECTORY.as_bytes());
    let inner =
        raw::open_directory_at(outer.as_fd(), CStr::from_bytes_until_nul(&name).ok()?).ok()?;
    for directory in [&outer, &inner] {
        let state = raw::stat_fd(directory.as_fd()).ok()?;
        if state.uid != raw::user() || state.mode & 0o022 != 0 {
            return None;
        }
    }
    Some(inner)
}

/// The name of the stand-in for the volatile segment where there is no shared memory: a file in the cache.
pub const VOLATILE_FILE: &CStr = c"volatile";
/// Where the kernel's shared memory objects have their names.
pub const SHARED_MEMORY: &CStr = c"/dev/shm";

/// Maps the volatile segment, or the file that stands in for it.
pub fn open_volatile(
    directory: raw::BorrowedFd<'_>,
    header: &layout::IndexHeader,
) -> Option<Volatile> {
    let name = CStr::from_bytes_until_nul(&header.volatile).ok()?;
    let shared = raw::open_directory(SHARED_MEMORY)
        .and_then(|memory| raw::open_read_write_at(memory.as_fd(), name))
        .and_then(|file| Volatile::open(file.as_fd(), &header.uuid));
    shared
        .or_else(|_| {
            raw::open_read_write_at(directory, VOLATILE_FILE)
                .and_then(|file| Volatile::open(file.as_fd(), &header.uuid))
        })
        .ok()
}

/// How a look-up by stamps ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// Delivered and counted.
    Hit,
    /// The tool must run.
    Miss,
    /// A record was true of the world, but its outputs could not be delivered.
    Undelivered(Undelivered),
}

/// Copies a record's hot part into `arena`, checks it, and gives it with what is left of the arena.
pub fn hot_part<'a>(entry: &Entry<'_>, arena: &'a mut [u8]) -> Option<(Record<'a>, &'a mut [u8])> {
    let len = usize::try_from(entry.header.hot_bytes).ok()?;
    let (hot, rest) = arena.split_at_mut_checked(len)?;
    entry.copy_out(0, hot)?;
    if xxhash_rust::xxh3::xxh3_128(hot).to_le_bytes() != entry.header.sum {
        return None;
    }
    Some((Record::read(hot)?, rest))
}

/// Copies a record's cold part into `arena` and checks it.
pub fn cold_part<'a>(entry: &Entry<'_>, record: &Record<'_>, arena: &'a mut [u8]) -> Option<Cold<'a>> {
    let len = usize::try_from(entry.header.body_bytes.checked_sub(entry.header.hot_bytes)?).ok()?;
    let cold = arena.get_mut(..len)?;
    entry.copy_out(entry.header.hot_bytes, cold)?;
    (xxhash_rust::xxh3::xxh3_128(cold).to_le_bytes() == record.head.cold_sum).then_some(Cold(cold))
}

/// Looks a command up by stamps and delivers what is found. `ready` is called before the first output is touched.
pub fn look(
    cache: &Cache,
    command: &Command,
    environment: &Environment,
    arena: &mut [u8],
    ready: impl FnOnce(),
) -> Answer {
    let key = command.invocation_key();
    let ready = Cell::new(Some(ready));
    let mut answer = Answer::Miss;
    for (_, entry) in cache.records(&key) {
        let Some((record, rest)) = hot_part(&entry, arena) else { continue };
        let verdict = judge::judge(&record, command, environment, || cold_part(&entry, &record, rest));
        if verdict.is_err() {
            continue;
        }
        match deliver_record(cache, &record, command.creation_mask, || {
            if let Some(ready) = ready.take() {
                ready();
            }
        }) {
            Ok(()) => {
                count_hit(cache, &record, &key, Counter::INVOCATION_HITS);
                return Answer::Hit;
            }
            Err(why) => answer = Answer::Undelivered(why),
        }
    }
    answer
}

/// Delivers a record from `cache`.
pub fn deliver_record(
    cache: &Cache,
    record: &Record<'_>,
    creation_mask: u32,
    ready: impl FnOnce(),
) -> Result<(), Undelivered> {
    let find = |digest: &[u8; 32]| cache.find_blob(digest);
    let blobs = Blobs { segments: &cache.segments, find: &find };
    deliver::deliver(record, blobs, creation_mask, ready)
}

/// Counts a hit and what it saved.
pub fn count_hit(cache: &Cache, record: &Record<'_>, key: &[u8; 16], counter: Counter) {
    cache.volatile.add(counter, 1);
    cache.volatile.add(Counter::TIME_SAVED_US, record.head.tool_us);
    cache.volatile.touch(key);
}

/// The first difference of the newest record under the invocation key, for `explain`.
pub fn first_difference<R>(
    cache: &Cache,
    command: &Command,
    environment: &Environment,
    arena: &mut [u8],
    tell: impl FnOnce(Result<(), Difference<'_>>) -> R,
) -> Option<R> {
    let key = command.invocation_key();
    let (_, entry) = cache.records(&key).next()?;
    let (record, rest) = hot_part(&entry, arena)?;
    Some(tell(judge::judge(&record, command, environment, || cold_part(&entry, &record, rest))))
}

/// Variables under which the probe leaves everything to the wrapper, if they are set and neither empty nor `0`.
const LEAVE: [&[u8]; 5] =
    [b"IBID_DISABLE", b"IBID_RECACHE", b"IBID_LOG", b"IBID_OBSERVER", b"IBID_OBSERVED"];

/// The whole hit, before libc starts. `disarm` is called before the first output is touched.
pub fn before_libc(start: Start, arena: &mut [u8], disarm: impl FnOnce()) -> Answer {
    try_before_libc(start, arena, disarm).unwrap_or(Answer::Miss)
}

fn try_before_libc(start: Start, arena: &mut [u8], disarm: impl FnOnce()) -> Option<Answer> {
    let call = Call::read(&start)?;
    let environment = Environment::read(&start)?;
    if LEAVE.iter().any(|name| environment.value(name).is_some_and(|v| !matches!(v, b"" | b"0"))) {
        return None;
    }
    let mut path = [0u8; PATH_BYTES_MAX];
    let cache = Cache::open(cache_directory(&environment, &mut path)?)?;
    let command = Command::new(start, call)?;
    Some(look(&cache, &command, &environment, arena, disarm))
}

/// `IBID_DIR`, else `$XDG_CACHE_HOME/ibid`, else `$HOME/.cache/ibid`.
pub fn cache_directory<'p>(environment: &Environment, path: &'p mut [u8]) -> Option<&'p CStr> {
    let nonempty = |name: &[u8]| environment.value(name).filter(|value| !value.is_empty());
    let (base, below): (&[u8], &[u8]) = if let Some(directory) = nonempty(b"IBID_DIR") {
        (directory, b"\0")
    } else if let Some(directory) = nonempty(b"XDG_CACHE_HOME").filter(|d| d.starts_with(b"/")) {
        (directory, b"/ibid\0")
    } else {
        (nonempty(b"HOME")?, b"/.cache/ibid\0")
    };
    let end = base.len() + below.len();
    path.get_mut(..base.len())?.copy_from_slice(base);
    path.get_mut(base.len()..end)?.copy_from_slice(below);
    CStr::from_bytes_with_nul(path.get(..end)?).ok()
}
