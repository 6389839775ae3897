//! The shim, which the loader puts into each program of a tool tree, and the log in which it notes what they do.
//!
//! Inside the tool, a crate of its own that `build.rs` compiles: `preload_shim.rs` and all files that are not named here.
//! On our side: `log.rs` reads the log, `log_outer.rs` opens that of an observer further out. `log_layout.rs` is in both.

pub mod log;
#[allow(dead_code, reason = "the shim uses the rest of it")]
pub mod log_layout;
pub mod log_outer;

/// The variable that leads the shim to the log: sixteen hex digits that the log repeats, a colon, the log's path.
pub const IBID_OBSERVED: &str = "IBID_OBSERVED";
