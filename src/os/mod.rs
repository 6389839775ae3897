//! What the operating system gives beside mapped bytes.

pub mod elf;
