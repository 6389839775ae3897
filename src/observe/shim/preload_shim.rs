//! The preload shim: reports to the wrapper which files, variables and programs a process of the tool tree uses.
//!
//! It is a crate of its own, compiled by `build.rs` and loaded by `LD_PRELOAD` into programs that are not ours. So it
//! never allocates, locks, panics, changes `errno` or needs any other library; without a log it only passes calls on.
//! Read next: `note.rs` (what is noted), `link.rs` (how the real functions are found), `log_layout.rs`.
#![no_std]
#![allow(
    clippy::missing_safety_doc,
    reason = "each function has the contract of libc's function of its name"
)]
#![allow(clippy::disallowed_types, reason = "the shim is a crate of its own, without src/shm")]
#![allow(clippy::too_many_arguments, reason = "system calls have up to six")]

#[path = "../../os/elf.rs"]
#[allow(dead_code, reason = "the shim needs only a part of it")]
mod elf;
#[allow(dead_code, reason = "the shim needs only a part of it")]
mod log_layout;

#[macro_use]
mod hooks;

mod call;
mod changes;
mod child_environment;
mod descriptors;
mod environment;
mod examine;
mod files;
mod link;
mod lookups;
mod note;
mod observed;
mod old_stat;
mod programs;
mod raw;
mod states;
mod syscall;
mod variables;

#[panic_handler]
fn panic(_: &core::panic::PanicInfo) -> ! {
    raw::die()
}

/// Called by the loader when all objects are mapped and relocated.
extern "C" fn constructor(_argc: i32, _argv: *const *const u8, _envp: *const *const u8) {
    observed::start();
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
