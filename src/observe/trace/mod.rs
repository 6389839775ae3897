//! Raw events -> [`Observation`]: what the tool tree's single acts mean together.
//!
//! Files are told apart by their absolute paths, and files that the tree wrote also by inode, so that one file under two
//! spellings is one. Read next: `written.rs`, `conclude.rs`; `../shim/log.rs` (the events).

mod conclude;
mod discarded;
pub mod places;
pub mod programs;
mod written;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use rustc_hash::{FxHashMap, FxHashSet};

use crate::observe::known::{clocks, pseudo};
use crate::observe::shim::log::{Event, PluginQuestion, What};
use crate::observe::shim::log_layout::FileStat;
use crate::observe::{Fact, LeftOut, Made, Observation, Unsteady};
use crate::shm::stat::Stat;

use places::{Key, Places, below};

const ENOENT: i32 = 2;
const EACCES: i32 = 13;
const ENOTDIR: i32 = 20;
const ENAMETOOLONG: i32 = 36;
const ELOOP: i32 = 40;
const EEXIST: i32 = 17;

const O_ACCMODE: u32 = 3;
const O_WRONLY: u32 = 1;
const O_CREAT: u32 = 0o100;
const O_EXCL: u32 = 0o200;
const O_TRUNC: u32 = 0o1000;

const S_IFMT: u32 = 0o170_000;
const S_IFREG: u32 = 0o100_000;
const S_IFDIR: u32 = 0o040_000;

/// An inode on a device.
type Inode = (u64, u64);

/// What the tree did with a name since it first touched it.
#[derive(Debug, Default)]
#[allow(clippy::struct_excessive_bools, reason = "each was seen, or not, by itself")]
struct TracedFile {
    /// The first spelling, relative if there is one.
    path: PathBuf,
    /// Whether its content was read while the tree had not touched it.
    was_read: bool,
    /// The stat at that first read.
    stat: Option<Stat>,
    exists: bool,
    absent: Option<i32>,
    listed: bool,
    /// What the tree did depends on nothing having been there.
    must_be_absent: bool,
    /// The tree wanted it away (removed, renamed) and found nothing: that nothing is there later says nothing more.
    was_cleared: bool,
    /// Whether something was there showed by the outcome of a call that would have failed otherwise.
    was_shown: bool,
    /// The tree made it in a way that would have replaced what was there.
    would_replace: bool,
    /// Once the tree has made, renamed or removed it: whether something was there before that.
    touched: Option<bool>,
    /// The image that tried to make it as a directory when it was there, and the mode argument.
    wanted_directory: Option<(PathBuf, u32)>,
    /// What is there now by the tree's doing.
    own: Option<Own>,
}

#[derive(Debug, Clone)]
struct Own {
    kind: OwnKind,
    how: Made,
    create_mode: u32,
    inode: Option<Inode>,
    stat: Option<Stat>,
    /// Something was set that `stat` and the file's mode do not show: explicit times, attributes, another group.
    has_unshown: bool,
    /// It has, or had, another name in a private tree.
    is_shared: bool,
    /// The image that gave it its name.
    by: PathBuf,
    /// Position of the last close among all.
    order: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum OwnKind {
    File,
    /// A hard link; a file if the other name is gone at the end.
    Link,
    Directory,
    /// A symlink, a device.
    Other,
}

/// The events so far.
#[derive(Debug, Default)]
pub struct Trace {
    places: Places,
    /// Boxed: they are many times as long as a pointer, and the tree moves them.
    files: BTreeMap<Key, Box<TracedFile>>,
    inodes: FxHashMap<Inode, Vec<Key>>,
    order: usize,
    /// Files that were opened in trees that are left out.
    private_inodes: FxHashSet<Inode>,
    /// The image that each process runs now.
    images: FxHashMap<u32, PathBuf>,
    /// The process of the event that is taken in.
    actor: u32,
    discarded: discarded::Discarded,
    /// Since [`Trace::take_fresh`] was asked last.
    fresh: Vec<(PathBuf, bool)>,
    /// What is already known of the whole.
    pub seen: Observation,
}

fn inode(stat: &FileStat) -> Inode {
    (stat.dev, stat.ino)
}

fn shown(stat: &FileStat) -> Stat {
    Stat {
        dev: stat.dev,
        ino: stat.ino,
        size: stat.size,
        mtime_ns: stat.mtime_ns,
        ctime_ns: stat.ctime_ns,
    }
}

/// Whether an error says that nothing (that could be used) is there.
fn is_absence(errno: i32) -> bool {
    matches!(errno, ENOENT | ENOTDIR | EACCES | ELOOP | ENAMETOOLONG)
}

/// Errors of the moment: EIO, EAGAIN, ENOMEM, ENFILE, EMFILE, EFBIG, ENOSPC, ESTALE, EDQUOT.
const SHORTAGES: [i32; 9] = [5, 11, 12, 23, 24, 27, 28, 116, 122];

/// What an event put at a name, if it did; devices and pseudo files are always there.
fn written(what: &What) -> Option<&Path> {
    let path: &Path = match what {
        What::Open { path, errno: 0, flags, .. } if flags & O_ACCMODE != 0 => path,
        What::Rename { to: path, errno: 0, .. }
        | What::Link { to: path, errno: 0, .. }
        | What::Make { path, errno: 0, .. } => path,
        _ => return None,
    };
    let is_file = !pseudo::is_device(path) && !pseudo::is_pseudo_file(path);
    is_file.then_some(path)
}

impl Trace {
    /// Of a tool that is started in `cwd`; nothing has happened yet.
    pub fn new(cwd: PathBuf) -> Trace {
        Trace { places: Places::new(cwd), ..Trace::default() }
    }

    /// Says what is not to be noted; before anything happens.
    pub fn leave_out(&mut self, left_out: LeftOut<'_>) {
        self.places.leave_out(left_out);
    }

    /// Of the same tool, by what is known of directories before it starts.
    pub fn at(places: Places) -> Trace {
        Trace { places, ..Trace::default() }
    }

    /// Where the tool was started.
    pub fn cwd(&self) -> &Path {
        self.places.cwd()
    }

    /// What was known of directories before anything happened.
    pub fn first_places(&self) -> Places {
        self.places.anew()
    }

    /// The paths at which nothing was found, or which were read, for the first time since this was asked last, and whether
    /// they were read.
    pub fn take_fresh(&mut self) -> Vec<(PathBuf, bool)> {
        std::mem::take(&mut self.fresh)
    }

    /// Takes in what happened next.
    pub fn add(&mut self, events: &[Event]) {
        for event in events {
            self.unsteady(event);
            if !self.is_private(&event.what) {
                if let Some(path) = written(&event.what) {
                    self.write_to(path);
                }
                self.actor = event.pid;
                self.note_discarded(event);
                self.event(event);
            }
        }
    }

    fn key(&self, path: &Path) -> Key {
        self.places.key(path)
    }

    /// Something is written at a path. If its directory has two names, the files in it have one.
    fn write_to(&mut self, path: &Path) {
        let Some((directory, name, real)) = self.places.write_to(path) else { return };
        // The links on the way to it count.
        self.look(&directory, 0);
        let inside = |key: &Key| Some((key.clone(), [&real, below(key, &name)?].concat()));
        let moved: Vec<_> = self.files.keys().filter_map(inside).collect();
        for (from, to) in moved.into_iter().filter(|(from, _)| *from != name) {
            if let Some(file) = self.files.remove(&from) {
                let keys = self.inodes.values_mut().flatten();
                keys.filter(|key| **key == from).for_each(|key| key.clone_from(&to));
                self.files.entry(to).or_insert(file);
            }
        }
    }

    /// Whether an event is about a private tree only. Of files that come out of one, or have a second name in one, that is
    /// noted.
    fn is_private(&mut self, what: &What) -> bool {
        match what {
            What::Open { path, stat, .. } if self.places.is_private(path) => {
                self.private_inodes.extend(stat.as_ref().map(inode));
                true
            }
            What::Attributes { stat: Some(stat), .. } => {
                self.private_inodes.contains(&inode(stat))
                    && !self.inodes.contains_key(&inode(stat))
            }
            What::Look { path, .. }
            | What::Open { path, .. }
            | What::List { path, .. }
            | What::Make { path, .. }
            | What::Remove { path, .. }
            | What::Attributes { path, .. } => self.places.is_private(path),
            What::Rename { from, to, .. } => {
                self.places.is_private(from) && self.places.is_private(to)
            }
            What::Link { from, to, errno, stat } => {
                let (comes, goes) = (self.places.is_private(from), self.places.is_private(to));
                if let Some(stat) = stat.as_ref().filter(|_| *errno == 0) {
                    self.crosses(to, stat, comes && !goes);
                }
                comes || goes
            }
            _ => false,
        }
    }

    fn file(&mut self, path: &Path) -> &mut TracedFile {
        let key = self.key(path);
        let file = self.files.entry(key);
        let file = file.or_insert_with(|| {
            Box::new(TracedFile { path: path.to_owned(), ..TracedFile::default() })
        });
        // A tool's own spelling, rather than that of a `realpath` on the way.
        if path.is_relative() && file.path.is_absolute() {
            path.clone_into(&mut file.path);
        }
        file
    }

    /// The file at this name, unless the tree's own doing is what stands (or does not stand) there.
    fn foreign(&mut self, path: &Path, stat: Option<&FileStat>) -> Option<&mut TracedFile> {
        if stat.is_some_and(|stat| self.inodes.contains_key(&inode(stat))) {
            return None;
        }
        Some(self.file(path)).filter(|file| file.touched.is_none())
    }

    /// A file's content was read.
    pub fn read(&mut self, path: &Path, stat: Option<&FileStat>) {
        if let Some(file) = self.foreign(path, stat).filter(|file| !file.was_read) {
            file.stat = stat.map(shown);
            file.was_read = true;
            let path = file.path.clone();
            self.fresh.push((path, true));
        }
    }

    /// A path was asked about.
    pub fn look(&mut self, path: &Path, errno: i32) {
        if path.as_os_str().is_empty() || pseudo::is_passing(path) {
            return;
        }
        if SHORTAGES.contains(&errno) {
            self.fact(Fact::UnrepeatableInput);
        }
        let (is_absent, is_there) = (is_absence(errno), errno == 0 || errno == EEXIST);
        if !is_absent && !is_there {
            return;
        }
        let Some(file) = self.foreign(path, None) else { return };
        file.exists |= is_there;
        if is_absent && file.absent.replace(errno).is_none() {
            let path = file.path.clone();
            self.fresh.push((path, false));
        }
    }

    /// Something was to be made, and was not.
    fn not_made(&mut self, path: &Path, errno: i32, mode: u32) {
        self.look(path, errno);
        let by = self.images.get(&self.actor).cloned().unwrap_or_default();
        if errno == EEXIST
            && mode & S_IFMT == S_IFDIR
            && let Some(file) = self.foreign(path, None)
        {
            file.wanted_directory.get_or_insert((by, mode & !S_IFMT));
        }
    }

    /// A path was to be read, and nothing was there: what the tree makes there itself may follow from that.
    fn wanted(&mut self, path: &Path) {
        if let Some(file) = self.foreign(path, None).filter(|file| !file.was_cleared) {
            file.must_be_absent = true;
        }
    }

    /// A path was to be removed, or to be renamed, and could not be.
    fn kept(&mut self, path: &Path, errno: i32) {
        self.look(path, errno);
        if errno == ENOENT
            && let Some(file) = self.foreign(path, None)
        {
            file.was_cleared = true;
        }
    }

    /// A directory was listed.
    pub fn list(&mut self, path: &Path) {
        if self.places.leaves_out_listing(path) {
            return self.look(path, 0);
        }
        if pseudo::is_harmless(path) {
            return;
        }
        if pseudo::is_pseudo_file(path) {
            return self.fact(Fact::UnrepeatableInput);
        }
        if let Some(file) = self.foreign(path, None) {
            file.listed = true;
        }
    }

    #[allow(clippy::match_same_arms, reason = "each kind's success stands beside its failure")]
    fn event(&mut self, event: &Event) {
        match &event.what {
            What::Object { path, is_plugin } => {
                self.read(path, None);
                self.seen.plugins.extend(is_plugin.then(|| path.clone()));
            }
            What::Start { image: path, .. } => self.read(path, None),
            What::Ran { path, stat } => self.read(path, stat.as_ref()),
            What::ExecFailed { path, errno } | What::Look { path, errno } => {
                self.look(path, *errno);
            }
            What::List { path, errno: 0 } => {
                self.list(path);
            }
            What::List { path, errno } => self.look(path, *errno),
            What::Open { path, errno: 0, flags, mode, existed, stat } => {
                self.open(path, *flags, *mode, *existed, stat.as_ref());
            }
            What::Open { path, errno, flags, .. } => {
                self.look(path, *errno);
                if flags & O_ACCMODE != O_WRONLY && is_absence(*errno) {
                    self.wanted(path);
                }
            }
            What::Close { stat } => self.closed(stat),
            What::Rename { from, to, errno: 0, existed, stat } => {
                self.renamed(from, to, *existed, stat.as_ref());
            }
            What::Rename { from, errno, .. } => self.kept(from, *errno),
            What::Link { from, to, errno: 0, stat } => self.linked(from, to, stat.as_ref()),
            What::Link { errno, .. } if *errno != EEXIST => {}
            What::Link { to, errno, .. } => self.look(to, *errno),
            What::Make { path, errno: 0, mode } => {
                let is_directory = mode & S_IFMT == S_IFDIR;
                let kind = if is_directory { OwnKind::Directory } else { OwnKind::Other };
                self.make(path, false, Own::new(kind, Made::Created, mode & !S_IFMT));
            }
            What::Make { path, errno, mode } => self.not_made(path, *errno, *mode),
            What::Remove { path, errno: 0 } => self.removed(path),
            What::Remove { path, errno } => self.kept(path, *errno),
            What::Attributes { path, stat, is_shown } => {
                self.restyled(path, stat.as_ref(), *is_shown);
            }
            What::Search { name } => {
                self.seen.path_searches.insert(name.clone());
            }
            What::GetEnv { name } => self.asked(event.pid, name),
            What::Time { caller }
                if clocks::is_idle_library(caller) || self.runs_idle_program(event.pid) => {}
            What::Time { .. } => self.asked_time(event.pid),
            What::LocalTime => self.asked_local_time(event.pid),
            What::Network => self.fact(Fact::Network),
            What::Session => self.fact(Fact::UnrepeatableInput),
            What::Locale => self.fact(Fact::Locale),
            What::Incomplete { reason } => {
                self.seen.incomplete.get_or_insert_with(|| reason.clone());
            }
            What::Plugin(question) => self.plugin_asked(question),
            // Those of `unsteady`, of the loader and libc, and those of `Programs`.
            What::Clock { .. } | What::Random | What::Process { .. } | What::System => {}
            What::Users
            | What::Zone
            | What::Iconv
            | What::Host
            | What::LocaleName { .. }
            | What::Load { .. }
            | What::TextDomain { .. }
            | What::Exit
            | What::Exec { .. }
            | What::Spawn { .. }
            | What::Shell { .. } => {}
        }
    }

    /// Notes what differs from run to run, with the image that asked for it.
    fn unsteady(&mut self, event: &Event) {
        let mut caller = None;
        let unsteady = match &event.what {
            What::Start { image, .. } => {
                self.images.insert(event.pid, image.clone());
                return;
            }
            What::Clock { plugin } => {
                caller = plugin.as_ref();
                Unsteady::Clock
            }
            What::Process { plugin } => {
                caller = plugin.as_ref();
                Unsteady::Process
            }
            What::Random => Unsteady::Random,
            What::System => Unsteady::System,
            What::Host => Unsteady::Host,
            What::Look { path, errno: 0 } if pseudo::is_own_number(path) => Unsteady::Process,
            What::Open { path, errno: 0, flags, .. }
                if flags & O_ACCMODE != O_WRONLY && pseudo::is_harmless(path) =>
            {
                let Some(unsteady) = pseudo::unsteady(path) else { return };
                unsteady
            }
            What::List { path, errno: 0 } if pseudo::is_harmless(path) => Unsteady::System,
            _ => return,
        };
        let image = caller.or_else(|| self.images.get(&event.pid)).cloned().unwrap_or_default();
        self.seen.unsteady.insert((unsteady, image));
    }

    fn asked_time(&mut self, process: u32) {
        let image = self.images.get(&process).cloned().unwrap_or_default();
        self.seen.timers.insert(image);
        self.fact(Fact::Time);
    }

    fn asked_local_time(&mut self, process: u32) {
        let image = self.images.get(&process).cloned().unwrap_or_default();
        self.seen.local_timers.insert(image);
        self.fact(Fact::LocalTime);
    }

    /// Whether a process runs a program whose own questions for the time cannot enter a result.
    fn runs_idle_program(&self, process: u32) -> bool {
        self.images.get(&process).is_some_and(|image| clocks::is_idle_program(image))
    }

    fn plugin_asked(&mut self, question: &PluginQuestion) {
        match question {
            PluginQuestion::State { plugin, file } => {
                self.seen.states.insert((inode(file), plugin.clone()));
            }
            PluginQuestion::Variable(name) => {
                self.seen.plugin_variables.insert(name.clone());
            }
            PluginQuestion::Directory => self.fact(Fact::PluginDirectory),
        }
    }

    fn asked(&mut self, process: u32, name: &OsString) {
        self.seen.variables.insert(name.clone());
        if let Some(image) = self.images.get(&process) {
            *self.seen.questions.entry((name.clone(), image.clone())).or_default() += 1;
        }
    }

    fn fact(&mut self, fact: Fact) {
        self.seen.facts.insert(fact);
    }
}
