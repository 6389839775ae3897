//! What a record says of its project's settings: that the file which was read is as it was, or that there is none.
//!
//! A look-up by stamps does not look for the file. It finds the record of a project without one by the same key as before somebody
//! wrote one; so the record holds where none was. A look-up by content knows the settings, and heeds none of this.
//! Read next: `probe/project.rs`, `config/project.rs`.

use std::collections::HashSet;
use std::ffi::{CStr, CString, OsStr};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use super::file_states::FileStates;
use crate::probe::command::PATH_BYTES_MAX;
use crate::probe::project::{self, Seen};
use crate::record;
use crate::shm::access::Access;
use crate::shm::raw::{self, Errno, FileState};
use crate::shm::stat::{Stamp, Stat};
use crate::store::draft::{Draft, DraftDirectory, DraftInput, DraftOutput};

/// Notes in `draft`, of a command in `directory`, which settings file of a project counted: `read`, if there was one. `None` if another
/// counts now, or one that has just changed.
pub fn note(
    draft: &mut Draft,
    directory: &[u8],
    read: Option<(&Path, Stat)>,
    access: Access,
) -> Option<()> {
    let (files, written) = (FileStates::new(access), written(draft));
    let mut notes = Notes { draft, directory, files, written, reliable: None };
    let mut steps = Vec::new();
    let mut buffer = vec![0; PATH_BYTES_MAX + 16];
    project::find(directory, &mut buffer, |path, seen| steps.push((path.to_owned(), seen)));
    let found = steps.iter().find_map(|(path, seen)| match seen {
        Seen::File(state) => Some((path, state)),
        _ => None,
    });
    let is_as_read = match (found, read) {
        (None, None) => true,
        (Some((path, state)), Some((read, then))) => {
            read.as_os_str().as_bytes() == path.to_bytes() && then == state.stat
        }
        _ => false,
    };
    is_as_read.then_some(())?;
    for (path, seen) in &steps {
        match seen {
            Seen::Directory(state) => notes.enter(path, state),
            Seen::NoFile(errno) => notes.absent(path, *errno),
            // How far one has to look matters if something is found there, and where the search ends if nothing is.
            Seen::NoRoot(Err(errno)) if found.is_some() => notes.absent(path, *errno),
            Seen::NoRoot(Ok(_)) if found.is_some() => notes.file(path, &raw::stat(path).ok()?)?,
            Seen::NoRoot(_) => {}
            Seen::Root(state) if state.is_directory() => notes.root(path, state),
            Seen::File(state) | Seen::Root(state) => notes.file(path, state)?,
        }
    }
    Some(())
}

fn written(draft: &Draft) -> HashSet<(u64, u64)> {
    let directory_of = |output: &DraftOutput| {
        let path = output.path.to_bytes();
        let slash = path.iter().rposition(|byte| *byte == b'/');
        let directory = slash.map_or(&b"."[..], |at| &path[..at.max(1)]);
        let state = raw::stat(&CString::new(directory).ok()?).ok()?;
        Some((state.stat.dev, state.stat.ino))
    };
    draft.outputs.iter().filter_map(directory_of).collect()
}

struct Notes<'a> {
    draft: &'a mut Draft,
    directory: &'a [u8],
    files: FileStates,
    /// The directories of the outputs, whose stamps are others after each run.
    written: HashSet<(u64, u64)>,
    /// The directory that is looked at, if its stamp tells of names, before it is in the draft.
    reliable: Option<DraftDirectory>,
}

impl Notes<'_> {
    fn is_reliable(&mut self, path: &CStr, state: &FileState) -> bool {
        let taken_ns = self.files.taken_ns;
        self.files.is_reliable(path, state, taken_ns)
    }

    fn enter(&mut self, path: &CStr, state: &FileState) {
        let directory = Path::new(OsStr::from_bytes(path.to_bytes()));
        let reliable = self.files.reliable_path(directory, state, &self.written);
        self.reliable = reliable.map(|path| DraftDirectory {
            path,
            stamp: state.stat.stamp(),
            names: Vec::new(),
        });
    }

    /// Puts a name among those of its directory, whose stamp then tells of it; false if it does not.
    fn put_name(&mut self, path: &CStr, end: &str) -> bool {
        let path = path.to_bytes();
        let Some(slash) = path.iter().rposition(|byte| *byte == b'/') else { return false };
        let (directory, name) = (&path[..slash], &path[slash..]);
        let is_own = directory == self.directory;
        let is_it = |known: &DraftDirectory| {
            known.path.to_bytes() == directory || is_own && known.path.is_empty()
        };
        let known = &mut self.draft.directories;
        let at = known.iter().position(is_it).or_else(|| {
            known.push(self.reliable.take()?);
            Some(known.len() - 1)
        });
        let Ok(name) = CString::new([name, end.as_bytes()].concat()) else { return false };
        at.map(|at| known[at].names.push(name)).is_some()
    }

    fn absent(&mut self, path: &CStr, errno: Errno) {
        // What a link leads to comes to be without a change of the directory that holds the link.
        let is_missing = errno == Errno::NOENT && raw::lstat(path) == Err(Errno::NOENT);
        if !is_missing || !self.put_name(path, "") {
            let errno = errno.raw_os_error().cast_unsigned();
            self.push(record::NO_PROJECT_FILE, path, errno, Stamp([0; 16]));
        }
    }

    fn root(&mut self, path: &CStr, state: &FileState) {
        if !self.put_name(path, "/") {
            self.push(record::PROJECT_ROOT, path, state.mode, Stamp([0; 16]));
        }
    }

    fn file(&mut self, path: &CStr, state: &FileState) -> Option<()> {
        self.is_reliable(path, state).then_some(())?;
        self.push(record::PROJECT_FILE, path, state.mode, state.stat.stamp());
        Some(())
    }

    fn push(&mut self, kind: u32, path: &CStr, mode: u32, stamp: Stamp) {
        let group = self.draft.inputs.iter().map(|input| input.group).max().map_or(0, |it| it + 1);
        let path = path.to_owned();
        let input = DraftInput { path, kind, mode, stamp, digest: [0; 32], group, times: 0 };
        self.draft.inputs.push(input);
    }
}

/// Takes what [`note`] has put there out of a record.
pub fn leave_out(draft: &mut Draft) {
    draft.inputs.retain(|input| !record::is_of_project(input.kind));
    draft.directories.retain_mut(|directory| {
        let had = directory.names.len();
        directory.names.retain(|name| !name.to_bytes().starts_with(b"/"));
        had == directory.names.len() || !directory.names.is_empty()
    });
}
