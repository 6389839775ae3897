//! The process as an observed one: finds its log, reports in, and appends entries.
//!
//! Read next: `note.rs` (what is noted).

use core::mem::MaybeUninit;
use core::sync::atomic::{AtomicBool, AtomicPtr, AtomicU32, AtomicUsize, Ordering};

use crate::descriptors;
use crate::link::{self, Object};
use crate::log_layout::{LOG_LEN_BYTES, LogEntry, MappedLog, fact, kind};
use crate::raw::{self, AT_FDCWD};
use crate::variables::{self, OBSERVED, PRELOAD, find_variable, first_environment};

const LIBRARY_PATH: &[u8] = b"LD_LIBRARY_PATH=";
const OBSERVED_LEN_MAX: usize = 4352;

const FRESH: u32 = 0;
const STARTING: u32 = 1;
const STARTED: u32 = 2;

static STATE: AtomicU32 = AtomicU32::new(FRESH);
static LOG: AtomicPtr<u8> = AtomicPtr::new(core::ptr::null_mut());
static NONCE: AtomicUsize = AtomicUsize::new(0);
/// `IBID_OBSERVED=…` as it was when the program started, and its length without the zero byte.
static OBSERVED_TEXT: [AtomicUsize; OBSERVED_LEN_MAX / 8] =
    [const { AtomicUsize::new(0) }; OBSERVED_LEN_MAX / 8];
static OBSERVED_LEN: AtomicUsize = AtomicUsize::new(0);
/// Whether paths must be noted absolute.
static MOVED: AtomicBool = AtomicBool::new(false);
/// The last object that is in the log already, and the last of those with which the program was started.
static LAST_OBJECT: AtomicPtr<Object> = AtomicPtr::new(core::ptr::null_mut());
static LAST_AT_START: AtomicPtr<Object> = AtomicPtr::new(core::ptr::null_mut());

/// A buffer for an absolute path's beginning.
pub type Room = [MaybeUninit<u8>; 4352];

pub const fn room() -> Room {
    [MaybeUninit::uninit(); 4352]
}

/// The log, if this process is observed; opens it at the first call.
#[inline]
pub fn log() -> Option<MappedLog> {
    if STATE.load(Ordering::Acquire) != STARTED {
        start();
    }
    let base = LOG.load(Ordering::Acquire);
    if base.is_null() {
        return None;
    }
    // SAFETY: `start` has mapped it and nothing unmaps it.
    unsafe { MappedLog::at(base, NONCE.load(Ordering::Relaxed) as u64) }
}

/// Opens the log and reports in.
#[inline(never)]
pub fn start() {
    if link::objects().next().is_none() {
        // Not relocated yet; a later call will do.
        return;
    }
    if STATE.compare_exchange(FRESH, STARTING, Ordering::AcqRel, Ordering::Acquire).is_err() {
        return;
    }
    let environment = first_environment();
    // SAFETY: the kernel put C strings there.
    let opened = unsafe { find_variable(environment, OBSERVED).and_then(|value| open(value)) };
    STATE.store(STARTED, Ordering::Release);
    if opened.is_some() {
        // SAFETY: as above.
        unsafe { report_in(environment) };
        // SAFETY: as above, and nobody else looks at it before `main`.
        unsafe { variables::hide(environment.cast_mut()) };
    }
}

/// Maps the log that `value` (sixteen hex digits, a colon, a path) names.
///
/// # Safety
/// `value` is a C string.
unsafe fn open(value: *const u8) -> Option<()> {
    // SAFETY: the caller's promise.
    let text = unsafe { raw::bytes(value) };
    if text.len() < 18 || text.len() + OBSERVED.len() >= OBSERVED_LEN_MAX || text[16] != b':' {
        return None;
    }
    let mut nonce = 0_u64;
    for digit in &text[..16] {
        nonce = nonce << 4 | u64::from((*digit as char).to_digit(16)?);
    }
    // SAFETY: the rest of a C string is one.
    let fd = unsafe { raw::open(AT_FDCWD, value.wrapping_add(17), raw::O_RDWR | raw::O_CLOEXEC) }
        .ok()?;
    let long_enough = raw::stat_fd(fd).is_some_and(|stat| stat.size == LOG_LEN_BYTES as u64);
    let base = if long_enough { raw::map(LOG_LEN_BYTES, Some(fd)) } else { None };
    raw::close(fd);
    let base = base?;
    // SAFETY: just mapped, shared and writable, and never unmapped if it is a log.
    if unsafe { MappedLog::at(base, nonce) }.is_none() {
        // SAFETY: nobody knows it yet.
        unsafe { raw::unmap(base, LOG_LEN_BYTES) };
        return None;
    }
    let kept = OBSERVED_TEXT.as_ptr().cast::<u8>().cast_mut();
    // SAFETY: the lengths were compared above; nobody reads before the length is stored.
    unsafe { core::ptr::copy_nonoverlapping(OBSERVED.as_ptr(), kept, OBSERVED.len()) };
    // SAFETY: as above.
    unsafe { core::ptr::copy_nonoverlapping(value, kept.wrapping_add(OBSERVED.len()), text.len()) };
    OBSERVED_LEN.store(OBSERVED.len() + text.len(), Ordering::Release);
    NONCE.store(nonce as usize, Ordering::Relaxed);
    LOG.store(base, Ordering::Release);
    Some(())
}

/// `IBID_OBSERVED=…`, a C string.
pub fn observed() -> &'static [u8] {
    let len = OBSERVED_LEN.load(Ordering::Acquire);
    // SAFETY: `open` wrote these bytes once, before the length.
    unsafe { core::slice::from_raw_parts(OBSERVED_TEXT.as_ptr().cast(), len) }
}

/// # Safety
/// `environment` is null or an array of C strings that ends in a null.
unsafe fn report_in(environment: *const *const u8) {
    if let Some(log) = log() {
        log.warm(raw::populate);
    }
    let mut here = room();
    let cwd = raw::cwd(&mut here);
    let moved = if log().is_some_and(|log| cwd != Some(log.cwd())) { cwd } else { None };
    if log().is_some_and(|log| cwd != Some(log.cwd())) {
        MOVED.store(true, Ordering::Relaxed);
    }
    let mut room = room();
    // SAFETY: a C string.
    let image = unsafe { raw::read_link(c"/proc/self/exe".as_ptr().cast(), &mut room) };
    // SAFETY: the caller's promise.
    let libraries =
        unsafe { find_variable(environment, LIBRARY_PATH).map(|value| raw::bytes(value)) };
    let preload =
        // SAFETY: as above.
        unsafe { find_variable(environment, PRELOAD).map(|value| raw::bytes(value)) };
    let preload = preload.unwrap_or(b"");
    let entry = LogEntry {
        kind: kind::START,
        flags: raw::parent_pid(),
        path: [image.unwrap_or(b"?"), b"\0", moved.unwrap_or(b"")],
        second: [
            libraries.unwrap_or(b""),
            b"\0",
            preload.strip_suffix(link::own_path()).unwrap_or(preload),
        ],
        ..LogEntry::default()
    };
    append(&entry);
    mapped_objects();
    LAST_AT_START.store(LAST_OBJECT.load(Ordering::Relaxed), Ordering::Release);
    descriptors::inherit();
}

/// Appends an entry, with the process that it comes from where that matters: asking costs a system call, and an answer
/// cannot be kept across `fork` and `vfork`.
#[inline(never)]
pub fn append(entry: &LogEntry) {
    if let Some(log) = log() {
        let has_pid = match entry.kind {
            kind::LOAD | kind::GETENV | kind::MAKE => true,
            kind::FACT => fact::has_process(entry.flags),
            kind::OPEN | kind::LOOK | kind::LIST => [&b"/dev/"[..], b"/proc/", b"/sys/"]
                .iter()
                .any(|kernel| entry.path[0].starts_with(kernel)),
            kind => kind <= kind::SHELL,
        };
        let pid = if has_pid { raw::pid() } else { 0 };
        log.append(&LogEntry { pid, ..*entry }, raw::populate);
    }
}

/// Notes the objects that the loader has mapped since the last time.
#[inline(never)]
pub fn mapped_objects() {
    let last = LAST_OBJECT.load(Ordering::Acquire).cast_const();
    let is_known = link::objects().any(|object| core::ptr::eq(object, last));
    let is_plugin = !LAST_AT_START.load(Ordering::Acquire).is_null();
    let mut waiting = is_known;
    let mut newest = last;
    for object in link::objects() {
        if !waiting && !object.is_vdso() && !object.is_own() && !object.path().is_empty() {
            append(&LogEntry {
                kind: kind::OBJECT,
                flags: u32::from(is_plugin),
                path: [object.path(), b"", b""],
                ..LogEntry::default()
            });
        }
        if core::ptr::eq(object, last) {
            waiting = false;
        }
        newest = object;
    }
    LAST_OBJECT.store(newest.cast_mut(), Ordering::Release);
}

/// From now on paths are noted absolute.
pub fn moved() {
    MOVED.store(true, Ordering::Relaxed);
}

/// Whether paths are noted absolute.
pub fn has_moved() -> bool {
    MOVED.load(Ordering::Relaxed)
}

/// An unknown address.
pub const UNKNOWN: usize = 0;

/// The plugin in which an address lies: an object that was loaded after the program had started. An unknown address may
/// lie in any.
pub fn plugin_at(address: usize) -> Option<&'static Object> {
    // SAFETY: null, or an object with which the program was started: the loader never unmaps those.
    let last = unsafe { LAST_AT_START.load(Ordering::Acquire).as_ref() }?;
    let mut plugins = last.following();
    plugins.find(|object| address == UNKNOWN || object.contains(address))
}
