//! What a whole trace means, when nothing more happens.
//!
//! Each name is an input, an absence, an output, or nothing (what was made and removed). Read next: `../loader/`.

use rustc_hash::{FxHashMap, FxHashSet};

use super::{ENOENT, Inode, Own, OwnKind, Trace, TracedFile};
use crate::observe::shim::log::Event;
use crate::observe::trace::places::Key;
use crate::observe::trace::programs::Programs;
use crate::observe::{
    Fact, Made, MadeDirectory, Observation, Removed, SeenAbsence, SeenInput, SeenOutput,
};

impl Trace {
    /// What all of it means where the events are system calls, those of the loader and of libc among them. For those of a
    /// log see `loader`.
    pub fn conclude_calls(mut self, events: &[Event], lost: Option<String>) -> Observation {
        self.add_programs(events, lost);
        self.finish()
    }

    /// Adds which programs ran, by all events; `lost` says why events are missing, if some are.
    pub fn add_programs(&mut self, events: &[Event], lost: Option<String>) {
        let programs = Programs::of(events);
        self.seen.images = programs.images;
        self.seen.starts = programs.starts;
        if let Some(reason) = lost.or(programs.missing) {
            self.seen.incomplete.get_or_insert(reason);
        }
    }

    /// What all of it means, when everything was added.
    pub fn finish(mut self) -> Observation {
        let mut outputs = Vec::new();
        let links = |inode: Option<Inode>, inodes: &FxHashMap<Inode, Vec<Key>>| {
            inode.and_then(|inode| inodes.get(&inode)).map_or(1, Vec::len)
        };
        let listed = self.files.iter().filter(|(_, file)| file.listed);
        let listed: FxHashSet<Key> = listed.map(|(key, _)| key.clone()).collect();
        let made = self.files.iter().filter(|(_, file)| file.touched == Some(false));
        let made: FxHashSet<Key> = made.map(|(key, _)| key.clone()).collect();
        for (key, mut file) in std::mem::take(&mut self.files) {
            if file.was_read {
                let (path, stat) = (file.path.clone(), file.stat);
                self.seen.inputs.push(SeenInput { path, stat, was_asked: file.exists });
            }
            match (file.touched, file.own.take()) {
                (None, _) => {
                    if file.exists && !file.was_read && !file.listed {
                        match file.wanted_directory {
                            Some((by, create_mode)) => self.seen.directories.push(MadeDirectory {
                                path: file.path.clone(),
                                create_mode,
                                was_made: false,
                                by,
                            }),
                            None => self.seen.existing.push(file.path.clone()),
                        }
                    }
                    if file.listed {
                        self.seen.listings.push(file.path.clone());
                    }
                    if let Some(errno) = file.absent.filter(|_| !file.was_read) {
                        self.seen.absences.push(SeenAbsence { path: file.path, errno });
                    }
                }
                (Some(was_there), None) => self.gone(&key, *file, was_there, &made),
                (Some(false), Some(own))
                    if own.kind == OwnKind::Directory
                        && own.how == Made::Created
                        && !own.has_unshown =>
                {
                    self.seen.directories.push(MadeDirectory {
                        path: file.path,
                        create_mode: own.create_mode,
                        was_made: true,
                        by: own.by,
                    });
                }
                (Some(existed_before), Some(own)) => {
                    let has_links = links(own.inode, &self.inodes) > 1;
                    let is_file = matches!(own.kind, OwnKind::File | OwnKind::Link);
                    if !is_file || has_links || own.has_unshown {
                        self.fact(Fact::SideEffect);
                    }
                    let is_listed = directory_of(&key).is_some_and(|above| listed.contains(above));
                    if is_file {
                        outputs.push((own.order, output(*file, own, existed_before, is_listed)));
                    }
                }
            }
        }
        outputs.sort_by_key(|(order, _)| *order);
        self.seen.outputs = outputs.into_iter().map(|(_, output)| output).collect();
        self.seen
    }

    /// Nothing is at a name any longer by the tree's doing; `made` are the names at which nothing was before.
    fn gone(&mut self, key: &[u8], file: TracedFile, was_there: bool, made: &FxHashSet<Key>) {
        let path = file.path;
        if !was_there && file.must_be_absent {
            return self.seen.absences.push(SeenAbsence { path, errno: ENOENT });
        }
        if !was_there {
            self.seen.temporaries.push(path.clone());
        }
        // In a directory of the tree's own nothing can have been.
        let is_inside = directory_of(key).is_some_and(|above| made.contains(above));
        if was_there || file.would_replace && !is_inside {
            self.seen.removed.push(Removed { path, was_there });
        }
    }
}

/// What was written at a name, in a directory that was listed or not.
fn output(file: TracedFile, own: Own, existed_before: bool, is_listed: bool) -> SeenOutput {
    let was_asked =
        file.exists || file.absent.is_some() || file.was_read || file.was_shown || is_listed;
    SeenOutput {
        path: file.path,
        create_mode: own.create_mode,
        how: own.how,
        stat: own.stat,
        existed_before,
        must_be_absent: file.must_be_absent,
        was_asked,
        is_shared: own.is_shared,
        is_open_to_the_end: false,
        by: own.by,
    }
}

/// The key of the directory in which a name is.
fn directory_of(key: &[u8]) -> Option<&[u8]> {
    let at = key.iter().rposition(|byte| *byte == b'/')?;
    key.get(..at.max(1))
}
