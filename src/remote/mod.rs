//! Storage beyond this machine.
//!
//! No network code is here: that is in helper programs (`src/storage/`), which are spoken to by ccache's storage-helper
//! protocol. Read next: `protocol.rs`.

pub mod protocol;
