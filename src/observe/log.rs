//! The log that the preload shim writes.
