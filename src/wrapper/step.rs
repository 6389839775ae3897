//! What an invocation runs: a command with keys and an observation of its own.
//!
//! A command with several sources may be several of them, see `several.rs`. Read next: `request.rs`, and `mod.rs`, which runs it.

use super::Invocation;
use super::request::Request;
use crate::compilers::Policy;
use crate::store::Store;
use crate::store::draft::Draft;

/// A command that is looked up, run and stored by itself.
pub struct Step {
    /// The command.
    pub request: Request,
    /// What is known of it.
    pub policy: Policy,
    /// The result of another directory with which this one is to be compared.
    pub elsewhere: Option<Box<Draft>>,
}

impl Invocation {
    /// The whole command as one step; `None` if this process has no working directory.
    pub(super) fn step(&self, store: &Store, policy: Policy) -> Option<Step> {
        let mut request = Request::new(self.environment.0, self.call, &self.config)?;
        request.places = self.places(store, &policy, &request, true);
        request.command.may_show = self.may_show();
        Some(Step { request, policy, elsewhere: None })
    }
}
