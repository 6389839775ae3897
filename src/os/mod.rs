//! What the operating system gives: running a tool with the same surroundings as without us, becoming a tool, finding one.
//!
//! The only module with `cfg(target_os)`, and the only one that starts, replaces or signals a process.
//! Read next: `run.rs` (start a tool and pass its text on), `exec.rs` (become it), `path.rs` (find it).

pub mod byte_lock;
pub mod detached;
pub mod elf;
pub mod exec;
pub mod file_system;
pub mod input;
pub mod library_cache;
pub mod local_time;
pub mod map;
pub mod path;
pub mod processes;
pub mod run;
pub mod status;
pub mod unnamed;
pub mod watch;

mod descriptors;
mod signals;
mod stream;

pub use signals::{begin, inherited, without_signals};
