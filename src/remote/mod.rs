//! Storage beyond this machine: results of others are fetched, own ones are sent.
//!
//! No network code is here: that is in helper programs, which are spoken to by ccache's storage-helper protocol. Nothing
//! here may fail or delay a build: what a storage does costs a build at most a second. Read next: `fetch.rs` (a look-up),
//! `upload.rs`, `client.rs`, `docs/remote.md`.

pub mod client;
pub mod fetch;
pub mod health;
pub mod packed;
pub mod protocol;
pub mod queue;
pub mod runtime;
pub mod sign;
pub mod upload;
