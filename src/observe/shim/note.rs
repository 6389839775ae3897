//! What is noted, and in which spelling.
//!
//! Paths stand in the log as the program spelled them, until the process changes its directory or uses a directory
//! descriptor; then they are absolute.

use core::mem::MaybeUninit;
use core::sync::atomic::{AtomicBool, AtomicPtr, AtomicU32, AtomicUsize, Ordering};

use crate::link::{self, Object, Slot};
use crate::log_layout::{Entry, FileStat, LOG_LEN_BYTES, Log, fact, kind};
use crate::raw::{self, AT_FDCWD};

const OBSERVED: &[u8] = b"IBID_OBSERVED=";
const LIBRARY_PATH: &[u8] = b"LD_LIBRARY_PATH=";
const PRELOAD: &[u8] = b"LD_PRELOAD=";
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

/// Room for an absolute path's beginning.
pub type Room = [MaybeUninit<u8>; 4352];

pub const fn room() -> Room {
    [MaybeUninit::uninit(); 4352]
}

/// The log, if this process is observed; opens it at the first call.
#[inline]
pub fn log() -> Option<Log> {
    if STATE.load(Ordering::Acquire) != STARTED {
        start();
    }
    let base = LOG.load(Ordering::Acquire);
    if base.is_null() {
        return None;
    }
    // SAFETY: `start` has mapped it and nothing unmaps it.
    unsafe { Log::at(base, NONCE.load(Ordering::Relaxed) as u64) }
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
        unsafe { crate::programs::hide(environment.cast_mut()) };
    }
}

/// The environment that the kernel gave; null if it cannot be found.
fn first_environment() -> *const *const u8 {
    static STACK_END: Slot = Slot::new();
    let variable = STACK_END.variable(b"__libc_stack_end") as *const *const usize;
    if variable.is_null() {
        return core::ptr::null();
    }
    // SAFETY: the loader's variable points to the argument count, the arguments, a null, the environment.
    let stack = unsafe { *variable };
    // SAFETY: as above.
    let arguments = unsafe { *stack };
    stack.wrapping_add(arguments + 2).cast()
}

/// What follows `name=` in an environment.
///
/// # Safety
/// `environment` is null or an array of C strings that ends in a null.
pub unsafe fn find_variable(environment: *const *const u8, name: &[u8]) -> Option<*const u8> {
    let mut at = environment;
    // SAFETY: the caller's promise.
    while let Some(text) = unsafe { at.as_ref() }.filter(|text| !text.is_null()) {
        // SAFETY: as above.
        if unsafe { raw::bytes(*text) }.starts_with(name) {
            return Some(text.wrapping_add(name.len()));
        }
        at = at.wrapping_add(1);
    }
    None
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
    if unsafe { Log::at(base, nonce) }.is_none() {
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

/// Whether the loader of a child will find this shim.
pub fn is_shim_there() -> bool {
    let path = own_path();
    // SAFETY: the loader's names are C strings.
    !path.is_empty() && unsafe { raw::is_readable(path.as_ptr()) }
}

/// The path by which the loader knows this shim; a zero byte follows.
pub fn own_path() -> &'static [u8] {
    link::objects().find(|object| object.is_own()).map_or(b"", Object::path)
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
    let entry = Entry {
        kind: kind::START,
        flags: raw::parent_pid(),
        path: [image.unwrap_or(b"?"), b"\0", moved.unwrap_or(b"")],
        second: [
            libraries.unwrap_or(b""),
            b"\0",
            preload.strip_suffix(own_path()).unwrap_or(preload),
        ],
        ..Entry::default()
    };
    append(&entry);
    mapped_objects();
    LAST_AT_START.store(LAST_OBJECT.load(Ordering::Relaxed), Ordering::Release);
    crate::files::inherit();
}

/// Appends an entry, with the process that it comes from where that matters: asking costs a system call, and an answer
/// cannot be kept across `fork` and `vfork`.
#[inline(never)]
pub fn append(entry: &Entry) {
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
        log.append(&Entry { pid, ..*entry }, raw::populate);
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
            append(&Entry {
                kind: kind::OBJECT,
                flags: u32::from(is_plugin),
                path: [object.path(), b"", b""],
                ..Entry::default()
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

/// The path as it stands in the log.
pub fn spell<'a>(dirfd: i32, path: &'a [u8], room: &'a mut Room) -> [&'a [u8]; 3] {
    let plain = dirfd == AT_FDCWD && !MOVED.load(Ordering::Relaxed);
    if path.first() == Some(&b'/') || (plain && !path.is_empty()) {
        return [path, b"", b""];
    }
    let base = if dirfd == AT_FDCWD { raw::cwd(room) } else { descriptor_path(dirfd, room) };
    let Some(base) = base else {
        incomplete(b"used a directory that has no path", path);
        return [b"?", b"/", path];
    };
    if path.is_empty() { [base, b"", b""] } else { [base, b"/", path] }
}

/// The path of an open file or directory, if it still has one.
fn descriptor_path(fd: i32, room: &mut Room) -> Option<&[u8]> {
    let mut name = [0_u8; 32];
    let mut at = name.len() - 1;
    let mut number = u32::try_from(fd).ok()?;
    loop {
        at -= 1;
        name[at] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            break;
        }
    }
    let prefix = b"/proc/self/fd/";
    let start = at - prefix.len();
    name[start..at].copy_from_slice(prefix);
    // SAFETY: the last byte of `name` is zero.
    let path = unsafe { raw::read_link(name[start..].as_ptr(), room) }?;
    (path.first() == Some(&b'/')).then_some(path)
}

/// Notes something about a path.
///
/// # Safety
/// `path` is null or a C string.
#[inline(never)]
pub unsafe fn path(dirfd: i32, path: *const u8, entry: Entry) {
    if log().is_none() || (path.is_null() && dirfd == AT_FDCWD) {
        return;
    }
    let mut room = room();
    // SAFETY: the caller's promise.
    let path = spell(dirfd, unsafe { raw::bytes(path) }, &mut room);
    append(&Entry { path, ..entry });
}

/// Notes that a path was asked about.
///
/// # Safety
/// `path` is null or a C string.
#[inline(never)]
pub unsafe fn look(dirfd: i32, path: *const u8, errno: u16) {
    // SAFETY: the caller's promise.
    unsafe { self::path(dirfd, path, Entry { kind: kind::LOOK, errno, ..Entry::default() }) };
}

/// Notes that a directory was listed.
///
/// # Safety
/// `path` is null or a C string.
#[inline(never)]
pub unsafe fn list(dirfd: i32, path: *const u8, errno: u16) {
    // SAFETY: the caller's promise.
    unsafe { self::path(dirfd, path, Entry { kind: kind::LIST, errno, ..Entry::default() }) };
}

/// Notes two paths.
///
/// # Safety
/// Both are C strings.
#[inline(never)]
pub unsafe fn pair(from: (i32, *const u8), to: (i32, *const u8), entry: Entry) {
    let (mut from_room, mut to_room) = (room(), room());
    // SAFETY: the caller's promise.
    let path = spell(from.0, unsafe { raw::bytes(from.1) }, &mut from_room);
    // SAFETY: the caller's promise.
    let second = spell(to.0, unsafe { raw::bytes(to.1) }, &mut to_room);
    append(&Entry { path, second, ..entry });
}

/// Notes the state of a file that was, or may have been, written.
pub fn written(stat: FileStat) {
    append(&Entry { kind: kind::CLOSE, stat: Some(stat), ..Entry::default() });
}

/// Notes a [`fact`], once a process.
#[inline(never)]
pub fn fact(fact: u32) {
    static KNOWN: AtomicU32 = AtomicU32::new(0);
    let is_known = KNOWN.load(Ordering::Relaxed) & 1 << fact != 0;
    if !is_known && log().is_some() {
        KNOWN.fetch_or(1 << fact, Ordering::Relaxed);
        append(&Entry { kind: kind::FACT, flags: fact, ..Entry::default() });
    }
}

/// An address of which nothing is known.
pub const UNKNOWN: usize = 0;

/// The plugin in which an address lies: an object that was loaded after the program had started. An unknown address may
/// lie in any.
pub fn plugin_at(address: usize) -> Option<&'static Object> {
    // SAFETY: null, or an object with which the program was started: the loader never unmaps those.
    let last = unsafe { LAST_AT_START.load(Ordering::Acquire).as_ref() }?;
    let mut plugins = last.following();
    plugins.find(|object| address == UNKNOWN || object.contains(address))
}

/// Notes that a plugin asked for the state of a file.
pub fn state_for(plugin: &Object, stat: FileStat) {
    append(&Entry {
        kind: kind::FACT,
        flags: fact::STATE,
        stat: Some(stat),
        path: [plugin.path(), b"", b""],
        ..Entry::default()
    });
}

/// Notes a fact with the plugin that it comes from, if `caller` is an address in one.
#[inline(never)]
pub fn fact_for(fact: u32, caller: usize) {
    static KNOWN: [[AtomicU32; 64]; 16] = [const { [const { AtomicU32::new(0) }; 64] }; 16];
    if log().is_none() {
        return;
    }
    let Some(object) = plugin_at(caller) else {
        return self::fact(fact);
    };
    if is_new(&KNOWN[fact as usize % KNOWN.len()], object.path()) {
        append(&Entry {
            kind: kind::FACT,
            flags: fact,
            path: [object.path(), b"", b""],
            ..Entry::default()
        });
    }
}

/// Says that the log is not the whole truth.
#[inline(never)]
pub fn incomplete(reason: &'static [u8], subject: &[u8]) {
    append(&Entry {
        kind: kind::INCOMPLETE,
        path: [reason, b"", b""],
        second: [subject, b"", b""],
        ..Entry::default()
    });
}

/// Called for a function that no object after us has.
#[inline(never)]
pub fn missing(name: &'static str) {
    incomplete(b"called a function that is not there", name.as_bytes());
    link::set_errno(raw::ENOSYS);
}

/// Whether a text was not seen lately; a table of the last few is kept for each kind, so that loops do not fill the log.
fn is_new(known: &[AtomicU32; 64], text: &[u8]) -> bool {
    let hash = crate::elf::gnu_hash(text);
    let other = crate::elf::sysv_hash(text) ^ hash.rotate_left(16);
    known[(hash % 64) as usize].swap(other | 1, Ordering::Relaxed) != other | 1
}

/// Notes a name of something that libc or the loader looks for by itself.
///
/// # Safety
/// `name` is null or a C string.
#[inline(never)]
pub unsafe fn name(kind: u16, name: *const u8) {
    static KNOWN: [AtomicU32; 64] = [const { AtomicU32::new(0) }; 64];
    if !name.is_null() && log().is_some() {
        // SAFETY: the caller's promise.
        let name = unsafe { raw::bytes(name) };
        if kind != kind::LOAD || is_new(&KNOWN, name) {
            append(&Entry { kind, path: [name, b"", b""], ..Entry::default() });
        }
    }
}

/// Notes that messages of a domain are looked for below a directory.
///
/// # Safety
/// Both are null or C strings.
#[inline(never)]
pub unsafe fn text_domain(domain: *const u8, directory: *const u8) {
    static KNOWN: [AtomicU32; 64] = [const { AtomicU32::new(0) }; 64];
    if domain.is_null() || directory.is_null() || log().is_none() {
        return;
    }
    // SAFETY: the caller's promise.
    let path = unsafe { raw::bytes(domain) };
    // SAFETY: the caller's promise.
    let second = unsafe { raw::bytes(directory) };
    if is_new(&KNOWN, path) || second != DEFAULT_DIRECTORY.to_bytes() {
        append(&Entry {
            kind: kind::TEXT_DOMAIN,
            path: [path, b"", b""],
            second: [second, b"", b""],
            ..Entry::default()
        });
    }
}

/// Where libc looks for messages of a domain that was bound to no directory.
pub const DEFAULT_DIRECTORY: &core::ffi::CStr = c"/usr/share/locale";

/// Notes a call of `time` with the object that made it, once for each of the first few.
#[inline(never)]
pub fn time(caller: usize) {
    static KNOWN: [AtomicPtr<Object>; 8] = [const { AtomicPtr::new(core::ptr::null_mut()) }; 8];
    if log().is_none() {
        return;
    }
    let Some(object) = link::objects().find(|object| object.contains(caller)) else {
        return fact(fact::TIME);
    };
    let object_mut = core::ptr::from_ref(object).cast_mut();
    for place in &KNOWN {
        match place.load(Ordering::Relaxed) {
            known if known == object_mut => return,
            known if known.is_null() => {
                place.store(object_mut, Ordering::Relaxed);
                return append(&Entry {
                    kind: kind::FACT,
                    flags: fact::TIME,
                    path: [object.path(), b"", b""],
                    ..Entry::default()
                });
            }
            _ => {}
        }
    }
    fact(fact::TIME);
}

/// Notes that a variable was asked for; the last names are remembered, so that loops do not fill the log.
///
/// # Safety
/// `name` is null or a C string.
#[inline(never)]
pub unsafe fn variable(name: *const u8) {
    static KNOWN: [AtomicU32; 64] = [const { AtomicU32::new(0) }; 64];
    if name.is_null() || log().is_none() {
        return;
    }
    // SAFETY: the caller's promise.
    let name = unsafe { raw::bytes(name) };
    // Of the job server's variables each question is noted: rustc asks once, the crate may ask again.
    if is_new(&KNOWN, name) || name.ends_with(b"FLAGS") {
        append(&Entry { kind: kind::GETENV, path: [name, b"", b""], ..Entry::default() });
    }
}

/// Defines libc's function of this name: calls the real one, then does what follows `=>` with its answer.
macro_rules! after {
    ($(fn $name:ident($($arg:ident: $type:ty),*) -> $ret:ty, |$answer:ident| $then:expr;)*) => {$(
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn $name($($arg: $type),*) -> $ret {
            let $answer = real!($name($($arg: $type),*) -> $ret);
            // SAFETY: paths are C strings, by the contract of the real function, which has just accepted them.
            #[allow(unused_unsafe, reason = "some of these only note a fact")]
            unsafe { $then };
            $answer
        }
    )*};
}

/// Defines libc's function of this name: does what stands behind the arguments, then calls the real one.
macro_rules! before {
    ($(fn $name:ident($($arg:ident: $type:ty),*) -> $ret:ty, $first:expr;)*) => {$(
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn $name($($arg: $type),*) -> $ret {
            // SAFETY: paths are C strings, by the contract of the real function.
            #[allow(unused_unsafe, reason = "some of these only note a fact")]
            unsafe { $first };
            real!($name($($arg: $type),*) -> $ret)
        }
    )*};
}
