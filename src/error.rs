//! Why the store cannot be used, in words for a person.
//!
//! Each variant names the path it is about; nothing here decides what happens next.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use crate::outcome::{InternalError, NotStored};

/// Something about the store did not work.
#[derive(Debug)]
pub enum StoreError {
    /// A call on a path failed.
    Io {
        /// What was tried, as in "cannot create the cache directory".
        what: &'static str,
        /// The path.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
        /// Under which name it is counted.
        counted: InternalError,
    },
    /// The directory belongs to somebody else, or others may write it.
    NotOurs {
        /// The directory.
        path: PathBuf,
        /// What is wrong with it and what to do about it, as in "is not a directory that …".
        why: &'static str,
    },
    /// No directory is named, and there is no home to have one in.
    NoDirectory,
    /// The process may not write files of the size of a segment (`ulimit -f`).
    FileSizeLimit,
    /// The process may not have the memory that a miss needs (`ulimit -v`, `ulimit -d`).
    MemoryLimit,
    /// The directory is on a file system that is not known to keep what several processes share.
    FileSystem {
        /// The directory.
        path: PathBuf,
        /// What the file system is called.
        name: String,
    },
    /// Bytes that make no sense.
    Corrupt(PathBuf),
    /// An object that is larger than an eighth of the cache.
    TooLarge(u64),
    /// The cache can be read, but not written.
    ReadOnly,
    /// Others were quicker, several times in a row; or another process renews the store just now.
    Busy,
}

impl StoreError {
    /// Wraps an error with the path it is about.
    pub fn io(
        what: &'static str,
        path: &Path,
        counted: InternalError,
    ) -> impl FnOnce(io::Error) -> StoreError {
        let path = path.to_path_buf();
        move |source| StoreError::Io { what, path, source, counted }
    }

    /// As what a result is counted that could not be stored for it.
    pub fn not_stored(&self) -> NotStored {
        match self {
            StoreError::TooLarge(_) => NotStored::TooLarge,
            StoreError::ReadOnly => NotStored::ReadOnly,
            _ => NotStored::StoreFailed,
        }
    }

    /// The internal error as which it is counted, if it is one.
    pub fn counted(&self) -> Option<InternalError> {
        match self {
            StoreError::Io { counted, .. } => Some(*counted),
            StoreError::NotOurs { .. } | StoreError::FileSystem { .. } => {
                Some(InternalError::CacheDir)
            }
            StoreError::Corrupt(_) => Some(InternalError::Corrupt),
            StoreError::NoDirectory
            | StoreError::FileSizeLimit
            | StoreError::MemoryLimit
            | StoreError::TooLarge(_)
            | StoreError::ReadOnly
            | StoreError::Busy => None,
        }
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StoreError::Io { what, path, source, counted: InternalError::CacheDir } => {
                write!(f, "{what} {}: {source}; choose another IBID_DIR", path.display())
            }
            StoreError::Io { what, path, source, .. } => {
                write!(f, "{what} {}: {source}", path.display())
            }
            StoreError::NotOurs { path, why } => write!(f, "{} {why}", path.display()),
            StoreError::NoDirectory => {
                write!(f, "neither IBID_DIR nor XDG_CACHE_HOME nor HOME is set; set one of them")
            }
            StoreError::FileSizeLimit => {
                write!(f, "the limit of file sizes (ulimit -f) is too low for a cache")
            }
            StoreError::MemoryLimit => {
                write!(f, "the limit of memory (ulimit -v, -d) is too low for a cache")
            }
            StoreError::FileSystem { path, name } => write!(
                f,
                "{} is on a file system that cannot hold a cache ({name}); choose another IBID_DIR",
                path.display()
            ),
            StoreError::Corrupt(path) => write!(f, "{} is damaged", path.display()),
            StoreError::TooLarge(bytes) => {
                write!(f, "an object of {bytes} bytes is too large for this cache")
            }
            StoreError::ReadOnly => write!(f, "the cache can only be read here"),
            StoreError::Busy => write!(f, "another process renews the cache just now"),
        }
    }
}

impl std::error::Error for StoreError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            StoreError::Io { source, .. } => Some(source),
            _ => None,
        }
    }
}
