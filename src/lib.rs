//! ibid, a compiler cache in shared memory; every module that `ARCHITECTURE.md` describes.
//!
//! Without the `std` feature only the four modules of a hit are compiled, as `no_std` without `alloc`:
//! that is what keeps a hit free of both.
#![cfg_attr(not(feature = "std"), no_std)]

pub mod shm;

pub mod index;
pub mod probe;
pub mod record;

#[cfg(feature = "std")]
pub mod env;
#[cfg(feature = "std")]
pub mod error;
#[cfg(feature = "std")]
pub mod os;
#[cfg(feature = "std")]
pub mod outcome;

#[cfg(feature = "std")]
pub mod builder;
#[cfg(feature = "std")]
pub mod compilers;
#[cfg(feature = "std")]
pub mod config;
#[cfg(feature = "std")]
pub mod observe;
#[cfg(feature = "std")]
pub mod remote;
#[cfg(feature = "std")]
pub mod store;

#[cfg(feature = "std")]
pub mod cli;
#[cfg(feature = "std")]
pub mod wrapper;

#[cfg(test)]
#[path = "../tests/it/about.rs"]
mod about;

#[cfg(test)]
#[path = "../tests/it/random.rs"]
#[allow(missing_docs, dead_code, reason = "it belongs to the integration tests")]
#[allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "as there")]
mod random;
