//! Files of a cache: how each comes to its name in one step, complete; locks, and the list of segments.
//!
//! Any process may die at any point here. Read next: `create.rs` (which files), `docs/store.md`.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::FlockOperation;
use rustix::io::Errno;

use crate::error::StoreError;
use crate::os::file_system;
use crate::outcome::InternalError;
use crate::shm::access;
use crate::shm::fault;
use crate::shm::raw::{self, Limited};

/// A lock file of the cache, locked. The kernel releases it when the process ends, however it ends.
pub(super) fn lock(directory: &Path, name: &str, wait: bool) -> Result<File, StoreError> {
    let path = directory.join(name);
    if fs::symlink_metadata(&path).is_ok_and(|state| !state.is_file()) {
        let _ = remove(&path);
    }
    let file = file_to_write(&path, OpenOptions::new().read(true).write(true))
        .map_err(StoreError::io("cannot open", &path, InternalError::CacheDir))?;
    fault::point("lock: file opened");
    let locked = if wait { FlockOperation::LockExclusive } else { TRY };
    match flock(&file, locked) {
        // A sandbox, or a file system that has no such locks: those of another kind, which all in the sandbox use.
        Err(Errno::NOSYS | Errno::PERM | Errno::OPNOTSUPP | Errno::NOLCK) => {
            rustix::fs::fcntl_lock(&file, locked)
        }
        done => done,
    }
    .map_err(|error| match error {
        Errno::AGAIN | Errno::ACCESS if !wait => StoreError::Busy,
        error => StoreError::io("cannot lock", &path, InternalError::CacheDir)(error.into()),
    })?;
    Ok(file)
}

const TRY: FlockOperation = FlockOperation::NonBlockingLockExclusive;

fn flock(file: &File, how: FlockOperation) -> Result<(), Errno> {
    loop {
        match rustix::fs::flock(file, how) {
            Err(Errno::INTR) => {}
            done => return done,
        }
    }
}

/// Opens a file that is made empty where there is none.
pub(super) fn file_to_write(path: &Path, options: &mut OpenOptions) -> io::Result<File> {
    let flags = rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::NONBLOCK;
    options.custom_flags(flags.bits().cast_signed());
    match options.open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        opened => return opened,
    }
    // It has its mode before it has its name: any process that finds it can use it.
    let (temporary, _) = temporary_file(path)?;
    fault::point("empty file: temporary one made");
    let linked = fs::hard_link(&temporary, path);
    fault::point("empty file: linked");
    fs::remove_file(&temporary)?;
    match linked {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => options.open(path),
    }
}

/// A file of `len` zeros, of which `write` changes some; its space is reserved. It replaces what has the name.
pub(super) fn whole_file(
    path: &Path,
    len: u64,
    write: impl FnOnce(&File) -> io::Result<()>,
) -> io::Result<()> {
    let (temporary, file) = temporary_file(path)?;
    fault::point("file: temporary one made");
    let made = reserve(&file, len)
        .inspect(|()| fault::point("file: space reserved"))
        .and_then(|()| write(&file))
        .inspect(|()| fault::point("file: written"))
        .and_then(|()| make_way(path))
        .and_then(|()| fs::rename(&temporary, path));
    fault::point("file: renamed");
    if made.is_err() {
        let _ = fs::remove_file(&temporary);
    }
    made
}

/// A directory in a file's place cannot be renamed over.
fn make_way(path: &Path) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        Ok(state) if state.is_dir() => fs::remove_dir_all(path),
        _ => Ok(()),
    }
}

/// Removes what stands at `path`: a file, or a directory with all that is in it.
pub(super) fn remove(path: &Path) -> io::Result<()> {
    make_way(path)?;
    match fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

/// A new file beside `path`, under a name that nobody else uses.
pub(super) fn temporary_file(path: &Path) -> io::Result<(PathBuf, File)> {
    let number = u64::from_le_bytes(random()?[..8].try_into().unwrap_or([0; 8]));
    let temporary = path.with_file_name(format!("tmp-{number:016x}"));
    let file =
        OpenOptions::new().create_new(true).read(true).write(true).mode(0o600).open(&temporary)?;
    let is_shared = |directory: &Path| {
        fs::metadata(directory).is_ok_and(|state| access::is_shared(state.mode()))
    };
    if temporary.parent().is_some_and(is_shared) {
        file.set_permissions(Permissions::from_mode(access::GROUP_FILE))?;
    }
    Ok((temporary, file))
}

pub(super) fn random() -> io::Result<[u8; 16]> {
    let mut bytes = [0u8; 16];
    let mut source = File::open("/dev/urandom")?;
    io::Read::read_exact(&mut source, &mut bytes)?;
    Ok(bytes)
}

/// The segment files in `directory`: number and length, by number.
pub(super) fn segments(directory: &Path) -> Vec<(u64, u64)> {
    let segment = |entry: fs::DirEntry| {
        let number = u64::from_str_radix(entry.file_name().to_str()?.strip_prefix("seg-")?, 16);
        Some((number.ok()?, entry.metadata().map_or(0, |state| state.len())))
    };
    let mut segments: Vec<_> = fs::read_dir(directory)
        .map_or_else(|_| Vec::new(), |entries| entries.flatten().filter_map(segment).collect());
    segments.sort_unstable();
    segments
}

/// Reserves space for a file: without it, a full disk would show as SIGBUS or in the middle of an entry.
pub(super) fn reserve(file: &File, bytes: u64) -> io::Result<()> {
    // Past its limit a process is killed (SIGXFSZ).
    if raw::limit(Limited::FileBytes) < bytes {
        return Err(io::ErrorKind::FileTooLarge.into());
    }
    file_system::reserve(file, bytes)
}
