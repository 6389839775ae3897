//! How a tool ended.

use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;

/// A wait status, as the kernel gave it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Status(i32);

impl Status {
    /// From the number that `wait` gives.
    pub const fn from_raw(raw: i32) -> Self {
        Status(raw)
    }

    /// The number that `wait` gave.
    pub const fn raw(self) -> i32 {
        self.0
    }

    /// Whether it exited with 0.
    pub const fn is_success(self) -> bool {
        self.0 == 0
    }

    /// The exit code, if it exited.
    pub fn code(self) -> Option<u8> {
        ExitStatus::from_raw(self.0).code().and_then(|code| u8::try_from(code).ok())
    }

    /// The signal that killed it, if one did.
    pub fn signal(self) -> Option<i32> {
        ExitStatus::from_raw(self.0).signal()
    }

    /// Whether it left a core.
    pub fn core_dumped(self) -> bool {
        ExitStatus::from_raw(self.0).core_dumped()
    }
}
