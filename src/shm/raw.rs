//! The operating system as a hit needs it: plain calls, no allocation, no retries that are not stated.
//!
//! It decides nothing. Read next: `stat.rs`.

use core::ffi::CStr;
use core::mem::MaybeUninit;

use linux_raw_sys::general::{
    __NR_clock_gettime, __NR_close, __NR_exit_group, __NR_getcwd, __NR_getgroups, __NR_getppid,
    __NR_getsid, __NR_statx, CLOCK_REALTIME, S_IFCHR, S_IFDIR, S_IFLNK, S_IFMT, S_IFREG,
};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
pub use rustix::fd::{AsFd, BorrowedFd};
use rustix::fd::{AsRawFd, IntoRawFd, OwnedFd, RawFd};
use rustix::fs::{Access, AtFlags, CWD, Mode, OFlags, Statx, StatxFlags};
pub use rustix::io::Errno;
use rustix::process::{Resource, getrlimit};

use super::stat::Stat;
use super::syscall;

/// An open file, closed by a raw system call: `OwnedFd` closes through libc, which before libc starts has no
/// thread-local storage to note an error in.
#[derive(Debug)]
pub struct Handle(RawFd);

impl From<OwnedFd> for Handle {
    fn from(file: OwnedFd) -> Handle {
        Handle(file.into_raw_fd())
    }
}

impl AsFd for Handle {
    fn as_fd(&self) -> BorrowedFd<'_> {
        // SAFETY: the descriptor stays open as long as the handle lives.
        unsafe { BorrowedFd::borrow_raw(self.0) }
    }
}

impl Handle {
    /// Closes the file; some file systems say only then that what was written could not be kept (a quota on NFS).
    pub fn close(self) -> Result<(), Errno> {
        let file = core::mem::ManuallyDrop::new(self);
        // SAFETY: the descriptor is ours, and is not used after this.
        let result =
            unsafe { syscall::call(__NR_close, [file.0.cast_unsigned() as usize, 0, 0, 0, 0]) };
        // Interrupted: the descriptor is closed all the same.
        if result >= 0 || result == -(Errno::INTR.raw_os_error() as isize) {
            return Ok(());
        }
        Err(Errno::from_raw_os_error(i32::try_from(-result).unwrap_or(Errno::IO.raw_os_error())))
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        // SAFETY: the descriptor is ours and not used afterwards.
        unsafe { rustix::io::close(self.0) };
    }
}

/// What `statx` says of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileState {
    /// The part that makes the stamp.
    pub stat: Stat,
    /// Type and permission bits.
    pub mode: u32,
    /// Number of names.
    pub links: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// The device that a device file names, `major << 32 | minor`.
    pub rdev: u64,
}

/// The type bits of a mode.
pub const TYPE_MASK: u32 = S_IFMT;
/// A regular file.
pub const REGULAR: u32 = S_IFREG;
/// A directory.
pub const DIRECTORY: u32 = S_IFDIR;
/// A symlink.
pub const SYMLINK: u32 = S_IFLNK;
/// A character device.
pub const CHARACTER_DEVICE: u32 = S_IFCHR;

impl FileState {
    fn from(s: &Statx) -> FileState {
        let join = |major: u32, minor: u32| u64::from(major) << 32 | u64::from(minor);
        let ns =
            |sec: i64, nsec: u32| sec.wrapping_mul(1_000_000_000).wrapping_add(i64::from(nsec));
        FileState {
            stat: Stat {
                dev: join(s.stx_dev_major, s.stx_dev_minor),
                ino: s.stx_ino,
                size: s.stx_size,
                mtime_ns: ns(s.stx_mtime.tv_sec, s.stx_mtime.tv_nsec),
                ctime_ns: ns(s.stx_ctime.tv_sec, s.stx_ctime.tv_nsec),
            },
            mode: u32::from(s.stx_mode),
            links: s.stx_nlink,
            uid: s.stx_uid,
            gid: s.stx_gid,
            rdev: join(s.stx_rdev_major, s.stx_rdev_minor),
        }
    }

    /// Whether it is a regular file.
    pub fn is_regular(&self) -> bool {
        self.mode & TYPE_MASK == REGULAR
    }

    /// Whether it is a directory.
    pub fn is_directory(&self) -> bool {
        self.mode & TYPE_MASK == DIRECTORY
    }

    /// Whether it is a symlink.
    pub fn is_symlink(&self) -> bool {
        self.mode & TYPE_MASK == SYMLINK
    }

    /// Whether it is `/dev/null` (character device 1:3).
    pub fn is_null_device(&self) -> bool {
        self.mode & TYPE_MASK == CHARACTER_DEVICE && self.rdev == 1 << 32 | 3
    }
}

/// Not rustix's, which keeps in a variable of the process whether the kernel has the call: on a hit that is a page of
/// its own, to be mapped for nothing else. A kernel without it (before 4.11) has no fine file times either.
fn statx(dir: BorrowedFd<'_>, path: &CStr, flags: AtFlags) -> Result<FileState, Errno> {
    let mut state = MaybeUninit::<Statx>::uninit();
    // SAFETY: the path ends in a NUL, and the buffer is of the kernel's size.
    let result = unsafe {
        syscall::call(
            __NR_statx,
            [
                dir.as_raw_fd().cast_unsigned() as usize,
                path.as_ptr() as usize,
                flags.bits() as usize,
                StatxFlags::BASIC_STATS.bits() as usize,
                state.as_mut_ptr() as usize,
            ],
        )
    };
    if result < 0 {
        return match Errno::from_raw_os_error(i32::try_from(-result).unwrap_or(0)) {
            // A sandbox that was made before the call was.
            Errno::NOSYS | Errno::PERM => old_stat(dir, path, flags),
            error => Err(error),
        };
    }
    // SAFETY: the call succeeded: the kernel has written the whole structure.
    Ok(FileState::from(unsafe { state.assume_init_ref() }))
}

/// The same by the call that was there before `statx`; it says the same.
#[cold]
fn old_stat(dir: BorrowedFd<'_>, path: &CStr, flags: AtFlags) -> Result<FileState, Errno> {
    let s = rustix::fs::statat(dir, path, flags)?;
    let device = |device: u64| {
        u64::from(rustix::fs::major(device)) << 32 | u64::from(rustix::fs::minor(device))
    };
    #[allow(clippy::cast_possible_wrap, reason = "less than a second")]
    let ns = |sec: i64, nsec: u64| sec.wrapping_mul(1_000_000_000).wrapping_add(nsec as i64);
    Ok(FileState {
        stat: Stat {
            dev: device(s.st_dev),
            ino: s.st_ino,
            size: s.st_size.cast_unsigned(),
            mtime_ns: ns(s.st_mtime, s.st_mtime_nsec),
            ctime_ns: ns(s.st_ctime, s.st_ctime_nsec),
        },
        mode: s.st_mode,
        links: u32::try_from(s.st_nlink).unwrap_or(u32::MAX),
        uid: s.st_uid,
        gid: s.st_gid,
        rdev: device(s.st_rdev),
    })
}

/// Whether nobody may write below `dir`, as far as the system says: a read-only file system, or no permission.
pub fn is_read_only(dir: BorrowedFd<'_>) -> bool {
    let may_write = rustix::fs::accessat(dir, c".", Access::WRITE_OK, AtFlags::empty());
    may_write.is_err_and(is_refusal)
}

/// Whether an error says that something may be read, and not written.
pub fn is_refusal(error: Errno) -> bool {
    matches!(error, Errno::ROFS | Errno::ACCESS | Errno::PERM)
}

/// What `path` leads to, symlinks followed.
pub fn stat(path: &CStr) -> Result<FileState, Errno> {
    statx(CWD, path, AtFlags::empty())
}

/// What `path` itself is.
pub fn lstat(path: &CStr) -> Result<FileState, Errno> {
    statx(CWD, path, AtFlags::SYMLINK_NOFOLLOW)
}

/// What is open as `file`.
pub fn stat_fd(file: BorrowedFd<'_>) -> Result<FileState, Errno> {
    statx(file, c"", AtFlags::EMPTY_PATH)
}

/// Opens a directory to look things up in; a final symlink is followed (moving a cache is done by one).
pub fn open_directory(path: &CStr) -> Result<Handle, Errno> {
    rustix::fs::open(path, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
        .map(Handle::from)
}

/// Opens the directory `name` below `dir`; `name` itself must not be a symlink.
pub fn open_directory_at(dir: BorrowedFd<'_>, name: &CStr) -> Result<Handle, Errno> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    rustix::fs::openat(dir, name, flags, Mode::empty()).map(Handle::from)
}

/// Opens a file of the cache for reading.
pub fn open_read_at(dir: BorrowedFd<'_>, name: &CStr) -> Result<Handle, Errno> {
    open_at(dir, name, OFlags::RDONLY)
}

/// Opens a file of the cache for reading and writing.
pub fn open_read_write_at(dir: BorrowedFd<'_>, name: &CStr) -> Result<Handle, Errno> {
    open_at(dir, name, OFlags::RDWR)
}

fn open_at(dir: BorrowedFd<'_>, name: &CStr, access: OFlags) -> Result<Handle, Errno> {
    // NONBLOCK: what somebody put in the file's place (a FIFO) must not hold us.
    let flags = access | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NOCTTY | OFlags::NONBLOCK;
    rustix::fs::openat(dir, name, flags, Mode::empty()).map(Handle::from)
}

/// Opens a file of the user's for reading.
pub fn open_read(path: &CStr) -> Result<Handle, Errno> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOCTTY | OFlags::NONBLOCK;
    rustix::fs::open(path, flags, Mode::empty()).map(Handle::from)
}

/// Reads what is left of `file` into `buffer`; its length in bytes, that of the buffer if it does not fit.
pub fn read_all(file: BorrowedFd<'_>, buffer: &mut [u8]) -> Result<usize, Errno> {
    let mut len = 0;
    while let Some(free) = buffer.get_mut(len..).filter(|free| !free.is_empty()) {
        match rustix::io::read(file, free) {
            Ok(0) => break,
            Ok(read) => len += read,
            Err(Errno::INTR) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(len)
}

/// Creates `path`, where nothing may be, for writing.
pub fn create(path: &CStr, mode: u32) -> Result<Handle, Errno> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
    rustix::fs::open(path, flags, Mode::from_raw_mode(mode)).map(Handle::from)
}

/// Creates a file without a name, for writing, on the file system of `directory`.
pub fn create_unnamed(directory: &CStr, mode: u32) -> Result<Handle, Errno> {
    let flags = OFlags::WRONLY | OFlags::TMPFILE | OFlags::CLOEXEC;
    rustix::fs::open(directory, flags, Mode::from_raw_mode(mode)).map(Handle::from)
}

/// Gives a file without a name the name `path`, where nothing may be. Needs `/proc`.
pub fn give_name(file: BorrowedFd<'_>, path: &CStr) -> Result<(), Errno> {
    const DIRECTORY: &[u8] = b"/proc/self/fd/";
    const DIGITS: usize = 10;
    let mut link = [0; DIRECTORY.len() + DIGITS + 1];
    let mut begin = link.len() - 1;
    let mut number = file.as_raw_fd().cast_unsigned();
    loop {
        begin -= 1;
        link[begin] = b'0' + u8::try_from(number % 10).unwrap_or(0);
        number /= 10;
        if number == 0 {
            break;
        }
    }
    begin -= DIRECTORY.len();
    link[begin..begin + DIRECTORY.len()].copy_from_slice(DIRECTORY);
    let link = CStr::from_bytes_with_nul(&link[begin..]).map_err(|_| Errno::INVAL)?;
    rustix::fs::linkat(CWD, link, CWD, path, AtFlags::SYMLINK_FOLLOW)
}

/// Writes all of `bytes` to `file`.
pub fn write_all(file: BorrowedFd<'_>, bytes: &[u8]) -> Result<(), Errno> {
    write_counted(file, bytes).1
}

/// Writes `bytes` to `file`; how many were written, and why not all of them.
pub fn write_counted(file: BorrowedFd<'_>, bytes: &[u8]) -> (usize, Result<(), Errno>) {
    let mut left = bytes;
    let result = write_on(file, &mut left);
    (bytes.len() - left.len(), result)
}

/// Writes `bytes` to `file`, and takes away from them what is written.
fn write_on(file: BorrowedFd<'_>, bytes: &mut &[u8]) -> Result<(), Errno> {
    while !bytes.is_empty() {
        match rustix::io::write(file, bytes) {
            Ok(0) => return Err(Errno::IO),
            Ok(written) => *bytes = bytes.get(written..).unwrap_or(&[]),
            Err(Errno::INTR) => {}
            // A standard stream may be one that does not block (a terminal that somebody else has set so).
            Err(Errno::AGAIN) => {
                poll(&mut [PollFd::new(&file, PollFlags::OUT)], None)?;
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Removes the name `path`.
pub fn unlink(path: &CStr) -> Result<(), Errno> {
    rustix::fs::unlink(path)
}

/// Makes a directory; the file mode creation mask applies.
pub fn make_directory(path: &CStr, mode: u32) -> Result<(), Errno> {
    rustix::fs::mkdir(path, Mode::from_raw_mode(mode))
}

/// Removes the name `path` if it is still a name of this file, by device and inode.
pub fn unlink_if(path: &CStr, file: (u64, u64)) {
    if lstat(path).is_ok_and(|now| (now.stat.dev, now.stat.ino) == file) {
        let _ = unlink(path);
    }
}

/// Sets the permission bits of `file`.
pub fn set_mode(file: BorrowedFd<'_>, mode: u32) -> Result<(), Errno> {
    rustix::fs::fchmod(file, Mode::from_raw_mode(mode))
}

/// The standard streams.
pub fn standard(stream: Stream) -> BorrowedFd<'static> {
    // SAFETY: a closed descriptor makes the calls on it fail with EBADF, which every caller expects; nobody closes one.
    unsafe { BorrowedFd::borrow_raw(stream as i32) }
}

/// A standard stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stream {
    /// Standard input.
    Input = 0,
    /// Standard output.
    Output = 1,
    /// Standard error.
    Error = 2,
}

/// Whether `file` is a terminal.
pub fn is_terminal(file: BorrowedFd<'_>) -> bool {
    rustix::termios::isatty(file)
}

/// Columns of the terminal `file`, 0 if it is none.
pub fn terminal_columns(file: BorrowedFd<'_>) -> u32 {
    rustix::termios::tcgetwinsize(file).map_or(0, |size| u32::from(size.ws_col))
}

/// Whether `file` is an empty pipe to which no process can write.
pub fn is_drained(file: BorrowedFd<'_>) -> bool {
    let mut asked = [PollFd::from_borrowed_fd(file, PollFlags::IN)];
    let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
    let is_answered = poll(&mut asked, Some(&at_once)) == Ok(1);
    is_answered && asked.iter().all(|answer| answer.revents() == PollFlags::HUP)
}

/// What `uname` says, field by field.
pub fn host(mut field: impl FnMut(&CStr)) {
    let host = rustix::system::uname();
    for text in [host.sysname(), host.nodename(), host.release(), host.version(), host.machine()] {
        field(text);
    }
}

/// Writes the working directory as the kernel names it (absolute, with a NUL) to `buffer`, and gives its length; `None`
/// if it has none or is longer.
pub fn working_directory(buffer: &mut [u8]) -> Option<usize> {
    // SAFETY: `buffer` is ours, and its length is the true one.
    let result = unsafe {
        syscall::call(__NR_getcwd, [buffer.as_mut_ptr() as usize, buffer.len(), 0, 0, 0])
    };
    let len = usize::try_from(result).ok()?.checked_sub(1)?;
    // A directory that was unmounted or lies outside our root has a name that begins with "(unreachable)".
    buffer.starts_with(b"/").then_some(len)
}

/// The file mode creation mask of this process.
pub fn creation_mask() -> u32 {
    let mask = rustix::process::umask(Mode::from_raw_mode(0o077));
    rustix::process::umask(mask);
    mask.as_raw_mode()
}

/// The effective user.
pub fn user() -> u32 {
    rustix::process::geteuid().as_raw()
}

/// Whether this process is a member of a group; one that has more than a thousand is taken for none.
pub fn is_in_group(gid: u32) -> bool {
    let mut groups = [0u32; 1024];
    if rustix::process::getegid().as_raw() == gid {
        return true;
    }
    // SAFETY: the array is ours, and its length is the true one.
    let count = unsafe {
        syscall::call(__NR_getgroups, [groups.len(), groups.as_mut_ptr() as usize, 0, 0, 0])
    };
    let count = usize::try_from(count).unwrap_or(0);
    groups.iter().take(count).any(|group| *group == gid)
}

/// Something of which a process may have only so much (`ulimit`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limited {
    /// The length to which a file may be written; past it the process is killed (SIGXFSZ).
    FileBytes,
    /// Private memory.
    DataBytes,
    /// All that is mapped.
    AddressBytes,
}

/// How much of it this process may have; `u64::MAX` if there is no limit.
pub fn limit(of: Limited) -> u64 {
    let resource = match of {
        Limited::FileBytes => Resource::Fsize,
        Limited::DataBytes => Resource::Data,
        Limited::AddressBytes => Resource::As,
    };
    getrlimit(resource).current.unwrap_or(u64::MAX)
}

/// Whether `file` is one that the limit keeps from growing by so many bytes. (What is written goes to its end, or to where
/// there is something already.)
pub fn outgrows(limit_bytes: u64, file: BorrowedFd<'_>, more_bytes: u64) -> bool {
    limit_bytes != u64::MAX
        && more_bytes > 0
        && stat_fd(file).is_ok_and(|state| {
            state.is_regular() && state.stat.size.saturating_add(more_bytes) > limit_bytes
        })
}

/// A number that no other process has that runs now.
pub fn process_number() -> usize {
    usize::try_from(rustix::process::getpid().as_raw_nonzero().get()).unwrap_or(0)
}

/// The process that started this one, or has taken it over; 0 if that is in another namespace (of which rustix knows nothing).
pub fn parent() -> u32 {
    // SAFETY: the call takes nothing.
    u32::try_from(unsafe { syscall::call(__NR_getppid, [0; 5]) }).unwrap_or(0)
}

/// The session of this process; 0 as above.
pub fn session() -> u32 {
    // SAFETY: the call takes a number: 0 for this process.
    u32::try_from(unsafe { syscall::call(__NR_getsid, [0; 5]) }).unwrap_or(0)
}

/// The time, ns since the epoch. A plain call: what the kernel maps for it would have to be searched first.
pub fn now_ns() -> u64 {
    let mut time = [0u64; 2];
    // SAFETY: the call writes two words (seconds, ns) to where it is told, which are ours.
    let result = unsafe {
        syscall::call(
            __NR_clock_gettime,
            [CLOCK_REALTIME as usize, time.as_mut_ptr() as usize, 0, 0, 0],
        )
    };
    if result == 0 { time[0].wrapping_mul(1_000_000_000).wrapping_add(time[1]) } else { 0 }
}

/// Ends the process.
pub fn exit(status: i32) -> ! {
    loop {
        // SAFETY: the call takes a number and does not return.
        let _ = unsafe {
            syscall::call(__NR_exit_group, [status.cast_unsigned() as usize, 0, 0, 0, 0])
        };
    }
}
