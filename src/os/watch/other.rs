//! Another process: its memory, and a start without a clock of its own.
//!
//! Programs read the clock without a system call, in memory that the kernel gives them (the vDSO). A program
//! without its address asks the kernel instead, where we can see it.

use std::io::IoSliceMut;
use std::mem::MaybeUninit;
use std::ptr;

use rustix::io::Errno;

use super::listener::Listener;

/// Why memory could not be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unread {
    /// Nothing is there, or the process has ended: the call that named it will fail.
    Missing,
    /// The kernel does not let us.
    Forbidden,
}

const PAGE_LEN_BYTES: usize = 4096;

/// Reads what is there of a thread's memory from `address` on, page by page, up to the slice's length.
pub fn read_memory(thread: u32, address: u64, into: &mut [u8]) -> Result<usize, Unread> {
    let Ok(start) = usize::try_from(address) else { return Err(Unread::Missing) };
    let len = into.len();
    let first = len.min(PAGE_LEN_BYTES - start % PAGE_LEN_BYTES);
    let second = len.saturating_sub(first).min(PAGE_LEN_BYTES);
    let remote = |start: usize, len| libc::iovec { iov_base: start as *mut _, iov_len: len };
    let theirs = [remote(start, first), remote(start.wrapping_add(first), second)];
    let ours = [IoSliceMut::new(into)];
    let thread = thread.cast_signed();
    let (local, count) = (ours.as_ptr().cast(), if second > 0 { 2 } else { 1 });
    // SAFETY: an `IoSliceMut` has the layout of an iovec; the kernel writes only into it, and checks the other side's.
    let read = unsafe { libc::process_vm_readv(thread, local, 1, theirs.as_ptr(), count, 0) };
    usize::try_from(read).map_err(|_| match std::io::Error::last_os_error().raw_os_error() {
        Some(libc::EFAULT | libc::ESRCH) => Unread::Missing,
        _ => Unread::Forbidden,
    })
}

/// Whether a thread with this number is there.
pub fn is_there(thread: u32) -> bool {
    // SAFETY: signal 0 only asks.
    let answer = unsafe { libc::syscall(libc::SYS_tkill, thread, 0) };
    answer == 0 || std::io::Error::last_os_error().raw_os_error() != Some(libc::ESRCH)
}

/// Whether a thread with this number is there, and is one of this process.
pub fn is_thread_of(thread: u32, process: u32) -> bool {
    // SAFETY: signal 0 only asks.
    let answer = unsafe { libc::syscall(libc::SYS_tgkill, process, thread, 0) };
    answer == 0 || std::io::Error::last_os_error().raw_os_error() != Some(libc::ESRCH)
}

fn write_word(process: i32, address: usize, word: usize) -> bool {
    let request = libc::PTRACE_POKEDATA;
    // SAFETY: changes the memory of a process that is stopped for us, none of ours.
    unsafe { libc::ptrace(request, process, address as *mut libc::c_void, word) == 0 }
}

/// A process that is about to become a program, and will find no clock in its memory.
#[derive(Debug, Clone, Copy)]
pub struct Clockless {
    process: i32,
}

/// How the start of such a program stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClocklessStart {
    /// It has not become the program yet.
    Ahead,
    /// It runs, and has no clock of its own.
    Done,
    /// It is gone, or has its clock.
    Failed,
}

impl Clockless {
    /// To be called while the process waits to be let into `execve`, and always by the same thread.
    pub fn begin(process: u32) -> Result<Clockless, Errno> {
        let process = process.cast_signed();
        let none = ptr::null_mut::<libc::c_void>();
        // SAFETY: touches no memory of ours.
        let answer = unsafe {
            libc::ptrace(libc::PTRACE_SEIZE, process, none, libc::PTRACE_O_TRACEEXEC as usize)
        };
        if answer == 0 { Ok(Clockless { process }) } else { Err(Errno::PERM) }
    }

    /// Looks whether it stands at the beginning of the program; then takes the clock's address away and lets it run.
    pub fn attend(self) -> ClocklessStart {
        let Some(stop) = self.stop() else { return ClocklessStart::Ahead };
        if stop == libc::SIGTRAP | libc::PTRACE_EVENT_EXEC << 8 {
            let hidden = self.hide_clock().is_some();
            self.let_go();
            return if hidden { ClocklessStart::Done } else { ClocklessStart::Failed };
        }
        // A signal came first: it is passed on.
        let signal = if stop >> 8 == 0 { usize::try_from(stop).unwrap_or(0) } else { 0 };
        let none = ptr::null_mut::<libc::c_void>();
        // SAFETY: touches no memory of ours.
        unsafe { libc::ptrace(libc::PTRACE_CONT, self.process, none, signal) };
        ClocklessStart::Ahead
    }

    /// It makes a call instead of becoming the program: lets both go.
    pub fn give_up(self, listener: &Listener) {
        let none = ptr::null_mut::<libc::c_void>();
        // SAFETY: touches no memory of ours.
        unsafe { libc::ptrace(libc::PTRACE_INTERRUPT, self.process, none, 0_usize) };
        listener.go_on();
        let mut state = MaybeUninit::<libc::siginfo_t>::zeroed();
        let flags = libc::WSTOPPED | libc::WEXITED | libc::WNOWAIT | libc::__WALL;
        let id = self.process.cast_unsigned();
        // SAFETY: the answer fits into `state`. An end is left to the process that waits for it.
        unsafe { libc::waitid(libc::P_PID, id, state.as_mut_ptr(), flags) };
        self.let_go();
    }

    fn let_go(self) {
        let none = ptr::null_mut::<libc::c_void>();
        // SAFETY: touches no memory of ours.
        unsafe { libc::ptrace(libc::PTRACE_DETACH, self.process, none, 0_usize) };
    }

    /// Why it stopped, if it did; an end is left to the process that waits for it.
    fn stop(self) -> Option<i32> {
        // SAFETY: all-zero bytes are a valid `siginfo_t`.
        let mut state: libc::siginfo_t = unsafe { std::mem::zeroed() };
        let flags = libc::WSTOPPED | libc::WNOHANG | libc::__WALL;
        let id = self.process.cast_unsigned();
        // SAFETY: the answer fits into `state`.
        let answer = unsafe { libc::waitid(libc::P_PID, id, &raw mut state, flags) };
        // SAFETY: filled in by the kernel, or zero.
        let process = unsafe { state.si_pid() };
        // SAFETY: as above.
        let stop = unsafe { state.si_status() };
        (answer == 0 && process == self.process).then_some(stop)
    }

    /// Overwrites the kind of the entry that holds the clock's address (`AT_SYSINFO_EHDR`) by "ignore".
    fn hide_clock(self) -> Option<()> {
        const CLOCK: usize = 33;
        const IGNORED: usize = 1;
        let word_len = size_of::<usize>();
        let word = |at: usize| -> Option<usize> {
            let mut bytes = [0; size_of::<usize>()];
            let thread = self.process.cast_unsigned();
            let read = read_memory(thread, at as u64, &mut bytes).ok()?;
            (read == word_len).then_some(usize::from_le_bytes(bytes))
        };
        // The argument count, the arguments, a null, the environment, a null, pairs of kind and value.
        let stack = self.stack()?;
        let mut at = stack + (word(stack)? + 2) * word_len;
        while word(at)? != 0 {
            at += word_len;
        }
        at += word_len;
        loop {
            match word(at)? {
                0 => return Some(()),
                CLOCK if !write_word(self.process, at, IGNORED) => return None,
                _ => at += 2 * word_len,
            }
        }
    }

    /// Where its stack pointer stands.
    fn stack(self) -> Option<usize> {
        #[cfg(target_arch = "x86_64")]
        const POINTER: usize = 19;
        #[cfg(not(target_arch = "x86_64"))]
        const POINTER: usize = 31;
        const GENERAL: usize = 1;
        let mut registers = [0_usize; 64];
        let mut place = libc::iovec {
            iov_base: registers.as_mut_ptr().cast(),
            iov_len: size_of_val(&registers),
        };
        let request = libc::PTRACE_GETREGSET;
        // SAFETY: the kernel writes no more than the length in `place`.
        let answer = unsafe { libc::ptrace(request, self.process, GENERAL, &raw mut place) };
        (answer == 0).then_some(registers[POINTER])
    }
}
