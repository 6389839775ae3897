//! A cache that somebody else has made, which is only read: it is looked in where the user's own has nothing.
//!
//! Who may write it can put objects into the builds of all who look in it, so it must be a directory that only its owner may
//! write. Nothing is ever written to it. What is taken from it is verified as an import is. Read next: `import.rs`, `wrapper/layer.rs`, `docs/security.md`.

use std::cell::Cell;
use std::fmt;
use std::fs;
use std::io::{self, Seek as _};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, Dir, MemfdFlags, Mode, OFlags, memfd_create, openat, statat};

use super::compressed::unpacked;
use super::import::{import_result, import_result_in};
use super::path_set::PathSet;
use super::space::is_layout;
use super::{Store, c_path, export, files};
use crate::index;
use crate::index::cache::Cache;
use crate::shm::layout::DIRECTORY;
use crate::shm::raw::{self, AsFd, Handle};
use crate::shm::segments::Entry;

/// Why a layer is not used.
#[derive(Debug)]
pub enum LayerError {
    /// It cannot be read.
    Io(PathBuf, io::Error),
    /// Somebody else than its owner may have written it; what is wrong with this part of it.
    Unsafe(PathBuf, &'static str),
    /// It has no cache of this version of ibid, but perhaps those of others.
    OtherLayout(Vec<String>),
    /// What says where everything is cannot be used.
    Damaged(PathBuf),
    /// It is the cache that is used anyway.
    Own,
}

impl fmt::Display for LayerError {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LayerError::Io(path, error) => write!(to, "cannot read {}: {error}", path.display()),
            LayerError::Unsafe(path, why) => write!(to, "{} {why}", path.display()),
            LayerError::OtherLayout(found) if found.is_empty() => write!(to, "no cache is in it"),
            LayerError::OtherLayout(found) => {
                let found = found.join(", ");
                write!(to, "it was made by another version of ibid ({found}, not {DIRECTORY})")
            }
            LayerError::Damaged(path) => write!(to, "{} is damaged", path.display()),
            LayerError::Own => write!(to, "it is the cache directory itself"),
        }
    }
}

const WRITABLE: &str = "may be written by others than its owner";
const OF_ANOTHER: &str = "belongs to another user than the directory";
const BY_SYMLINK: &str = "is another user's, and reached by a symlink";
const REPLACEABLE: &str = "is where others may put a directory in the place of that";

/// What became of a look for a result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CopiedUp {
    /// It is in the own cache now.
    Found,
    /// The layer has none.
    Nothing,
    /// It has one that is damaged, or that cannot be stored here.
    Failed,
}

impl Store {
    /// Opens the cache in `directory` as a layer below this one.
    pub fn open_layer(&self, directory: &Path) -> Result<Store, LayerError> {
        let failed = |path: &Path, errno: raw::Errno| LayerError::Io(path.into(), errno.into());
        let path = c_path(directory).map_err(|_| failed(directory, raw::Errno::INVAL))?;
        let outer = raw::open_directory(&path).map_err(|errno| failed(directory, errno))?;
        let owner = raw::stat_fd(outer.as_fd()).map_err(|errno| failed(directory, errno))?;
        only_the_owner_writes(directory, (owner.mode, owner.uid), owner.uid)?;
        if owner.uid != 0 && owner.uid != raw::user() {
            nobody_else_names(directory, owner.uid)?;
        }
        // From here on all is opened below what was checked, and by no symlink.
        let inside = directory.join(DIRECTORY);
        let name = c_path(Path::new(DIRECTORY)).map_err(|_| LayerError::Damaged(inside.clone()))?;
        let inner = raw::open_directory_at(outer.as_fd(), &name).map_err(|errno| match errno {
            raw::Errno::NOENT => LayerError::OtherLayout(layouts(directory)),
            raw::Errno::NOTDIR | raw::Errno::LOOP => LayerError::Damaged(inside.clone()),
            errno => failed(&inside, errno),
        })?;
        parts_are_the_owners(&inner, &inside, owner.uid)?;
        let index_path = inside.join("index");
        let index = raw::open_read_at(inner.as_fd(), index::NAME);
        let index = index.and_then(|file| raw::stat_fd(file.as_fd()));
        let index = index.map_err(|errno| failed(&index_path, errno))?.stat;
        let index_file = (index.dev, index.ino);
        if index_file == self.index_file {
            return Err(LayerError::Own);
        }
        let cache = Cache::open_below(inner).ok_or(LayerError::Damaged(index_path))?;
        Ok(Store {
            cache,
            directory: inside,
            index: None,
            index_file,
            max_bytes: self.max_bytes,
            has_epoch: Cell::new(false),
            has_rotated: Cell::new(false),
            is_crowded: Cell::new(false),
            is_evicting: Cell::new(false),
        })
    }

    /// How many segments of a layer are cut, missing their head or from the future, and how many are there.
    pub fn segments_unusable(&self) -> (usize, usize) {
        let all = files::segments(&self.directory);
        let newest = self.window().newest;
        let unusable =
            all.iter().filter(|(seq, _)| *seq > newest || self.open_segment(*seq).is_none());
        (unusable.count(), all.len())
    }

    /// Stores a result of `layer` here, if it has one. `keys` gives the result keys of a path set in this place and in all
    /// places, `None` if one of its names is not there.
    pub fn copy_up(
        &self,
        layer: &Store,
        content_key: &[u8; 16],
        keys: &mut dyn FnMut(&PathSet) -> Option<[[u8; 16]; 2]>,
    ) -> CopiedUp {
        self.take(layer, content_key, keys, &|key| {
            self.copy_result_up(layer, key).or_else(|| self.restore_from(layer, key))
        })
    }

    /// Stores a result anew that was compressed here, if there is one. `keys` as above.
    pub fn restore(
        &self,
        content_key: &[u8; 16],
        keys: &mut dyn FnMut(&PathSet) -> Option<[[u8; 16]; 2]>,
    ) -> CopiedUp {
        self.take(self, content_key, keys, &|key| self.restore_from(self, key))
    }

    /// Asks for the results of a command in `from` until `take` has one; it says as [`Store::copy_result_up`] does.
    fn take(
        &self,
        from: &Store,
        content_key: &[u8; 16],
        keys: &mut dyn FnMut(&PathSet) -> Option<[[u8; 16]; 2]>,
        take: &dyn Fn(&[u8; 16]) -> Option<bool>,
    ) -> CopiedUp {
        let mut outcome = CopiedUp::Nothing;
        for set in from.path_sets(content_key) {
            for key in keys(&set).into_iter().flatten() {
                match take(&key) {
                    Some(true) => {
                        // Without it the record is not found, which is a miss.
                        let _ = self.put_path_set(content_key, &set, &key);
                        return CopiedUp::Found;
                    }
                    Some(false) => outcome = CopiedUp::Failed,
                    None => {}
                }
            }
        }
        outcome
    }

    /// Whether the result of `layer` under this key is stored here now; `None` if there is none.
    fn copy_result_up(&self, layer: &Store, key: &[u8; 16]) -> Option<bool> {
        let (_, found) = layer.cache.records(key).next()?;
        if self.has_judged(key, &found) {
            return None;
        }
        let copy = || {
            let mut memory = fs::File::from(memfd_create("ibid", MemfdFlags::CLOEXEC).ok()?);
            export::export_result(layer, key, self.max_bytes / 8, &mut memory).ok()??;
            memory.rewind().ok()?;
            import_result(self, &memory, key).ok()
        };
        Some(copy().is_some())
    }

    /// The same of one that is compressed in `from`.
    fn restore_from(&self, from: &Store, key: &[u8; 16]) -> Option<bool> {
        let found = from.compressed(key).into_iter().find(|found| !self.has_judged(key, found))?;
        let restored = unpacked(&found).map(|export| import_result_in(self, &export, key));
        Some(matches!(restored, Some(Ok(_))))
    }

    /// Whether a record that says the same is here: then it was not true.
    fn has_judged(&self, key: &[u8; 16], found: &Entry<'_>) -> bool {
        let mut own = self.cache.records(key);
        own.any(|(_, own)| own.header.identity == found.header.identity)
    }
}

/// Checks the mode and the owner of a part of a layer whose directory is `owner`'s.
fn only_the_owner_writes(
    path: &Path,
    (mode, uid): (u32, u32),
    owner: u32,
) -> Result<(), LayerError> {
    if mode & 0o022 != 0 {
        return Err(LayerError::Unsafe(path.to_path_buf(), WRITABLE));
    }
    if uid != owner && uid != 0 {
        return Err(LayerError::Unsafe(path.to_path_buf(), OF_ANOTHER));
    }
    Ok(())
}

/// Checks the directory of the layout and all in it that is read.
fn parts_are_the_owners(inner: &Handle, inside: &Path, owner: u32) -> Result<(), LayerError> {
    let failed = |errno: raw::Errno| LayerError::Io(inside.to_path_buf(), errno.into());
    let state = raw::stat_fd(inner.as_fd()).map_err(failed)?;
    only_the_owner_writes(inside, (state.mode, state.uid), owner)?;
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let listed = openat(inner.as_fd(), c".", flags, Mode::empty()).map_err(failed)?;
    for entry in Dir::new(listed).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let name = entry.file_name();
        if name == index::NAME || name.to_bytes().starts_with(b"seg-") {
            let state = statat(inner.as_fd(), name, AtFlags::SYMLINK_NOFOLLOW).map_err(failed)?;
            let path = inside.join(&*name.to_string_lossy());
            only_the_owner_writes(&path, (state.st_mode, state.st_uid), owner)?;
        }
    }
    Ok(())
}

/// Checks that a directory of `owner`, who is neither root nor the user, is the one that the user means: nobody else can put
/// one of his own in its place, or could have made one by its name before.
fn nobody_else_names(directory: &Path, owner: u32) -> Result<(), LayerError> {
    let failed = |path: &Path, error| LayerError::Io(path.to_path_buf(), error);
    if fs::canonicalize(directory).map_err(|error| failed(directory, error))? != directory {
        return Err(LayerError::Unsafe(directory.to_path_buf(), BY_SYMLINK));
    }
    let mut below = owner;
    for above in directory.ancestors().skip(1) {
        let state = fs::symlink_metadata(above).map_err(|error| failed(above, error))?;
        let ours = [0, raw::user()];
        let is_sticky = state.mode() & 0o1000 != 0 && ours.contains(&below);
        let is_trusted = ours.contains(&state.uid()) || state.uid() == owner;
        if !is_trusted || state.mode() & 0o022 != 0 && !is_sticky {
            return Err(LayerError::Unsafe(above.to_path_buf(), REPLACEABLE));
        }
        below = state.uid();
    }
    Ok(())
}

fn layouts(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
    let mut found: Vec<_> = names.filter(|name| is_layout(name)).collect();
    found.sort_unstable();
    found
}
