//! Functions that ask about paths or list directories, and change nothing.

use crate::link::failure;
use crate::log_layout::fact;
use crate::note::{self, list, look};
use crate::raw::{self, AT_FDCWD, Any, CText};
use crate::states;

/// Notes a look whose failure may be about permission only: then the path exists.
unsafe fn look_access(dirfd: i32, path: CText, errno: u16) {
    let is_unclear = !matches!(errno, 0 | raw::ENOENT | raw::ENOTDIR) && !path.is_null();
    // SAFETY: the caller's path is a C string.
    let exists = is_unclear && unsafe { raw::stat(dirfd, path, 0) }.is_ok();
    // SAFETY: as above.
    unsafe { look(dirfd, path, if exists { 0 } else { errno }) };
}

/// Notes a look of `readlink`, which fails on what is there but no link.
unsafe fn look_link(dirfd: i32, path: CText, errno: u16) {
    // SAFETY: the caller's path is a C string.
    unsafe { look(dirfd, path, if errno == raw::EINVAL { 0 } else { errno }) };
}

/// Notes a look that may be about a descriptor only.
unsafe fn look_at(dirfd: i32, path: CText, errno: u16) {
    // SAFETY: the caller's path is null or a C string.
    if !path.is_null() && unsafe { *path } != 0 {
        // SAFETY: as above.
        unsafe { look(dirfd, path, errno) };
    }
}

/// Notes a question about a file system's size and free space. Not those of libselinux, which every program asks at its start.
unsafe fn looked_at_file_system(path: CText, errno: u16) {
    // SAFETY: the caller's path is null or a C string.
    unsafe { look(AT_FDCWD, path, errno) };
    // SAFETY: as above.
    let is_selinux = matches!(unsafe { raw::bytes(path) }, b"/sys/fs/selinux" | b"/selinux");
    if errno == 0 && !is_selinux {
        note::fact(fact::SYSTEM);
    }
}

after! {
    fn statfs(path: CText, out: Any) -> i32, |r| looked_at_file_system(path, failure(r));
    fn statfs64(path: CText, out: Any) -> i32, |r| looked_at_file_system(path, failure(r));
    fn statvfs(path: CText, out: Any) -> i32, |r| looked_at_file_system(path, failure(r));
    fn statvfs64(path: CText, out: Any) -> i32, |r| looked_at_file_system(path, failure(r));
    fn access(path: CText, mode: i32) -> i32, |r| look_access(AT_FDCWD, path, failure(r));
    fn eaccess(path: CText, mode: i32) -> i32, |r| look_access(AT_FDCWD, path, failure(r));
    fn euidaccess(path: CText, mode: i32) -> i32, |r| look_access(AT_FDCWD, path, failure(r));
    fn faccessat(dirfd: i32, path: CText, mode: i32, flags: i32) -> i32, |r| look_access(dirfd, path, failure(r));
    fn readlink(path: CText, out: Any, len: usize) -> isize, |r| look_link(AT_FDCWD, path, failure(r));
    fn __readlink_chk(path: CText, out: Any, len: usize, room: usize) -> isize, |r| look_link(AT_FDCWD, path, failure(r));
    fn readlinkat(dirfd: i32, path: CText, out: Any, len: usize) -> isize, |r| look_at_link(dirfd, path, failure(r));
    fn __readlinkat_chk(dirfd: i32, path: CText, out: Any, len: usize, room: usize) -> isize, |r| look_at_link(dirfd, path, failure(r));
    fn __statfs(path: CText, out: Any) -> i32, |r| looked_at_file_system(path, failure(r));
    fn pathconf(path: CText, what: i32) -> isize, |r| look_access(AT_FDCWD, path, failure(r));
    fn ftok(path: CText, number: i32) -> i32, |r| look(AT_FDCWD, path, failure(r));
    fn name_to_handle_at(dirfd: i32, path: CText, out: Any, mount: Any, flags: i32) -> i32, |r| look_access(dirfd, path, failure(r));
    fn opendir(path: CText) -> Any, |r| list(AT_FDCWD, path, failure(r));
    fn fdopendir(fd: i32) -> Any, |r| if !r.is_null() { list(fd, c"".as_ptr().cast(), 0) };
    fn scandir(path: CText, out: Any, filter: Any, order: Any) -> i32, |r| list(AT_FDCWD, path, failure(r));
    fn scandir64(path: CText, out: Any, filter: Any, order: Any) -> i32, |r| list(AT_FDCWD, path, failure(r));
    fn scandirat(dirfd: i32, path: CText, out: Any, filter: Any, order: Any) -> i32, |r| list(dirfd, path, failure(r));
    fn scandirat64(dirfd: i32, path: CText, out: Any, filter: Any, order: Any) -> i32, |r| list(dirfd, path, failure(r));
    fn getdirentries(fd: i32, out: Any, len: usize, base: Any) -> isize, |r| { let _ = r; list(fd, c"".as_ptr().cast(), 0) };
    fn getdirentries64(fd: i32, out: Any, len: usize, base: Any) -> isize, |r| { let _ = r; list(fd, c"".as_ptr().cast(), 0) };
    fn getdents64(fd: i32, out: Any, len: usize) -> isize, |r| list(fd, c"".as_ptr().cast(), 0);
}

// What a relative path really is shows the working directory: whether a plugin asks for it counts.
tail_calls! {
    fn realpath => "mov rdx, [rsp]\njmp {then}", "mov x2, x30\nb {then}", realpath_for;
    fn __realpath_chk => "mov rcx, [rsp]\njmp {then}", "mov x3, x30\nb {then}", realpath_chk_for;
    fn canonicalize_file_name => "mov rsi, [rsp]\njmp {then}", "mov x1, x30\nb {then}", real_name_for;
}

unsafe extern "C" fn realpath_for(path: CText, out: Any, caller: usize) -> *mut u8 {
    let real = real!(realpath(path: CText, out: Any) -> *mut u8);
    // SAFETY: the path is null or a C string, by the contract of the real function.
    unsafe { look_for(path, failure(real), caller) };
    real
}

unsafe extern "C" fn realpath_chk_for(
    path: CText,
    out: Any,
    room: usize,
    caller: usize,
) -> *mut u8 {
    let real = real!(__realpath_chk(path: CText, out: Any, room: usize) -> *mut u8);
    // SAFETY: as above.
    unsafe { look_for(path, failure(real), caller) };
    real
}

unsafe extern "C" fn real_name_for(path: CText, caller: usize) -> *mut u8 {
    let real = real!(canonicalize_file_name(path: CText) -> *mut u8);
    // SAFETY: as above.
    unsafe { look_for(path, failure(real), caller) };
    real
}

/// Notes a question for the real name of a path.
unsafe fn look_for(path: CText, errno: u16, caller: usize) {
    note::directory_for(caller);
    // SAFETY: the caller's path is null or a C string.
    unsafe { look(AT_FDCWD, path, errno) };
}

unsafe fn look_at_link(dirfd: i32, path: CText, errno: u16) {
    // SAFETY: the caller's path is a C string.
    unsafe { look_at(dirfd, path, if errno == raw::EINVAL { 0 } else { errno }) };
}

before! {
    fn ftw(path: CText, each: Any, depth: i32) -> i32, note::incomplete(b"walked a tree with ftw", raw::bytes(path));
    fn ftw64(path: CText, each: Any, depth: i32) -> i32, note::incomplete(b"walked a tree with ftw", raw::bytes(path));
    fn nftw(path: CText, each: Any, depth: i32, flags: i32) -> i32, note::incomplete(b"walked a tree with nftw", raw::bytes(path));
    fn nftw64(path: CText, each: Any, depth: i32, flags: i32) -> i32, note::incomplete(b"walked a tree with nftw", raw::bytes(path));
    fn fts_open(paths: Any, options: i32, order: Any) -> Any, note::incomplete(b"walked a tree with fts", b"");
    fn fts64_open(paths: Any, options: i32, order: Any) -> Any, note::incomplete(b"walked a tree with fts", b"");
    fn wordexp(text: CText, out: Any, flags: i32) -> i32, note::incomplete(b"called wordexp", raw::bytes(text));
    fn open_by_handle_at(mount: i32, handle: Any, flags: i32) -> i32, note::incomplete(b"opened a file by its handle", b"");
}

/// `glob_t` of <glob.h> on 64-bit Linux.
#[repr(C)]
struct Glob {
    paths: [usize; 3],
    flags: i32,
    close: usize,
    read: usize,
    open: usize,
    lstat: usize,
    stat: usize,
}

const GLOB_ALTDIRFUNC: i32 = 1 << 9;
const GLOB_TILDE: i32 = 1 << 12 | 1 << 14;

/// Has libc's glob use our own functions, through the door that it has for that.
unsafe fn with_own_functions(flags: i32, glob: *mut Glob) -> i32 {
    if flags & GLOB_TILDE != 0 {
        // SAFETY: a C string.
        unsafe { note::variable(c"HOME".as_ptr().cast()) };
        note::fact(crate::log_layout::fact::USERS);
    }
    let (close, read) = (link_directory(b"closedir"), link_directory(b"readdir"));
    if flags & GLOB_ALTDIRFUNC != 0 || close == 0 || read == 0 {
        return flags;
    }
    // SAFETY: the caller of glob gave it a structure to fill.
    if let Some(glob) = unsafe { glob.as_mut() } {
        glob.close = close;
        glob.read = read;
        glob.open = opendir as *const () as usize;
        glob.lstat = states::lstat as *const () as usize;
        glob.stat = states::stat as *const () as usize;
        return flags | GLOB_ALTDIRFUNC;
    }
    flags
}

fn link_directory(name: &[u8]) -> usize {
    crate::link::Slot::new().function(name)
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn glob(pattern: CText, flags: i32, error: Any, out: Any) -> i32 {
    // SAFETY: the contract of glob.
    let flags = unsafe { with_own_functions(flags, out.cast()) };
    real!(glob(pattern: CText, flags: i32, error: Any, out: Any) -> i32)
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn glob64(pattern: CText, flags: i32, error: Any, out: Any) -> i32 {
    // SAFETY: the contract of glob.
    let flags = unsafe { with_own_functions(flags, out.cast()) };
    real!(glob64(pattern: CText, flags: i32, error: Any, out: Any) -> i32)
}
