//! Mapped bytes and the raw operating system: with `os`, `entry` and the preload shim the only modules with `unsafe`.
//!
//! It knows no compilers, no meaning of a record and no policy; it allocates nothing and never panics.
//! Read next: `layout.rs`, then `docs/store.md`.

pub mod access;
pub mod clock;
pub mod counters;
pub mod cpu;
pub mod digests;
pub mod events;
pub mod fault;
pub mod layout;
pub mod map;
pub mod mask;
pub mod net;
pub mod raw;
pub mod segments;
pub mod start;
pub mod stat;
mod syscall;
pub mod text;
pub mod words;
