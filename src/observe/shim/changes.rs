//! Functions that make, rename, remove or restyle files, and those that change the process's directory.

use core::ffi::c_void;

use crate::link::failure;
use crate::log_layout::{LogEntry, fact, kind};
use crate::note;
use crate::raw::{self, AT_FDCWD, AT_SYMLINK_NOFOLLOW, Any, CText, S_IFDIR, S_IFLNK};

/// Whether something is there; a dangling link counts.
unsafe fn exists(dirfd: i32, path: CText) -> bool {
    // SAFETY: the caller's path is a C string.
    note::log().is_some() && unsafe { raw::stat(dirfd, path, AT_SYMLINK_NOFOLLOW) }.is_ok()
}

unsafe fn renamed(from: (i32, CText), to: (i32, CText), existed: bool, errno: u16) {
    if note::log().is_none() {
        return;
    }
    // SAFETY: the caller's paths are C strings.
    let stat = unsafe { raw::stat(to.0, to.1, AT_SYMLINK_NOFOLLOW) }.ok();
    let entry = LogEntry { kind: kind::RENAME, errno, existed, stat, ..LogEntry::default() };
    // SAFETY: as above.
    unsafe { note::pair(from, to, entry) };
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn rename(from: CText, to: CText) -> i32 {
    // SAFETY: C strings, by the contract of rename.
    let existed = unsafe { exists(AT_FDCWD, to) };
    let answer = real!(rename(from: CText, to: CText) -> i32);
    // SAFETY: as above.
    unsafe { renamed((AT_FDCWD, from), (AT_FDCWD, to), existed, failure(answer)) };
    answer
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn renameat(from_fd: i32, from: CText, to_fd: i32, to: CText) -> i32 {
    // SAFETY: C strings, by the contract of renameat.
    let existed = unsafe { exists(to_fd, to) };
    let answer = real!(renameat(from_fd: i32, from: CText, to_fd: i32, to: CText) -> i32);
    // SAFETY: as above.
    unsafe { renamed((from_fd, from), (to_fd, to), existed, failure(answer)) };
    answer
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn renameat2(
    from_fd: i32,
    from: CText,
    to_fd: i32,
    to: CText,
    flags: u32,
) -> i32 {
    // SAFETY: C strings, by the contract of renameat2.
    let existed = unsafe { exists(to_fd, to) };
    let answer =
        real!(renameat2(from_fd: i32, from: CText, to_fd: i32, to: CText, flags: u32) -> i32);
    if flags & !1 != 0 && answer == 0 {
        note::incomplete(b"exchanged two files", b"");
    }
    // SAFETY: as above.
    unsafe { renamed((from_fd, from), (to_fd, to), existed, failure(answer)) };
    answer
}

unsafe fn linked(from: (i32, CText), to: (i32, CText), errno: u16) {
    if note::log().is_none() {
        return;
    }
    // SAFETY: the caller's paths are C strings.
    let stat = unsafe { raw::stat(to.0, to.1, AT_SYMLINK_NOFOLLOW) }.ok();
    // SAFETY: as above.
    if errno == 0 && unsafe { raw::bytes(from.1) }.starts_with(b"/proc/") {
        note::incomplete(b"gave a name to an open file", b"");
    }
    // SAFETY: as above.
    unsafe {
        note::pair(from, to, LogEntry { kind: kind::LINK, errno, stat, ..LogEntry::default() })
    };
}

unsafe fn made(dirfd: i32, path: CText, mode: u32, errno: u16) {
    // SAFETY: the caller's path is a C string.
    unsafe {
        note::path(dirfd, path, LogEntry { kind: kind::MAKE, errno, mode, ..LogEntry::default() })
    };
}

unsafe fn removed(dirfd: i32, path: CText, errno: u16) {
    // SAFETY: the caller's path is a C string.
    unsafe {
        note::path(dirfd, path, LogEntry { kind: kind::REMOVE, errno, ..LogEntry::default() })
    };
}

/// What was set: all that the file's mode shows, or more.
const SHOWN: u32 = 0;
const UNSHOWN: u32 = 1;

unsafe fn restyled(dirfd: i32, path: CText, how: u32, errno: u16) {
    if note::log().is_none() || errno != 0 {
        // SAFETY: the caller's path is null or a C string.
        return unsafe { note::look(dirfd, path, errno) };
    }
    let stat = if path.is_null() {
        raw::stat_fd(dirfd)
    } else {
        // SAFETY: the caller's path is a C string.
        unsafe { raw::stat(dirfd, path, 0) }.ok()
    };
    let path = if path.is_null() { c"".as_ptr().cast() } else { path };
    let entry = LogEntry { kind: kind::ATTRIBUTES, flags: how, stat, ..LogEntry::default() };
    // SAFETY: as above.
    unsafe { note::path(dirfd, path, entry) };
}

/// As `restyled`, for a descriptor; only files count.
unsafe fn restyled_fd(fd: i32, how: u32, errno: u16) {
    let is_file = |stat: &crate::log_layout::FileStat| stat.mode & raw::S_IFMT == raw::S_IFREG;
    if let Some(stat) = raw::stat_fd(fd).filter(|stat| errno == 0 && is_file(stat)) {
        let kind = kind::ATTRIBUTES;
        note::append(&LogEntry { kind, flags: how, stat: Some(stat), ..LogEntry::default() });
    }
}

/// A file that is made gets this group anyway.
fn group_set(group: u32) -> u32 {
    if group == u32::MAX || group == raw::group() { SHOWN } else { UNSHOWN }
}

/// Times given as they are, by a null or by `UTIME_NOW`, do not come twice; those of the access alone do not count.
unsafe fn times_with_ns(times: Any) -> u32 {
    const IS_NOT_EXPLICIT: [i64; 2] = [(1 << 30) - 1, (1 << 30) - 2];
    if times.is_null() {
        return SHOWN;
    }
    // SAFETY: two pairs of seconds and nanoseconds, the second for the modification, by the contract of utimensat.
    let ns = unsafe { *times.cast::<i64>().wrapping_add(3) };
    if IS_NOT_EXPLICIT.contains(&ns) { SHOWN } else { UNSHOWN }
}

fn times_set(times: Any) -> u32 {
    if times.is_null() { SHOWN } else { UNSHOWN }
}

after! {
    fn link(from: CText, to: CText) -> i32, |r| linked((AT_FDCWD, from), (AT_FDCWD, to), failure(r));
    fn linkat(from_fd: i32, from: CText, to_fd: i32, to: CText, flags: i32) -> i32,
        |r| linked((from_fd, from), (to_fd, to), failure(r));
    fn symlink(target: CText, path: CText) -> i32, |r| made(AT_FDCWD, path, S_IFLNK, failure(r));
    fn symlinkat(target: CText, dirfd: i32, path: CText) -> i32, |r| made(dirfd, path, S_IFLNK, failure(r));
    fn mkdir(path: CText, mode: u32) -> i32, |r| made(AT_FDCWD, path, S_IFDIR | mode & 0o7777, failure(r));
    fn mkdirat(dirfd: i32, path: CText, mode: u32) -> i32, |r| made(dirfd, path, S_IFDIR | mode & 0o7777, failure(r));
    fn mkdtemp(template: CText) -> *mut u8, |r| made(AT_FDCWD, template, S_IFDIR | 0o700, failure(r));
    fn mknod(path: CText, mode: u32, device: u64) -> i32, |r| made(AT_FDCWD, path, mode, failure(r));
    fn mknodat(dirfd: i32, path: CText, mode: u32, device: u64) -> i32, |r| made(dirfd, path, mode, failure(r));
    fn __xmknod(version: i32, path: CText, mode: u32, device: Any) -> i32, |r| made(AT_FDCWD, path, mode, failure(r));
    fn __xmknodat(version: i32, dirfd: i32, path: CText, mode: u32, device: Any) -> i32, |r| made(dirfd, path, mode, failure(r));
    fn mkfifo(path: CText, mode: u32) -> i32, |r| made(AT_FDCWD, path, 0o010_000, failure(r));
    fn mkfifoat(dirfd: i32, path: CText, mode: u32) -> i32, |r| made(dirfd, path, 0o010_000, failure(r));
    fn unlink(path: CText) -> i32, |r| removed(AT_FDCWD, path, failure(r));
    fn unlinkat(dirfd: i32, path: CText, flags: i32) -> i32, |r| removed(dirfd, path, failure(r));
    fn remove(path: CText) -> i32, |r| removed(AT_FDCWD, path, failure(r));
    fn rmdir(path: CText) -> i32, |r| removed(AT_FDCWD, path, failure(r));
    fn chmod(path: CText, mode: u32) -> i32, |r| restyled(AT_FDCWD, path, SHOWN, failure(r));
    fn lchmod(path: CText, mode: u32) -> i32, |r| restyled(AT_FDCWD, path, SHOWN, failure(r));
    fn fchmodat(dirfd: i32, path: CText, mode: u32, flags: i32) -> i32, |r| restyled(dirfd, path, SHOWN, failure(r));
    fn fchmod(fd: i32, mode: u32) -> i32, |r| restyled_fd(fd, SHOWN, failure(r));
    fn chown(path: CText, user: u32, group: u32) -> i32, |r| restyled(AT_FDCWD, path, group_set(group), failure(r));
    fn lchown(path: CText, user: u32, group: u32) -> i32, |r| restyled(AT_FDCWD, path, group_set(group), failure(r));
    fn fchownat(dirfd: i32, path: CText, user: u32, group: u32, flags: i32) -> i32, |r| restyled(dirfd, path, group_set(group), failure(r));
    fn fchown(fd: i32, user: u32, group: u32) -> i32, |r| restyled_fd(fd, group_set(group), failure(r));
    fn utime(path: CText, times: Any) -> i32, |r| restyled(AT_FDCWD, path, times_set(times), failure(r));
    fn utimes(path: CText, times: Any) -> i32, |r| restyled(AT_FDCWD, path, times_set(times), failure(r));
    fn lutimes(path: CText, times: Any) -> i32, |r| restyled(AT_FDCWD, path, times_set(times), failure(r));
    fn futimesat(dirfd: i32, path: CText, times: Any) -> i32, |r| restyled(dirfd, path, times_set(times), failure(r));
    fn utimensat(dirfd: i32, path: CText, times: Any, flags: i32) -> i32, |r| restyled(dirfd, path, times_with_ns(times), failure(r));
    fn futimens(fd: i32, times: Any) -> i32, |r| restyled_fd(fd, times_with_ns(times), failure(r));
    fn futimes(fd: i32, times: Any) -> i32, |r| restyled_fd(fd, times_set(times), failure(r));
    fn setxattr(path: CText, name: CText, value: Any, len: usize, flags: i32) -> i32, |r| restyled(AT_FDCWD, path, UNSHOWN, failure(r));
    fn lsetxattr(path: CText, name: CText, value: Any, len: usize, flags: i32) -> i32, |r| restyled(AT_FDCWD, path, UNSHOWN, failure(r));
    fn fsetxattr(fd: i32, name: CText, value: Any, len: usize, flags: i32) -> i32, |r| restyled_fd(fd, UNSHOWN, failure(r));
    fn removexattr(path: CText, name: CText) -> i32, |r| restyled(AT_FDCWD, path, UNSHOWN, failure(r));
    fn lremovexattr(path: CText, name: CText) -> i32, |r| restyled(AT_FDCWD, path, UNSHOWN, failure(r));
    fn fremovexattr(fd: i32, name: CText) -> i32, |r| restyled_fd(fd, UNSHOWN, failure(r));
    fn chdir(path: CText) -> i32, |r| changed_directory(path, r);
    fn fchdir(fd: i32) -> i32, |r| if r == 0 { note::moved() };
}

unsafe fn changed_directory(path: CText, answer: i32) {
    if answer == 0 {
        note::moved();
    }
    // A relative path was relative to the old directory, so it is noted only while nothing has changed.
    // SAFETY: the path is a C string, by the contract of chdir.
    if answer != 0 || unsafe { raw::bytes(path) }.starts_with(b"/") {
        // SAFETY: as above.
        unsafe { note::look(AT_FDCWD, path, failure(answer)) };
    }
}

before! {
    fn chroot(path: CText) -> i32, note::incomplete(b"changed its root directory", raw::bytes(path));
    fn pivot_root(new: CText, old: CText) -> i32, note::incomplete(b"changed its root directory", raw::bytes(new));
    fn unshare(flags: i32) -> i32, note::incomplete(b"left a namespace", b"");
    fn setns(fd: i32, kind: i32) -> i32, note::incomplete(b"entered a namespace", b"");
    fn mount(from: CText, to: CText, kind: CText, flags: u64, more: Any) -> i32, note::incomplete(b"mounted a file system", b"");
    fn umount(path: CText) -> i32, note::incomplete(b"unmounted a file system", raw::bytes(path));
    fn umount2(path: CText, flags: i32) -> i32, note::incomplete(b"unmounted a file system", raw::bytes(path));
    fn move_mount(from_fd: i32, from: CText, to_fd: i32, to: CText, flags: u32) -> i32, note::incomplete(b"moved a mount", b"");
    fn open_tree(fd: i32, path: CText, flags: u32) -> i32, note::incomplete(b"opened a mount", b"");
    fn fsopen(kind: CText, flags: u32) -> i32, note::incomplete(b"opened a file system", b"");
    fn sem_open(name: CText, flags: i32, mode: u32, value: u32) -> *mut c_void, note::incomplete(b"opened a shared semaphore", raw::bytes(name));
    fn mq_open(name: CText, flags: i32, mode: u32, attributes: Any) -> i32, note::incomplete(b"opened a message queue", raw::bytes(name));
    fn __mq_open_2(name: CText, flags: i32) -> i32, note::incomplete(b"opened a message queue", raw::bytes(name));
    fn shmget(key: i32, len: usize, flags: i32) -> i32, note::incomplete(b"opened shared memory", b"");
    fn msgget(key: i32, flags: i32) -> i32, note::fact(fact::SYSTEM);
    fn msgrcv(queue: i32, out: Any, len: usize, kind: isize, flags: i32) -> isize, note::fact(fact::SYSTEM);
    fn semget(key: i32, count: i32, flags: i32) -> i32, note::fact(fact::SYSTEM);
    fn pidfd_getfd(process: i32, fd: i32, flags: u32) -> i32, note::incomplete(b"took another process's descriptor", b"");
    fn acct(path: CText) -> i32, note::incomplete(b"switched accounting", b"");
    fn quotactl(command: i32, special: CText, id: i32, address: Any) -> i32, note::incomplete(b"asked for quotas", b"");
    fn inotify_add_watch(fd: i32, path: CText, mask: u32) -> i32, note::incomplete(b"watched a file", raw::bytes(path));
    fn fanotify_mark(fd: i32, flags: u32, mask: u64, dirfd: i32, path: CText) -> i32, note::incomplete(b"watched a file", b"");
    fn shm_open(name: CText, flags: i32, mode: u32) -> i32, note::incomplete(b"opened shared memory", raw::bytes(name));
}
