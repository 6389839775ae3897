//! The preload shim: tells the wrapper which files, variables and programs a process of the tool tree uses.
//!
//! It is a crate of its own, compiled by `build.rs` and loaded by `LD_PRELOAD` into programs that are not ours. So it
//! never allocates, locks, panics, changes `errno` or needs any other library; without a log it only passes calls on.
//! Read next: `shim/note.rs` (what is noted), `shim/link.rs` (how the real functions are found), `log_layout.rs`.
#![no_std]
#![allow(
    clippy::missing_safety_doc,
    reason = "each function has the contract of libc's function of its name"
)]
#![allow(clippy::disallowed_types, reason = "the shim is a crate of its own, without src/shm")]
#![allow(clippy::too_many_arguments, reason = "system calls have up to six")]

#[path = "../os/elf.rs"]
#[allow(dead_code, reason = "the shim needs only a part of it")]
mod elf;
#[path = "log_layout.rs"]
#[allow(dead_code, reason = "the shim needs only a part of it")]
mod log_layout;

#[path = "shim/raw.rs"]
mod raw;
#[path = "shim/link.rs"]
#[macro_use]
mod link;
#[path = "shim/note.rs"]
#[macro_use]
mod note;

#[path = "shim/changes.rs"]
mod changes;
#[path = "shim/environment.rs"]
mod environment;
#[path = "shim/files.rs"]
mod files;
#[path = "shim/lookups.rs"]
mod lookups;
#[path = "shim/old_stat.rs"]
mod old_stat;
#[path = "shim/programs.rs"]
mod programs;
#[path = "shim/states.rs"]
mod states;
#[path = "shim/syscall.rs"]
mod syscall;

#[panic_handler]
fn panic(_: &core::panic::PanicInfo) -> ! {
    raw::die()
}

/// Called by the loader when all objects are mapped and relocated.
extern "C" fn constructor(_argc: i32, _argv: *const *const u8, _envp: *const *const u8) {
    note::start();
}

/// Called by libc's `exit`.
extern "C" fn destructor() {
    files::leave(true);
}

#[used]
#[unsafe(link_section = ".init_array")]
static CONSTRUCTOR: extern "C" fn(i32, *const *const u8, *const *const u8) = constructor;
#[used]
#[unsafe(link_section = ".fini_array")]
static DESTRUCTOR: extern "C" fn() = destructor;
