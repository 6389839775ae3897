//! Mapped bytes and the raw operating system: the only room of a hit in which `unsafe` may be written.
//!
//! It knows no compilers, no records' meaning and no policy. Read next: `layout.rs`, then STORE in `ARCHITECTURE.md`.

pub mod stat;
