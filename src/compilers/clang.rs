//! clang and clang++: one source to one object, assembler, bitcode, PCH or module file.
//!
//! Read next: `command.rs`, which it shares with gcc.

use std::ffi::OsString;

use super::{Family, Verdict, command};

/// What may be done with this command of clang.
pub fn judge(args: &[OsString]) -> Verdict {
    command::judge(Family::Clang, args)
}
