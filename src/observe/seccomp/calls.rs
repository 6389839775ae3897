//! What each system call means: numbers and arguments -> events.
//!
//! Whether a call will succeed is found out by looking at what it is about, just before it is made.
//! Read next: `changes.rs` (calls that change something), `programs.rs` (those that start or end something).

use std::path::PathBuf;

use super::arguments::word;
use super::place::{Base, WatchedPath, descriptor};
use super::{Opened, Tracer, inode};
use crate::observe::known::numbers::{self as n, Question};
use crate::observe::known::pseudo;
use crate::observe::shim::log::What;
use crate::os::watch::{Asked, Listener, Unread, read_memory};

const EACCES: i32 = 13;
const PATH_LEN_MAX: usize = 4096;
const S_IFMT: u32 = 0o170_000;
const S_IFDIR: u32 = 0o040_000;
const S_IFREG: u32 = 0o100_000;

/// Whether links are followed, by a call's flags.
fn follows(flags: u64) -> bool {
    word(flags) & libc::AT_SYMLINK_NOFOLLOW.cast_unsigned() == 0
}

impl Tracer {
    /// Notes a call that is about to be made.
    pub fn note(&mut self, asked: &Asked, listener: &Listener) {
        let Some(number) = asked.number else {
            return self.incomplete(asked.thread, "ran a program for another machine".to_owned());
        };
        if let Some(question) = n::asks(number) {
            return self.question(asked, question);
        }
        let is_known = self.looks(asked, number)
            || self.changes(asked, number)
            || self.runs(asked, number)
            || self.talks(asked, number);
        if !is_known {
            let reason = format!("made a system call that is not decoded: number {number}");
            self.incomplete(asked.thread, reason);
        }
        if !listener.is_waiting(asked) {
            // Its number may have been another process's while we looked.
            self.incomplete(asked.thread, "a process died while it was looked at".to_owned());
        }
    }

    fn question(&mut self, asked: &Asked, question: Question) {
        // glibc draws a cookie for its heap in each program.
        let is_cookie = question == Question::Random && asked.arguments[1..3] == [8, 1];
        if !is_cookie {
            let image = image(asked.thread);
            self.seen.asked.insert((question, image));
        }
    }

    /// Calls that only ask. Says whether this is one.
    fn looks(&mut self, asked: &Asked, number: i64) -> bool {
        let [a, b, c, d, ..] = asked.arguments;
        match number {
            // What is there but may not be used exists.
            n::STAT | n::ACCESS | libc::SYS_getxattr | libc::SYS_listxattr | libc::SYS_chdir => {
                self.look(asked, Base::Working, a, true);
            }
            n::LSTAT | n::READLINK | libc::SYS_lgetxattr | libc::SYS_llistxattr => {
                self.look(asked, Base::Working, a, false);
            }
            libc::SYS_newfstatat => self.look(asked, Base::of(a), b, follows(d)),
            libc::SYS_statx => self.look(asked, Base::of(a), b, follows(c)),
            libc::SYS_readlinkat => self.look(asked, Base::of(a), b, false),
            libc::SYS_faccessat | libc::SYS_faccessat2 => self.look(asked, Base::of(a), b, true),
            libc::SYS_statfs => {
                self.look(asked, Base::Working, a, true);
                self.question(asked, Question::System);
            }
            libc::SYS_fchdir => {}
            n::GETDENTS | libc::SYS_getdents64 => self.list(asked, a),
            _ => return false,
        }
        true
    }

    /// Calls that reach other processes or machines.
    fn talks(&mut self, asked: &Asked, number: i64) -> bool {
        let [a, b, c, _, e, _] = asked.arguments;
        let is_network = match number {
            libc::SYS_socket => word(a) != libc::AF_UNIX.cast_unsigned(),
            libc::SYS_connect => !self.connects_in_vain(asked, b, c),
            libc::SYS_bind => true,
            libc::SYS_sendto => e != 0,
            _ => return false,
        };
        if is_network {
            self.event(asked.thread, What::Network);
        }
        true
    }

    /// Whether a socket's name is a path at which nothing is: libc looks so for the name service's cache.
    fn connects_in_vain(&mut self, asked: &Asked, address: u64, len: u64) -> bool {
        let mut name = [0; 110];
        let len = usize::try_from(len).unwrap_or(0).min(name.len());
        let Some(name) = name.get_mut(..len) else { return false };
        let is_read = read_memory(asked.thread, address, name) == Ok(len);
        let unix = u16::try_from(libc::AF_UNIX).unwrap_or(0).to_le_bytes();
        let Some(path) = name.strip_prefix(&unix).filter(|_| is_read) else { return false };
        let path = path.split(|byte| *byte == 0).next().unwrap_or_default();
        if path.is_empty() {
            return false;
        }
        let Some(place) = self.place_of(asked, Base::Working, path) else { return false };
        let Err(errno) = place.stat() else { return false };
        self.event(asked.thread, What::Look { path: place.spelled, errno });
        true
    }

    /// The C string at an address; `None` if the call will fail for want of it, or it cannot be read, which is noted.
    pub fn text(&mut self, asked: &Asked, address: u64) -> Option<Vec<u8>> {
        let mut text = vec![0; PATH_LEN_MAX];
        match read_memory(asked.thread, address, &mut text) {
            Ok(len) => {
                text.truncate(len);
                let end = text.iter().position(|byte| *byte == 0)?;
                text.truncate(end);
                Some(text)
            }
            Err(Unread::Missing) => None,
            Err(Unread::Forbidden) => {
                // No path is seen then: it is as if nothing had been watched.
                let reason =
                    "system calls cannot be watched: the memory of a process cannot be read";
                self.seen.absent.get_or_insert_with(|| reason.to_owned());
                None
            }
        }
    }

    fn place_of(&mut self, asked: &Asked, base: Base, text: &[u8]) -> Option<WatchedPath> {
        let place = WatchedPath::of(asked.thread, base, text, &self.cwd);
        if place.is_none() {
            self.incomplete(asked.thread, "used a directory that has no path".to_owned());
        }
        place
    }

    /// The place that a call's arguments name; `None` if there is nothing to note.
    pub fn place(&mut self, asked: &Asked, base: Base, address: u64) -> Option<WatchedPath> {
        let text = self.text(asked, address)?;
        // What is asked about a descriptor was noted when that was opened.
        if text.is_empty() {
            return None;
        }
        let place = self.place_of(asked, base, &text)?;
        (!self.own_files.contains(&place.spelled)).then_some(place)
    }

    fn look(&mut self, asked: &Asked, base: Base, address: u64, follow: bool) {
        let Some(place) = self.place(asked, base, address) else { return };
        let found = if follow { place.stat() } else { place.lstat() };
        let errno = found.err().unwrap_or(0);
        self.event(asked.thread, What::Look { path: place.spelled, errno });
    }

    /// Notes the first call that lists a directory since that was opened.
    fn list(&mut self, asked: &Asked, fd: u64) {
        let fd = word(fd).cast_signed();
        let Some((stat, _)) = descriptor(asked.thread, fd) else { return };
        let opened = self.directories.get_mut(&inode(&stat));
        // A listing takes several calls.
        if opened.as_ref().is_some_and(|opened| opened.is_listed) {
            return;
        }
        let path = match opened {
            Some(opened) => {
                opened.is_listed = true;
                Some(opened.path.clone())
            }
            None => Base::Descriptor(fd).path(asked.thread),
        };
        let what = path.map_or_else(
            || What::Incomplete { reason: "listed a directory that has no path".to_owned() },
            |path| What::List { path, errno: 0 },
        );
        self.event(asked.thread, what);
    }

    /// Notes an open that changes nothing.
    pub fn opens_for_reading(&mut self, asked: &Asked, place: &WatchedPath, flags: u32) {
        let path = place.spelled.clone();
        let found = place.stat();
        let what = match found {
            Err(errno) if flags & libc::O_PATH.cast_unsigned() != 0 => What::Look { path, errno },
            Err(errno) => What::Open { path, errno, flags, mode: 0, existed: false, stat: None },
            Ok(stat) if stat.mode & S_IFMT == S_IFDIR => {
                let directory = Opened { path: path.clone(), is_listed: false };
                self.directories.insert(inode(&stat), directory);
                What::Look { path, errno: 0 }
            }
            Ok(_) if flags & libc::O_PATH.cast_unsigned() != 0 => What::Look { path, errno: 0 },
            Ok(_) if !may_read(place) => What::Look { path, errno: EACCES },
            Ok(stat) => {
                let stat = Some(stat).filter(|_| !pseudo::is_pseudo_file(&path));
                What::Open { path, errno: 0, flags, mode: 0, existed: true, stat }
            }
        };
        self.event(asked.thread, what);
    }

    /// Notes the state of a file that may have been written and whose descriptor will be closed.
    pub fn closes(&mut self, asked: &Asked, fd: i32) {
        if let Some((stat, is_writable)) = descriptor(asked.thread, fd)
            && is_writable
            && stat.mode & S_IFMT == S_IFREG
        {
            self.event(asked.thread, What::Close { stat });
        }
    }
}

/// The file that a process runs.
fn image(thread: u32) -> PathBuf {
    std::fs::read_link(format!("/proc/{thread}/exe")).unwrap_or_default()
}

fn may_read(place: &WatchedPath) -> bool {
    rustix::fs::accessat(
        rustix::fs::CWD,
        place.here(),
        rustix::fs::Access::READ_OK,
        rustix::fs::AtFlags::EACCESS,
    )
    .is_ok()
}
