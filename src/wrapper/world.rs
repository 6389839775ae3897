//! The world as a record must describe it: stamps that vouch, symlinks on the way, absences by directory.
//!
//! It looks and remembers what it saw; whether that suffices is decided in `learn.rs`.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::ffi::{CStr, CString, OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use rustc_hash::{FxHashMap, FxHashSet};

use crate::os::file_system::FileSystem;
use crate::shm::raw::{self, Errno, FileState};
use crate::store::draft::Directory;

/// A tick of the kernel's coarse clock is at most 10 ms; twice that, for good measure.
const TICK_NS: i64 = 20_000_000;
/// Where times are shown in whole seconds they may be counted in two (FAT).
const SECONDS_NS: i64 = 2_000_000_000;
/// How deep symlinks may nest, as in the kernel.
const LINKS_MAX: usize = 40;

/// Nanoseconds since the epoch, now.
pub fn now_ns() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_nanos()).unwrap_or(i64::MAX)
}

/// A path for a system call; `None` if it has a NUL inside.
pub fn c_path(path: &Path) -> Option<CString> {
    CString::new(path.as_os_str().as_bytes()).ok()
}

/// What was seen of the file systems and links on the way.
#[derive(Debug)]
pub struct World {
    /// Before anything was looked at, ns since the epoch.
    pub taken_ns: i64,
    file_systems: FxHashMap<u64, Option<FileSystem>>,
    // By spelling: hashing a path part by part takes several times as long.
    directories: FxHashMap<OsString, Option<FileState>>,
    missing: FxHashMap<OsString, Absent>,
    walked: FxHashSet<OsString>,
    links: Vec<(CString, FileState)>,
    places: Vec<(CString, FileState)>,
}

/// Absences, as a record holds them.
#[derive(Debug, Default)]
pub struct Absences {
    /// Directories whose stamps vouch.
    pub directories: Vec<Directory>,
    /// Those that are looked at one by one.
    pub hot: Vec<(CString, u32)>,
}

impl World {
    /// Nothing seen yet.
    pub fn new() -> World {
        World {
            taken_ns: now_ns(),
            file_systems: FxHashMap::default(),
            directories: FxHashMap::default(),
            missing: FxHashMap::default(),
            walked: FxHashSet::default(),
            links: Vec::new(),
            places: Vec::new(),
        }
    }

    /// The file system of `path`, if it is one that is known.
    fn file_system(&mut self, path: &CStr, state: &FileState) -> Option<FileSystem> {
        *self.file_systems.entry(state.stat.dev).or_insert_with(|| {
            FileSystem::at(Path::new(OsStr::from_bytes(path.to_bytes()))).ok().and_then(Result::ok)
        })
    }

    /// Whether a stamp that was taken at `taken_ns` tells its content from any later one.
    pub fn vouches(&mut self, path: &CStr, state: &FileState, taken_ns: i64) -> bool {
        let youngest = state.stat.ctime_ns.max(state.stat.mtime_ns);
        let granularity = if state.stat.ctime_ns % 1_000_000_000 == 0 {
            SECONDS_NS
        } else if self.file_system(path, state).is_some_and(FileSystem::has_fine_times) {
            return true;
        } else {
            TICK_NS
        };
        youngest.saturating_add(granularity) <= taken_ns
    }

    /// Notes every symlink and every directory on the way to `path`, those behind links too; `path` itself only if it is
    /// one of the two. Compilers ask where a path really leads, and write that into depfiles and debug information.
    pub fn walk(&mut self, path: &Path) {
        // What is walked was reached by all that is before it. Most inputs lie where others do.
        if !self.walked.contains(path.as_os_str()) {
            self.walk_at(path, 0);
        }
    }

    fn walk_at(&mut self, path: &Path, depth: usize) {
        let mut prefix = PathBuf::new();
        for part in path.components() {
            prefix.push(part);
            if !matches!(part, std::path::Component::Normal(_))
                || !self.walked.insert(prefix.as_os_str().to_owned())
            {
                continue;
            }
            let Some(spelled) = c_path(&prefix) else { return };
            let Ok(state) = raw::lstat(&spelled) else { return };
            if !state.is_symlink() {
                if state.is_directory() {
                    self.places.push((spelled, state));
                }
                continue;
            }
            self.links.push((spelled, state));
            if let Ok(target) = std::fs::read_link(&prefix)
                && depth < LINKS_MAX
            {
                let from = prefix.parent().unwrap_or(Path::new(""));
                self.walk_at(&from.join(target), depth + 1);
            }
        }
    }

    /// Notes `path` itself, if it is a symlink.
    pub fn note_link(&mut self, path: &Path) {
        let Some(spelled) = c_path(path).filter(|_| !self.walked.contains(path.as_os_str())) else {
            return;
        };
        if let Some(state) = raw::lstat(&spelled).ok().filter(FileState::is_symlink) {
            self.links.push((spelled, state));
        }
    }

    /// All symlinks that were met.
    pub fn links(&self) -> &[(CString, FileState)] {
        &self.links
    }

    /// All directories that were met and are no symlinks.
    pub fn places(&self) -> &[(CString, FileState)] {
        &self.places
    }

    /// Where a path that was looked for in vain leads now.
    pub fn look(&mut self, path: &Path) -> Absent {
        let Some((parent, name)) = split(path) else { return Absent::hot(path) };
        // The directory's stamp is taken before the name is looked at: what appears from then on changes it.
        if self.directory(parent).is_none() {
            return match self.missing_parent(parent) {
                missing @ Absent::In(..) => missing,
                Absent::There | Absent::Otherwise(_) => Absent::hot(path),
            };
        }
        match c_path(path).map(|path| raw::lstat(&path)) {
            Some(Err(Errno::NOENT)) => Absent::In(parent.to_path_buf(), name.to_owned()),
            _ => Absent::hot(path),
        }
    }

    /// What is missing on the way to a path whose parent is no directory: looked at once for all that would be below.
    fn missing_parent(&mut self, parent: &Path) -> Absent {
        if let Some(known) = self.missing.get(parent.as_os_str()) {
            return known.clone();
        }
        let found = self.look(parent);
        self.missing.insert(parent.as_os_str().to_owned(), found.clone());
        found
    }

    /// The state of a directory, taken when it is asked for first.
    fn directory(&mut self, path: &Path) -> Option<FileState> {
        if let Some(known) = self.directories.get(path.as_os_str()) {
            return *known;
        }
        let shown = if path.as_os_str().is_empty() { Path::new(".") } else { path };
        let state =
            c_path(shown).and_then(|path| raw::stat(&path).ok()).filter(FileState::is_directory);
        self.directories.insert(path.as_os_str().to_owned(), state);
        state
    }

    /// Sorts paths that lead nowhere into directories that vouch for them and those that must be looked at; `None` if
    /// one of them leads somewhere by now. `written` are the directories that the tool wrote into.
    pub fn absences(
        &mut self,
        paths: impl IntoIterator<Item = Absent>,
        written: &HashSet<(u64, u64)>,
    ) -> Option<Absences> {
        let mut by_directory: BTreeMap<OsString, BTreeSet<OsString>> = BTreeMap::new();
        let mut found = Absences::default();
        for absent in paths {
            match absent {
                Absent::There => return None,
                Absent::Otherwise(hot) => found.hot.push(hot),
                Absent::In(directory, name) => {
                    by_directory.entry(directory.into()).or_default().insert(name);
                }
            }
        }
        for (directory, names) in by_directory {
            let directory = PathBuf::from(directory);
            let state = self.directory(&directory)?;
            match self.vouching(&directory, &state, written) {
                Some(path) => {
                    let names = names.into_iter().map(|name| CString::new(name.into_vec()));
                    let names = names.collect::<Result<_, _>>().ok()?;
                    found.directories.push(Directory { path, stamp: state.stat.stamp(), names });
                }
                None => {
                    for name in names {
                        let path = c_path(&directory.join(name))?;
                        found.hot.push((path, Errno::NOENT.raw_os_error().cast_unsigned()));
                    }
                }
            }
        }
        Some(found)
    }

    /// The spelling of a directory, in this state just now, whose stamp tells whether a name was added since.
    pub fn vouching(
        &mut self,
        directory: &Path,
        state: &FileState,
        written: &HashSet<(u64, u64)>,
    ) -> Option<CString> {
        let path = c_path(directory)?;
        let shown = if path.is_empty() { c"." } else { &path };
        let is_trusted = !written.contains(&(state.stat.dev, state.stat.ino))
            && self.file_system(shown, state).is_some()
            && self.vouches(shown, state, self.taken_ns);
        is_trusted.then_some(path)
    }
}

/// Where a path that was looked for in vain leads now.
#[derive(Debug, Clone)]
pub enum Absent {
    /// Somewhere.
    There,
    /// To a name that is not in a directory that is there.
    In(PathBuf, OsString),
    /// Nowhere, but not for want of a name in a directory (a dangling link, a file in a directory's place).
    Otherwise((CString, u32)),
}

impl Absent {
    fn hot(path: &Path) -> Absent {
        match c_path(path).map(|spelled| (raw::stat(&spelled), spelled)) {
            Some((Err(errno), spelled)) => {
                Absent::Otherwise((spelled, errno.raw_os_error().cast_unsigned()))
            }
            _ => Absent::There,
        }
    }
}

/// A path's directory and its last name, as `Path::parent` and `Path::file_name` give them but in fewer steps; `None` if it
/// does not end in a plain name.
fn split(path: &Path) -> Option<(&Path, &OsStr)> {
    let bytes = path.as_os_str().as_bytes();
    let at = bytes.iter().rposition(|byte| *byte == b'/');
    let name = &bytes[at.map_or(0, |at| at + 1)..];
    if matches!(name, b"" | b"." | b"..") {
        return None;
    }
    let mut parent = &bytes[..at.unwrap_or(0)];
    while let Some(shorter) = parent.strip_suffix(b"/") {
        parent = shorter;
    }
    if at.is_some() && parent.is_empty() {
        parent = b"/";
    }
    Some((Path::new(OsStr::from_bytes(parent)), OsStr::from_bytes(name)))
}

/// By its name: `libc.so.6`, `plugin.so`.
pub fn is_shared_object(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().as_bytes();
    name.ends_with(b".so") || name.windows(4).any(|part| part == b".so.")
}
