//! Makes what is missing: directories, the index, the volatile segment; and takes away what cannot be trusted.
//!
//! Everything appears under its name in one step, complete. Only one process makes it: a lock decides which.

use std::ffi::{CStr, OsStr, OsString};
use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use bytemuck::Zeroable;

use super::files::{lock, random, segments, whole_file};
use crate::error::StoreError;
use crate::index::cache::{Cache, VOLATILE_FILE};
use crate::index::{self, Index, Window};
use crate::os::file_system::{self, FileSystem};
use crate::os::map::FileMapMut;
use crate::outcome::InternalError;
use crate::shm::access::{self, Access};
use crate::shm::counters::VOLATILE_BYTES;
use crate::shm::fault;
use crate::shm::layout::{
    BUCKET_WORDS, CURSOR_OFFSET, Checked as _, FORMAT, INDEX_MAGIC, INDEX_WORDS_OFFSET,
    IndexHeader, OLDEST_OFFSET, SEGMENT_BYTES, SEGMENT_UNITS, VOLATILE_MAGIC, VolatileHeader,
    index_bytes,
};
use crate::shm::map::was_bridged;
use crate::shm::raw;
use crate::shm::words::Word;

/// The file that says when what was last used.
pub(super) const USED: &str = "used";
/// From which segment on nothing was compressed yet: a number of 8 bytes.
pub(super) const COMPRESSED: &str = "compressed";
/// The fewest buckets, with which an index begins: 512 KiB of words, for some 10,000 objects.
const BUCKETS_MIN: u64 = 1 << 12;
/// Where the counters of the volatile segment begin: what it says of its owner ends before.
const OWNER_END: usize = 4096;
/// The most buckets: 1 GiB of words.
const BUCKETS_MAX: u64 = 1 << 23;

/// Makes the cache directory and the one of this layout, and checks that nobody can write them but those who may.
pub(super) fn directories(
    outer: &Path,
    inner: &Path,
    by_group: bool,
) -> Result<Access, StoreError> {
    // The cache directory itself may be a symlink: that is how it is moved. What is in it may not.
    make_directory(outer, by_group)?;
    let outside = access_to(outer, raw::stat, by_group)?;
    make_directory(inner, outside != Access::Own)?;
    let inside = access_to(inner, raw::lstat, by_group)?;
    if inside != outside {
        return Err(StoreError::NotOurs { path: inner.to_path_buf(), why: OTHER_THAN_ABOVE });
    }
    Ok(inside)
}

fn make_directory(path: &Path, for_group: bool) -> Result<(), StoreError> {
    if fs::symlink_metadata(path).is_ok() {
        return Ok(());
    }
    let made = DirBuilder::new().mode(0o700).recursive(true).create(path).and_then(|()| {
        fault::point("creation: directory made");
        if for_group {
            fs::set_permissions(path, Permissions::from_mode(access::GROUP_DIRECTORY))
        } else {
            Ok(())
        }
    });
    match made {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
            let what = "cannot create the cache directory";
            Err(StoreError::io(what, path, InternalError::CacheDir)(error))
        }
        _ => Ok(()),
    }
}

const OTHER_THAN_ABOVE: &str = "is not shared as the directory is that it lies in; remove it";
const NOT_TO_BE_SHARED: &str =
    "is not a directory that only you may write; choose another IBID_DIR";
const NOT_ASKED_FOR: &str = "is shared by a group: set IBID_SHARE=group if you trust all its members, or choose another IBID_DIR";
const NOT_A_MEMBER: &str = "is shared by a group that you are not in, or no directory of mode 2770; choose another IBID_DIR";

fn access_to(
    path: &Path,
    stat: fn(&CStr) -> Result<raw::FileState, raw::Errno>,
    by_group: bool,
) -> Result<Access, StoreError> {
    let failed = |errno: raw::Errno| {
        StoreError::io("cannot use", path, InternalError::CacheDir)(errno.into())
    };
    let state = stat(&super::c_path(path)?).map_err(failed)?;
    let why = match (by_group, access::is_shared(state.mode)) {
        (true, _) => NOT_A_MEMBER,
        (false, true) => NOT_ASKED_FOR,
        (false, false) => NOT_TO_BE_SHARED,
    };
    Access::of(&state, by_group)
        .ok_or_else(|| StoreError::NotOurs { path: path.to_path_buf(), why })
}

/// Whether the file system of `directory` can hold a cache.
pub(super) fn file_system(directory: &Path) -> Result<(), StoreError> {
    let cannot = || StoreError::io("cannot use", directory, InternalError::CacheDir);
    match FileSystem::at(directory).map_err(cannot())? {
        Ok(known) if known.copies_up() => {
            // What is mapped from a lower layer stays as it is there when somebody else writes.
            let _ = OpenOptions::new().read(true).write(true).open(directory.join("index"));
            Ok(())
        }
        Ok(_) => Ok(()),
        Err(name) => Err(StoreError::FileSystem { path: directory.to_path_buf(), name }),
    }
}

/// Makes what is missing or unusable of the cache in `directory`: index or volatile segment.
pub(super) fn cache(directory: &Path, access: Access) -> Result<Cache, StoreError> {
    let _lock = lock(directory, "lock", true)?;
    fault::point("creation: locked");
    let handle = || -> Result<raw::Handle, StoreError> {
        File::open(directory)
            .map(|file| std::os::fd::OwnedFd::from(file).into())
            .map_err(StoreError::io("cannot open", directory, InternalError::CacheDir))
    };
    // Another process may have made all of it while we waited.
    if let Some(cache) = Cache::open_at(handle()?, access) {
        return Ok(cache);
    }
    let header = match Index::open(handle()?.as_fd()) {
        Some(index) => *index.header(),
        None => index(directory)?,
    };
    volatile(directory, access, &header)?;
    Cache::open_at(handle()?, access).ok_or_else(|| StoreError::Corrupt(directory.to_path_buf()))
}

/// How many buckets an index of at least so many words has.
pub(super) fn buckets(words: u64) -> u64 {
    words.div_ceil(BUCKET_WORDS as u64).clamp(BUCKETS_MIN, BUCKETS_MAX).next_power_of_two()
}

/// Makes a new index and forgets the segments of the old one, which are not found from now on.
fn index(directory: &Path) -> Result<IndexHeader, StoreError> {
    remove_segments(directory);
    let path = directory.join("index");
    let fail = |error| StoreError::io("cannot create", &path, InternalError::Index)(error);
    let uuid = random().map_err(fail)?;
    let mut header = IndexHeader {
        magic: INDEX_MAGIC,
        format: FORMAT,
        header_bytes: u32::try_from(size_of::<IndexHeader>()).unwrap_or(0),
        uuid,
        buckets: buckets(0),
        segment_bytes: SEGMENT_BYTES,
        created_s: SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs()),
        ..IndexHeader::zeroed()
    };
    let name = format!(
        "ibid-{}-{:016x}",
        raw::user(),
        u64::from_le_bytes(uuid[..8].try_into().unwrap_or([0; 8]))
    );
    header.volatile[..name.len()].copy_from_slice(name.as_bytes());
    let header = header.sealed();
    whole_file(&path, index_bytes(header.buckets), |mut file| {
        file.write_all(bytemuck::bytes_of(&header))
    })
    .map_err(fail)?;
    Ok(header)
}

/// Makes the volatile segment in shared memory, or where there is none, a file in the cache that stands in for it. So it
/// is where a group shares the cache: of what is in `/dev/shm` nobody can remove another's.
fn volatile(directory: &Path, access: Access, header: &IndexHeader) -> Result<(), StoreError> {
    let head = VolatileHeader { magic: VOLATILE_MAGIC, uuid: header.uuid, check: 0 }.sealed();
    let len = header.volatile.iter().position(|byte| *byte == 0).unwrap_or(0);
    let name = String::from_utf8_lossy(&header.volatile[..len]).into_owned();
    sweep_shared_memory();
    let mut bytes = bytemuck::bytes_of(&head).to_vec();
    let index = directory.join("index");
    let fail = StoreError::io("cannot find", &index, InternalError::Volatile);
    let index = fs::canonicalize(&index).map_err(fail)?;
    let owner = [index.as_os_str().as_bytes(), b"\0", mount_namespace().as_bytes(), b"\0"].concat();
    // A path that is too long for the space before the counters is left out: this one is never swept away.
    if bytes.len() + owner.len() <= OWNER_END {
        bytes.extend(owner);
    }
    if access == Access::Own && shared_memory(&name, &bytes).is_ok() {
        return Ok(());
    }
    let path = directory.join(VOLATILE_FILE.to_str().unwrap_or("volatile"));
    whole_file(&path, VOLATILE_BYTES as u64, |mut file| file.write_all(bytemuck::bytes_of(&head)))
        .map_err(StoreError::io("cannot create", &path, InternalError::Volatile))
}

/// Where the volatile segment has its name while it is in shared memory.
pub(super) fn shared_memory_path(header: &IndexHeader) -> PathBuf {
    let len = header.volatile.iter().position(|byte| *byte == 0).unwrap_or(0);
    Path::new("/dev/shm").join(OsStr::from_bytes(&header.volatile[..len]))
}

/// Where paths mean the same.
fn mount_namespace() -> OsString {
    fs::read_link("/proc/self/ns/mnt").unwrap_or_default().into_os_string()
}

/// Removes the volatile segments of caches that were removed: they name the index that they belong to, and the mount
/// namespace in which it has that name (a container's cache is not gone because we do not see it).
pub(super) fn sweep_shared_memory() {
    let prefix = format!("ibid-{}-", raw::user());
    let Ok(objects) = fs::read_dir("/dev/shm") else { return };
    for object in objects.flatten() {
        let is_ours = object.file_name().to_str().is_some_and(|name| name.starts_with(&prefix));
        if is_ours && belongs_to_nothing(&object.path()).unwrap_or(false) {
            let _ = fs::remove_file(object.path());
        }
    }
}

fn belongs_to_nothing(object: &Path) -> io::Result<bool> {
    let mut head = Vec::new();
    let options = rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::NONBLOCK;
    let file =
        OpenOptions::new().read(true).custom_flags(options.bits().cast_signed()).open(object)?;
    file.take(OWNER_END as u64).read_to_end(&mut head)?;
    let owner = head.get(size_of::<VolatileHeader>()..).unwrap_or(&[]);
    let mut owner = owner.split(|byte| *byte == 0);
    let (index, namespace) = (owner.next().unwrap_or(&[]), owner.next().unwrap_or(&[]));
    let is_here = namespace == mount_namespace().as_bytes() && index.starts_with(b"/");
    Ok(is_here && !owns(Path::new(OsStr::from_bytes(index)), object)?)
}

/// Whether the index at a path is there and names this object as its own.
fn owns(index: &Path, object: &Path) -> io::Result<bool> {
    let mut header = IndexHeader::zeroed();
    match File::open(index)
        .and_then(|mut file| file.read_exact(bytemuck::bytes_of_mut(&mut header)))
    {
        Ok(()) => Ok(!header.is_intact() || shared_memory_path(&header) == object),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

fn shared_memory(name: &str, head: &[u8]) -> io::Result<()> {
    let path = Path::new("/dev/shm").join(name);
    match fs::remove_file(&path) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    fault::point("volatile: old name removed");
    let mut shared = shared_memory::ShmemConf::new()
        .os_id(name)
        .size(VOLATILE_BYTES)
        .create()
        .map_err(io::Error::other)?;
    fault::point("volatile: made");
    // Stays when this process ends: the cache owns it, by the name in its index.
    shared.set_owner(false);
    // The crate only sets the length; without memory behind it a store would raise SIGBUS.
    let file = OpenOptions::new().read(true).write(true).open(&path)?;
    let reserved = file_system::reserve(&file, VOLATILE_BYTES as u64)
        .and_then(|()| {
            fault::point("volatile: space reserved");
            rustix::fs::fchmod(&file, rustix::fs::Mode::from_raw_mode(0o600)).map_err(Into::into)
        })
        .and_then(|()| (&file).write_all(head));
    fault::point("volatile: head written");
    if reserved.is_err() {
        let _ = fs::remove_file(&path);
    }
    reserved
}

fn remove_segments(directory: &Path) {
    for (seq, _) in segments(directory) {
        let _ = fs::remove_file(directory.join(format!("seg-{seq:016x}")));
        fault::point("creation: old segment removed");
    }
}

/// Takes index and segments away; the next process that stores something makes new ones.
pub(super) fn clear(directory: &Path) -> Result<(), StoreError> {
    let _lock = lock(directory, "lock", true)?;
    let path = directory.join(index::NAME.to_str().unwrap_or("index"));
    // The volatile segment keeps its counters: the new index takes over name and identity.
    let old = File::open(directory)
        .ok()
        .and_then(|dir| Index::open(dir.as_fd()))
        .map(|index| (*index.header(), index.window().newest));
    remove_segments(directory);
    // The findings about programs, too: a user who clears may want them found out again.
    let _ = fs::remove_file(directory.join(super::verdicts::NAME));
    let _ = fs::remove_file(directory.join(USED));
    let _ = fs::remove_file(directory.join(COMPRESSED));
    match old {
        Some((header, newest)) => {
            let header = IndexHeader { buckets: buckets(0), ..header }.sealed();
            successor(directory, header, Window { oldest: 0, newest }, |_| {})
        }
        None => fs::remove_file(&path).or_else(|error| match error.kind() {
            io::ErrorKind::NotFound => Ok(()),
            _ => Err(StoreError::io("cannot remove", &path, InternalError::Index)(error)),
        }),
    }
}

/// Numbers of segments that are left out when an index takes the place of another: a process that still has the old one
/// may be about to make the next segment, and must not find that a new one has its name.
const NUMBERS_SKIPPED: u64 = 16;

/// Puts an index, whose words are zero until `fill` sets them, in the place of the one that is there; the volatile segment
/// stays, by name and identity.
pub(super) fn successor(
    directory: &Path,
    header: IndexHeader,
    window: Window,
    fill: impl FnOnce(&[Word]),
) -> Result<(), StoreError> {
    let path = directory.join(index::NAME.to_str().unwrap_or("index"));
    let mut head = bytemuck::bytes_of(&header).to_vec();
    let mut put = |at: usize, word: u64| {
        head.resize(at, 0);
        head.extend(word.to_le_bytes());
    };
    // No epoch: what is appended next goes to a new segment.
    put(CURSOR_OFFSET, (window.newest + NUMBERS_SKIPPED) << 32 | u64::from(SEGMENT_UNITS));
    put(OLDEST_OFFSET, window.oldest);
    let len_bytes = index_bytes(header.buckets);
    let write = |mut file: &File| {
        file.write_all(&head)?;
        let index =
            FileMapMut::new(file.as_fd(), usize::try_from(len_bytes).unwrap_or(usize::MAX))?;
        let words = index.words_mut(INDEX_WORDS_OFFSET, index::word_count(&header));
        fill(words.ok_or(io::ErrorKind::UnexpectedEof)?);
        if was_bridged() { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(()) }
    };
    whole_file(&path, len_bytes, write).map_err(StoreError::io(
        "cannot renew",
        &path,
        InternalError::Index,
    ))
}
