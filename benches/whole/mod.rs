//! What benches of whole processes share: the stage, the tools, the workloads, starting and timing, and the figures.
//!
//! Every figure is one process seen from outside, from spawn to exit. Read next: `tools.rs`, `workloads.rs`.

pub mod figures;
pub mod process;
pub mod stage;
pub mod tools;
pub mod workloads;
