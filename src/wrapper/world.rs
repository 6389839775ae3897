//! The world as a record must describe it: stamps that vouch, symlinks on the way, absences by directory.
//!
//! It looks and remembers what it saw; whether that suffices is decided in `learn.rs`.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::ffi::{CStr, CString, OsStr};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use crate::shm::raw::{self, Errno, FileState};
use crate::store::draft::Directory;

/// File systems on which a new name in a directory changes the directory's stamp (magic numbers of `statfs(2)`):
/// ext, xfs, btrfs, tmpfs, overlayfs, f2fs, zfs, bcachefs.
const ALLOWED: [u64; 8] = [
    0xEF53,
    0x5846_5342,
    0x9123_683E,
    0x0102_1994,
    0x794c_7630,
    0xF2F5_2010,
    0x2FC1_2FC1,
    0xCA45_1A4E,
];
/// Those of them whose change times are as fine as they are shown once somebody has looked (Linux 6.13).
const FINE_GRAINED: [u64; 4] = [0xEF53, 0x5846_5342, 0x9123_683E, 0x0102_1994];
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
#[derive(Debug, Default)]
pub struct World {
    file_systems: HashMap<u64, u64>,
    walked: HashSet<PathBuf>,
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
    fn file_system(&mut self, path: &CStr, state: &FileState) -> u64 {
        *self.file_systems.entry(state.stat.dev).or_insert_with(|| {
            rustix::fs::statfs(path).map_or(0, |fs| fs.f_type.cast_unsigned() & 0xffff_ffff)
        })
    }

    /// Whether a stamp that was taken at `taken_ns` tells its content from any later one.
    pub fn vouches(&mut self, path: &CStr, state: &FileState, taken_ns: i64) -> bool {
        let youngest = state.stat.ctime_ns.max(state.stat.mtime_ns);
        let granularity = if state.stat.ctime_ns % 1_000_000_000 == 0 {
            SECONDS_NS
        } else if FINE_GRAINED.contains(&self.file_system(path, state)) && has_fine_times() {
            return true;
        } else {
            TICK_NS
        };
        youngest.saturating_add(granularity) <= taken_ns
    }

    /// Notes every symlink and every directory on the way to `path`, those behind links too; `path` itself only if it is
    /// one of the two. Compilers ask where a path really leads, and write that into depfiles and debug information.
    pub fn walk(&mut self, path: &Path) {
        self.walk_at(path, 0);
    }

    fn walk_at(&mut self, path: &Path, depth: usize) {
        let mut prefix = PathBuf::new();
        for part in path.components() {
            prefix.push(part);
            if !matches!(part, std::path::Component::Normal(_))
                || !self.walked.insert(prefix.clone())
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

    /// All symlinks that were met.
    pub fn links(&self) -> &[(CString, FileState)] {
        &self.links
    }

    /// All directories that were met and are no symlinks.
    pub fn places(&self) -> &[(CString, FileState)] {
        &self.places
    }

    /// Sorts paths that lead nowhere into directories that vouch for them and those that must be looked at; `None` if
    /// one of them leads somewhere by now. `written` are the directories that the tool wrote into.
    pub fn absences(
        &mut self,
        paths: impl IntoIterator<Item = PathBuf>,
        written: &HashSet<(u64, u64)>,
    ) -> Option<Absences> {
        let mut by_directory: BTreeMap<PathBuf, Vec<CString>> = BTreeMap::new();
        let mut seen = HashSet::new();
        let mut found = Absences::default();
        for path in paths {
            if path.as_os_str().is_empty() {
                continue;
            }
            let spelled = c_path(&path)?;
            let errno = raw::stat(&spelled).err()?;
            match missing_in(&path).filter(|_| errno == Errno::NOENT) {
                Some((directory, name)) => {
                    if seen.insert((directory.clone(), name.clone())) {
                        by_directory.entry(directory).or_default().push(name);
                    }
                }
                None => found.hot.push((spelled, errno.raw_os_error().cast_unsigned())),
            }
        }
        for (directory, names) in by_directory {
            match self.vouching(&directory, written) {
                Some((path, state)) => {
                    // Once more, now that the stamp is taken: what appears from now on changes it.
                    let absent = |name| raw::lstat(&joined(&directory, name)?).err();
                    if !names.iter().all(|name| absent(name) == Some(Errno::NOENT)) {
                        return None;
                    }
                    let stamp = state.stat.stamp();
                    found.directories.push(Directory { path, stamp, names });
                }
                None => {
                    for name in &names {
                        found.hot.push((
                            joined(&directory, name)?,
                            Errno::NOENT.raw_os_error().cast_unsigned(),
                        ));
                    }
                }
            }
        }
        Some(found)
    }

    /// The state of a directory if its stamp tells whether a name was added from now on.
    pub fn vouching(
        &mut self,
        directory: &Path,
        written: &HashSet<(u64, u64)>,
    ) -> Option<(CString, FileState)> {
        let path = c_path(directory)?;
        let shown = if path.is_empty() { c"." } else { &path };
        let state = raw::stat(shown).ok().filter(FileState::is_directory)?;
        let is_trusted = !written.contains(&(state.stat.dev, state.stat.ino))
            && ALLOWED.contains(&self.file_system(shown, &state))
            && self.vouches(shown, &state, now_ns());
        is_trusted.then_some((path, state))
    }
}

fn joined(directory: &Path, name: &CStr) -> Option<CString> {
    c_path(&directory.join(OsStr::from_bytes(name.to_bytes())))
}

/// Where a path that leads nowhere ends: the last directory that is there, and the first name that is not; `None` if
/// it ends otherwise (a dangling link, a file in the place of a directory).
fn missing_in(path: &Path) -> Option<(PathBuf, CString)> {
    let mut directory = PathBuf::new();
    for part in path.components() {
        let next = directory.join(part);
        let spelled = c_path(&next)?;
        match raw::stat(&spelled) {
            Ok(state) if state.is_directory() => directory = next,
            Err(Errno::NOENT) if raw::lstat(&spelled) == Err(Errno::NOENT) => {
                let std::path::Component::Normal(name) = part else { return None };
                return Some((directory, CString::new(name.as_bytes()).ok()?));
            }
            _ => return None,
        }
    }
    None
}

/// Whether the kernel gives a file that somebody has looked at a new change time with every change (Linux 6.13,
/// "multigrain timestamps").
fn has_fine_times() -> bool {
    static ANSWER: std::sync::OnceLock<bool> = std::sync::OnceLock::new();
    *ANSWER.get_or_init(|| {
        let uname = rustix::system::uname();
        let release = uname.release().to_string_lossy();
        let mut numbers =
            release.split(|c: char| !c.is_ascii_digit()).map(|n| n.parse().unwrap_or(0));
        let version: (u32, u32) = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
        version >= (6, 13)
    })
}
