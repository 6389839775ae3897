//! Where the sockets of helpers and the state of storages are: a directory of this user's alone.
//!
//! Nothing here is needed after a restart of the machine. Read next: `client.rs`, `health.rs`.

use std::ffi::OsStr;
use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use xxhash_rust::xxh3::Xxh3;

use crate::config::Remote;
use crate::env;
use crate::shm::raw;

/// The longest path at which a socket can be, and some room.
const SOCKET_PATH_BYTES_MAX: usize = 100;

/// Where a storage's socket, lock, log and state are.
#[derive(Debug, Clone)]
pub struct Runtime {
    /// The socket of its helper.
    pub socket: PathBuf,
    /// Held while a helper is started.
    pub lock: PathBuf,
    /// What its helper says when it cannot work.
    pub said: PathBuf,
    /// See `health.rs`.
    pub state: PathBuf,
}

impl Runtime {
    /// That of a storage; `None` if there is no directory that only this user can write.
    pub fn of(remote: &Remote) -> Option<Runtime> {
        let name = format!("{}-{:016x}", remote.scheme(), identity(remote));
        let directory = directory(name.len() + ".socket".len() + 1)?;
        let at = |end: &str| directory.join(format!("{name}.{end}"));
        // `crsh:PATH` is a helper that somebody else has started.
        let started = (remote.scheme() == "crsh").then(|| remote.url.split_at("crsh:".len()).1);
        Some(Runtime {
            socket: started.map_or_else(|| at("socket"), PathBuf::from),
            lock: at("lock"),
            said: at("said"),
            state: at("state"),
        })
    }
}

/// Opens a file to read it and to append to it; where there is none, one of this user's alone is made.
pub fn open(path: &Path) -> io::Result<File> {
    File::options().read(true).append(true).create(true).mode(0o600).open(path)
}

/// What tells storages and helpers apart that are not the same, or another user's.
pub fn identity(remote: &Remote) -> u64 {
    let mut hasher = Xxh3::new();
    let mut field = |bytes: &[u8]| {
        hasher.update(&(bytes.len() as u64).to_le_bytes());
        hasher.update(bytes);
    };
    field(&raw::user().to_le_bytes());
    field(remote.url.as_bytes());
    field(remote.helper.as_ref().map_or(OsStr::new(""), |path| path.as_os_str()).as_bytes());
    for (key, value) in &remote.attributes {
        field(key.as_bytes());
        field(value.as_bytes());
    }
    for (name, value) in env::all_with_prefix("AWS_") {
        field(name.as_bytes());
        field(value.as_bytes());
    }
    hasher.digest()
}

/// The directory, made if it is not there.
fn directory(name_bytes: usize) -> Option<PathBuf> {
    let below = env::get_nonempty(env::XDG_RUNTIME_DIR).map(PathBuf::from);
    let below = below.filter(|path| path.is_absolute() && path.is_dir());
    let fits = |path: &PathBuf| path.as_os_str().len() + name_bytes <= SOCKET_PATH_BYTES_MAX;
    let ours = below.map(|path| path.join("ibid")).filter(fits);
    let user = raw::user();
    let shared = PathBuf::from(format!("/tmp/ibid-{user}"));
    ours.into_iter().chain([shared]).find(|path| is_private(path, user))
}

/// Whether a directory is there, and nobody else can do anything in it: the last six bits of its mode are zero.
fn is_private(path: &Path, user: u32) -> bool {
    let _ = DirBuilder::new().mode(0o700).create(path);
    fs::symlink_metadata(path).is_ok_and(|state| {
        state.is_dir() && state.uid() == user && state.mode().trailing_zeros() >= 6
    })
}
