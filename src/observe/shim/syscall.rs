//! libc's `syscall`: calls that take paths are led to our own functions, those that cannot be are noted as unseen.

use crate::files;
use crate::log_layout::fact;
use crate::note::{self, UNKNOWN};

#[cfg(target_arch = "x86_64")]
mod number {
    pub const OPEN: isize = 2;
    pub const STAT: isize = 4;
    pub const FSTAT: isize = 5;
    pub const LSTAT: isize = 6;
    pub const ACCESS: isize = 21;
    pub const OPENAT: isize = 257;
    pub const FSTATAT: isize = 262;
    pub const UNLINKAT: isize = 263;
    pub const READLINKAT: isize = 267;
    pub const FACCESSAT: isize = 269;
    pub const FACCESSAT2: isize = 439;
    pub const RENAMEAT2: isize = 316;
    pub const STATX: isize = 332;
    pub const EXECVE: isize = 59;
    pub const EXECVEAT: isize = 322;
    pub const CLOSE: isize = 3;
    pub const DUP3: isize = 292;
    pub const CLOSE_RANGE: isize = 436;
    pub const EXIT_GROUP: isize = 231;
    pub const TIME: isize = 201;
    pub const CONNECT: isize = 42;
    pub const CHDIR: isize = 80;
    pub const FCHDIR: isize = 81;
    pub const GETDENTS64: isize = 217;
    pub const CLOCK: &[isize] = &[96, 98, 100, 228];
    pub const RANDOM: isize = 318;
    pub const PROCESS: &[isize] = &[39, 110, 111, 121, 124, 186];
    pub const SYSTEM: &[isize] = &[99, 138];
    pub const HOST: isize = 63;
    /// Calls that take paths or change what paths mean.
    pub const UNSEEN: &[isize] = &[
        76, 78, 82, 83, 84, 85, 86, 87, 88, 89, 90, 92, 94, 132, 133, 134, 137, 155, 161, 165, 188,
        189, 191, 192, 194, 195, 197, 198, 235, 258, 259, 260, 261, 264, 265, 266, 268, 272, 280,
        303, 304, 308, 29, 31, 68, 64, 105, 106, 240, 254, 301, 425, 426, 427, 428, 429, 430, 437,
        438, 442, 452, 463, 464, 465, 466,
    ];
}
#[cfg(target_arch = "aarch64")]
mod number {
    pub const OPEN: isize = -1;
    pub const STAT: isize = -2;
    pub const LSTAT: isize = -3;
    pub const ACCESS: isize = -4;
    pub const TIME: isize = -5;
    pub const OPENAT: isize = 56;
    pub const FSTAT: isize = 80;
    pub const FSTATAT: isize = 79;
    pub const UNLINKAT: isize = 35;
    pub const READLINKAT: isize = 78;
    pub const FACCESSAT: isize = 48;
    pub const FACCESSAT2: isize = 439;
    pub const RENAMEAT2: isize = 276;
    pub const STATX: isize = 291;
    pub const EXECVE: isize = 221;
    pub const EXECVEAT: isize = 281;
    pub const CLOSE: isize = 57;
    pub const DUP3: isize = 24;
    pub const CLOSE_RANGE: isize = 436;
    pub const EXIT_GROUP: isize = 94;
    pub const CONNECT: isize = 203;
    pub const CHDIR: isize = 49;
    pub const FCHDIR: isize = 50;
    pub const GETDENTS64: isize = 61;
    pub const CLOCK: &[isize] = &[113, 153, 165, 169];
    pub const RANDOM: isize = 278;
    pub const PROCESS: &[isize] = &[155, 156, 172, 173, 178];
    pub const SYSTEM: &[isize] = &[44, 179];
    pub const HOST: isize = 160;
    /// Calls that take paths or change what paths mean.
    pub const UNSEEN: &[isize] = &[
        5, 6, 8, 9, 11, 12, 14, 15, 33, 34, 36, 37, 38, 40, 41, 43, 45, 51, 53, 54, 88, 97, 224,
        264, 265, 268, 425, 426, 427, 428, 429, 430, 437, 442, 452, 463, 464, 465, 466,
    ];
}

/// Notes a call that is passed on as it is.
fn asked(n: isize) {
    if number::CLOCK.contains(&n) {
        note::fact(fact::CLOCK);
    } else if n == number::RANDOM {
        note::fact(fact::RANDOM);
    } else if number::PROCESS.contains(&n) {
        note::fact(fact::PROCESS);
    } else if number::SYSTEM.contains(&n) {
        note::fact(fact::SYSTEM);
    } else if n == number::HOST {
        note::fact(fact::HOST);
    } else if number::UNSEEN.contains(&n) {
        note::incomplete(b"made a system call that is not decoded", b"");
    }
}

/// Leads a call to the function that notes it; `None`: it is passed on as it is.
unsafe fn led(n: isize, a: usize, b: usize, c: usize, d: usize, e: usize) -> Option<isize> {
    use crate::states::called_from as states;
    use crate::{changes, environment, lookups, programs};
    let (fd, path) = (a as i32, b as *const u8);
    // SAFETY: these functions take the arguments of the system calls of the same names.
    let answer = unsafe {
        match n {
            number::OPEN => files::open(a as _, b as _, c as _),
            number::OPENAT => files::openat(fd, path, c as _, d as _),
            number::STAT => states::stat(a as _, b as _, UNKNOWN),
            number::LSTAT => states::lstat(a as _, b as _, UNKNOWN),
            number::FSTAT => states::fstat(fd, b as _, UNKNOWN),
            number::ACCESS => lookups::access(a as _, b as _),
            number::FSTATAT => states::fstatat(fd, path, c as _, d as _, UNKNOWN),
            number::FACCESSAT => lookups::faccessat(fd, path, c as _, 0),
            number::FACCESSAT2 => lookups::faccessat(fd, path, c as _, d as _),
            number::STATX => states::statx(fd, path, c as _, d as _, e as _, UNKNOWN),
            number::READLINKAT => return Some(lookups::readlinkat(fd, path, c as _, d)),
            number::UNLINKAT => changes::unlinkat(fd, path, c as _),
            number::RENAMEAT2 => changes::renameat2(fd, path, c as _, d as _, e as _),
            number::CHDIR => changes::chdir(a as _),
            number::FCHDIR => changes::fchdir(fd),
            number::EXECVE => programs::execve(a as _, b as _, c as _),
            number::EXECVEAT => programs::execveat(fd, path, c as _, d as _, e as _),
            number::CLOSE => files::close(fd),
            number::DUP3 => files::dup3(fd, b as _, c as _),
            number::CLOSE_RANGE => files::close_range(a as _, b as _, c as _),
            number::CONNECT => environment::connect(fd, b as _, c as _),
            number::TIME => return Some(environment::time_unknown(a as _)),
            number::GETDENTS64 => return Some(lookups::getdents64(fd, b as _, c)),
            number::EXIT_GROUP => {
                files::leave(false);
                return None;
            }
            _ => {
                asked(n);
                return None;
            }
        }
    };
    Some(answer as isize)
}

// Variadic in C; on x86-64 and aarch64 Linux fixed arguments are passed the same way.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn syscall(
    n: isize,
    a: usize,
    b: usize,
    c: usize,
    d: usize,
    e: usize,
    f: usize,
) -> isize {
    if note::log().is_some() {
        // SAFETY: the contract of syscall.
        if let Some(answer) = unsafe { led(n, a, b, c, d, e) } {
            return answer;
        }
    }
    real!(syscall(n: isize, a: usize, b: usize, c: usize, d: usize, e: usize, f: usize) -> isize)
}
