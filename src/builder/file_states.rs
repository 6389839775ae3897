//! The state of files as a record describes it: which stats are reliable, and what is absent, by directory.
//!
//! It looks and remembers what it saw; whether that suffices is decided in `record_builder.rs`. Read next: `path_walker.rs`.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::ffi::{CStr, CString, OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustc_hash::FxHashMap;

use super::path_walker::{PathWalker, c_path, path_of, split};
use crate::os::file_system::FileSystem;
use crate::shm::access::Access;
use crate::shm::raw::{self, Errno, FileState};
use crate::shm::stat::Stat;
use crate::store::draft::DraftDirectory;

/// A tick of the kernel's coarse clock is at most 10 ms; twice that, for good measure.
const TICK_NS: i64 = 20_000_000;
/// Where times are shown in whole seconds they may be counted in two (FAT).
const SECONDS_NS: i64 = 2_000_000_000;
/// A directory that has not changed for an hour is taken for one that seldom does.
const QUIET_NS: i64 = 3_600_000_000_000;

/// Nanoseconds since the epoch, now.
pub fn now_ns() -> i64 {
    since_epoch_ns(SystemTime::now())
}

/// Nanoseconds since the epoch, at that time.
pub fn since_epoch_ns(time: SystemTime) -> i64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_nanos()).unwrap_or(i64::MAX)
}

/// Whether the clock was set back in the `wall` time that passed since it showed `then_ns` (ns since the epoch). What was
/// changed in that time may bear a time from before it.
pub fn was_set_back(then_ns: i64, now_ns: i64, wall: Duration) -> bool {
    i128::from(now_ns) - i128::from(then_ns) < i128::try_from(wall.as_nanos()).unwrap_or(i128::MAX)
}

/// Paths at which nothing was, with the states of their directories before they were looked at, if those are reliable.
pub type KnownAbsent = FxHashMap<OsString, Stat>;

/// What was seen of the files.
#[derive(Debug)]
pub struct FileStates {
    access: Access,
    /// Before anything was looked at, ns since the epoch.
    pub taken_ns: i64,
    file_systems: FxHashMap<u64, Option<FileSystem>>,
    // By spelling: hashing a path part by part takes several times as long.
    directories: FxHashMap<OsString, Option<FileState>>,
    missing: FxHashMap<OsString, Absent>,
    known_absent: KnownAbsent,
    /// What is on the way to the paths that count.
    pub walker: PathWalker,
}

/// Absences, as a record holds them.
#[derive(Debug, Default)]
pub struct Absences {
    /// Directories whose stats are reliable.
    pub directories: Vec<DraftDirectory>,
    /// Those that are looked at one by one.
    pub hot: Vec<(CString, u32)>,
}

impl FileStates {
    /// Nothing seen yet, for records in a cache of this kind.
    pub fn new(access: Access) -> FileStates {
        FileStates {
            access,
            taken_ns: now_ns(),
            file_systems: FxHashMap::default(),
            directories: FxHashMap::default(),
            missing: FxHashMap::default(),
            known_absent: KnownAbsent::default(),
            walker: PathWalker::default(),
        }
    }

    /// The same where it is known that nothing was at some paths a while ago.
    pub fn knowing(access: Access, known_absent: KnownAbsent) -> FileStates {
        FileStates { known_absent, ..FileStates::new(access) }
    }

    /// The file system of `path`, if it is one that is known.
    fn file_system(&mut self, path: &CStr, state: &FileState) -> Option<FileSystem> {
        *self.file_systems.entry(state.stat.dev).or_insert_with(|| {
            FileSystem::at(Path::new(OsStr::from_bytes(path.to_bytes()))).ok().and_then(Result::ok)
        })
    }

    /// Whether a stamp that was taken at `taken_ns` tells its content from any later one.
    pub fn is_reliable(&mut self, path: &CStr, state: &FileState, taken_ns: i64) -> bool {
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

    /// Notes `places` (directories that are no symlinks) with the directories that they lie in, if the stats of these are
    /// reliable: nothing becomes a symlink without a change of the directory that holds its name. A directory in which
    /// nothing is noted yet is taken if it saves look-ups and seldom changes. Gives those that are left; `None` if one has
    /// changed.
    pub fn fold(
        &mut self,
        places: Vec<(CString, FileState)>,
        directories: &mut Vec<DraftDirectory>,
        written: &HashSet<(u64, u64)>,
    ) -> Option<Vec<(CString, FileState)>> {
        let mut left = Vec::new();
        let mut by_parent: BTreeMap<OsString, Vec<(CString, FileState)>> = BTreeMap::new();
        for place in places {
            match split(path_of(&place.0)) {
                Some((parent, _)) => by_parent.entry(parent.into()).or_default().push(place),
                None => left.push(place),
            }
        }
        for (parent, places) in by_parent {
            let mut reliable =
                directories.iter_mut().find(|known| path_of(&known.path).as_os_str() == parent);
            if reliable.is_none() && places.len() > 1 {
                let state = self.directory(Path::new(&parent))?;
                let is_quiet = state.stat.mtime_ns.saturating_add(QUIET_NS) <= self.taken_ns;
                let path = self.reliable_path(Path::new(&parent), &state, written);
                if let Some(path) = path.filter(|_| is_quiet) {
                    let stamp = state.stat.stamp();
                    directories.push(DraftDirectory { path, stamp, names: Vec::new() });
                    reliable = directories.last_mut();
                }
            }
            let Some(reliable) = reliable else {
                left.extend(places);
                continue;
            };
            for (path, _) in places {
                // Looked at after the directory's stamp was taken: what changes from then on changes that one too.
                raw::lstat(&path).ok().filter(FileState::is_directory)?;
                let (_, name) = split(path_of(&path))?;
                reliable.names.push(CString::new([name.as_bytes(), b"/"].concat()).ok()?);
            }
        }
        Some(left)
    }

    /// Where a path that was looked for in vain leads now.
    pub fn look(&mut self, path: &Path) -> Absent {
        let path = &*self.walker.plain(path);
        let Some((parent, name)) = split(path) else { return Absent::hot(path) };
        // The directory's stamp is taken before the name is looked at: what appears from then on changes it.
        let Some(state) = self.directory(parent) else {
            return match self.missing_parent(parent) {
                missing @ Absent::In(..) => missing,
                Absent::There | Absent::Otherwise(_) => Absent::hot(path),
            };
        };
        if self.known_absent.get(path.as_os_str()) == Some(&state.stat) {
            return Absent::In(parent.to_path_buf(), name.to_owned());
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
    pub fn directory(&mut self, path: &Path) -> Option<FileState> {
        if let Some(known) = self.directories.get(path.as_os_str()) {
            return *known;
        }
        let shown = if path.as_os_str().is_empty() { Path::new(".") } else { path };
        let state =
            c_path(shown).and_then(|path| raw::stat(&path).ok()).filter(FileState::is_directory);
        self.directories.insert(path.as_os_str().to_owned(), state);
        state
    }

    /// Sorts paths that lead nowhere into directories whose stat tells of them and those that must be looked at; `None` if
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
            match self.reliable_path(&directory, &state, written) {
                Some(path) => {
                    let names = names.into_iter().map(|name| CString::new(name.into_vec()));
                    let names = names.collect::<Result<_, _>>().ok()?;
                    found.directories.push(DraftDirectory {
                        path,
                        stamp: state.stat.stamp(),
                        names,
                    });
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
    pub fn reliable_path(
        &mut self,
        directory: &Path,
        state: &FileState,
        written: &HashSet<(u64, u64)>,
    ) -> Option<CString> {
        let path = c_path(directory)?;
        let shown = if path.is_empty() { c"." } else { &path };
        let is_trusted = !written.contains(&(state.stat.dev, state.stat.ino))
            && self.file_system(shown, state).is_some()
            && self.access.all_may_use(state)
            && self.is_reliable(shown, state, self.taken_ns);
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

/// By its name: `libc.so.6`, `plugin.so`.
pub fn is_shared_object(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().as_bytes();
    name.ends_with(b".so") || name.windows(4).any(|part| part == b".so.")
}

/// Whether a value of `PWD` leads to the working directory, by any path.
pub fn names_directory(value: &[u8], directory: &[u8]) -> bool {
    let state = |path: &[u8]| {
        let path = CString::new(path).ok()?;
        raw::stat(&path).ok().map(|state| (state.stat.dev, state.stat.ino))
    };
    value == directory || state(value).is_some_and(|there| Some(there) == state(directory))
}

/// Whether a value of `PWD` leads to the working directory by another path than the kernel's.
pub fn names_otherwise(value: &[u8], directory: &[u8]) -> bool {
    value != directory && names_directory(value, directory)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND_NS: i64 = 1_000_000_000;
    const THEN_NS: i64 = 1_700_000_000 * SECOND_NS;

    /// Whether a file that changed, and says that it was modified, at these times has a reliable stat at `taken_ns`.
    fn is_reliable(ctime_ns: i64, mtime_ns: i64, taken_ns: i64) -> bool {
        let path = c".";
        let mut state = raw::stat(path).expect("the working directory");
        (state.stat.ctime_ns, state.stat.mtime_ns) = (ctime_ns, mtime_ns);
        FileStates::new(Access::Own).is_reliable(path, &state, taken_ns)
    }

    #[test]
    fn whole_seconds_must_have_passed() {
        assert!(is_reliable(THEN_NS, THEN_NS, THEN_NS + SECONDS_NS));
        assert!(!is_reliable(THEN_NS, THEN_NS, THEN_NS + SECONDS_NS - 1));
        // The clock was set back since, or the file comes from times to come.
        assert!(!is_reliable(THEN_NS, THEN_NS, THEN_NS - 3600 * SECOND_NS));
        assert!(!is_reliable(THEN_NS, THEN_NS + 3600 * SECOND_NS, THEN_NS + SECONDS_NS));
        // A time that was put back is no older than the change that did it.
        assert!(!is_reliable(THEN_NS, 0, THEN_NS + 1));
    }

    #[test]
    fn what_is_known_to_be_absent_is_so_as_long_as_its_directory_is_the_same() {
        let scratch = tempfile::tempdir().expect("a temporary directory");
        let (directory, path) = (scratch.path(), scratch.path().join("x"));
        std::fs::write(directory.join("y"), "").expect("written");
        let state = raw::stat(&c_path(directory).expect("no NUL")).expect("it is there").stat;
        let known: KnownAbsent = [(path.clone().into_os_string(), state)].into_iter().collect();
        // Nobody looks again: this one is said to be absent, and is not.
        let wrong = [(directory.join("y").into_os_string(), state)].into_iter().collect();
        let found = FileStates::knowing(Access::Own, wrong).look(&directory.join("y"));
        assert!(matches!(found, Absent::In(..)));
        assert!(matches!(
            FileStates::knowing(Access::Own, known.clone()).look(&path),
            Absent::In(..)
        ));
        std::fs::write(&path, "").expect("written");
        assert!(matches!(FileStates::knowing(Access::Own, known).look(&path), Absent::There));
    }

    #[test]
    fn a_clock_that_is_set_back_while_the_tool_runs() {
        let wall = Duration::from_secs(3);
        for (later_ns, is_back) in [(3, false), (4, false), (3600, false), (2, true), (-3600, true)]
            .map(|(seconds, is_back)| (THEN_NS + seconds * SECOND_NS, is_back))
        {
            assert_eq!(was_set_back(THEN_NS, later_ns, wall), is_back, "{later_ns}");
        }
        assert!(was_set_back(i64::MAX, 0, Duration::MAX));
    }
}
