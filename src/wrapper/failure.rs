//! What is done with a run that failed: it is noted, stored if it repeats itself, or left.
//!
//! Its status, text and files stand whatever happens here. Read next: `builder/failing.rs`, `docs/failures.md`.

use super::content_lookup;
use super::step::Step;
use super::trust::Observers;
use super::{Invocation, StartState, Stored};
use crate::builder::failing;
use crate::builder::lookahead::Lookahead;
use crate::os::run::Ended;
use crate::store::Store;

impl Invocation {
    /// Stores a failing run, if the same came of it the last time.
    pub(super) fn keep_failure(
        &self,
        store: &Store,
        step: &Step,
        observers: Observers,
        ended: &Ended,
        seen: (StartState, Lookahead),
    ) {
        let shown = self.subject();
        if !failing::may_repeat(&step.policy, ended) {
            drop(observers);
            return self.log.line(format_args!("tool failed: {shown}"));
        }
        match self.store_result(store, step, observers, ended, seen) {
            Ok(Stored::New(_) | Stored::Confirmed(_)) => {
                self.log.line(format_args!("tool failed as the last time, stored: {shown}"));
            }
            Ok(Stored::Noted) => self.log.line(format_args!("tool failed, noted: {shown}")),
            Err(reason) => {
                let reason = reason.name();
                self.log.line(format_args!("tool failed, not stored, {reason}: {shown}"));
            }
        }
    }

    /// Before a command is run although its result may be stored: it may give another one.
    pub(super) fn forget_failures(&self, store: &Store, step: &Step) {
        if !self.may_store(store) {
            return;
        }
        let Step { request, policy, .. } = step;
        let mut keys = content_lookup::result_keys(store, &request.wanted(store, policy));
        keys.push(request.command.direct_key());
        for key in keys {
            // What is left is served again where the run itself is not stored.
            if let Err(error) = store.forget_failures(&key) {
                self.log.line(format_args!("failing runs are not forgotten: {error}"));
            }
        }
    }
}
