//! Functions that run programs.
//!
//! Before a program is run its file is looked at: one in which the shim cannot live is run without it, and the log says
//! so. All others must report in; the environment that they get names the shim and the log, even if our caller changed
//! its own.

use core::arch::naked_asm;
use core::ffi::c_void;

use crate::child_environment::{Scratch, environment};
use crate::examine::examine;
use crate::link::{errno, set_errno};
use crate::log_layout::{LogEntry, kind};
use crate::note::{self, Room};
use crate::raw::{self, AT_FDCWD, Any, CText, E2BIG, EACCES, ENOENT, ENOEXEC, ENOTDIR, Texts};
use crate::variables::{environ, find_variable, hide_in, own_environment, text_at};

/// Becomes a program, by whichever of libc's functions `run` calls with an environment.
unsafe fn become_program(dirfd: i32, path: CText, given: Texts, run: impl Fn(Texts) -> i32) -> i32 {
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
        Ok(()) => {
            note::append(&LogEntry { kind: kind::EXEC, path: spelled, ..LogEntry::default() })
        }
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
    note::append(&LogEntry {
        kind: kind::EXEC_FAILED,
        errno: error,
        path: spelled,
        ..LogEntry::default()
    });
    set_errno(error);
    answer
}

/// Says that a program was run without the shim; it will not report in.
fn not_observed(reason: &'static str, path: [&[u8]; 3]) {
    note::append(&LogEntry {
        kind: kind::INCOMPLETE,
        path: [b"ran a program that ", reason.as_bytes(), b""],
        second: path,
        ..LogEntry::default()
    });
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn execve(path: CText, args: Texts, env: Texts) -> i32 {
    // SAFETY: the contract of execve.
    unsafe {
        become_program(
            AT_FDCWD,
            path,
            env,
            |env| real!(execve(path: CText, args: Texts, env: Texts) -> i32),
        )
    }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn execv(path: CText, args: Texts) -> i32 {
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
    path: CText,
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
            |env| real!(execveat(dirfd: i32, path: CText, args: Texts, env: Texts, flags: i32) -> i32),
        )
    }
}

/// Calls `each` with every place where `PATH` may have the program, until it answers something.
unsafe fn search<T>(name: &[u8], each: impl Fn(CText) -> Option<T>) -> Option<T> {
    note::append(&LogEntry { kind: kind::SEARCH, path: [name, b"", b""], ..LogEntry::default() });
    // SAFETY: the process's own environment.
    let path = unsafe { find_variable(own_environment(), b"PATH=").map(|value| raw::bytes(value)) };
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
unsafe fn is_program(path: CText) -> Result<(), u16> {
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
pub unsafe extern "C" fn execvpe(file: CText, args: Texts, env: Texts) -> i32 {
    // SAFETY: a C string, by the contract of execvpe.
    let name = unsafe { raw::bytes(file) };
    if note::log().is_none() {
        return real!(execvpe(file: CText, args: Texts, env: Texts) -> i32);
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
unsafe fn exec_or_shell(path: CText, args: Texts, env: Texts) -> i32 {
    // SAFETY: the contract of execvpe.
    let answer = unsafe { execve(path, args, env) };
    if errno() == ENOEXEC {
        note::incomplete(b"ran a script without an interpreter", b"");
        return real!(execvpe(path: CText, args: Texts, env: Texts) -> i32);
    }
    answer
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn execvp(file: CText, args: Texts) -> i32 {
    // SAFETY: the contract of execvp.
    unsafe { execvpe(file, args, own_environment()) }
}

/// The environment that follows the arguments of `execle`.
unsafe extern "C" fn exec_with_environment(path: CText, args: Texts) -> i32 {
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
    path: CText,
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
            note::append(&LogEntry {
                kind: kind::SPAWN,
                flags,
                path: spelled,
                ..LogEntry::default()
            });
        }
        (0, Err(reason)) => not_observed(reason, spelled),
        (error, _) => {
            let errno = error as u16;
            note::append(&LogEntry {
                kind: kind::LOOK,
                errno,
                path: spelled,
                ..LogEntry::default()
            });
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
    path: CText,
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
            |child, env| real!(posix_spawn(child: *mut i32, path: CText, actions: Any, attributes: Any, args: Texts, env: Texts) -> i32),
        )
    }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn posix_spawnp(
    child: *mut i32,
    file: CText,
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
        real!(posix_spawnp(child: *mut i32, file: CText, actions: Any, attributes: Any, args: Texts, env: Texts) -> i32)
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
        Ok(()) => {
            note::append(&LogEntry { kind: kind::SHELL, path: spelled, ..LogEntry::default() })
        }
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
pub unsafe extern "C" fn system(command: CText) -> i32 {
    if command.is_null() {
        return real!(system(command: CText) -> i32);
    }
    // SAFETY: the contract of system.
    unsafe { with_shell(|| real!(system(command: CText) -> i32)) }
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn popen(command: CText, mode: CText) -> *mut c_void {
    // SAFETY: the contract of popen.
    unsafe { with_shell(|| real!(popen(command: CText, mode: CText) -> *mut c_void)) }
}
