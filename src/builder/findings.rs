//! What is found out of an observation when it is asked for first, and asked for again.
//!
//! Read next: `scripts.rs`, `refusal.rs`.

use std::cell::OnceCell;
use std::path::PathBuf;

use super::script_texts::Knowledge;

/// What was found out so far.
#[derive(Debug, Default)]
pub struct Findings {
    /// What is known of the scripts that ran.
    pub(super) scripts: OnceCell<Knowledge>,
    /// Plugins that no policy names.
    pub(super) foreign_plugins: OnceCell<Vec<PathBuf>>,
}
