//! Functions that ask for the state of a file: its size, its times, its owner, its attributes.
//!
//! Compilers only want to know what is there; foreign code (a proc macro, a plugin) may put a time into the result. So a
//! question of a plugin's is noted with the file. Of an open file, std's functions that read all of it ask first, for the
//! size: such a question is forgotten if the next thing that happens to the descriptor shows that this was the reason.

use core::sync::atomic::{AtomicPtr, AtomicU64, Ordering};

use crate::link::{Object, failure};
use crate::log_layout::{LogEntry, kind};
use crate::note;
use crate::raw::{self, AT_FDCWD, AT_SYMLINK_NOFOLLOW, Any, CText};

const SEEK_CUR: i32 = 1;
/// How many bytes std reads first of a file of size 0, which may be one of the kernel's.
const FIRST_READ_OF_EMPTY: u32 = 32;

const NOTHING: u64 = u64::MAX;
/// The open file whose state a plugin asked for last, and nothing has happened to it since: the descriptor, below it the
/// size's lower half.
static ASKED: AtomicU64 = AtomicU64::new(NOTHING);
/// Who asked.
static ASKER: AtomicPtr<Object> = AtomicPtr::new(core::ptr::null_mut());

/// Notes a question about a path, or if that is empty about a descriptor.
#[inline(never)]
unsafe fn asked(dirfd: i32, path: CText, flags: i32, errno: u16, caller: usize) {
    // SAFETY: the caller's path is null or a C string.
    if path.is_null() || unsafe { *path } == 0 {
        return asked_open(dirfd, errno, caller);
    }
    let plugin = note::plugin_at(caller);
    if errno == raw::ENOENT && plugin.is_some() {
        // Whether something is there, it may make what is not.
        let entry = LogEntry { kind: kind::OPEN, errno, ..LogEntry::default() };
        // SAFETY: as above.
        return unsafe { note::path(dirfd, path, entry) };
    }
    // SAFETY: as above.
    unsafe { note::look(dirfd, path, errno) };
    if let Some(plugin) = plugin.filter(|_| errno == 0) {
        // SAFETY: as above.
        if let Ok(stat) = unsafe { raw::stat(dirfd, path, flags & AT_SYMLINK_NOFOLLOW) } {
            note::state_for(plugin, stat);
        }
    }
}

/// Notes a question about an attribute of a path, or of a descriptor: it belongs to the state, and changes the change time.
#[inline(never)]
unsafe fn asked_attribute(at: i32, path: CText, flags: i32, errno: u16, caller: usize) {
    if path.is_null() {
        asked_open(at, 0, caller);
        return settle();
    }
    // That an attribute is not there says that the file is.
    // SAFETY: the caller's path is a C string.
    let found = unsafe { raw::stat(at, path, flags & AT_SYMLINK_NOFOLLOW) };
    // SAFETY: as above.
    unsafe { asked(at, path, flags, if found.is_ok() { 0 } else { errno }, caller) };
}

/// Keeps a plugin's question about an open file in mind.
fn asked_open(fd: i32, errno: u16, caller: usize) {
    let Some(plugin) = note::plugin_at(caller).filter(|_| errno == 0) else { return };
    let Some(stat) = raw::stat_fd(fd) else { return };
    settle();
    ASKER.store(core::ptr::from_ref(plugin).cast_mut(), Ordering::Relaxed);
    let asked = u64::from(fd.cast_unsigned()) << 32 | u64::from(stat.size as u32);
    ASKED.store(asked, Ordering::Release);
}

/// Notes the question that is kept in mind, if there is one.
#[inline(never)]
pub fn settle() {
    let asked = ASKED.swap(NOTHING, Ordering::AcqRel);
    if asked == NOTHING {
        return;
    }
    // SAFETY: null, or an object of the loader's.
    let plugin = unsafe { ASKER.load(Ordering::Relaxed).as_ref() };
    match (plugin, raw::stat_fd((asked >> 32) as i32)) {
        (Some(plugin), Some(stat)) => note::state_for(plugin, stat),
        _ => note::incomplete(b"closed a file unseen whose state it had asked for", b""),
    }
}

/// Something happens to a descriptor; `wants_size` says whether a question for the size of this many bytes fits it.
#[inline]
fn happens(fd: i32, wants_size: impl FnOnce(u32) -> bool) {
    let asked = ASKED.load(Ordering::Relaxed);
    if (asked >> 32) as i32 != fd || asked == NOTHING {
        return;
    }
    if wants_size(asked as u32) {
        let _ = ASKED.compare_exchange(asked, NOTHING, Ordering::AcqRel, Ordering::Relaxed);
    } else {
        settle();
    }
}

pub fn before_close(fd: i32) {
    happens(fd, |_| false);
}

fn before_read(fd: i32, len: usize) {
    happens(fd, |size| len == if size == 0 { FIRST_READ_OF_EMPTY } else { size } as usize);
}

fn before_seek(fd: i32, offset: i64, whence: i32) {
    happens(fd, |_| offset == 0 && whence == SEEK_CUR);
}

before! {
    fn read(fd: i32, out: Any, len: usize) -> isize, before_read(fd, len);
    fn lseek(fd: i32, offset: i64, whence: i32) -> isize, before_seek(fd, offset, whence);
    fn lseek64(fd: i32, offset: i64, whence: i32) -> isize, before_seek(fd, offset, whence);
}

/// Defines each function twice: by its name, and in `called_from` with the address of its caller as one argument more; the
/// registers (of x86-64, of aarch64) are those in which that one is passed.
macro_rules! questions {
    ($($x86:literal, $aarch64:literal: fn $name:ident($($arg:ident: $type:ty),*) -> $answer:ty, $then:ident($($then_arg:expr),*);)*) => {
        tail_calls! {
            $(fn $name => concat!("mov ", $x86, ", [rsp]\njmp {then}"), concat!("mov ", $aarch64, ", x30\nb {then}"), called_from::$name;)*
        }

        pub mod called_from {
            use super::{
                AT_FDCWD, AT_SYMLINK_NOFOLLOW, Any, FOLLOW, NO_PATH, CText, asked, asked_attribute, failure,
            };

            $(
                pub unsafe extern "C" fn $name($($arg: $type,)* caller: usize) -> $answer {
                    let answer = real!($name($($arg: $type),*) -> $answer);
                    // SAFETY: the path is null or a C string, by the contract of the real function.
                    unsafe { $then($($then_arg,)* failure(answer), caller) };
                    answer
                }
            )*
        }
    };
}

const FOLLOW: i32 = 0;
const NO_PATH: CText = core::ptr::null();

questions! {
    "rdx", "x2": fn stat(path: CText, out: Any) -> i32, asked(AT_FDCWD, path, FOLLOW);
    "rdx", "x2": fn stat64(path: CText, out: Any) -> i32, asked(AT_FDCWD, path, FOLLOW);
    "rdx", "x2": fn lstat(path: CText, out: Any) -> i32, asked(AT_FDCWD, path, AT_SYMLINK_NOFOLLOW);
    "rdx", "x2": fn lstat64(path: CText, out: Any) -> i32, asked(AT_FDCWD, path, AT_SYMLINK_NOFOLLOW);
    "r8", "x4": fn fstatat(dirfd: i32, path: CText, out: Any, flags: i32) -> i32, asked(dirfd, path, flags);
    "r8", "x4": fn fstatat64(dirfd: i32, path: CText, out: Any, flags: i32) -> i32, asked(dirfd, path, flags);
    "r9", "x5": fn statx(dirfd: i32, path: CText, flags: i32, mask: u32, out: Any) -> i32, asked(dirfd, path, flags);
    "rdx", "x2": fn fstat(fd: i32, out: Any) -> i32, asked(fd, NO_PATH, FOLLOW);
    "rdx", "x2": fn fstat64(fd: i32, out: Any) -> i32, asked(fd, NO_PATH, FOLLOW);
    "rcx", "x3": fn __xstat(version: i32, path: CText, out: Any) -> i32, asked(AT_FDCWD, path, FOLLOW);
    "rcx", "x3": fn __xstat64(version: i32, path: CText, out: Any) -> i32, asked(AT_FDCWD, path, FOLLOW);
    "rcx", "x3": fn __lxstat(version: i32, path: CText, out: Any) -> i32, asked(AT_FDCWD, path, AT_SYMLINK_NOFOLLOW);
    "rcx", "x3": fn __lxstat64(version: i32, path: CText, out: Any) -> i32, asked(AT_FDCWD, path, AT_SYMLINK_NOFOLLOW);
    "r9", "x5": fn __fxstatat(version: i32, dirfd: i32, path: CText, out: Any, flags: i32) -> i32, asked(dirfd, path, flags);
    "r9", "x5": fn __fxstatat64(version: i32, dirfd: i32, path: CText, out: Any, flags: i32) -> i32, asked(dirfd, path, flags);
    "rcx", "x3": fn __fxstat(version: i32, fd: i32, out: Any) -> i32, asked(fd, NO_PATH, FOLLOW);
    "rcx", "x3": fn __fxstat64(version: i32, fd: i32, out: Any) -> i32, asked(fd, NO_PATH, FOLLOW);
    "r8", "x4": fn getxattr(path: CText, name: CText, out: Any, len: usize) -> isize, asked_attribute(AT_FDCWD, path, FOLLOW);
    "r8", "x4": fn lgetxattr(path: CText, name: CText, out: Any, len: usize) -> isize, asked_attribute(AT_FDCWD, path, AT_SYMLINK_NOFOLLOW);
    "r8", "x4": fn fgetxattr(fd: i32, name: CText, out: Any, len: usize) -> isize, asked_attribute(fd, NO_PATH, FOLLOW);
    "rcx", "x3": fn listxattr(path: CText, out: Any, len: usize) -> isize, asked_attribute(AT_FDCWD, path, FOLLOW);
    "rcx", "x3": fn llistxattr(path: CText, out: Any, len: usize) -> isize, asked_attribute(AT_FDCWD, path, AT_SYMLINK_NOFOLLOW);
    "rcx", "x3": fn flistxattr(fd: i32, out: Any, len: usize) -> isize, asked_attribute(fd, NO_PATH, FOLLOW);
}
