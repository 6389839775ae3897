//! Functions that make, rename, remove or restyle files, and those that change the process's directory.

use core::ffi::c_void;

use crate::link::failure;
use crate::log_layout::{Entry, kind};
use crate::note;
use crate::raw::{self, AT_FDCWD, AT_SYMLINK_NOFOLLOW, S_IFDIR, S_IFLNK};

type Path = *const u8;
type Any = *const c_void;

/// Whether something is there, be it a dangling link.
unsafe fn exists(dirfd: i32, path: Path) -> bool {
    // SAFETY: the caller's path is a C string.
    note::log().is_some() && unsafe { raw::stat(dirfd, path, AT_SYMLINK_NOFOLLOW) }.is_ok()
}

unsafe fn renamed(from: (i32, Path), to: (i32, Path), existed: bool, errno: u16) {
    if note::log().is_none() {
        return;
    }
    // SAFETY: the caller's paths are C strings.
    let stat = unsafe { raw::stat(to.0, to.1, AT_SYMLINK_NOFOLLOW) }.ok();
    let entry = Entry { kind: kind::RENAME, errno, existed, stat, ..Entry::default() };
    // SAFETY: as above.
    unsafe { note::pair(from, to, entry) };
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn rename(from: Path, to: Path) -> i32 {
    // SAFETY: C strings, by the contract of rename.
    let existed = unsafe { exists(AT_FDCWD, to) };
    let answer = real!(rename(from: Path, to: Path) -> i32);
    // SAFETY: as above.
    unsafe { renamed((AT_FDCWD, from), (AT_FDCWD, to), existed, failure(answer)) };
    answer
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn renameat(from_fd: i32, from: Path, to_fd: i32, to: Path) -> i32 {
    // SAFETY: C strings, by the contract of renameat.
    let existed = unsafe { exists(to_fd, to) };
    let answer = real!(renameat(from_fd: i32, from: Path, to_fd: i32, to: Path) -> i32);
    // SAFETY: as above.
    unsafe { renamed((from_fd, from), (to_fd, to), existed, failure(answer)) };
    answer
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn renameat2(from_fd: i32, from: Path, to_fd: i32, to: Path, flags: u32) -> i32 {
    // SAFETY: C strings, by the contract of renameat2.
    let existed = unsafe { exists(to_fd, to) };
    let answer = real!(renameat2(from_fd: i32, from: Path, to_fd: i32, to: Path, flags: u32) -> i32);
    if flags & !1 != 0 && answer == 0 {
        note::incomplete(b"exchanged two files", b"");
    }
    // SAFETY: as above.
    unsafe { renamed((from_fd, from), (to_fd, to), existed, failure(answer)) };
    answer
}

unsafe fn linked(from: (i32, Path), to: (i32, Path), errno: u16) {
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
    unsafe { note::pair(from, to, Entry { kind: kind::LINK, errno, stat, ..Entry::default() }) };
}

unsafe fn made(dirfd: i32, path: Path, mode: u32, errno: u16) {
    // SAFETY: the caller's path is a C string.
    unsafe { note::path(dirfd, path, Entry { kind: kind::MAKE, errno, mode, ..Entry::default() }) };
}

unsafe fn removed(dirfd: i32, path: Path, errno: u16) {
    // SAFETY: the caller's path is a C string.
    unsafe { note::path(dirfd, path, Entry { kind: kind::REMOVE, errno, ..Entry::default() }) };
}

unsafe fn restyled(dirfd: i32, path: Path, errno: u16) {
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
    // SAFETY: as above.
    unsafe { note::path(dirfd, path, Entry { kind: kind::ATTRIBUTES, stat, ..Entry::default() }) };
}

/// As `restyled`, for a descriptor; only files count.
unsafe fn restyled_fd(fd: i32, errno: u16) {
    let is_file = |stat: &crate::log_layout::FileStat| stat.mode & raw::S_IFMT == raw::S_IFREG;
    if let Some(stat) = raw::stat_fd(fd).filter(|stat| errno == 0 && is_file(stat)) {
        note::append(&Entry { kind: kind::ATTRIBUTES, stat: Some(stat), ..Entry::default() });
    }
}

after! {
    fn link(from: Path, to: Path) -> i32, |r| linked((AT_FDCWD, from), (AT_FDCWD, to), failure(r));
    fn linkat(from_fd: i32, from: Path, to_fd: i32, to: Path, flags: i32) -> i32,
        |r| linked((from_fd, from), (to_fd, to), failure(r));
    fn symlink(target: Path, path: Path) -> i32, |r| made(AT_FDCWD, path, S_IFLNK, failure(r));
    fn symlinkat(target: Path, dirfd: i32, path: Path) -> i32, |r| made(dirfd, path, S_IFLNK, failure(r));
    fn mkdir(path: Path, mode: u32) -> i32, |r| made(AT_FDCWD, path, S_IFDIR, failure(r));
    fn mkdirat(dirfd: i32, path: Path, mode: u32) -> i32, |r| made(dirfd, path, S_IFDIR, failure(r));
    fn mkdtemp(template: Path) -> *mut u8, |r| made(AT_FDCWD, template, S_IFDIR, failure(r));
    fn mknod(path: Path, mode: u32, device: u64) -> i32, |r| made(AT_FDCWD, path, mode, failure(r));
    fn mknodat(dirfd: i32, path: Path, mode: u32, device: u64) -> i32, |r| made(dirfd, path, mode, failure(r));
    fn __xmknod(version: i32, path: Path, mode: u32, device: Any) -> i32, |r| made(AT_FDCWD, path, mode, failure(r));
    fn __xmknodat(version: i32, dirfd: i32, path: Path, mode: u32, device: Any) -> i32, |r| made(dirfd, path, mode, failure(r));
    fn mkfifo(path: Path, mode: u32) -> i32, |r| made(AT_FDCWD, path, 0o010_000, failure(r));
    fn mkfifoat(dirfd: i32, path: Path, mode: u32) -> i32, |r| made(dirfd, path, 0o010_000, failure(r));
    fn unlink(path: Path) -> i32, |r| removed(AT_FDCWD, path, failure(r));
    fn unlinkat(dirfd: i32, path: Path, flags: i32) -> i32, |r| removed(dirfd, path, failure(r));
    fn remove(path: Path) -> i32, |r| removed(AT_FDCWD, path, failure(r));
    fn rmdir(path: Path) -> i32, |r| removed(AT_FDCWD, path, failure(r));
    fn chmod(path: Path, mode: u32) -> i32, |r| restyled(AT_FDCWD, path, failure(r));
    fn lchmod(path: Path, mode: u32) -> i32, |r| restyled(AT_FDCWD, path, failure(r));
    fn fchmodat(dirfd: i32, path: Path, mode: u32, flags: i32) -> i32, |r| restyled(dirfd, path, failure(r));
    fn fchmod(fd: i32, mode: u32) -> i32, |r| restyled_fd(fd, failure(r));
    fn chown(path: Path, user: u32, group: u32) -> i32, |r| restyled(AT_FDCWD, path, failure(r));
    fn lchown(path: Path, user: u32, group: u32) -> i32, |r| restyled(AT_FDCWD, path, failure(r));
    fn fchownat(dirfd: i32, path: Path, user: u32, group: u32, flags: i32) -> i32, |r| restyled(dirfd, path, failure(r));
    fn fchown(fd: i32, user: u32, group: u32) -> i32, |r| restyled_fd(fd, failure(r));
    fn utime(path: Path, times: Any) -> i32, |r| restyled(AT_FDCWD, path, failure(r));
    fn utimes(path: Path, times: Any) -> i32, |r| restyled(AT_FDCWD, path, failure(r));
    fn lutimes(path: Path, times: Any) -> i32, |r| restyled(AT_FDCWD, path, failure(r));
    fn futimesat(dirfd: i32, path: Path, times: Any) -> i32, |r| restyled(dirfd, path, failure(r));
    fn utimensat(dirfd: i32, path: Path, times: Any, flags: i32) -> i32, |r| restyled(dirfd, path, failure(r));
    fn futimens(fd: i32, times: Any) -> i32, |r| restyled_fd(fd, failure(r));
    fn futimes(fd: i32, times: Any) -> i32, |r| restyled_fd(fd, failure(r));
    fn setxattr(path: Path, name: Path, value: Any, len: usize, flags: i32) -> i32, |r| restyled(AT_FDCWD, path, failure(r));
    fn lsetxattr(path: Path, name: Path, value: Any, len: usize, flags: i32) -> i32, |r| restyled(AT_FDCWD, path, failure(r));
    fn removexattr(path: Path, name: Path) -> i32, |r| restyled(AT_FDCWD, path, failure(r));
    fn chdir(path: Path) -> i32, |r| changed_directory(path, r);
    fn fchdir(fd: i32) -> i32, |r| if r == 0 { note::moved() };
}

unsafe fn changed_directory(path: Path, answer: i32) {
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
    fn chroot(path: Path) -> i32, note::incomplete(b"changed its root directory", raw::bytes(path));
    fn pivot_root(new: Path, old: Path) -> i32, note::incomplete(b"changed its root directory", raw::bytes(new));
    fn unshare(flags: i32) -> i32, note::incomplete(b"left a namespace", b"");
    fn setns(fd: i32, kind: i32) -> i32, note::incomplete(b"entered a namespace", b"");
    fn mount(from: Path, to: Path, kind: Path, flags: u64, more: Any) -> i32, note::incomplete(b"mounted a file system", b"");
    fn shm_open(name: Path, flags: i32, mode: u32) -> i32, note::incomplete(b"opened shared memory", raw::bytes(name));
}
