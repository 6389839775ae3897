//! System calls that make, write, rename, remove or restyle files.
//!
//! What they came to is found out later: see `pending.rs`.

use super::Tracer;
use super::arguments::{numbers, word};
use super::pending::{Change, Pending};
use super::place::{Base, WatchedPath, descriptor};
use crate::observe::known::numbers as n;
use crate::observe::shim::log::What;
use crate::observe::shim::log_layout::FileStat;
use crate::os::watch::Asked;

const ENOENT: i32 = 2;
const EEXIST: i32 = 17;
const O_ACCMODE: u32 = 3;
const O_CREAT: u32 = 0o100;
const O_EXCL: u32 = 0o200;
const O_TRUNC: u32 = 0o1000;
const O_WRONLY: u32 = 1;
const S_IFREG: u32 = 0o100_000;
const S_IFMT: u32 = 0o170_000;
const S_IFDIR: u32 = 0o040_000;
const S_IFLNK: u32 = 0o120_000;
/// `UTIME_NOW` and `UTIME_OMIT`.
const NOT_EXPLICIT: [u64; 2] = [(1 << 30) - 1, (1 << 30) - 2];

impl Tracer {
    /// Notes a call that may change something. Says whether this is one.
    pub fn changes(&mut self, asked: &Asked, number: i64) -> bool {
        self.opens(asked, number)
            || self.names(asked, number)
            || self.styles(asked, number)
            || self.sets_more(asked, number)
    }

    fn opens(&mut self, asked: &Asked, number: i64) -> bool {
        let [a, b, c, d, ..] = asked.arguments;
        match number {
            n::OPEN => self.open(asked, (Base::Working, a), word(b), word(c)),
            n::CREAT => self.open(asked, (Base::Working, a), O_CREAT | O_WRONLY | O_TRUNC, word(b)),
            libc::SYS_openat => self.open(asked, (Base::of(a), b), word(c), word(d)),
            libc::SYS_openat2 => {
                if let Some([flags, mode, resolve]) = numbers(asked, c) {
                    if resolve != 0 {
                        self.incomplete(asked.thread, "resolved a path by other rules".to_owned());
                    }
                    self.open(asked, (Base::of(a), b), word(flags), word(mode));
                }
            }
            libc::SYS_truncate => {
                if let Some(place) = self.place(asked, Base::Working, a) {
                    self.write(asked, place.clone(), O_WRONLY, 0);
                    self.restyle(asked, place, true);
                }
            }
            _ => return false,
        }
        true
    }

    fn open(&mut self, asked: &Asked, (base, address): (Base, u64), flags: u32, mode: u32) {
        let Some(place) = self.place(asked, base, address) else { return };
        let temporary = libc::O_TMPFILE.cast_unsigned();
        if flags & temporary == temporary {
            // A file without a name: only its directory was looked at.
            let errno = place.stat().err().unwrap_or(0);
            self.event(asked.thread, What::Look { path: place.spelled, errno });
        } else if flags & (O_ACCMODE | O_CREAT | O_TRUNC) == 0
            || flags & libc::O_PATH.cast_unsigned() != 0
        {
            self.opens_for_reading(asked, &place, flags);
        } else {
            self.write(asked, place, flags, if flags & O_CREAT == 0 { 0 } else { mode });
        }
    }

    fn write(&mut self, asked: &Asked, place: WatchedPath, flags: u32, mode: u32) {
        let path = place.spelled.clone();
        let what = match place.stat() {
            Ok(_) if flags & (O_CREAT | O_EXCL) == O_CREAT | O_EXCL => {
                What::Look { path, errno: EEXIST }
            }
            Ok(stat) if flags & O_ACCMODE == 0 && flags & O_TRUNC == 0 => {
                What::Open { path, errno: 0, flags, mode, existed: true, stat: Some(stat) }
            }
            Ok(stat) if may_write(&place) => {
                What::Open { path, errno: 0, flags, mode, existed: true, stat: Some(stat) }
            }
            Ok(_) => What::Look { path, errno: 0 },
            Err(ENOENT) if flags & O_CREAT != 0 => {
                return self.pend(asked, place, None, Change::Open { flags, mode });
            }
            Err(errno) => What::Look { path, errno },
        };
        self.event(asked.thread, what);
    }

    fn names(&mut self, asked: &Asked, number: i64) -> bool {
        let [a, b, c, d, flags, _] = asked.arguments;
        match number {
            n::RENAME => self.rename(asked, (Base::Working, a), (Base::Working, b)),
            n::RENAMEAT => self.rename(asked, (Base::of(a), b), (Base::of(c), d)),
            libc::SYS_renameat2 => {
                if word(flags) & !1 != 0 {
                    self.incomplete(asked.thread, "exchanged two files".to_owned());
                }
                self.rename(asked, (Base::of(a), b), (Base::of(c), d));
            }
            n::LINK => self.link(asked, (Base::Working, a), (Base::Working, b)),
            libc::SYS_linkat => self.link(asked, (Base::of(a), b), (Base::of(c), d)),
            n::SYMLINK => self.make(asked, (Base::Working, b), S_IFLNK),
            libc::SYS_symlinkat => self.make(asked, (Base::of(b), c), S_IFLNK),
            n::MKDIR => self.make(asked, (Base::Working, a), S_IFDIR | word(b) & 0o7777),
            libc::SYS_mkdirat => {
                self.make(asked, (Base::of(a), b), S_IFDIR | word(c) & 0o7777);
            }
            n::MKNOD => self.make(asked, (Base::Working, a), word(b)),
            libc::SYS_mknodat => self.make(asked, (Base::of(a), b), word(c)),
            n::UNLINK | n::RMDIR => self.remove(asked, (Base::Working, a)),
            libc::SYS_unlinkat => self.remove(asked, (Base::of(a), b)),
            _ => return false,
        }
        true
    }

    fn rename(&mut self, asked: &Asked, from: (Base, u64), to: (Base, u64)) {
        let (from, to) = (self.place(asked, from.0, from.1), self.place(asked, to.0, to.1));
        let (Some(from), Some(to)) = (from, to) else { return };
        let moved = match from.lstat() {
            Ok(moved) => moved,
            Err(errno) => {
                let (from, to) = (from.spelled, to.spelled);
                let what = What::Rename { from, to, errno, existed: false, stat: None };
                return self.event(asked.thread, what);
            }
        };
        let before = to.lstat().ok();
        let change = Change::Rename { from, existed: before.is_some(), moved };
        self.pend(asked, to, before, change);
    }

    fn link(&mut self, asked: &Asked, from: (Base, u64), to: (Base, u64)) {
        let to = self.place(asked, to.0, to.1);
        let (from, Some(to)) = (self.place(asked, from.0, from.1), to) else { return };
        let Some(from) = from.filter(|from| !from.spelled.starts_with("/proc")) else {
            return self.incomplete(asked.thread, "gave a name to an open file".to_owned());
        };
        let path = to.spelled.clone();
        match (from.lstat(), to.lstat()) {
            (Err(_), _) => {}
            (Ok(_), Ok(_)) => self.event(asked.thread, What::Look { path, errno: EEXIST }),
            (Ok(_), Err(_)) => {
                self.pend(asked, to, None, Change::Link { from: from.spelled });
            }
        }
    }

    fn make(&mut self, asked: &Asked, (base, address): (Base, u64), mode: u32) {
        let Some(place) = self.place(asked, base, address) else { return };
        match place.lstat() {
            Ok(_) => {
                let path = place.spelled;
                self.event(asked.thread, What::Make { path, errno: EEXIST, mode });
            }
            Err(_) => self.pend(asked, place, None, Change::Make { mode }),
        }
    }

    fn remove(&mut self, asked: &Asked, (base, address): (Base, u64)) {
        let Some(place) = self.place(asked, base, address) else { return };
        match place.lstat() {
            Ok(before) => self.pend(asked, place, Some(before), Change::Remove),
            Err(errno) => self.event(asked.thread, What::Remove { path: place.spelled, errno }),
        }
    }

    fn styles(&mut self, asked: &Asked, number: i64) -> bool {
        let [a, b, c, d, ..] = asked.arguments;
        match number {
            n::CHMOD => self.style(asked, (Base::Working, a), true),
            libc::SYS_fchmodat | n::FCHMODAT2 => self.style(asked, (Base::of(a), b), true),
            libc::SYS_fchmod => self.style_descriptor(asked, a, true),
            n::CHOWN | n::LCHOWN => self.style(asked, (Base::Working, a), is_own_group(c)),
            libc::SYS_fchownat => self.style(asked, (Base::of(a), b), is_own_group(d)),
            libc::SYS_fchown => self.style_descriptor(asked, a, is_own_group(c)),
            n::UTIME | n::UTIMES => self.style(asked, (Base::Working, a), b == 0),
            n::FUTIMESAT => self.style(asked, (Base::of(a), b), c == 0),
            libc::SYS_utimensat => {
                let times = numbers::<4>(asked, c);
                let is_shown =
                    c == 0 || times.is_some_and(|times| NOT_EXPLICIT.contains(&times[3]));
                if b == 0 {
                    self.style_descriptor(asked, a, is_shown);
                } else {
                    self.style(asked, (Base::of(a), b), is_shown);
                }
            }
            _ => return false,
        }
        true
    }

    /// Attributes beside those that every file has.
    fn sets_more(&mut self, asked: &Asked, number: i64) -> bool {
        let [a, ..] = asked.arguments;
        match number {
            libc::SYS_setxattr
            | libc::SYS_lsetxattr
            | libc::SYS_removexattr
            | libc::SYS_lremovexattr => self.style(asked, (Base::Working, a), false),
            libc::SYS_fsetxattr | libc::SYS_fremovexattr => self.style_descriptor(asked, a, false),
            _ => return false,
        }
        true
    }

    fn style(&mut self, asked: &Asked, (base, address): (Base, u64), is_shown: bool) {
        let Some(place) = self.place(asked, base, address) else { return };
        self.restyle(asked, place, is_shown);
    }

    /// Only files count.
    fn style_descriptor(&mut self, asked: &Asked, fd: u64, is_shown: bool) {
        let fd = word(fd).cast_signed();
        let is_file = |mode| mode & S_IFMT == S_IFREG;
        if !descriptor(asked.thread, fd).is_some_and(|(stat, _)| is_file(stat.mode)) {
            return;
        }
        // One without a name is nobody's.
        if let Some(path) = Base::Descriptor(fd).path(asked.thread) {
            let place = WatchedPath::at(asked.thread, path, &self.cwd);
            self.restyle(asked, place, is_shown);
        }
    }

    fn restyle(&mut self, asked: &Asked, place: WatchedPath, is_shown: bool) {
        match place.stat() {
            Ok(before) => {
                self.pend(asked, place, Some(before), Change::Attributes { is_shown });
            }
            Err(errno) => self.event(asked.thread, What::Look { path: place.spelled, errno }),
        }
    }

    fn pend(
        &mut self,
        asked: &Asked,
        place: WatchedPath,
        before: Option<FileStat>,
        change: Change,
    ) {
        self.pending.push(Pending { thread: asked.thread, place, before, change });
    }
}

/// A file that is made gets this group anyway.
fn is_own_group(group: u64) -> bool {
    word(group) == u32::MAX || word(group) == rustix::process::getegid().as_raw()
}

fn may_write(place: &WatchedPath) -> bool {
    let access = rustix::fs::Access::WRITE_OK;
    rustix::fs::accessat(rustix::fs::CWD, place.here(), access, rustix::fs::AtFlags::EACCESS)
        .is_ok()
}
