//! What is noted, and in which spelling.
//!
//! Paths stand in the log as the program spelled them, until the process changes its directory or uses a directory
//! descriptor; then they are absolute.

use core::sync::atomic::{AtomicPtr, AtomicU32, Ordering};

use crate::link::{self, Object};
use crate::log_layout::{FileStat, LogEntry, fact, kind};
use crate::observed::has_moved;
use crate::raw::{self, AT_FDCWD};

pub use crate::observed::{
    Room, UNKNOWN, append, log, mapped_objects, moved, observed, plugin_at, room,
};

/// The path as it stands in the log.
pub fn spell<'a>(dirfd: i32, path: &'a [u8], room: &'a mut Room) -> [&'a [u8]; 3] {
    let plain = dirfd == AT_FDCWD && !has_moved();
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
pub unsafe fn path(dirfd: i32, path: *const u8, entry: LogEntry) {
    if log().is_none() || (path.is_null() && dirfd == AT_FDCWD) {
        return;
    }
    let mut room = room();
    // SAFETY: the caller's promise.
    let path = spell(dirfd, unsafe { raw::bytes(path) }, &mut room);
    append(&LogEntry { path, ..entry });
    // A link or a file there may show the directory, arguments, or where objects lie; who asked is not known.
    if path[0].starts_with(b"/proc/") {
        directory_for(UNKNOWN);
    }
}

/// Notes that a path was asked about.
///
/// # Safety
/// `path` is null or a C string.
#[inline(never)]
pub unsafe fn look(dirfd: i32, path: *const u8, errno: u16) {
    // SAFETY: the caller's promise.
    unsafe { self::path(dirfd, path, LogEntry { kind: kind::LOOK, errno, ..LogEntry::default() }) };
}

/// Notes that a directory was listed.
///
/// # Safety
/// `path` is null or a C string.
#[inline(never)]
pub unsafe fn list(dirfd: i32, path: *const u8, errno: u16) {
    // SAFETY: the caller's promise.
    unsafe { self::path(dirfd, path, LogEntry { kind: kind::LIST, errno, ..LogEntry::default() }) };
}

/// Notes two paths.
///
/// # Safety
/// Both are C strings.
#[inline(never)]
pub unsafe fn pair(from: (i32, *const u8), to: (i32, *const u8), entry: LogEntry) {
    let (mut from_room, mut to_room) = (room(), room());
    // SAFETY: the caller's promise.
    let path = spell(from.0, unsafe { raw::bytes(from.1) }, &mut from_room);
    // SAFETY: the caller's promise.
    let second = spell(to.0, unsafe { raw::bytes(to.1) }, &mut to_room);
    append(&LogEntry { path, second, ..entry });
}

/// Notes the state of a file that was, or may have been, written.
pub fn written(stat: FileStat) {
    append(&LogEntry { kind: kind::CLOSE, stat: Some(stat), ..LogEntry::default() });
}

/// Notes a [`fact`], once a process.
#[inline(never)]
pub fn fact(fact: u32) {
    static KNOWN: AtomicU32 = AtomicU32::new(0);
    let is_known = KNOWN.load(Ordering::Relaxed) & 1 << fact != 0;
    if !is_known && log().is_some() {
        KNOWN.fetch_or(1 << fact, Ordering::Relaxed);
        append(&LogEntry { kind: kind::FACT, flags: fact, ..LogEntry::default() });
    }
}

/// Notes that a plugin asked for the state of a file.
pub fn state_for(plugin: &Object, stat: FileStat) {
    append(&LogEntry {
        kind: kind::FACT,
        flags: fact::STATE,
        stat: Some(stat),
        path: [plugin.path(), b"", b""],
        ..LogEntry::default()
    });
}

/// Notes that a plugin asked for the working directory, if `caller` is an address in one.
#[inline(never)]
pub fn directory_for(caller: usize) {
    if log().is_some() && plugin_at(caller).is_some() {
        fact_for(fact::DIRECTORY, caller);
    }
}

/// Notes a variable that was asked for, and whether `caller` is an address in a plugin.
///
/// # Safety
/// `name` is null or a C string.
pub unsafe fn variable_for(name: *const u8, caller: usize) {
    // SAFETY: the caller's promise.
    unsafe { variable(name) };
    static KNOWN: [AtomicU32; 64] = [const { AtomicU32::new(0) }; 64];
    if name.is_null() || log().is_none() || plugin_at(caller).is_none() {
        return;
    }
    // SAFETY: the caller's promise.
    let name = unsafe { raw::bytes(name) };
    if is_new(&KNOWN, name) {
        let path = [name, b"", b""];
        append(&LogEntry { kind: kind::FACT, flags: fact::VARIABLE, path, ..LogEntry::default() });
    }
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
        append(&LogEntry {
            kind: kind::FACT,
            flags: fact,
            path: [object.path(), b"", b""],
            ..LogEntry::default()
        });
    }
}

/// Says that the log is not the whole truth.
#[inline(never)]
pub fn incomplete(reason: &'static [u8], subject: &[u8]) {
    append(&LogEntry {
        kind: kind::INCOMPLETE,
        path: [reason, b"", b""],
        second: [subject, b"", b""],
        ..LogEntry::default()
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
            append(&LogEntry { kind, path: [name, b"", b""], ..LogEntry::default() });
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
        append(&LogEntry {
            kind: kind::TEXT_DOMAIN,
            path: [path, b"", b""],
            second: [second, b"", b""],
            ..LogEntry::default()
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
                return append(&LogEntry {
                    kind: kind::FACT,
                    flags: fact::TIME,
                    path: [object.path(), b"", b""],
                    ..LogEntry::default()
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
    // Of the job server's variables each question is noted (rustc asks once, the crate may ask again), and of the one that
    // names what a build script has made: each should be for a file there.
    if is_new(&KNOWN, name) || name.ends_with(b"FLAGS") || name == b"OUT_DIR" {
        append(&LogEntry { kind: kind::GETENV, path: [name, b"", b""], ..LogEntry::default() });
    }
}
