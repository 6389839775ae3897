//! The environment as records compare it.

use core::ffi::CStr;

use xxhash_rust::xxh3::{Xxh3, xxh3_128};

use crate::record::{self, Variable};
use crate::shm::raw;
use crate::shm::start::Start;

/// Variables that say nothing of a build to a program that walks the whole environment: a shell, a session or make
/// sets them anew each time.
pub const UNIMPORTANT_VARIABLES: &[&[u8]] = &[
    b"_",                        // the shell's last command
    b"SHLVL",                    // how deep shells are nested
    b"OLDPWD",                   // where the shell was before
    b"MAKEFLAGS",                // make's jobserver
    b"MFLAGS",                   // an older name of it
    b"MAKELEVEL",                // how deep make is nested
    b"CARGO_MAKEFLAGS",          // cargo's jobserver
    b"DBUS_SESSION_BUS_ADDRESS", // the desktop session
    b"INVOCATION_ID",            // the systemd unit's run
    b"JOURNAL_STREAM",           // the systemd unit's run
    b"SSH_AGENT_PID",            // the login
    b"SSH_AUTH_SOCK",            // the login
    b"SSH_CLIENT",               // the login
    b"SSH_CONNECTION",           // the login
    b"SSH_TTY",                  // the login
    b"STY",                      // screen's session
    b"TERM_SESSION_ID",          // the terminal's window
    b"TMUX",                     // tmux's session
    b"TMUX_PANE",                // tmux's window
    b"WINDOWID",                 // the terminal's window
    b"XDG_SESSION_ID",           // the login
];

/// The environment as records compare it.
#[derive(Debug, Clone, Copy)]
pub struct Environment(pub Start);

/// Whether a variable may be in a result of which it is only known that all variables were read.
pub fn may_count(name: &[u8]) -> bool {
    !UNIMPORTANT_VARIABLES.contains(&name) && !name.starts_with(b"IBID_")
}

impl Environment {
    /// The value of `name`.
    pub fn value(&self, name: &[u8]) -> Option<&'static [u8]> {
        self.0.variable(name).map(CStr::to_bytes)
    }

    /// A hash of all variables that may count, in any order, but not of `PWD`: it has an entry of its own beside it.
    pub fn whole(&self) -> [u8; 16] {
        let sum = self.0.environment().map(CStr::to_bytes).fold(0u128, |sum, entry| {
            let name = entry.split(|byte| *byte == b'=').next().unwrap_or(entry);
            if !may_count(name) || name == b"PWD" {
                return sum;
            }
            sum.wrapping_add(xxh3_128(entry))
        });
        sum.to_le_bytes()
    }

    /// All variables of the dynamic loader, `NAME=VALUE`.
    pub fn loader_entries(&self) -> impl Iterator<Item = &'static [u8]> {
        self.0.environment().map(CStr::to_bytes).filter(|entry| entry.starts_with(b"LD_"))
    }

    /// A hash of all variables of the dynamic loader, in any order.
    pub fn loader(&self) -> [u8; 16] {
        let entries = self.loader_entries();
        entries.fold(0u128, |sum, entry| sum.wrapping_add(xxh3_128(entry))).to_le_bytes()
    }

    /// What a record holds of a variable, or of what its flags say instead; `None` if it is unset.
    pub fn digest(&self, name: &[u8], flags: u32) -> Option<[u8; 16]> {
        if flags & record::WHOLE_ENVIRONMENT != 0 {
            Some(self.whole())
        } else if flags & record::HOST != 0 {
            Some(host())
        } else if flags & record::LOADER != 0 {
            Some(self.loader())
        } else {
            self.value(name).map(|value| xxh3_128(value).to_le_bytes())
        }
    }

    /// Whether a variable is as it was recorded.
    pub fn agrees(&self, name: &CStr, recorded: &Variable) -> bool {
        let then = (recorded.flags & record::IS_SET != 0).then_some(recorded.value);
        self.digest(name.to_bytes(), recorded.flags) == then
    }
}

/// A hash of what `uname` says.
fn host() -> [u8; 16] {
    let mut hasher = Xxh3::new();
    raw::host(|field| hasher.update(field.to_bytes_with_nul()));
    hasher.digest128().to_le_bytes()
}
