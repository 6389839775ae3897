//! gcc, g++ and what goes by the name of `cc`: compiles, links, and what is only text.
//!
//! Read next: `command.rs`, which it shares with clang.

use std::ffi::OsString;

use super::{Decision, Family, command};

/// What may be done with this command of gcc.
pub fn judge(args: &[OsString]) -> Decision {
    command::judge(Family::Gcc, args)
}
