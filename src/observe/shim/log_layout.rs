//! The byte layout of the observer's log, and how an entry is appended to it.
//!
//! Included by both sides: the shim (`preload_shim.rs`) writes, `log.rs` reads. Nothing here allocates or needs std.
//! All numbers are little-endian; both supported machines are.
//!
//! | bytes | what |
//! |---|---|
//! | 0..8 | [`MAGIC`] |
//! | 8..12 | [`VERSION`] |
//! | 12..16 | 0, or the first of the `LOST_*` reasons why entries are missing |
//! | 16..24 | a number drawn by the wrapper, which is also in `IBID_OBSERVED` |
//! | 24..32 | the cursor: where the next entry begins |
//! | 32..40 | up to here the pages are known to be there |
//! | 40..56 | device and inode of the ibid that observes |
//! | 56..60 | length of the tool's first working directory |
//! | 64..[`FIRST_ENTRY`] | the tool's first working directory |
//! | [`FIRST_ENTRY`].. | entries: [`LogEntryHead`], 48 bytes of [`FileStat`] if [`HAS_STAT`], path, second path, zeros up to 8 |

#![allow(
    clippy::cast_possible_truncation,
    reason = "lengths are compared with the log's 64 MiB before they are cast"
)]
#![allow(
    clippy::disallowed_types,
    reason = "the shim shares these words, and cannot use those of src/shm"
)]
#![allow(clippy::cast_ptr_alignment, reason = "mappings begin at pages, entries at multiples of 8")]

use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};

/// The first eight bytes.
pub const MAGIC: u64 = u64::from_le_bytes(*b"ibid-log");
/// Changes whenever anything in this file changes its meaning.
pub const VERSION: u32 = 8;
/// The length of the whole log, most of it a hole.
pub const LOG_LEN_BYTES: usize = 64 << 20;
/// The step by which pages are made present.
pub const CHUNK_LEN_BYTES: usize = 256 << 10;
/// How much of it a process maps when it starts.
const WARM_LEN_BYTES: usize = 48 << 10;
/// Where entries begin.
pub const FIRST_ENTRY: usize = 8192;
/// Where the working directory stands.
pub const CWD_AT: usize = 64;
/// The most bytes a path in an entry can have.
pub const PATH_LEN_MAX: usize = 8192;

/// The log was full.
pub const LOST_FULL: u32 = 1;
/// There was no memory for the log's next pages.
pub const LOST_NO_MEMORY: u32 = 2;
/// A path was too long to be noted.
pub const LOST_LONG_PATH: u32 = 3;

/// [`LogEntryHead::bits`]: a [`FileStat`] follows.
pub const HAS_STAT: u32 = 1;
/// [`LogEntryHead::bits`]: something was there under this name before.
pub const EXISTED: u32 = 2;

/// What an entry says.
pub mod kind {
    /// A program image was started: its path, then `LD_LIBRARY_PATH`; flags: the parent's process id.
    pub const START: u16 = 1;
    /// A shared object is mapped: its path; flags: 1 if it was loaded into a program that ran already.
    pub const OBJECT: u16 = 2;
    /// The process ends orderly, all its objects are noted.
    pub const EXIT: u16 = 3;
    /// This process is about to become the program at this path, which will report in.
    pub const EXEC: u16 = 4;
    /// It did not, with this error.
    pub const EXEC_FAILED: u16 = 5;
    /// The program at this path was started as the process in flags, and will report in.
    pub const SPAWN: u16 = 6;
    /// libc started the shell at this path as an unknown child, which will report in.
    pub const SHELL: u16 = 7;
    /// The kernel reads this file as a program or as the interpreter of a script.
    pub const RAN: u16 = 8;
    /// A program of this name is looked for in `PATH`.
    pub const SEARCH: u16 = 9;
    /// A path was asked about.
    pub const LOOK: u16 = 10;
    /// A path was opened: open flags, mode.
    pub const OPEN: u16 = 11;
    /// A descriptor that may have been written is closed, or would be by what comes next: its stat.
    pub const CLOSE: u16 = 12;
    /// A directory was listed.
    pub const LIST: u16 = 13;
    /// The path was renamed to the second path.
    pub const RENAME: u16 = 14;
    /// The second path was made a hard link of the path.
    pub const LINK: u16 = 15;
    /// The path was made: a symlink, a directory, or a device (the mode says which).
    pub const MAKE: u16 = 16;
    /// The path was removed.
    pub const REMOVE: u16 = 17;
    /// Mode, owner, times or attributes of the path or of the inode in stat were changed; flags: 0 if the file's mode
    /// shows all of it, 1 if not.
    pub const ATTRIBUTES: u16 = 18;
    /// A variable of this name was asked for.
    pub const GETENV: u16 = 19;
    /// One of the `fact` constants, in flags.
    pub const FACT: u16 = 20;
    /// Messages of this domain are looked for below the second path.
    pub const TEXT_DOMAIN: u16 = 21;
    /// Something happened that cannot be observed: in words, and the path that it concerns.
    pub const INCOMPLETE: u16 = 22;
    /// A locale of this name was set.
    pub const LOCALE: u16 = 23;
    /// An object of this name is about to be loaded, if it can be.
    pub const LOAD: u16 = 24;
}

/// The flags of a [`kind::FACT`].
pub mod fact {
    /// `time` was called, by this process; the path is that of the object that called it, if it is known.
    pub const TIME: u32 = 0;
    /// `localtime` or its kin was called.
    pub const LOCAL_TIME: u32 = 1;
    /// A socket was connected, or a host was looked up.
    pub const NETWORK: u32 = 2;
    /// The locale was set from the environment.
    pub const LOCALE: u32 = 3;
    /// The user or group table was asked.
    pub const USERS: u32 = 4;
    /// A character set conversion was opened.
    pub const ICONV: u32 = 5;
    /// The name of the host was asked for.
    pub const HOST: u32 = 6;
    /// The login session was asked about.
    pub const SESSION: u32 = 7;
    /// The time was asked for by another way than `time`; this one and those that follow come with their process. The path
    /// is that of a plugin, if one asked.
    pub const CLOCK: u32 = 8;
    /// Random numbers were drawn.
    pub const RANDOM: u32 = 9;
    /// A process number was asked for; the path is that of a plugin, if one asked.
    pub const PROCESS: u32 = 10;
    /// The state of the machine was asked for.
    pub const SYSTEM: u32 = 11;

    /// The time zone was looked up, for a time that does not depend on it (`gmtime`), or may not.
    pub const ZONE: u32 = 12;
    /// A plugin (the path) asked for the state of the file in stat.
    pub const STATE: u32 = 13;
    /// A plugin (the path) asked for the working directory.
    pub const DIRECTORY: u32 = 14;
    /// A plugin asked for a variable, whose name is the path.
    pub const VARIABLE: u32 = 15;

    /// Whether it comes with its process.
    pub const fn has_process(fact: u32) -> bool {
        matches!(fact, TIME | LOCAL_TIME | HOST) || fact >= CLOCK && fact < STATE
    }
}

/// What is noted of a file; six numbers, 48 bytes.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct FileStat {
    /// Device, `major << 32 | minor`.
    pub dev: u64,
    /// Inode number.
    pub ino: u64,
    /// Size in bytes.
    pub size: u64,
    /// Time of the last modification, ns since the epoch.
    pub mtime_ns: i64,
    /// Time of the last change of the inode, ns since the epoch.
    pub ctime_ns: i64,
    /// File type and permissions.
    pub mode: u32,
    /// Number of hard links.
    pub links: u32,
}

/// How an entry begins. `len` is 0 until the entry is whole.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct LogEntryHead {
    /// Bytes of the entry, a multiple of 8.
    pub len: u32,
    /// One of [`kind`].
    pub kind: u16,
    /// 0, or why it failed.
    pub errno: u16,
    /// The process, where the kind is one of those up to [`kind::SHELL`], [`kind::LOAD`] or [`kind::GETENV`]; also of some facts, and
    /// where it is about a device or a pseudo file.
    pub pid: u32,
    /// See the kind.
    pub flags: u32,
    /// See the kind.
    pub mode: u32,
    /// [`HAS_STAT`], [`EXISTED`].
    pub bits: u32,
    /// Bytes of the path.
    pub path_len: u32,
    /// Bytes of the second path.
    pub second_len: u32,
}

/// Bytes of [`LogEntryHead`].
pub const HEAD_LEN_BYTES: usize = size_of::<LogEntryHead>();
/// Bytes of [`FileStat`].
pub const STAT_LEN_BYTES: usize = size_of::<FileStat>();

/// The first bytes of the log.
#[repr(C)]
struct Header {
    magic: u64,
    version: u32,
    lost: AtomicU32,
    nonce: u64,
    cursor: AtomicU64,
    present: AtomicU64,
    ibid_dev: u64,
    ibid_ino: u64,
    cwd_len: u32,
}

/// An entry to be written; a path comes in up to three pieces.
#[derive(Clone, Copy, Default)]
pub struct LogEntry<'a> {
    /// One of [`kind`].
    pub kind: u16,
    /// 0, or why it failed.
    pub errno: u16,
    /// The process, where the kind is one of those up to [`kind::SHELL`], [`kind::LOAD`] or [`kind::GETENV`]; also of some facts, and
    /// where it is about a device or a pseudo file.
    pub pid: u32,
    /// See the kind.
    pub flags: u32,
    /// See the kind.
    pub mode: u32,
    /// Whether something was there before.
    pub existed: bool,
    /// The file.
    pub stat: Option<FileStat>,
    /// The path.
    pub path: [&'a [u8]; 3],
    /// The second path.
    pub second: [&'a [u8]; 3],
}

/// A mapped log.
#[derive(Clone, Copy)]
pub struct MappedLog {
    base: *mut u8,
}

impl MappedLog {
    /// A log at `base`, if its first bytes say so.
    ///
    /// # Safety
    /// `base` is a writable shared mapping of [`LOG_LEN_BYTES`] that is never unmapped.
    pub unsafe fn at(base: *mut u8, nonce: u64) -> Option<MappedLog> {
        let log = MappedLog { base };
        let header = log.header();
        (header.magic == MAGIC && header.version == VERSION && header.nonce == nonce).then_some(log)
    }

    fn header<'a>(self) -> &'a Header {
        // SAFETY: `at` was promised a mapping of more bytes than a header; all fields that change are atomic, the rest
        // was written before anybody could know the log, and page alignment is enough for all of them.
        unsafe { &*self.base.cast::<Header>() }
    }

    /// Whether a file is the ibid that observes.
    pub fn is_ibid(self, stat: &FileStat) -> bool {
        stat.dev == self.header().ibid_dev && stat.ino == self.header().ibid_ino
    }

    /// The directory in which the tool was started.
    pub fn cwd<'a>(self) -> &'a [u8] {
        let len = (self.header().cwd_len as usize).min(FIRST_ENTRY - CWD_AT);
        // SAFETY: these bytes lie inside the mapping, and no process writes them now.
        unsafe { core::slice::from_raw_parts(self.base.wrapping_add(CWD_AT), len) }
    }

    /// Says that entries are missing.
    pub fn lose(self, reason: u32) {
        let _ =
            self.header().lost.compare_exchange(0, reason, Ordering::Release, Ordering::Relaxed);
    }

    /// Appends an entry: one `fetch_add`, one copy, one releasing store. `populate` makes pages present and says
    /// whether it could.
    pub fn append(self, entry: &LogEntry, populate: fn(*mut u8, usize) -> bool) {
        let path_len = entry.path.iter().map(|piece| piece.len()).sum::<usize>();
        let second_len = entry.second.iter().map(|piece| piece.len()).sum::<usize>();
        if path_len > PATH_LEN_MAX || second_len > PATH_LEN_MAX {
            return self.lose(LOST_LONG_PATH);
        }
        let stat_len = if entry.stat.is_some() { STAT_LEN_BYTES } else { 0 };
        let len = (HEAD_LEN_BYTES + stat_len + path_len + second_len + 7) & !7;
        let header = self.header();
        let at = header.cursor.fetch_add(len as u64, Ordering::AcqRel) as usize;
        let end = at.wrapping_add(len);
        if at < FIRST_ENTRY || !at.is_multiple_of(8) || end < at || end > LOG_LEN_BYTES {
            return self.lose(LOST_FULL);
        }
        if !self.make_present(end, populate) {
            return self.lose(LOST_NO_MEMORY);
        }
        let head = LogEntryHead {
            len: 0,
            kind: entry.kind,
            errno: entry.errno,
            pid: entry.pid,
            flags: entry.flags,
            mode: entry.mode,
            bits: if stat_len > 0 { HAS_STAT } else { 0 } | if entry.existed { EXISTED } else { 0 },
            path_len: path_len as u32,
            second_len: second_len as u32,
        };
        let start = self.base.wrapping_add(at);
        // SAFETY: `at..end` lies inside the mapping, is a multiple of 8 and belongs to this call alone.
        unsafe { start.cast::<LogEntryHead>().write(head) };
        let mut to = start.wrapping_add(HEAD_LEN_BYTES);
        if let Some(stat) = entry.stat {
            // SAFETY: as above; `len` counts these bytes.
            unsafe { to.cast::<FileStat>().write(stat) };
            to = to.wrapping_add(STAT_LEN_BYTES);
        }
        for piece in entry.path.iter().chain(&entry.second) {
            // SAFETY: as above; `len` counts these bytes.
            unsafe { core::ptr::copy_nonoverlapping(piece.as_ptr(), to, piece.len()) };
            to = to.wrapping_add(piece.len());
        }
        // SAFETY: the first field of the head is its length; from here on other processes may read it.
        let committed = unsafe { &*start.cast::<AtomicU32>() };
        committed.store(len as u32, Ordering::Release);
    }

    /// Maps the next few pages at once, which is cheaper than a fault for each; of no consequence if it fails.
    pub fn warm(self, populate: fn(*mut u8, usize) -> bool) {
        let header = self.header();
        let present = header.present.load(Ordering::Acquire) as usize;
        let from = header.cursor.load(Ordering::Relaxed) as usize & !4095;
        let to = from.saturating_add(WARM_LEN_BYTES).min(present).min(LOG_LEN_BYTES);
        if from < to {
            populate(self.base.wrapping_add(from), to - from);
        }
    }

    fn make_present(self, end: usize, populate: fn(*mut u8, usize) -> bool) -> bool {
        let present = self.header().present.load(Ordering::Acquire) as usize;
        if end <= present {
            return true;
        }
        let from = present & !(CHUNK_LEN_BYTES - 1);
        let to = end.next_multiple_of(CHUNK_LEN_BYTES).min(LOG_LEN_BYTES);
        if from >= to || !populate(self.base.wrapping_add(from), to - from) {
            return false;
        }
        self.header().present.fetch_max(to as u64, Ordering::AcqRel);
        true
    }
}
