//! clang and clang++: compiles (to objects, assembler, bitcode, PCH, modules), links, and what is only text.
//!
//! Read next: `command.rs`, which it shares with gcc.

use std::ffi::OsString;

use super::{Decision, Family, command};

/// What may be done with this command of clang.
pub fn judge(args: &[OsString]) -> Decision {
    command::judge(Family::Clang, args)
}
