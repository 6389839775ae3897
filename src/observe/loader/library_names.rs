//! The names that the loader looked up in its cache, `/etc/ld.so.cache`, which it opens unseen in every process.
//!
//! What counts of the cache is what it answers for these names; where not all of them can be known, its whole content
//! does. Read next: `os/library_cache.rs`, `mod.rs`.

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use rustc_hash::FxHashSet;

use crate::env;
use crate::observe::shim::log::{Event, What, file_stat};
use crate::observe::shim::log_layout::FileStat;
use crate::os::library_cache::{LibraryCache, PATH};

/// What glibc itself loads by name, without a call that a shim could see.
const LOADED_BY_LIBC: &[&str] = &[
    "libgcc_s.so.1",
    "libnss_compat.so.2",
    "libnss_db.so.2",
    "libnss_files.so.2",
    "libnss_systemd.so.2",
];

/// All names that the processes of these events may have asked the loader's cache for; `searched` are the directories in
/// which objects were looked for before or after. `None`: a program read the cache itself, or some names are not known.
pub fn library_names<'a>(
    events: &[Event],
    searched: impl Iterator<Item = &'a PathBuf>,
) -> Option<BTreeSet<OsString>> {
    if env::get_nonempty("LD_AUDIT").is_some() || !is_empty(Path::new("/etc/ld.so.preload")) {
        return None;
    }
    let mut names: BTreeSet<OsString> = LOADED_BY_LIBC.iter().map(OsString::from).collect();
    let preloaded = env::get("LD_PRELOAD").unwrap_or_default();
    let is_gap = |byte: &u8| *byte == b':' || byte.is_ascii_whitespace();
    for name in preloaded.as_bytes().split(is_gap).filter(|name| !name.contains(&b'/')) {
        names.insert(OsStr::from_bytes(name).to_owned());
    }
    let mut loaded: FxHashSet<&OsStr> = FxHashSet::default();
    let mut wanted: FxHashSet<&OsStr> = FxHashSet::default();
    let cache_file = cache_file();
    let is_cache = |path: &Path, stat: Option<&FileStat>| {
        path == Path::new(PATH) || stat.map(|stat| (stat.dev, stat.ino)) == cache_file
    };
    for event in events {
        match &event.what {
            What::Object { path, .. } => loaded.extend(path.file_name()),
            What::Load { name } => _ = wanted.insert(name),
            What::Open { path, errno: 0, stat, .. } if is_cache(path, stat.as_ref()) => {
                return None;
            }
            _ => {}
        }
    }
    let failed: Vec<&OsStr> =
        wanted.iter().filter(|name| !loaded.contains(base_name(name))).copied().collect();
    if !failed.is_empty() && may_want_more(&failed, searched) {
        return None;
    }
    names.extend(loaded.into_iter().map(OsStr::to_owned));
    names.extend(failed.into_iter().map(|name| base_name(name).to_owned()));
    Some(names)
}

/// Whether one of the objects that did not come to be loaded is there: then it, or what it needs, was not fit, and which names
/// were asked for on the way is not known.
fn may_want_more<'a>(failed: &[&OsStr], searched: impl Iterator<Item = &'a PathBuf>) -> bool {
    let is_path = |name: &&OsStr| name.as_bytes().contains(&b'/');
    let (paths, names): (Vec<&OsStr>, Vec<&OsStr>) = failed.iter().copied().partition(is_path);
    if paths.iter().any(|path| !is_absent(Path::new(path))) {
        return true;
    }
    if names.is_empty() {
        return false;
    }
    let Ok(bytes) = fs::read(PATH) else { return true };
    let Some(cache) = LibraryCache::parse(&bytes) else { return true };
    let is_unknown = |name: &&OsStr| cache.answer(name.as_bytes()).is_none_or(|it| !it.is_empty());
    let directories: Vec<&PathBuf> = searched.collect();
    let is_there = |name: &&OsStr| directories.iter().any(|it| !is_absent(&it.join(name)));
    names.iter().any(|name| is_unknown(name) || is_there(name))
}

fn base_name(name: &OsStr) -> &OsStr {
    Path::new(name).file_name().unwrap_or(name)
}

/// The device and inode of the loader's cache, if it is there.
fn cache_file() -> Option<(u64, u64)> {
    let state = file_stat(&fs::metadata(PATH).ok()?);
    Some((state.dev, state.ino))
}

fn is_absent(path: &Path) -> bool {
    fs::symlink_metadata(path).is_err()
}

fn is_empty(path: &Path) -> bool {
    fs::metadata(path).map_or(true, |state| state.len() == 0)
}
