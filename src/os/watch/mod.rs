//! Watching the system calls of a tool and of all that it starts: the kernel asks us before each one that is not harmless.
//!
//! It only passes on what was asked and lets every call go on as it is; what a call means is the observer's business.
//! Read next: `filter.rs` (which calls, and how the tool comes to its filter), `listener.rs` (what the kernel asks),
//! `attendant.rs` (what answers when we are gone), `other.rs` (memory and start of another process). See seccomp(2) and seccomp_unotify(2).

mod attendant;
mod filter;
mod listener;
mod other;
mod shared;

pub use filter::{Door, Filter, Privileges, prepare};
pub use listener::{Listener, Waited};
pub use other::{Clockless, ClocklessStart, Unread, is_there, is_thread_of, read_memory};
pub use shared::Asked;
