//! Before libc: the ELF entry, the net below the probe, and the memory functions that libc has not resolved yet; and
//! the heap of what runs after libc.
//!
//! On a hit the process ends here. On anything else libc's own `_start` runs with the stack as the kernel left it, and
//! the program is an ordinary one. Read next: `probe/mod.rs`.

mod heap;
mod memory;

use core::cell::UnsafeCell;

use ibid::probe::deliver::Undelivered;
use ibid::probe::{self, Answer, Before};
use ibid::shm::start::Start;
use ibid::shm::words::{Ordering, Word};
use ibid::shm::{net, raw};

#[global_allocator]
static HEAP: heap::Heap = heap::Heap;

/// The probe's only memory beside its stack: a record is copied into it. Untouched pages cost nothing.
const ARENA_BYTES: usize = 4 << 20;

struct Arena(UnsafeCell<[u8; ARENA_BYTES]>);
// SAFETY: used once, by `ibid_probe`, while the process has one thread.
unsafe impl Sync for Arena {}
static ARENA: Arena = Arena(UnsafeCell::new([0; ARENA_BYTES]));

/// What the probe came to, see [`before`].
static BEFORE: Word = Word::new(Before::Faulted as u64);

/// What happened before libc started.
pub fn before() -> Before {
    match BEFORE.load(Ordering::Relaxed) {
        0 => Before::NotLooked,
        1 => Before::Missed,
        3 => Before::Unwritable,
        _ => Before::Faulted,
    }
}

/// The exit status of what is delivered.
static STATUS: Word = Word::new(0);

/// The initial stack pointer, for going on at `_start` after a fault.
static INITIAL_STACK: Word = Word::new(0);

#[cfg(target_arch = "x86_64")]
core::arch::global_asm!(
    ".globl ibid_entry",
    "ibid_entry:",
    // The kernel leaves everything but rsp unspecified or zero; rdx is a function for atexit, 0 in a static program.
    "mov r12, rsp",
    "mov r13, rdx",
    "xor ebp, ebp",
    "mov rdi, rsp",
    "and rsp, -16",
    "call {probe}",
    "mov rsp, r12",
    "mov rdx, r13",
    "xor ebp, ebp",
    "jmp _start",
    ".globl ibid_resume",
    "ibid_resume:",
    "and rsp, -16",
    "call {disarm}",
    "mov rsp, [rip + {stack}]",
    "xor edx, edx",
    "xor ebp, ebp",
    "jmp _start",
    probe = sym ibid_probe,
    disarm = sym ibid_disarm,
    stack = sym INITIAL_STACK,
);

#[cfg(target_arch = "aarch64")]
core::arch::global_asm!(
    ".globl ibid_entry",
    "ibid_entry:",
    // sp is 16-byte aligned by the ABI; x0 is a function for atexit, 0 in a static program.
    "mov x19, sp",
    "mov x20, x0",
    "mov x29, xzr",
    "mov x30, xzr",
    "mov x0, sp",
    "bl {probe}",
    "mov sp, x19",
    "mov x0, x20",
    "mov x29, xzr",
    "mov x30, xzr",
    "b _start",
    ".globl ibid_resume",
    "ibid_resume:",
    "bl {disarm}",
    "adrp x1, {stack}",
    "add x1, x1, :lo12:{stack}",
    "ldr x1, [x1]",
    "mov sp, x1",
    "mov x0, xzr",
    "mov x29, xzr",
    "mov x30, xzr",
    "b _start",
    probe = sym ibid_probe,
    disarm = sym ibid_disarm,
    stack = sym INITIAL_STACK,
);

unsafe extern "C" {
    fn ibid_resume();
}

/// Called by `ibid_entry`; returns if the tool must run.
unsafe extern "C" fn ibid_probe(stack: *const usize) {
    INITIAL_STACK.store(stack as u64, Ordering::Relaxed);
    // SAFETY: the entry passes the kernel's initial stack pointer.
    let start = unsafe { Start::from_stack(stack) };
    // SAFETY: there is one thread yet, and `ibid_resume` disarms the net and goes to `_start`.
    unsafe { net::arm(ibid_resume) };
    // SAFETY: nobody else uses the arena: the entry runs once.
    let arena = unsafe { &mut *ARENA.0.get() };
    let answer = probe::before_libc(start, arena, |status| {
        STATUS.store(u64::from(status), Ordering::Relaxed);
        // SAFETY: there is one thread, and `ibid_end` does not return.
        unsafe { net::arm_for_the_end(ibid_end) };
    });
    let before = match answer {
        Some(Answer::Hit(_, status)) => raw::exit(i32::from(status)),
        Some(Answer::Undelivered(Undelivered::Unwritable)) => Before::Unwritable,
        Some(Answer::Miss | Answer::Undelivered(_)) => Before::Missed,
        None => Before::NotLooked,
    };
    BEFORE.store(before as u64, Ordering::Relaxed);
    ibid_disarm();
}

/// A fault when all is delivered: only counting is left, and the tool must not run as well.
unsafe extern "C" fn ibid_end() {
    raw::exit(i32::from(STATUS.load(Ordering::Relaxed) != 0));
}

extern "C" fn ibid_disarm() {
    // SAFETY: there is one thread yet, and the net was armed.
    unsafe { net::disarm() };
}
