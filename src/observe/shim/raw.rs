//! Raw system calls, and the few memory functions that the compiler takes for granted.
//!
//! Nothing here touches `errno`.

use core::arch::global_asm;
use core::ffi::c_void;
use core::mem::MaybeUninit;

use crate::call::call;
use crate::log_layout::FileStat;
use crate::old_stat::{EPERM, old_stat};

/// What C calls `const char *`: null, or a text that ends in a zero byte.
pub type CText = *const u8;
/// An array of such texts that ends in a null.
pub type Texts = *const *const u8;
/// What is only passed on.
pub type Any = *mut c_void;

pub const AT_FDCWD: i32 = -100;
pub const AT_EMPTY_PATH: i32 = 0x1000;
pub const AT_SYMLINK_NOFOLLOW: i32 = 0x100;
pub const O_ACCMODE: i32 = 3;
pub const O_RDONLY: i32 = 0;
pub const O_WRONLY: i32 = 1;
pub const O_RDWR: i32 = 2;
pub const O_CREAT: i32 = 0o100;
pub const O_EXCL: i32 = 0o200;
pub const O_TRUNC: i32 = 0o1000;
pub const O_APPEND: i32 = 0o2000;
pub const O_CLOEXEC: i32 = 0o2_000_000;
/// The bit of `O_TMPFILE` that no other flag has.
pub const O_TMPFILE_BIT: i32 = 0o20_000_000;
pub const O_PATH: i32 = 0o10_000_000;
pub const ENOENT: u16 = 2;
pub const E2BIG: u16 = 7;
pub const ENOEXEC: u16 = 8;
pub const EACCES: u16 = 13;
pub const ENOTDIR: u16 = 20;
pub const EINVAL: u16 = 22;
pub const ENOSYS: u16 = 38;
pub const S_IFMT: u32 = 0o170_000;
pub const S_IFREG: u32 = 0o100_000;
pub const S_IFDIR: u32 = 0o040_000;
pub const S_IFLNK: u32 = 0o120_000;

#[cfg(target_arch = "x86_64")]
mod number {
    pub const PREAD64: usize = 17;
    pub const CLOSE: usize = 3;
    pub const MMAP: usize = 9;
    pub const MUNMAP: usize = 11;
    pub const MADVISE: usize = 28;
    pub const GETPID: usize = 39;
    pub const FCNTL: usize = 72;
    pub const GETCWD: usize = 79;
    pub const GETPPID: usize = 110;
    pub const GETEGID: usize = 108;
    pub const FACCESSAT: usize = 269;
    pub const KILL: usize = 62;
    pub const EXIT_GROUP: usize = 231;
    pub const OPENAT: usize = 257;
    pub const READLINKAT: usize = 267;
    pub const STATX: usize = 332;
}
#[cfg(target_arch = "aarch64")]
mod number {
    pub const PREAD64: usize = 67;
    pub const CLOSE: usize = 57;
    pub const MMAP: usize = 222;
    pub const MUNMAP: usize = 215;
    pub const MADVISE: usize = 233;
    pub const GETPID: usize = 172;
    pub const FCNTL: usize = 25;
    pub const GETCWD: usize = 17;
    pub const GETPPID: usize = 173;
    pub const GETEGID: usize = 177;
    pub const FACCESSAT: usize = 48;
    pub const KILL: usize = 129;
    pub const EXIT_GROUP: usize = 94;
    pub const OPENAT: usize = 56;
    pub const READLINKAT: usize = 78;
    pub const STATX: usize = 291;
}

fn call_without_memory(number: usize, args: [usize; 3]) -> isize {
    // SAFETY: only used with calls that take no pointers.
    unsafe { call(number, [args[0], args[1], args[2], 0, 0, 0]) }
}

fn fd_argument(fd: i32) -> usize {
    (fd as isize).cast_unsigned()
}

pub fn pid() -> u32 {
    call_without_memory(number::GETPID, [0; 3]) as u32
}

pub fn parent_pid() -> u32 {
    call_without_memory(number::GETPPID, [0; 3]) as u32
}

pub fn group() -> u32 {
    call_without_memory(number::GETEGID, [0; 3]) as u32
}

/// Whether a path can be opened for reading.
///
/// # Safety
/// `path` ends in a zero byte.
pub unsafe fn is_readable(path: *const u8) -> bool {
    // SAFETY: the path is the caller's promise.
    unsafe { call(number::FACCESSAT, [fd_argument(AT_FDCWD), path as usize, 4, 0, 0, 0]) == 0 }
}

pub fn close(fd: i32) {
    call_without_memory(number::CLOSE, [fd_argument(fd), 0, 0]);
}

/// The open flags of a descriptor, if it is one.
pub fn open_flags(fd: i32) -> Option<i32> {
    let flags = call_without_memory(number::FCNTL, [fd_argument(fd), 3, 0]);
    (flags >= 0).then_some(flags as i32)
}

pub fn die() -> ! {
    loop {
        call_without_memory(number::KILL, [pid() as usize, 6, 0]);
        call_without_memory(number::EXIT_GROUP, [134, 0, 0]);
    }
}

/// Opens without an interposer; a descriptor or the error number.
///
/// # Safety
/// `path` ends in a zero byte.
pub unsafe fn open(dirfd: i32, path: *const u8, flags: i32) -> Result<i32, u16> {
    let args = [fd_argument(dirfd), path as usize, flags as usize, 0, 0, 0];
    // SAFETY: the path is the caller's promise.
    let fd = unsafe { call(number::OPENAT, args) };
    if fd < 0 { Err(-fd as u16) } else { Ok(fd as i32) }
}

/// Whether a path may be run by this user.
///
/// # Safety
/// `path` must be a C string.
pub unsafe fn may_run(dirfd: i32, path: *const u8) -> bool {
    let x_ok = 1;
    // SAFETY: the path is the caller's promise.
    unsafe { call(number::FACCESSAT, [fd_argument(dirfd), path as usize, x_ok, 0, 0, 0]) == 0 }
}

pub fn read_at(fd: i32, offset: u64, into: &mut [u8]) -> usize {
    let args = [fd_argument(fd), into.as_mut_ptr() as usize, into.len(), offset as usize, 0, 0];
    // SAFETY: the kernel writes into `into` only.
    unsafe { call(number::PREAD64, args) }.max(0).cast_unsigned()
}

/// Maps fresh memory, or `fd` shared.
pub fn map(len: usize, fd: Option<i32>) -> Option<*mut u8> {
    let flags = if fd.is_some() { 0x01 } else { 0x22 };
    let args = [0, len, 3, flags, fd_argument(fd.unwrap_or(-1)), 0];
    // SAFETY: a mapping at an address that the kernel chooses disturbs nothing.
    let address = unsafe { call(number::MMAP, args) };
    (!(-4095..0).contains(&address)).then_some(address as *mut u8)
}

/// # Safety
/// No part of the process uses these bytes afterwards.
pub unsafe fn unmap(address: *mut u8, len: usize) {
    // SAFETY: the caller's promise.
    unsafe { call(number::MUNMAP, [address as usize, len, 0, 0, 0, 0]) };
}

/// Makes mapped pages present for writing (`MADV_POPULATE_WRITE`), so that touching them cannot fail later.
pub fn populate(address: *mut u8, len: usize) -> bool {
    // SAFETY: this advice changes no content.
    unsafe { call(number::MADVISE, [address as usize, len, 23, 0, 0, 0]) == 0 }
}

/// The working directory as the kernel names it, with its length.
pub fn cwd(into: &mut [MaybeUninit<u8>]) -> Option<&[u8]> {
    // SAFETY: the kernel writes into `into` only.
    let len = unsafe { call(number::GETCWD, [into.as_mut_ptr() as usize, into.len(), 0, 0, 0, 0]) };
    // SAFETY: the kernel has written `len` bytes, the last of which is zero.
    let path = (len > 1).then(|| unsafe { written(into, len as usize - 1) })?;
    (path.first() == Some(&b'/')).then_some(path)
}

/// The target of a symlink.
///
/// # Safety
/// `path` ends in a zero byte.
pub unsafe fn read_link(path: *const u8, into: &mut [MaybeUninit<u8>]) -> Option<&[u8]> {
    let args = [fd_argument(AT_FDCWD), path as usize, into.as_mut_ptr() as usize, into.len(), 0, 0];
    // SAFETY: the kernel writes into `into` only; the path is the caller's promise.
    let len = unsafe { call(number::READLINKAT, args) };
    // SAFETY: the kernel has written `len` bytes.
    (len > 0).then(|| unsafe { written(into, len as usize) })
}

/// # Safety
/// The first `len` bytes are written.
unsafe fn written(bytes: &[MaybeUninit<u8>], len: usize) -> &[u8] {
    // SAFETY: the caller's promise; `len` comes from a call that was given this slice's length.
    unsafe { core::slice::from_raw_parts(bytes.as_ptr().cast(), len) }
}

#[repr(C)]
struct Timestamp {
    sec: i64,
    nsec: u32,
    reserved: i32,
}

#[repr(C)]
struct Statx {
    mask: u32,
    blksize: u32,
    attributes: u64,
    nlink: u32,
    uid: u32,
    gid: u32,
    mode: u16,
    spare: u16,
    ino: u64,
    size: u64,
    blocks: u64,
    attributes_mask: u64,
    atime: Timestamp,
    btime: Timestamp,
    ctime: Timestamp,
    mtime: Timestamp,
    rdev_major: u32,
    rdev_minor: u32,
    dev_major: u32,
    dev_minor: u32,
    rest: [u64; 14],
}

fn nanoseconds(time: &Timestamp) -> i64 {
    time.sec.wrapping_mul(1_000_000_000).wrapping_add(i64::from(time.nsec))
}

/// `statx` of a path.
///
/// # Safety
/// `path` ends in a zero byte.
pub unsafe fn stat(dirfd: i32, path: *const u8, flags: i32) -> Result<FileStat, u16> {
    let mut out = MaybeUninit::<Statx>::uninit();
    let args =
        [fd_argument(dirfd), path as usize, flags as usize, 0x7ff, out.as_mut_ptr() as usize, 0];
    // SAFETY: the kernel writes one `statx` to `out`; the path is the caller's promise.
    let result = unsafe { call(number::STATX, args) };
    if [EPERM, ENOSYS].contains(&(-result as u16)) && result < 0 {
        // SAFETY: the caller's promise.
        return unsafe { old_stat(fd_argument(dirfd), path, flags) };
    }
    if result < 0 {
        return Err(-result as u16);
    }
    // SAFETY: the kernel has written it.
    let out = unsafe { out.assume_init_ref() };
    Ok(FileStat {
        dev: u64::from(out.dev_major) << 32 | u64::from(out.dev_minor),
        ino: out.ino,
        size: out.size,
        mtime_ns: nanoseconds(&out.mtime),
        ctime_ns: nanoseconds(&out.ctime),
        mode: u32::from(out.mode),
        links: out.nlink,
    })
}

/// `statx` of a descriptor.
pub fn stat_fd(fd: i32) -> Option<FileStat> {
    // SAFETY: the path is an empty C string.
    unsafe { stat(fd, c"".as_ptr().cast(), AT_EMPTY_PATH) }.ok()
}

/// The bytes of a C string; nothing for a null pointer.
///
/// # Safety
/// `text` is null or ends in a zero byte.
pub unsafe fn bytes<'a>(text: *const u8) -> &'a [u8] {
    if text.is_null() {
        return b"";
    }
    // SAFETY: the caller's promise.
    let len = unsafe { strlen(text) };
    // SAFETY: `len` bytes before the zero.
    unsafe { core::slice::from_raw_parts(text, len) }
}

unsafe extern "C" {
    fn strlen(text: *const u8) -> usize;
}

// Hidden, so that they are ours alone. Of the compiler's calls only short copies come here.
#[cfg(target_arch = "x86_64")]
global_asm!(
    ".macro ibid_fn name",
    ".pushsection .text.\\name,\"ax\",@progbits",
    ".globl \\name",
    ".hidden \\name",
    ".type \\name,@function",
    "\\name:",
    ".endm",
    ".macro ibid_end name",
    ".size \\name, . - \\name",
    ".popsection",
    ".endm",
    "ibid_fn memcpy",
    "mov rax, rdi",
    "cmp rdx, 16",
    "jb 3f",
    "lea r8, [rdx - 16]",
    "xor ecx, ecx",
    "2: movups xmm0, [rsi + rcx]",
    "movups [rdi + rcx], xmm0",
    "add rcx, 16",
    "cmp rcx, r8",
    "jb 2b",
    "movups xmm0, [rsi + r8]",
    "movups [rdi + r8], xmm0",
    "ret",
    "3: cmp edx, 8",
    "jb 4f",
    "mov rcx, [rsi]",
    "mov r8, [rsi + rdx - 8]",
    "mov [rdi], rcx",
    "mov [rdi + rdx - 8], r8",
    "ret",
    "4: test edx, edx",
    "je 6f",
    "xor ecx, ecx",
    "5: mov r8b, [rsi + rcx]",
    "mov [rdi + rcx], r8b",
    "inc ecx",
    "cmp ecx, edx",
    "jb 5b",
    "6: ret",
    "ibid_end memcpy",
    "ibid_fn memmove",
    "mov rax, rdi",
    "mov rcx, rdx",
    "mov r8, rdi",
    "sub r8, rsi",
    "cmp r8, rdx",
    "jb 2f",
    "rep movsb",
    "ret",
    "2: lea rsi, [rsi + rdx - 1]",
    "lea rdi, [rdi + rdx - 1]",
    "std",
    "rep movsb",
    "cld",
    "ret",
    "ibid_end memmove",
    "ibid_fn memset",
    "mov r8, rdi",
    "mov eax, esi",
    "mov rcx, rdx",
    "rep stosb",
    "mov rax, r8",
    "ret",
    "ibid_end memset",
    ".macro ibid_compare name",
    "ibid_fn \\name",
    "xor ecx, ecx",
    "2: cmp rcx, rdx",
    "je 3f",
    "movzx eax, byte ptr [rdi + rcx]",
    "movzx r8d, byte ptr [rsi + rcx]",
    "inc rcx",
    "sub eax, r8d",
    "je 2b",
    "ret",
    "3: xor eax, eax",
    "ret",
    "ibid_end \\name",
    ".endm",
    "ibid_compare memcmp",
    "ibid_compare bcmp",
    "ibid_fn strlen",
    // Sixteen bytes at a time, aligned: never past the page of the last one.
    "mov rax, rdi",
    "and rax, -16",
    "mov ecx, edi",
    "and ecx, 15",
    "pxor xmm0, xmm0",
    "movdqa xmm1, [rax]",
    "pcmpeqb xmm1, xmm0",
    "pmovmskb edx, xmm1",
    "shr edx, cl",
    "shl edx, cl",
    "2: test edx, edx",
    "jne 3f",
    "add rax, 16",
    "movdqa xmm1, [rax]",
    "pcmpeqb xmm1, xmm0",
    "pmovmskb edx, xmm1",
    "jmp 2b",
    "3: bsf edx, edx",
    "add rax, rdx",
    "sub rax, rdi",
    "ret",
    "ibid_end strlen",
);
#[cfg(target_arch = "aarch64")]
global_asm!(
    ".macro ibid_fn name",
    ".pushsection .text.\\name,\"ax\",@progbits",
    ".globl \\name",
    ".hidden \\name",
    ".type \\name,@function",
    "\\name:",
    ".endm",
    ".macro ibid_end name",
    ".size \\name, . - \\name",
    ".popsection",
    ".endm",
    "ibid_fn memcpy",
    "mov x3, #0",
    "2: cmp x3, x2",
    "b.eq 3f",
    "ldrb w4, [x1, x3]",
    "strb w4, [x0, x3]",
    "add x3, x3, #1",
    "b 2b",
    "3: ret",
    "ibid_end memcpy",
    "ibid_fn memmove",
    "sub x3, x0, x1",
    "cmp x3, x2",
    "b.lo 2f",
    "b memcpy",
    "2: cbz x2, 3f",
    "sub x2, x2, #1",
    "ldrb w4, [x1, x2]",
    "strb w4, [x0, x2]",
    "b 2b",
    "3: ret",
    "ibid_end memmove",
    "ibid_fn memset",
    "mov x3, #0",
    "2: cmp x3, x2",
    "b.eq 3f",
    "strb w1, [x0, x3]",
    "add x3, x3, #1",
    "b 2b",
    "3: ret",
    "ibid_end memset",
    ".macro ibid_compare name",
    "ibid_fn \\name",
    "mov x3, #0",
    "2: cmp x3, x2",
    "b.eq 3f",
    "ldrb w4, [x0, x3]",
    "ldrb w5, [x1, x3]",
    "add x3, x3, #1",
    "subs w4, w4, w5",
    "b.eq 2b",
    "mov w0, w4",
    "ret",
    "3: mov w0, #0",
    "ret",
    "ibid_end \\name",
    ".endm",
    "ibid_compare memcmp",
    "ibid_compare bcmp",
    "ibid_fn strlen",
    "mov x1, x0",
    "2: ldrb w2, [x1], #1",
    "cbnz w2, 2b",
    "sub x0, x1, x0",
    "sub x0, x0, #1",
    "ret",
    "ibid_end strlen",
);
