//! Runs a tool under the preload observer.
