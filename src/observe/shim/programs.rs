//! Functions that run programs.
//!
//! Before a program is run its file is looked at: one in which the shim cannot live is run without it, and the log says
//! so. All others must report in; the environment that they get names the shim and the log, whatever our caller made of
//! it.

use core::arch::naked_asm;
use core::ffi::c_void;
use core::mem::MaybeUninit;

use crate::elf::{self, HEAD_LEN_BYTES, Preloading, ReadAt};
use crate::link::{Slot, errno, set_errno};
use crate::log_layout::{Entry, kind};
use crate::note::{self, Room};
use crate::raw::{self, AT_FDCWD, E2BIG, EACCES, ENOENT, ENOEXEC, ENOTDIR};

type Path = *const u8;
type Texts = *const *const u8;
type Any = *const c_void;

const PRELOAD: &[u8] = b"LD_PRELOAD=";
const OBSERVED: &[u8] = b"IBID_OBSERVED=";
const SCRIPT_DEPTH_MAX: usize = 5;
const SET_ID: u32 = 0o6000;

struct File(i32);

impl ReadAt for File {
    fn read_at(&self, offset: u64, into: &mut [u8]) -> usize {
        raw::read_at(self.0, offset, into)
    }
}

/// As `look_at`, once more when all else is done: whoever removes the cache directory removes the shim.
unsafe fn examine(dirfd: i32, path: Path) -> Result<(), &'static str> {
    // SAFETY: the caller's path is a C string.
    unsafe { look_at(dirfd, path) }?;
    if note::is_shim_there() { Ok(()) } else { Err("could not be given the shim, which is gone") }
}

/// Looks at a program's file and at the interpreters of scripts; `Err` says why the shim cannot live in it.
unsafe fn look_at(dirfd: i32, path: Path) -> Result<(), &'static str> {
    let mut head = [0; HEAD_LEN_BYTES];
    let mut place = (dirfd, path);
    let mut name;
    for _ in 0..SCRIPT_DEPTH_MAX {
        // SAFETY: the path is the caller's or the one in `name`, which ends in a zero byte.
        let Some(verdict) = (unsafe { examine_one(place.0, place.1, &mut head) }) else {
            return Ok(());
        };
        match verdict {
            Preloading::Possible | Preloading::Unknown => return Ok(()),
            Preloading::Impossible(reason) => return Err(reason),
            Preloading::Script { start, end } => {
                name = [0; 257];
                name[..end - start].copy_from_slice(&head[start..end]);
                place = (AT_FDCWD, name.as_ptr());
            }
        }
    }
    Ok(())
}

/// `None`: nothing to run here, or it is ibid.
unsafe fn examine_one(
    dirfd: i32,
    path: Path,
    head: &mut [u8; HEAD_LEN_BYTES],
) -> Option<Preloading> {
    // SAFETY: the caller's path is a C string.
    let fd = match unsafe { raw::open(dirfd, path, raw::O_RDONLY | raw::O_CLOEXEC) } {
        Ok(fd) => fd,
        // It can be run, but not looked into.
        // SAFETY: the caller's path is a C string.
        Err(EACCES) if unsafe { raw::may_run(dirfd, path) } => {
            return Some(Preloading::Impossible("cannot be read"));
        }
        Err(_) => return None,
    };
    let stat = raw::stat_fd(fd);
    let read = raw::read_at(fd, 0, head);
    let verdict = elf::preloading(&File(fd), &head[..read]);
    raw::close(fd);
    let stat = stat.filter(|stat| stat.mode & raw::S_IFMT == raw::S_IFREG)?;
    // SAFETY: as above.
    unsafe {
        note::path(dirfd, path, Entry { kind: kind::RAN, stat: Some(stat), ..Entry::default() })
    };
    if note::log()?.is_ibid(&stat) {
        return None;
    }
    if stat.mode & SET_ID != 0 {
        return Some(Preloading::Impossible("runs as another user"));
    }
    Some(verdict)
}

/// Room for a program's environment on the stack: what a child of `vfork` maps would stay in its parent.
struct Scratch {
    texts: [MaybeUninit<Path>; 512],
    preload: [MaybeUninit<u8>; 4608],
}

impl Scratch {
    const fn new() -> Scratch {
        Scratch { texts: [MaybeUninit::uninit(); 512], preload: [MaybeUninit::uninit(); 4608] }
    }
}

/// An environment for a program: the caller's, or a changed copy.
struct Environment {
    texts: Texts,
    is_copy: bool,
    mapped: Option<(*mut u8, usize)>,
}

impl Environment {
    fn release(self) {
        if let Some((copy, len)) = self.mapped {
            // SAFETY: nobody else knows the copy, and the call that used it is over.
            unsafe { raw::unmap(copy, len) };
        }
    }
}

unsafe fn text_at(texts: Texts, index: usize) -> Option<Path> {
    if texts.is_null() {
        return None;
    }
    // SAFETY: indices count up to the null that ends the array.
    Some(unsafe { *texts.wrapping_add(index) }).filter(|text| !text.is_null())
}

fn without_shim<'a>(preload: &'a [u8], shim: &'a [u8]) -> impl Iterator<Item = &'a [u8]> {
    preload
        .split(|byte| matches!(byte, b':' | b' '))
        .filter(move |part| !part.is_empty() && *part != shim)
}

/// The given environment with (or without) the shim and the log.
unsafe fn environment(given: Texts, observed: bool, scratch: Option<&mut Scratch>) -> Environment {
    let unchanged = Environment { texts: given, is_copy: false, mapped: None };
    let shim = note::own_path();
    let (mut count, mut has_shim, mut has_log, mut preload) = (0, false, false, None);
    // SAFETY: `given` is an environment, by the contract of exec.
    while let Some(text) = unsafe { text_at(given, count) } {
        // SAFETY: as above.
        let text = unsafe { raw::bytes(text) };
        if let Some(value) = text.strip_prefix(PRELOAD) {
            preload = Some(value);
            has_shim = value.split(|byte| matches!(byte, b':' | b' ')).any(|part| part == shim);
        } else if text.starts_with(OBSERVED) {
            has_log = text == note::observed();
        }
        count += 1;
    }
    if (has_shim && has_log) == observed && (observed || !has_shim) {
        return unchanged;
    }
    let array_len = (count + 3) * size_of::<Path>();
    let text_len = PRELOAD.len() + preload.map_or(0, <[u8]>::len) + shim.len() + 2;
    let is_small = |scratch: &&mut Scratch| {
        count + 3 <= scratch.texts.len() && text_len <= scratch.preload.len()
    };
    let (array, text, mapped) = if let Some(scratch) = scratch.filter(is_small) {
        (scratch.texts.as_mut_ptr().cast::<Path>(), scratch.preload.as_mut_ptr().cast(), None)
    } else {
        let len = (array_len + text_len).next_multiple_of(4096);
        let Some(base) = raw::map(len, None) else {
            note::incomplete(b"had no memory for a program's environment", b"");
            return unchanged;
        };
        (base.cast::<Path>(), base.wrapping_add(array_len), Some((base, len)))
    };
    let mut used = 0;
    let mut push = |text: Path| {
        // SAFETY: the array has room for all texts, two more, and a null.
        unsafe { array.wrapping_add(used).write(text) };
        used += 1;
    };
    let mut index = 0;
    // SAFETY: as above.
    while let Some(text) = unsafe { text_at(given, index) } {
        // SAFETY: as above.
        let bytes = unsafe { raw::bytes(text) };
        if !bytes.starts_with(PRELOAD) && !bytes.starts_with(OBSERVED) {
            push(text);
        }
        index += 1;
    }
    // What the user had stays as it was: it is what the program will see, see `hide`.
    let (old, separator) = match preload {
        Some(preload) if has_shim => (preload, None),
        Some(preload) => (preload, Some(&b":"[..])),
        None => (&b""[..], Some(&b""[..])),
    };
    // SAFETY: there is room for the name, the old value, a colon, the shim and a zero.
    let any = unsafe {
        if observed {
            let added = separator.map(|separator| [separator, shim]);
            write_preload(text, b"", [old].into_iter().chain(added.into_iter().flatten()))
        } else {
            write_preload(text, b":", without_shim(old, shim))
        }
    };
    if any {
        push(text);
    }
    if observed {
        push(note::observed().as_ptr());
    }
    push(core::ptr::null());
    Environment { texts: array.cast_const(), is_copy: true, mapped }
}

/// Writes `LD_PRELOAD=a:b`, with `separator` between the parts; says whether there was any part.
unsafe fn write_preload<'a>(
    to: *mut u8,
    separator: &[u8],
    parts: impl Iterator<Item = &'a [u8]>,
) -> bool {
    let mut at = to;
    let mut put = |bytes: &[u8]| {
        // SAFETY: the caller has made room for all parts.
        unsafe { core::ptr::copy_nonoverlapping(bytes.as_ptr(), at, bytes.len()) };
        at = at.wrapping_add(bytes.len());
    };
    let mut any = false;
    put(PRELOAD);
    for part in parts {
        if any {
            put(separator);
        }
        put(part);
        any = true;
    }
    put(b"\0");
    any
}

/// libc's variable `environ`; null if it cannot be found.
fn environ() -> *mut Texts {
    static ENVIRON: Slot = Slot::new();
    ENVIRON.variable(b"environ") as *mut Texts
}

/// The process's own environment now.
fn own_environment() -> Texts {
    let variable = environ();
    // SAFETY: libc's variable `environ`.
    if variable.is_null() { core::ptr::null() } else { unsafe { *variable } }
}

/// Takes ourselves out of the environment that the program was given, so that it sees the one that it would have without
/// us; each program that it runs is told of us again.
///
/// # Safety
/// `given` is null or the array that the kernel made; nobody else uses it or `environ`.
pub unsafe fn hide(given: *mut Path) {
    // SAFETY: the caller's promise.
    unsafe { hide_in(given) };
    let own = own_environment().cast_mut();
    if own != given {
        // SAFETY: an earlier constructor has changed a variable; it has made an array like the first.
        unsafe { hide_in(own) };
    }
}

unsafe fn hide_in(array: *mut Path) {
    let (mut from, mut to) = (0, 0);
    // SAFETY: the caller gives null or an array of C strings that ends in a null.
    while let Some(text) = unsafe { text_at(array, from) } {
        from += 1;
        // SAFETY: as above.
        let bytes = unsafe { raw::bytes(text) };
        let is_ours = match bytes.strip_prefix(PRELOAD) {
            // SAFETY: the kernel's strings may be written.
            Some(value) => unsafe {
                remove_shim(text.wrapping_add(PRELOAD.len()).cast_mut(), value)
            },
            None => bytes.starts_with(OBSERVED),
        };
        if !is_ours {
            // SAFETY: `to` is no further than `from`.
            unsafe { array.wrapping_add(to).write(text) };
            to += 1;
        }
    }
    if to < from {
        // SAFETY: as above.
        unsafe { array.wrapping_add(to).write(core::ptr::null()) };
    }
}

/// Takes the shim out of a list of preloads where it stands, with the colon by which it was appended; what the user had
/// stays as it was. Says whether nothing else was there.
unsafe fn remove_shim(list: *mut u8, value: &[u8]) -> bool {
    let shim = note::own_path();
    if value == shim {
        return true;
    }
    if let Some(rest) = value.strip_suffix(shim).and_then(|rest| rest.strip_suffix(b":")) {
        // SAFETY: inside the string.
        unsafe { list.wrapping_add(rest.len()).write(0) };
    }
    false
}

/// Becomes a program, by whichever of libc's functions `run` calls with an environment.
unsafe fn become_program(dirfd: i32, path: Path, given: Texts, run: impl Fn(Texts) -> i32) -> i32 {
    if note::log().is_none() || path.is_null() {
        return run(given);
    }
    // SAFETY: a C string, by the contract of exec.
    let verdict = unsafe { examine(dirfd, path) };
    note::mapped_objects();
    crate::files::note_all_written();
    let mut room = note::room();
    // SAFETY: as above.
    let spelled = note::spell(dirfd, unsafe { raw::bytes(path) }, &mut room);
    match verdict {
        Ok(()) => note::append(&Entry { kind: kind::EXEC, path: spelled, ..Entry::default() }),
        Err(reason) => not_observed(reason, spelled),
    }
    let mut scratch = Scratch::new();
    // SAFETY: an environment, by the contract of exec.
    let environment = unsafe { environment(given, verdict.is_ok(), Some(&mut scratch)) };
    let mut answer = run(environment.texts);
    let mut error = errno();
    if error == E2BIG && environment.is_copy {
        note::incomplete(b"ran a program with an environment too long to be observed", b"");
        answer = run(given);
        error = errno();
    }
    environment.release();
    note::append(&Entry {
        kind: kind::EXEC_FAILED,
        errno: error,
        path: spelled,
        ..Entry::default()
    });
    set_errno(error);
    answer
}

/// Says that a program was run without the shim; it will not report in.
fn not_observed(reason: &'static str, path: [&[u8]; 3]) {
    note::append(&Entry {
        kind: kind::INCOMPLETE,
        path: [b"ran a program that ", reason.as_bytes(), b""],
        second: path,
        ..Entry::default()
    });
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn execve(path: Path, args: Texts, env: Texts) -> i32 {
    // SAFETY: the contract of execve.
    unsafe {
        become_program(
            AT_FDCWD,
            path,
            env,
            |env| real!(execve(path: Path, args: Texts, env: Texts) -> i32),
        )
    }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn execv(path: Path, args: Texts) -> i32 {
    // SAFETY: the contract of execv.
    unsafe { execve(path, args, own_environment()) }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn fexecve(fd: i32, args: Texts, env: Texts) -> i32 {
    // SAFETY: the contract of fexecve.
    unsafe { execveat(fd, c"".as_ptr().cast(), args, env, raw::AT_EMPTY_PATH) }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn execveat(
    dirfd: i32,
    path: Path,
    args: Texts,
    env: Texts,
    flags: i32,
) -> i32 {
    // SAFETY: as below.
    let is_descriptor = flags & raw::AT_EMPTY_PATH != 0 && unsafe { raw::bytes(path) }.is_empty();
    if is_descriptor {
        note::incomplete(b"ran a program by its descriptor", b"");
    }
    // SAFETY: the contract of execveat.
    unsafe {
        become_program(
            dirfd,
            path,
            env,
            |env| real!(execveat(dirfd: i32, path: Path, args: Texts, env: Texts, flags: i32) -> i32),
        )
    }
}

/// Calls `each` with every place where `PATH` may have the program, until it answers something.
unsafe fn search<T>(name: &[u8], each: impl Fn(Path) -> Option<T>) -> Option<T> {
    note::append(&Entry { kind: kind::SEARCH, path: [name, b"", b""], ..Entry::default() });
    // SAFETY: the process's own environment.
    let path =
        unsafe { note::find_variable(own_environment(), b"PATH=").map(|value| raw::bytes(value)) };
    let path = path.unwrap_or(b"/bin:/usr/bin");
    for directory in path.split(|byte| *byte == b':') {
        let mut room: Room = note::room();
        if directory.len() + name.len() + 2 > room.len() {
            continue;
        }
        let slash: &[u8] = if directory.is_empty() { b"" } else { b"/" };
        let pieces = directory.iter().chain(slash).chain(name).chain(b"\0");
        for (place, byte) in room.iter_mut().zip(pieces) {
            place.write(*byte);
        }
        if let Some(found) = each(room.as_ptr().cast()) {
            return Some(found);
        }
    }
    None
}

/// Whether something that looks like a program is there; notes a look in vain.
unsafe fn is_program(path: Path) -> Result<(), u16> {
    // SAFETY: the caller's path is a C string.
    let found = unsafe { raw::stat(AT_FDCWD, path, 0) };
    let errno = match found {
        Ok(stat) if stat.mode & raw::S_IFMT == raw::S_IFREG && stat.mode & 0o111 != 0 => {
            return Ok(());
        }
        Ok(_) => EACCES,
        Err(errno) => errno,
    };
    // SAFETY: as above.
    unsafe { note::look(AT_FDCWD, path, if found.is_ok() { 0 } else { errno }) };
    Err(errno)
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn execvpe(file: Path, args: Texts, env: Texts) -> i32 {
    // SAFETY: a C string, by the contract of execvpe.
    let name = unsafe { raw::bytes(file) };
    if note::log().is_none() {
        return real!(execvpe(file: Path, args: Texts, env: Texts) -> i32);
    }
    if name.contains(&b'/') || name.is_empty() {
        // SAFETY: the contract of execvpe.
        return unsafe { exec_or_shell(file, args, env) };
    }
    let denied = core::cell::Cell::new(false);
    // SAFETY: `search` gives C strings; the rest is the contract of execvpe.
    let answer = unsafe {
        search(name, |path| {
            match is_program(path) {
                Err(EACCES) => denied.set(true),
                Err(_) => return None,
                Ok(()) => {}
            }
            let answer = exec_or_shell(path, args, env);
            let error = errno();
            denied.set(denied.get() || error == EACCES);
            (!matches!(error, ENOENT | ENOTDIR | EACCES)).then_some(answer)
        })
    };
    answer.unwrap_or_else(|| {
        set_errno(if denied.get() { EACCES } else { ENOENT });
        -1
    })
}

/// execve, and if the file is no program, the shell with it as its script.
unsafe fn exec_or_shell(path: Path, args: Texts, env: Texts) -> i32 {
    // SAFETY: the contract of execvpe.
    let answer = unsafe { execve(path, args, env) };
    if errno() == ENOEXEC {
        note::incomplete(b"ran a script without an interpreter", b"");
        return real!(execvpe(path: Path, args: Texts, env: Texts) -> i32);
    }
    answer
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn execvp(file: Path, args: Texts) -> i32 {
    // SAFETY: the contract of execvp.
    unsafe { execvpe(file, args, own_environment()) }
}

/// The environment that follows the arguments of `execle`.
unsafe extern "C" fn exec_with_environment(path: Path, args: Texts) -> i32 {
    let mut index = 0;
    // SAFETY: the arguments end in a null.
    while unsafe { text_at(args, index) }.is_some() {
        index += 1;
    }
    // SAFETY: by the contract of execle the environment follows.
    let env = unsafe { *args.wrapping_add(index + 1) };
    // SAFETY: the contract of execle.
    unsafe { execve(path, args, env.cast()) }
}

// Variadic in C: the arguments in registers are put in front of those on the stack, which makes them the array that
// the `v` form takes.
macro_rules! listed {
    ($($name:ident => $target:path;)*) => {$(
        #[unsafe(naked)]
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn $name() {
            #[cfg(target_arch = "x86_64")]
            naked_asm!(
                "pop rax", "push r9", "push r8", "push rcx", "push rdx", "push rsi", "mov rsi, rsp", "push rax",
                "call {}", "pop rcx", "add rsp, 40", "push rcx", "ret", sym $target
            );
            #[cfg(target_arch = "aarch64")]
            naked_asm!(
                "stp x30, x1, [sp, #-64]!", "stp x2, x3, [sp, #16]", "stp x4, x5, [sp, #32]", "stp x6, x7, [sp, #48]",
                "add x1, sp, #8", "bl {}", "ldr x30, [sp], #64", "ret", sym $target
            );
        }
    )*};
}

listed! {
    execl => execv;
    execlp => execvp;
    execle => exec_with_environment;
}

/// Starts a program as a child, by whichever of libc's functions `run` calls with a place for its id.
unsafe fn start_child(
    child: *mut i32,
    path: Path,
    given: Texts,
    run: impl Fn(*mut i32, Texts) -> i32,
) -> i32 {
    if note::log().is_none() {
        return run(child, given);
    }
    // SAFETY: a C string, by the contract of posix_spawn.
    crate::files::given_to_child(unsafe { raw::bytes(path) });
    // SAFETY: as above.
    let verdict = unsafe { examine(AT_FDCWD, path) };
    let mut scratch = Scratch::new();
    // SAFETY: an environment, by the contract of posix_spawn.
    let environment = unsafe { environment(given, verdict.is_ok(), Some(&mut scratch)) };
    let mut id = 0;
    let mut error = run(&raw mut id, environment.texts);
    let mut verdict = verdict;
    if error == i32::from(E2BIG) && environment.is_copy {
        verdict = Err("has an environment too long to be observed");
        error = run(&raw mut id, given);
    }
    environment.release();
    let mut room = note::room();
    // SAFETY: a C string, by the contract of posix_spawn.
    let spelled = note::spell(AT_FDCWD, unsafe { raw::bytes(path) }, &mut room);
    match (error, verdict) {
        (0, Ok(())) => {
            let flags = id.cast_unsigned();
            note::append(&Entry { kind: kind::SPAWN, flags, path: spelled, ..Entry::default() });
        }
        (0, Err(reason)) => not_observed(reason, spelled),
        (error, _) => {
            let errno = error as u16;
            note::append(&Entry { kind: kind::LOOK, errno, path: spelled, ..Entry::default() });
        }
    }
    if let (0, Some(child)) = (error, core::ptr::NonNull::new(child)) {
        // SAFETY: the caller's place for the id.
        unsafe { child.write(id) };
    }
    error
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn posix_spawn(
    child: *mut i32,
    path: Path,
    actions: Any,
    attributes: Any,
    args: Texts,
    env: Texts,
) -> i32 {
    // SAFETY: the contract of posix_spawn.
    unsafe {
        start_child(
            child,
            path,
            env,
            |child, env| real!(posix_spawn(child: *mut i32, path: Path, actions: Any, attributes: Any, args: Texts, env: Texts) -> i32),
        )
    }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn posix_spawnp(
    child: *mut i32,
    file: Path,
    actions: Any,
    attributes: Any,
    args: Texts,
    env: Texts,
) -> i32 {
    // SAFETY: a C string, by the contract of posix_spawnp.
    let name = unsafe { raw::bytes(file) };
    if note::log().is_none() || name.contains(&b'/') {
        // SAFETY: the contract of posix_spawnp.
        return unsafe { posix_spawn(child, file, actions, attributes, args, env) };
    }
    // SAFETY: `search` gives C strings; the rest is the contract of posix_spawnp.
    let answer = unsafe {
        search(name, |path| {
            is_program(path).ok()?;
            let error = posix_spawn(child, path, actions, attributes, args, env);
            (!matches!(error as u16, ENOENT | ENOTDIR | EACCES)).then_some(error)
        })
    };
    answer.unwrap_or_else(|| {
        real!(posix_spawnp(child: *mut i32, file: Path, actions: Any, attributes: Any, args: Texts, env: Texts) -> i32)
    })
}

/// Calls one of libc's functions that give the process's own environment to a shell; `run` calls it.
unsafe fn with_shell<T>(run: impl FnOnce() -> T) -> T {
    if note::log().is_none() {
        return run();
    }
    let path = c"/bin/sh".as_ptr().cast();
    // SAFETY: a C string.
    let verdict = unsafe { examine(AT_FDCWD, path) };
    let spelled = [&b"/bin/sh"[..], b"", b""];
    match verdict {
        Ok(()) => note::append(&Entry { kind: kind::SHELL, path: spelled, ..Entry::default() }),
        Err(reason) => not_observed(reason, spelled),
    }
    let (variable, own) = (environ(), own_environment());
    // SAFETY: libc's own environment.
    let environment = unsafe { environment(own, verdict.is_ok(), None) };
    if variable.is_null() || !environment.is_copy {
        return run();
    }
    // SAFETY: libc's variable; the copy lives until it is put back.
    unsafe { variable.write(environment.texts) };
    let answer = run();
    // SAFETY: libc's variable.
    if unsafe { *variable } == environment.texts {
        // SAFETY: as above.
        unsafe { variable.write(own) };
        environment.release();
    } else {
        // SAFETY: a variable was changed meanwhile: the new array has our texts too.
        unsafe { hide_in(own_environment().cast_mut()) };
    }
    answer
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn system(command: Path) -> i32 {
    if command.is_null() {
        return real!(system(command: Path) -> i32);
    }
    // SAFETY: the contract of system.
    unsafe { with_shell(|| real!(system(command: Path) -> i32)) }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn popen(command: Path, mode: Path) -> *mut c_void {
    // SAFETY: the contract of popen.
    unsafe { with_shell(|| real!(popen(command: Path, mode: Path) -> *mut c_void)) }
}
