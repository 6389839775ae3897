//! The look-ups of a step: by stamps, and by content.
//!
//! What is found is delivered at once. Read next: `probe/mod.rs`, `content_lookup/mod.rs`.

use super::content_lookup::ByContent;
use super::request::Request;
use super::step::Step;
use super::{ARENA_BYTES, Invocation};
use crate::os::input::Source;
use crate::outcome::InternalError;
use crate::probe::deliver::Undelivered;
use crate::probe::judge::By;
use crate::probe::{self, Answer, Before};
use crate::store::Store;

/// How a look-up ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Looked {
    /// All is delivered; the exit status.
    Hit(u8),
    /// Nothing is found.
    Missed,
    /// Something was found that cannot be delivered: the tool is to run.
    Undelivered,
    /// Something was found whose text cannot be written.
    Unwritable,
    /// Something was found whose text is not to be shown.
    Unwanted,
}

impl Invocation {
    /// Looks the command up by stamps, unless that was done before.
    pub(super) fn look_up_by_stamps(
        &self,
        store: &Store,
        request: &Request,
        before: Before,
    ) -> Looked {
        let Request { command, environment, source, .. } = request;
        if before == Before::Missed && source.is_none() {
            return Looked::Missed;
        }
        let mut arena = vec![0; ARENA_BYTES];
        match probe::look(&store.cache, command, environment, &mut arena, |_| {}) {
            Answer::Hit(By::Stamps, status) => self.was_hit("direct hit", request, status),
            Answer::Hit(By::Content, status) => self.was_hit("content hit", request, status),
            Answer::Undelivered(why) => self.was_not_delivered(store, why),
            Answer::Miss => Looked::Missed,
        }
    }

    /// Looks the command up by content.
    pub(super) fn look_up_by_content(&self, store: &Store, step: &mut Step) -> Looked {
        let Step { request, policy, elsewhere } = step;
        let wanted = request.wanted(store, policy);
        match self.look_by_content(store, &wanted, &mut vec![0; ARENA_BYTES]) {
            ByContent::Hit(status) => self.was_hit("content hit", request, status),
            ByContent::Undelivered(why) => self.was_not_delivered(store, why),
            ByContent::Miss => Looked::Missed,
            ByContent::Compare(draft) => {
                self.log.line("a result from elsewhere is compared with the tool's");
                *elsewhere = Some(draft);
                Looked::Missed
            }
        }
    }

    fn was_hit(&self, how: &str, request: &Request, status: u8) -> Looked {
        request.source.iter().for_each(Source::leave_behind);
        let of = if status == 0 { "" } else { " of a failing run" };
        self.log.line(format_args!("{how}{of}: {}", self.subject()));
        Looked::Hit(status)
    }

    fn was_not_delivered(&self, store: &Store, why: Undelivered) -> Looked {
        self.log.line(format_args!("found, but not delivered: {why:?}"));
        match why {
            Undelivered::Corrupt => store.count_error(InternalError::Corrupt),
            Undelivered::Failed(_) => store.count_error(InternalError::Deliver),
            Undelivered::Unwritable => return Looked::Unwritable,
            Undelivered::Unwanted => {
                self.speaks();
                return Looked::Unwanted;
            }
            Undelivered::Gone
            | Undelivered::Special
            | Undelivered::NoRoom
            | Undelivered::OverLimit
            | Undelivered::Interrupted => {}
        }
        Looked::Undelivered
    }
}
