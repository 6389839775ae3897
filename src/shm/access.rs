//! Who may write a cache: its user alone or, where the user has said so, the group of its directory.
//!
//! Those who may write it can put objects into the builds of all who use it. Read next: `docs/groups.md`.

use super::raw::{self, FileState};

/// Bits of a directory's mode that count: sticky, setgid, the group's, and writing by others.
const COUNTED: u32 = 0o3072;
/// What they are where a group shares the directory: new files are the group's, and all may remove each other's.
const SHARED: u32 = 0o2070;

/// The mode of a directory that a group shares.
pub const GROUP_DIRECTORY: u32 = 0o2770;
/// The mode of a file in it.
pub const GROUP_FILE: u32 = 0o660;

/// Who may write a directory that we use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// We alone.
    Own,
    /// All members of this group, of which we are one.
    Group(u32),
}

impl Access {
    /// Who may write the directory in `state`; `None` if it is not to be used. `by_group` says whether the user wants to
    /// share caches.
    pub fn of(state: &FileState, by_group: bool) -> Option<Access> {
        if !state.is_directory() {
            return None;
        }
        if state.uid == raw::user() && state.mode & 0o022 == 0 {
            return Some(Access::Own);
        }
        (by_group && is_shared(state.mode) && raw::is_in_group(state.gid))
            .then_some(Access::Group(state.gid))
    }

    /// Whether all users of the cache can read, and run, what one of them can.
    pub fn all_may_use(self, file: &FileState) -> bool {
        let class = |shift: u32| file.mode >> shift & 5;
        match self {
            Access::Own => true,
            Access::Group(gid) => {
                let same_group = class(6) == class(3);
                same_group && (class(3) == class(0) || file.gid == gid)
            }
        }
    }
}

/// Whether a directory with this mode is made to be shared by a group.
pub fn is_shared(mode: u32) -> bool {
    mode & COUNTED == SHARED
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shm::raw::{DIRECTORY, REGULAR};

    fn state(mode: u32) -> FileState {
        let own = raw::stat(c"/proc/self").expect("it is there");
        FileState { mode, ..own }
    }

    #[test]
    fn whose_directory_is_used() {
        let ours = state(DIRECTORY);
        for (mode, alone, in_group) in [
            (0o700, Some(Access::Own), Some(Access::Own)),
            (0o755, Some(Access::Own), Some(Access::Own)),
            (0o2770, None, Some(Access::Group(ours.gid))),
            (0o2775, None, Some(Access::Group(ours.gid))),
            // Not the group's own, writable by others, or none may remove another's files.
            (0o770, None, None),
            (0o2777, None, None),
            (0o777, None, None),
            (0o3770, None, None),
        ] {
            let state = state(DIRECTORY | mode);
            assert_eq!(Access::of(&state, false), alone, "{mode:o}");
            assert_eq!(Access::of(&state, true), in_group, "{mode:o}");
            // Neither ours nor our group's.
            let others = FileState { uid: ours.uid + 1, gid: u32::MAX - 7, ..state };
            assert_eq!(Access::of(&others, true), None, "{mode:o}");
        }
        assert_eq!(Access::of(&state(REGULAR | 0o700), true), None);
    }

    #[test]
    fn what_all_may_use() {
        for (mode, of_another_group, of_the_group) in [
            (0o644, true, true),
            (0o664, true, true),
            (0o755, true, true),
            (0o640, false, true),
            (0o750, false, true),
            (0o600, false, false),
            (0o744, false, false),
            (0o604, false, false),
        ] {
            let file = FileState { gid: 1, ..state(REGULAR | mode) };
            assert_eq!(Access::Group(2).all_may_use(&file), of_another_group, "{mode:o}");
            assert_eq!(Access::Group(1).all_may_use(&file), of_the_group, "{mode:o}");
            assert!(Access::Own.all_may_use(&file));
        }
    }
}
