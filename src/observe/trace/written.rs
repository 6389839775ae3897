//! What the tool tree does to files: opened for writing, made, renamed, linked, removed, restyled.
//!
//! An own file is followed by its inode under all its names. Read next: `conclude.rs`.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Path, PathBuf};

use super::{
    O_ACCMODE, O_CREAT, O_EXCL, O_TRUNC, O_WRONLY, Own, OwnKind, S_IFDIR, S_IFMT, S_IFREG, Trace,
    inode, shown,
};
use crate::observe::known::pseudo;
use crate::observe::shim::log_layout::FileStat;
use crate::observe::trace::places::Key;
use crate::observe::{Fact, Made};

impl Trace {
    /// A file was given a second name, or if `comes_out` its first one, in or from a private tree.
    pub(super) fn crosses(&mut self, to: &Path, stat: &FileStat, comes_out: bool) {
        if comes_out {
            // As a compiler would have created it.
            let mode = if stat.mode & 0o111 == 0 { 0o666 } else { 0o777 };
            let mut own = Own::new(OwnKind::File, Made::Created, mode);
            own.inode = Some(inode(stat));
            self.make(to, false, own);
        }
        self.each_own(stat, |own| {
            own.stat = Some(shown(stat));
            own.is_shared = true;
        });
    }

    pub(super) fn open(
        &mut self,
        path: &Path,
        flags: u32,
        mode: u32,
        existed: bool,
        stat: Option<&FileStat>,
    ) {
        let writes = flags & O_ACCMODE != 0;
        let is_regular = stat.is_none_or(|stat| stat.mode & S_IFMT == S_IFREG);
        if pseudo::is_harmless(path) {
            return;
        }
        if !is_regular {
            return match stat.map(|stat| stat.mode & S_IFMT) {
                Some(S_IFDIR) => self.look(path, 0),
                _ if writes && flags & O_ACCMODE == O_WRONLY => self.fact(Fact::SideEffect),
                _ => self.fact(Fact::UnrepeatableInput),
            };
        }
        if pseudo::is_pseudo_file(path) {
            return self.fact(Fact::UnrepeatableInput);
        }
        if writes {
            self.opened_for_writing(path, flags, mode, existed, stat);
        } else {
            self.read(path, stat);
        }
    }

    fn opened_for_writing(
        &mut self,
        path: &Path,
        flags: u32,
        mode: u32,
        existed: bool,
        stat: Option<&FileStat>,
    ) {
        let how = match (existed, flags & O_TRUNC != 0) {
            (true, true) => Made::Truncated,
            (false, true) => Made::Created,
            (false, false) if flags & O_EXCL != 0 => Made::Created,
            // If nothing was there: what had been there would have stayed.
            (_, false) => Made::Modified,
        };
        let by_other_name = stat
            .and_then(|stat| self.inodes.get(&inode(stat)))
            .and_then(|keys| keys.first().cloned());
        let path = match by_other_name {
            Some(key) if self.files.get(&self.key(path)).is_none_or(|file| file.own.is_none()) => {
                // A link that was there: what is written through it is another file's, and no record says so.
                let here = self.cwd().join(path);
                if here.symlink_metadata().is_ok_and(|state| state.is_symlink()) {
                    self.fact(Fact::SideEffect);
                }
                PathBuf::from(OsString::from_vec(key))
            }
            _ => path.to_owned(),
        };
        let file = self.file(&path);
        let was_read = file.was_read;
        file.was_shown |= file.touched.is_none() && flags & (O_CREAT | O_EXCL) != O_CREAT;
        // What the tree itself has removed, or would have, cannot have been there.
        let is_cleared = file.touched.is_some() || file.was_cleared;
        let how = if !existed && is_cleared { Made::Created } else { how };
        if file.own.is_none() {
            file.must_be_absent |= how == Made::Modified && !existed;
            file.would_replace |= flags & O_EXCL == 0;
            let mut own = Own::new(OwnKind::File, how, mode);
            own.inode = stat.map(inode);
            self.make(&path, existed, own);
            if was_read && existed {
                self.fact(Fact::InputModified);
            }
        }
    }

    /// The tree has put something at a name.
    pub(super) fn make(&mut self, path: &Path, existed: bool, mut own: Own) {
        let key = self.key(path);
        own.by = self.images.get(&self.actor).cloned().unwrap_or_default();
        if let Some(inode) = own.inode {
            let keys = self.inodes.entry(inode).or_default();
            if !keys.contains(&key) {
                keys.push(key);
            }
        }
        let file = self.file(path);
        file.touched.get_or_insert(existed);
        file.own = Some(own);
    }

    fn unmake(&mut self, key: &[u8]) -> Option<Own> {
        let own = self.files.get_mut(key)?.own.take()?;
        if let Some(inode) = own.inode
            && let Some(keys) = self.inodes.get_mut(&inode)
        {
            keys.retain(|other| other != key);
            if keys.is_empty() {
                self.inodes.remove(&inode);
            }
        }
        Some(own)
    }

    pub(super) fn closed(&mut self, stat: &FileStat) {
        self.order += 1;
        let order = self.order;
        self.each_own(stat, |own| {
            own.stat = Some(shown(stat));
            own.order = order;
        });
    }

    /// Calls `change` for each own name of a file; says whether there is any.
    pub(super) fn each_own(&mut self, stat: &FileStat, change: impl Fn(&mut Own)) -> bool {
        let keys = self.inodes.get(&inode(stat)).cloned().unwrap_or_default();
        for key in &keys {
            if let Some(own) = self.files.get_mut(key).and_then(|file| file.own.as_mut()) {
                change(own);
            }
        }
        !keys.is_empty()
    }

    pub(super) fn renamed(
        &mut self,
        from: &Path,
        to: &Path,
        existed: bool,
        stat: Option<&FileStat>,
    ) {
        let (from_key, to_key) = (self.key(from), self.key(to));
        self.unmake(&to_key);
        let own = self.unmake(&from_key);
        self.file(from).touched.get_or_insert(own.is_none());
        let is_file = stat.is_some_and(|stat| stat.mode & S_IFMT == S_IFREG);
        let mut own = own.unwrap_or_else(|| {
            // Something that was there before moved.
            self.seen.facts.insert(Fact::SideEffect);
            Own::new(if is_file { OwnKind::File } else { OwnKind::Other }, Made::Renamed, 0)
        });
        self.order += 1;
        own.how = Made::Renamed;
        own.inode = stat.map(inode);
        own.stat = stat.map(shown);
        own.order = self.order;
        self.make(to, existed, own);
        self.file(to).would_replace = true;
        if !is_file {
            self.moved_below(&from_key, to);
        }
    }

    /// A directory was renamed: what the tree made in it has new names.
    fn moved_below(&mut self, from: &[u8], to: &Path) {
        let rest = |key: &[u8]| key.strip_prefix(from)?.strip_prefix(b"/").map(<[u8]>::to_vec);
        let moved: Vec<(Key, Vec<u8>)> =
            self.files.keys().filter_map(|key| Some((key.clone(), rest(key)?))).collect();
        for (key, rest) in moved {
            if let Some(own) = self.unmake(&key) {
                self.make(&to.join(OsStr::from_bytes(&rest)), false, own);
            }
        }
    }

    pub(super) fn linked(&mut self, from: &Path, to: &Path, stat: Option<&FileStat>) {
        let from_key = self.key(from);
        let mut own = if let Some(own) = self.files.get(&from_key).and_then(|file| file.own.clone())
        {
            own
        } else {
            self.look(from, 0);
            Own::new(OwnKind::Other, Made::Created, 0)
        };
        if own.kind == OwnKind::File {
            own.kind = OwnKind::Link;
        }
        own.how = Made::Created;
        own.inode = stat.map(inode);
        if let Some(file) = self.foreign(to, None) {
            file.was_shown = true;
        }
        self.make(to, false, own);
        if let Some(stat) = stat {
            self.closed(stat);
        }
    }

    pub(super) fn removed(&mut self, path: &Path) {
        let key = self.key(path);
        let own = self.unmake(&key);
        let file = self.file(path);
        file.was_shown |= file.touched.is_none();
        file.touched.get_or_insert(true);
        // The other name's inode has a new change time; only the file system knows it.
        for key in own
            .and_then(|own| own.inode)
            .and_then(|inode| self.inodes.get(&inode))
            .cloned()
            .unwrap_or_default()
        {
            if let Some(own) = self.files.get_mut(&key).and_then(|file| file.own.as_mut()) {
                own.stat = None;
            }
        }
    }

    /// Mode, owner, times or attributes were set. Those of an own file are its result, which is taken when all is over;
    /// own directories and links are side effects by themselves.
    pub(super) fn restyled(&mut self, path: &Path, stat: Option<&FileStat>, is_shown: bool) {
        let restyle = |own: &mut Own| {
            own.stat = stat.map(shown);
            own.has_unshown |= !is_shown;
        };
        if stat.is_some_and(|stat| self.each_own(stat, restyle)) {
            return;
        }
        let key = self.key(path);
        if path.as_os_str().is_empty() || self.files.get(&key).is_none_or(|file| file.own.is_none())
        {
            self.fact(Fact::SideEffect);
        }
    }
}

impl Own {
    pub(super) fn new(kind: OwnKind, how: Made, create_mode: u32) -> Own {
        Own {
            kind,
            how,
            create_mode,
            inode: None,
            stat: None,
            has_unshown: false,
            is_shared: false,
            by: PathBuf::new(),
            order: 0,
        }
    }
}
