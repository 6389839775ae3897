//! Functions that open and close files.
//!
//! A descriptor that may have been written is remembered, and its file's state is noted when it is closed, when the
//! process ends, and before it becomes another program.

use core::ffi::c_void;
use core::sync::atomic::{AtomicBool, AtomicI32, Ordering};

use crate::descriptors::{self, all_remembered, forget, is_remembered};
use crate::link::{self, Slot, failure};
use crate::log_layout::{FileStat, LogEntry, kind};
use crate::note;
use crate::raw::{
    self, AT_FDCWD, Any, CText, O_ACCMODE, O_APPEND, O_CREAT, O_EXCL, O_PATH, O_RDONLY, O_RDWR,
    O_TMPFILE_BIT, O_TRUNC, O_WRONLY, S_IFDIR, S_IFMT, S_IFREG,
};
use crate::states;

type CStream = *mut c_void;

/// Streams that were opened for writing and not closed yet.
static STREAMS: AtomicI32 = AtomicI32::new(0);

fn remember(fd: i32) {
    if !descriptors::remember(fd) {
        note::incomplete(b"opened too many files", b"");
    }
}

fn note_written(fd: i32) {
    if let Some(stat) = raw::stat_fd(fd).filter(|stat| stat.mode & S_IFMT == S_IFREG) {
        note::written(stat);
    }
}

/// Notes the state of all files that may have been written and are still open.
pub fn note_all_written() {
    all_remembered().for_each(note_written);
}

/// Notes everything that must be known before the process ends; `orderly` if libc still writes its streams out later.
#[inline(never)]
pub fn leave(orderly: bool) {
    if note::log().is_none() {
        return;
    }
    let stdout_is_file = || raw::stat_fd(1).is_some_and(|stat| stat.mode & S_IFMT == S_IFREG);
    if orderly && STREAMS.load(Ordering::Relaxed) > 0 {
        let all: CStream = core::ptr::null_mut();
        real!(fflush(all: CStream) -> i32);
    } else if orderly && is_remembered(1) && stdout_is_file() {
        static STDOUT: Slot = Slot::new();
        let variable = STDOUT.variable(b"stdout") as *const CStream;
        if !variable.is_null() {
            // SAFETY: libc's variable `stdout`.
            let stdout = unsafe { *variable };
            real!(fflush(stdout: CStream) -> i32);
        }
    }
    states::settle();
    note::mapped_objects();
    note_all_written();
    note::append(&LogEntry { kind: kind::EXIT, ..LogEntry::default() });
}

/// What was there before an open that may change it.
#[derive(Clone, Copy)]
struct BeforeOpen {
    existed: bool,
}

/// Looks at what an open may change.
#[inline(never)]
unsafe fn before_open(dirfd: i32, path: CText, flags: i32) -> BeforeOpen {
    let changes = flags & O_ACCMODE != O_RDONLY || flags & (O_CREAT | O_TRUNC) != 0;
    let certainly_new =
        flags & (O_CREAT | O_EXCL) == O_CREAT | O_EXCL || flags & O_TMPFILE_BIT == O_TMPFILE_BIT;
    let ask = changes && !certainly_new && !path.is_null() && note::log().is_some();
    // SAFETY: the caller's path is a C string.
    BeforeOpen { existed: ask && unsafe { raw::stat(dirfd, path, 0) }.is_ok() }
}

/// Notes an open, after it.
#[inline(never)]
unsafe fn after_open(
    dirfd: i32,
    path: CText,
    flags: i32,
    mode: u32,
    before: BeforeOpen,
    fd: Result<i32, u16>,
) {
    if note::log().is_none() {
        return;
    }
    let stat = fd.ok().and_then(raw::stat_fd);
    let writes = flags & O_ACCMODE != O_RDONLY && flags & O_PATH == 0;
    if let (Ok(fd), true) = (fd, writes) {
        remember(fd);
    }
    if flags & O_TMPFILE_BIT == O_TMPFILE_BIT && fd.is_ok() {
        // A file without a name: only its directory was looked at.
        // SAFETY: the caller's path is a C string.
        return unsafe { note::look(dirfd, path, 0) };
    }
    let is_directory = stat.is_some_and(|stat| stat.mode & S_IFMT == S_IFDIR);
    let kind = if is_directory || flags & O_PATH != 0 { kind::LOOK } else { kind::OPEN };
    let entry = LogEntry {
        kind,
        errno: fd.err().unwrap_or(0),
        flags: flags.cast_unsigned(),
        mode: if flags & O_CREAT != 0 { mode } else { 0 },
        existed: before.existed,
        stat,
        ..LogEntry::default()
    };
    // SAFETY: the caller's path is a C string.
    unsafe { note::path(dirfd, path, entry) };
}

fn outcome(fd: i32) -> Result<i32, u16> {
    match failure(fd) {
        0 => Ok(fd),
        errno => Err(errno),
    }
}

// Variadic in C; on x86-64 and aarch64 Linux a fixed last argument is passed the same way.
macro_rules! opens {
    ($(fn $name:ident($($arg:ident: $type:ty),*), $dirfd:expr, $path:ident, $flags:expr, $mode:expr;)*) => {$(
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn $name($($arg: $type),*) -> i32 {
            // SAFETY: the path is a C string, by the contract of open.
            let before = unsafe { before_open($dirfd, $path, $flags) };
            let fd = real!($name($($arg: $type),*) -> i32);
            // SAFETY: as above.
            unsafe { after_open($dirfd, $path, $flags, $mode, before, outcome(fd)) };
            fd
        }
    )*};
}

opens! {
    fn open(path: CText, flags: i32, mode: u32), AT_FDCWD, path, flags, mode;
    fn open64(path: CText, flags: i32, mode: u32), AT_FDCWD, path, flags, mode;
    fn openat(dirfd: i32, path: CText, flags: i32, mode: u32), dirfd, path, flags, mode;
    fn openat64(dirfd: i32, path: CText, flags: i32, mode: u32), dirfd, path, flags, mode;
    fn __open(path: CText, flags: i32, mode: u32), AT_FDCWD, path, flags, mode;
    fn __open64(path: CText, flags: i32, mode: u32), AT_FDCWD, path, flags, mode;
    fn creat(path: CText, mode: u32), AT_FDCWD, path, O_CREAT | O_WRONLY | O_TRUNC, mode;
    fn creat64(path: CText, mode: u32), AT_FDCWD, path, O_CREAT | O_WRONLY | O_TRUNC, mode;
    fn __open_2(path: CText, flags: i32), AT_FDCWD, path, flags, 0;
    fn __open64_2(path: CText, flags: i32), AT_FDCWD, path, flags, 0;
    fn __openat_2(dirfd: i32, path: CText, flags: i32), dirfd, path, flags, 0;
    fn __openat64_2(dirfd: i32, path: CText, flags: i32), dirfd, path, flags, 0;
}

/// The open flags of a stream's mode.
#[inline(never)]
unsafe fn stream_flags(mode: CText) -> i32 {
    // SAFETY: the mode is a C string.
    let mode = unsafe { raw::bytes(mode) };
    let text = mode.split(|byte| *byte == b',').next().unwrap_or(b"");
    let both = text.contains(&b'+');
    let access = if both { O_RDWR } else { O_WRONLY };
    let exclusive = if text.contains(&b'x') { O_EXCL } else { 0 };
    match text.first() {
        Some(b'w') => access | O_CREAT | O_TRUNC | exclusive,
        Some(b'a') => access | O_CREAT | O_APPEND | exclusive,
        _ if both => O_RDWR,
        _ => O_RDONLY,
    }
}

fn stream_fd(stream: CStream) -> i32 {
    real!(fileno(stream: CStream) -> i32)
}

unsafe fn after_stream_open(path: CText, flags: i32, before: BeforeOpen, stream: CStream) {
    let fd = if stream.is_null() { Err(failure(stream)) } else { Ok(stream_fd(stream)) };
    if fd.is_ok() && flags & O_ACCMODE != O_RDONLY {
        STREAMS.fetch_add(1, Ordering::Relaxed);
    }
    // SAFETY: the path is a C string, by the contract of fopen.
    unsafe { after_open(AT_FDCWD, path, flags, 0o666, before, fd) };
}

macro_rules! streams {
    ($(fn $name:ident($($arg:ident: $type:ty),*), $before:expr;)*) => {$(
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn $name(path: CText, mode: CText, $($arg: $type),*) -> CStream {
            // SAFETY: the mode is a C string, by the contract of fopen.
            let flags = unsafe { stream_flags(mode) };
            let () = $before;
            // SAFETY: the path is null or a C string, by the contract of fopen and freopen.
            let before = unsafe { before_open(AT_FDCWD, path, flags) };
            let stream = real!($name(path: CText, mode: CText, $($arg: $type),*) -> CStream);
            // SAFETY: as above.
            unsafe { after_stream_open(path, flags, before, stream) };
            stream
        }
    )*};
}

streams! {
    fn fopen(), ();
    fn fopen64(), ();
    fn freopen(old: CStream), { before_stream_close(old); };
    fn freopen64(old: CStream), { before_stream_close(old); };
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn fdopen(fd: i32, mode: CText) -> CStream {
    let stream = real!(fdopen(fd: i32, mode: CText) -> CStream);
    // SAFETY: the mode is a C string, by the contract of fdopen.
    if !stream.is_null() && unsafe { stream_flags(mode) } & O_ACCMODE != O_RDONLY {
        STREAMS.fetch_add(1, Ordering::Relaxed);
    }
    stream
}

/// The error number if what the stream still held could not be written: the stream has lost it by then, and a close by
/// itself would succeed.
#[inline(never)]
fn before_stream_close(stream: CStream) -> Option<u16> {
    if stream.is_null() || note::log().is_none() {
        return None;
    }
    let errno = link::errno();
    let fd = stream_fd(stream);
    link::set_errno(errno);
    let mut failed = None;
    if is_remembered(fd) {
        if real!(fflush(stream: CStream) -> i32) != 0 {
            failed = Some(link::errno());
        }
        if fd > 2 && STREAMS.load(Ordering::Relaxed) > 0 {
            STREAMS.fetch_sub(1, Ordering::Relaxed);
        }
        forget(fd);
        note_written(fd);
    }
    failed
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn fclose(stream: CStream) -> i32 {
    let failed = before_stream_close(stream);
    let answer = real!(fclose(stream: CStream) -> i32);
    let Some(errno) = failed else { return answer };
    link::set_errno(errno);
    -1
}

fn before_close(fd: i32) {
    states::before_close(fd);
    if forget(fd) && note::log().is_some() {
        note_written(fd);
    }
}

#[inline(never)]
fn before_close_range(first: u32, last: u32) {
    let end = descriptors::end();
    let first = i32::try_from(first).unwrap_or(end);
    let last = i32::try_from(last).unwrap_or(i32::MAX).min(end - 1);
    (first..=last).for_each(before_close);
}

/// A new descriptor for an open file.
fn copied(from: i32, to: i32) {
    if to >= 0 && is_remembered(from) {
        remember(to);
    }
}

before! {
    fn close(fd: i32) -> i32, before_close(fd);
    fn __close(fd: i32) -> i32, before_close(fd);
    fn closefrom(first: i32) -> i32, before_close_range(first.max(0).cast_unsigned(), u32::MAX);
    fn close_range(first: u32, last: u32, flags: u32) -> i32, if flags & 4 == 0 { before_close_range(first, last) };
}

after! {
    fn dup(fd: i32) -> i32, |r| copied(fd, r);
    fn __fcntl(fd: i32, command: i32, argument: usize) -> i32, |r| if command == 0 || command == 1030 { copied(fd, r) };
    fn fcntl(fd: i32, command: i32, argument: usize) -> i32, |r| if command == 0 || command == 1030 { copied(fd, r) };
    fn fcntl64(fd: i32, command: i32, argument: usize) -> i32, |r| if command == 0 || command == 1030 { copied(fd, r) };
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn __dup2(from: i32, to: i32) -> i32 {
    // SAFETY: the contract of dup2.
    unsafe { dup2(from, to) }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn dup2(from: i32, to: i32) -> i32 {
    if from != to {
        before_close(to);
    }
    let answer = real!(dup2(from: i32, to: i32) -> i32);
    copied(from, answer);
    answer
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn dup3(from: i32, to: i32, flags: i32) -> i32 {
    if from != to {
        before_close(to);
    }
    let answer = real!(dup3(from: i32, to: i32, flags: i32) -> i32);
    copied(from, answer);
    answer
}

/// Notes a file that was made under a name that libc chose.
unsafe fn made(template: CText, fd: i32) {
    let flags = O_CREAT | O_EXCL | O_RDWR;
    // SAFETY: the template is a C string, now with the name in it.
    unsafe {
        after_open(AT_FDCWD, template, flags, 0o600, BeforeOpen { existed: false }, outcome(fd))
    };
}

after! {
    fn mkstemp(template: CText) -> i32, |r| made(template, r);
    fn mkstemp64(template: CText) -> i32, |r| made(template, r);
    fn mkostemp(template: CText, flags: i32) -> i32, |r| made(template, r);
    fn mkostemp64(template: CText, flags: i32) -> i32, |r| made(template, r);
    fn mkstemps(template: CText, suffix: i32) -> i32, |r| made(template, r);
    fn mkstemps64(template: CText, suffix: i32) -> i32, |r| made(template, r);
    fn mkostemps(template: CText, suffix: i32, flags: i32) -> i32, |r| made(template, r);
    fn mkostemps64(template: CText, suffix: i32, flags: i32) -> i32, |r| made(template, r);
    fn tempnam(directory: CText, prefix: CText) -> *mut u8, |r| { let _ = r; note::variable(c"TMPDIR".as_ptr().cast()) };
}

/// Whether a child may be started in another directory.
static CHILD_MOVES: AtomicBool = AtomicBool::new(false);

/// Says so if a path is given to a child that may resolve it in a directory that we do not know.
pub fn given_to_child(path: &[u8]) {
    if CHILD_MOVES.load(Ordering::Relaxed) && path.first() != Some(&b'/') {
        note::incomplete(b"gave a relative path to a child in another directory", path);
    }
}

unsafe fn child_moves() {
    CHILD_MOVES.store(true, Ordering::Relaxed);
}

/// Notes an open that libc does in a child, as if it were done now.
unsafe fn will_open(path: CText, flags: i32, mode: u32) {
    // SAFETY: as below.
    given_to_child(unsafe { raw::bytes(path) });
    // SAFETY: the path is a C string, by the contract of the file actions.
    let before = unsafe { before_open(AT_FDCWD, path, flags) };
    // SAFETY: as above.
    let stat = unsafe { raw::stat(AT_FDCWD, path, 0) };
    let writes = flags & O_ACCMODE != O_RDONLY;
    let entry = LogEntry {
        kind: kind::OPEN,
        errno: if writes { 0 } else { stat.err().unwrap_or(0) },
        flags: flags.cast_unsigned(),
        mode,
        existed: before.existed,
        stat: stat.ok().filter(|_| !writes),
        ..LogEntry::default()
    };
    // SAFETY: as above.
    unsafe { note::path(AT_FDCWD, path, entry) };
}

before! {
    fn posix_spawn_file_actions_addopen(actions: Any, fd: i32, path: CText, flags: i32, mode: u32) -> i32,
        will_open(path, flags, mode);
    fn posix_spawn_file_actions_addchdir_np(actions: Any, path: CText) -> i32, { note::look(AT_FDCWD, path, 0); child_moves() };
    fn posix_spawn_file_actions_addfchdir_np(actions: Any, fd: i32) -> i32, child_moves();
    fn setmntent(path: CText, mode: CText) -> *mut c_void, will_open(path, O_RDONLY, 0);
    fn __setmntent(path: CText, mode: CText) -> *mut c_void, will_open(path, O_RDONLY, 0);
    fn dlmopen(space: isize, path: CText, flags: i32) -> *mut c_void, note::incomplete(b"loaded into another namespace", raw::bytes(path));
    fn dlclose(handle: Any) -> i32, note::mapped_objects();
    fn _exit(status: i32) -> i32, leave(false);
    fn _Exit(status: i32) -> i32, leave(false);
    fn quick_exit(status: i32) -> i32, leave(true);
}

/// Notes that a file was cut; as a program that writes it would.
unsafe fn truncated(path: CText, answer: i32) {
    let flags = O_WRONLY;
    // SAFETY: the path is a C string, by the contract of truncate.
    let stat: Option<FileStat> = unsafe { raw::stat(AT_FDCWD, path, 0) }.ok();
    let entry = LogEntry {
        kind: kind::OPEN,
        errno: failure(answer),
        flags: flags.cast_unsigned(),
        existed: true,
        stat,
        ..LogEntry::default()
    };
    // SAFETY: as above.
    unsafe { note::path(AT_FDCWD, path, entry) };
    if let (Some(stat), true) = (stat, answer == 0) {
        note::written(stat);
    }
}

after! {
    fn truncate(path: CText, len: i64) -> i32, |r| truncated(path, r);
    fn truncate64(path: CText, len: i64) -> i32, |r| truncated(path, r);
}
