//! Which file holds a project's own settings: the nearest `ibid.toml`, from the working directory up to the root of the
//! repository in which that lies.
//!
//! The same walk finds it before libc and after it. A directory of another owner, one for everybody's files (`/tmp`), and `/`
//! are part of no project. It reads no settings. Read next: `settings.rs`, `config/project.rs`, `builder/project.rs`.

use core::ffi::CStr;

use crate::shm::raw::{self, AsFd, Errno, FileState};

/// The file's name.
pub const NAME: &CStr = c"ibid.toml";
/// What makes a directory the root of a repository.
pub const REPOSITORY: &CStr = c".git";

/// What the walk came upon, in its order.
#[derive(Debug, Clone, Copy)]
pub enum Seen {
    /// The path is a directory of the project, looked at before the names in it.
    Directory(FileState),
    /// The path is that of a settings file, the last that is looked at.
    File(FileState),
    /// No settings file is at the path.
    NoFile(Errno),
    /// The path makes its directory the root, the last one: a directory, or a worktree's file.
    Root(FileState),
    /// The path does not: nothing is there, or a submodule's file.
    NoRoot(Result<FileState, Errno>),
}

/// Sticky, and all may write.
const FOR_ALL: u32 = 0o1002;

/// Walks up from `directory`, with each path in `buffer`; the length of the file's path there, with its NUL, if there is one.
#[inline(never)]
pub fn find(
    directory: &[u8],
    buffer: &mut [u8],
    mut seen: impl FnMut(&CStr, Seen),
) -> Option<usize> {
    let mut len = directory.len();
    let mut owner = None;
    loop {
        let directory = directory.get(..len).filter(|it| it.len() > 1)?;
        let path = joined(directory, c"", buffer)?;
        let state = raw::stat(path).ok().filter(FileState::is_directory)?;
        if *owner.get_or_insert(state.uid) != state.uid || state.mode & FOR_ALL == FOR_ALL {
            return None;
        }
        seen(path, Seen::Directory(state));
        let path = joined(directory, NAME, buffer)?;
        match raw::stat(path) {
            Ok(state) => {
                seen(path, Seen::File(state));
                return Some(path.count_bytes() + 1);
            }
            Err(errno) => seen(path, Seen::NoFile(errno)),
        }
        let path = joined(directory, REPOSITORY, buffer)?;
        match raw::lstat(path) {
            Ok(state) if state.is_directory() || is_worktree(path) => {
                seen(path, Seen::Root(state));
                return None;
            }
            found => seen(path, Seen::NoRoot(found)),
        }
        len = directory.iter().rposition(|byte| *byte == b'/')?;
    }
}

/// `directory/name`, or the directory alone if the name is empty.
fn joined<'b>(directory: &[u8], name: &CStr, buffer: &'b mut [u8]) -> Option<&'b CStr> {
    let slash: &[u8] = if name.is_empty() { b"" } else { b"/" };
    let mut end = 0;
    for piece in [directory, slash, name.to_bytes_with_nul()] {
        buffer.get_mut(end..end + piece.len())?.copy_from_slice(piece);
        end += piece.len();
    }
    CStr::from_bytes_with_nul(buffer.get(..end)?).ok()
}

/// Whether a file leads to a repository of its own, as a worktree's does; a submodule belongs to the one around it.
fn is_worktree(path: &CStr) -> bool {
    const MODULES: &[u8] = b"/modules/";
    let is_regular = raw::stat(path).is_ok_and(|state| state.is_regular());
    let Some(file) = raw::open_read(path).ok().filter(|_| is_regular) else { return false };
    let mut text = [0; 4096];
    let len = raw::read_all(file.as_fd(), &mut text).unwrap_or(0);
    let target = text.get(..len).and_then(|text| text.strip_prefix(b"gitdir:"));
    target.is_some_and(|target| !target.windows(MODULES.len()).any(|part| part == MODULES))
}
