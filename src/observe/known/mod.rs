//! Lists of what is known beforehand: pseudo files, and system calls that are harmless, each with its reason.

pub mod numbers;
pub mod pseudo;
