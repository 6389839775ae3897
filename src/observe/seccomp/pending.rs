//! Changes that were asked for and may not have happened yet.
//!
//! A call is seen before it is made. What it changed is noted once that can be seen, at the latest when its thread makes
//! the next call: so an event never comes behind one that depends on it.

use std::path::PathBuf;

use super::place::WatchedPath;
use crate::observe::shim::log::What;
use crate::observe::shim::log_layout::FileStat;

const ENOENT: i32 = 2;

/// A change that was let through.
#[derive(Debug)]
pub struct Pending {
    /// The thread that makes it.
    pub thread: u32,
    /// Where its effect will be seen.
    pub place: WatchedPath,
    /// What was there before.
    pub before: Option<FileStat>,
    /// What it is.
    pub change: Change,
}

/// What is changed at a place.
#[derive(Debug)]
pub enum Change {
    /// A file is made by `open`.
    Open { flags: u32, mode: u32 },
    /// What was at another place comes here; `moved` is what it was.
    Rename { from: WatchedPath, existed: bool, moved: FileStat },
    /// A name is made for what has one already.
    Link { from: PathBuf },
    /// A link, a directory or a device is made.
    Make { mode: u32 },
    /// The name goes.
    Remove,
    /// Mode, owner, times or attributes are set, or its length.
    Attributes { is_shown: bool },
}

fn inode(stat: &FileStat) -> (u64, u64) {
    (stat.dev, stat.ino)
}

impl Pending {
    /// What happened, if it has; `returned`: the call is over, one way or the other.
    pub fn settle(&self, returned: bool) -> Option<What> {
        let now = match self.change {
            Change::Open { .. } | Change::Attributes { .. } => self.place.stat().ok(),
            _ => self.place.lstat().ok(),
        };
        self.seen(now).or_else(|| returned.then(|| self.failed(now)))
    }

    /// The effect, where it shows.
    fn seen(&self, now: Option<FileStat>) -> Option<What> {
        let path = self.place.spelled.clone();
        Some(match &self.change {
            Change::Open { flags, mode } => What::Open {
                path,
                errno: 0,
                flags: *flags,
                mode: *mode,
                existed: false,
                stat: Some(now?),
            },
            Change::Rename { from, existed, moved } => {
                let now = now.filter(|now| inode(now) == inode(moved))?;
                if from.lstat().is_ok_and(|left| inode(&left) == inode(moved)) {
                    return None;
                }
                // Somebody else may have written it since.
                let is_same = (now.size, now.mtime_ns) == (moved.size, moved.mtime_ns);
                let stat = if is_same { now } else { *moved };
                let from = from.spelled.clone();
                What::Rename { from, to: path, errno: 0, existed: *existed, stat: Some(stat) }
            }
            Change::Link { from } => {
                What::Link { from: from.clone(), to: path, errno: 0, stat: Some(now?) }
            }
            Change::Make { mode } => now.map(|_| What::Make { path, errno: 0, mode: *mode })?,
            Change::Remove => {
                let is_gone = now.map(|now| inode(&now)) != self.before.map(|was| inode(&was));
                is_gone.then_some(What::Remove { path, errno: 0 })?
            }
            Change::Attributes { is_shown } => {
                let is_new = now.map(|now| now.ctime_ns) != self.before.map(|was| was.ctime_ns);
                is_new.then_some(What::Attributes { path, stat: now, is_shown: *is_shown })?
            }
        })
    }

    /// The call is over, and nothing shows.
    fn failed(&self, now: Option<FileStat>) -> What {
        let path = self.place.spelled.clone();
        match self.change {
            // What it set was so before, or its clock has not moved on.
            Change::Attributes { is_shown } => What::Attributes { path, stat: now, is_shown },
            _ => What::Look { path, errno: if now.is_some() { 0 } else { ENOENT } },
        }
    }
}
