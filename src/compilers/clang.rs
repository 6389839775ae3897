//! clang and clang++: one source to one object, assembler, bitcode, PCH or module file.
//!
//! Read next: `command.rs`, which it shares with gcc.

use std::ffi::OsString;

use super::{Decision, Family, command};

/// What may be done with this command of clang.
pub fn judge(args: &[OsString]) -> Decision {
    command::judge(Family::Clang, args)
}
