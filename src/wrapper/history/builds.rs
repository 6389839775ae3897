//! Which build an invocation belongs to.
//!
//! One that has no name (`IBID_BUILD`) is that of make, ninja or cargo above it. A miss looks for that. A hit only notes its
//! session and its parent, so its build is found here: by other calls of the same parent, by a parent that still runs, by the
//! one build of the session at that time; else calls of one session are a build until nothing comes for a minute.

use std::collections::HashMap;

use crate::shm::events::{Event, NO_BUILDER, Text};
use crate::wrapper::event::Builder;
use crate::wrapper::log::time_of_day;

/// A pause of a session after which another build begins.
const PAUSE_NS: u64 = 60_000_000_000;
/// A call so shortly before or after a build of its session is a part of it.
const NEAR_NS: u64 = 2_000_000_000;

/// A build.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Build {
    /// Its name: that of `IBID_BUILD`, a program and the number of its process, or a session.
    pub name: String,
    /// When its first call ended that is known, ns since the epoch.
    pub began_ns: u64,
    /// When its last one did.
    pub ended_ns: u64,
    /// How many calls of it are known.
    pub calls: usize,
}

impl Build {
    fn new(name: String, event: &Event) -> Build {
        Build { name, began_ns: event.time_ns, ended_ns: event.time_ns, calls: 0 }
    }

    fn take_in(&mut self, event: &Event) {
        self.began_ns = self.began_ns.min(event.time_ns);
        self.ended_ns = self.ended_ns.max(event.time_ns);
        self.calls += 1;
    }

    /// How long before or after this build a time lies.
    fn distance_ns(&self, time_ns: u64) -> u64 {
        self.began_ns.saturating_sub(time_ns).max(time_ns.saturating_sub(self.ended_ns))
    }
}

/// The builds, in the order in which they began, and for each event the place of its own; events come by time.
pub fn builds<'e>(events: impl Iterator<Item = &'e Event>) -> (Vec<Build>, Vec<usize>) {
    let events: Vec<&Event> = events.collect();
    let mut known = Builds::default();
    let mut of: Vec<Option<usize>> =
        events.iter().map(|event| known.that_is_known(event)).collect();
    for (event, build) in events.iter().zip(&mut of).filter(|(_, build)| build.is_none()) {
        *build = known.by_parent(event);
    }
    // Only then do all known builds have their times.
    for (event, build) in events.iter().zip(&mut of).filter(|(_, build)| build.is_none()) {
        *build = Some(known.by_session(event));
    }
    let of = of.into_iter().flatten();
    let mut order: Vec<usize> = (0..known.all.len()).collect();
    order.sort_by_key(|build| known.all[*build].began_ns);
    let mut place = vec![0; order.len()];
    order.iter().enumerate().for_each(|(at, build)| place[*build] = at);
    let of = of.map(|build| place[build]).collect();
    (order.into_iter().map(|build| known.all[build].clone()).collect(), of)
}

#[derive(Default)]
struct Builds {
    all: Vec<Build>,
    by_key: HashMap<u64, usize>,
    /// Builds that were seen with a parent; a number may be used again.
    of_parents: HashMap<u32, Vec<usize>>,
    of_sessions: HashMap<u32, Vec<usize>>,
    /// What was found of parents that run.
    running: HashMap<u32, Option<(u64, String)>>,
    /// The last build of a session that has no other name.
    rest: HashMap<u32, usize>,
}

impl Builds {
    fn keyed(&mut self, key: u64, name: &str, event: &Event) -> usize {
        let at = *self.by_key.entry(key).or_insert_with(|| {
            self.all.push(Build::new(name.to_owned(), event));
            self.all.len() - 1
        });
        self.all[at].take_in(event);
        at
    }

    /// That of an event that says which it is.
    fn that_is_known(&mut self, event: &Event) -> Option<usize> {
        if event.build == 0 {
            return None;
        }
        let name = String::from_utf8_lossy(event.text(Text::Build)).into_owned();
        let at = self.keyed(event.build, &name, event);
        if event.builder != 0 {
            for parent in [event.parent, event.builder] {
                let known = self.of_parents.entry(parent).or_default();
                if !known.contains(&at) {
                    known.push(at);
                }
            }
            let known = self.of_sessions.entry(event.session).or_default();
            if !known.contains(&at) {
                known.push(at);
            }
        }
        Some(at)
    }

    /// That of another event with the same parent, or of a parent that runs.
    fn by_parent(&mut self, event: &Event) -> Option<usize> {
        if event.builder == NO_BUILDER {
            return None;
        }
        let near = |at: &&usize| self.all[**at].distance_ns(event.time_ns);
        let known = self.of_parents.get(&event.parent);
        if let Some(at) = known.and_then(|known| known.iter().min_by_key(near)).copied() {
            self.all[at].take_in(event);
            return Some(at);
        }
        let found = self.running.entry(event.parent).or_insert_with(|| {
            Builder::above(event.parent, event.session).map(|builder| builder.id())
        });
        let (key, name) = found.clone()?;
        Some(self.keyed(key, &name, event))
    }

    /// That of the session at this time.
    fn by_session(&mut self, event: &Event) -> usize {
        let near = |at: &&usize| self.all[**at].distance_ns(event.time_ns);
        // Started by the session's leader: nothing stands between a shell and ibid.
        let is_alone = event.builder == NO_BUILDER || event.parent == event.session;
        let known = self.of_sessions.get(&event.session).into_iter().flatten();
        let known = known.filter(|_| !is_alone);
        let nearest = known.min_by_key(near).copied();
        let nearest = nearest.filter(|at| self.all[*at].distance_ns(event.time_ns) <= NEAR_NS);
        let goes_on = |at: &usize| self.all[*at].distance_ns(event.time_ns) <= PAUSE_NS;
        let at = nearest.or(self.rest.get(&event.session).copied().filter(goes_on));
        let at = at.unwrap_or_else(|| {
            let clock = time_of_day(event.time_ns).replace(':', "");
            self.all.push(Build::new(format!("session-{}-{clock}", event.session), event));
            self.rest.insert(event.session, self.all.len() - 1);
            self.all.len() - 1
        });
        self.all[at].take_in(event);
        at
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shm::events::Ending;

    const S: u64 = 1_000_000_000;
    /// No process has this number.
    const NOBODY: u32 = u32::MAX - 1;

    fn hit(seconds: u64, session: u32, parent: u32) -> Event {
        Event { time_ns: seconds * S, session, parent, ..Event::new(Ending::DirectHit) }
    }

    fn miss(seconds: u64, session: u32, parent: u32, builder: u32) -> Event {
        let mut event =
            Event { builder, build: u64::from(builder) | 1 << 40, ..hit(seconds, session, parent) };
        event.push(Text::Build, format!("make-{builder}").as_bytes());
        event
    }

    fn names(events: &[Event]) -> Vec<String> {
        let (builds, of) = builds(events.iter());
        assert_eq!(of.len(), events.len());
        assert_eq!(builds.iter().map(|build| build.calls).sum::<usize>(), events.len());
        of.into_iter().map(|at| builds[at].name.clone()).collect()
    }

    #[test]
    fn hits_belong_to_the_build_of_their_parent_or_session() {
        let events = [
            hit(9, 5, NOBODY),
            miss(10, 5, NOBODY - 1, NOBODY - 2),
            hit(11, 5, NOBODY - 1),
            hit(50, 5, NOBODY - 2),
            hit(51, 6, NOBODY),
            hit(500, 5, NOBODY),
            hit(501, 5, 5),
            Event { builder: NO_BUILDER, ..hit(502, 5, NOBODY - 2) },
        ];
        let make = format!("make-{}", NOBODY - 2);
        assert_eq!(
            names(&events),
            [
                &make,
                &make,
                &make,
                &make,
                "session-6-000051",
                "session-5-000820",
                "session-5-000820",
                "session-5-000820"
            ]
        );
    }

    #[test]
    fn a_pause_ends_the_build_of_a_session() {
        let times = [0, 30, 61, 90, 151, 300];
        let events: Vec<Event> = times.iter().map(|time| hit(*time, 7, NOBODY)).collect();
        let names = names(&events);
        let expected = ["session-7-000000"; 4];
        assert_eq!(names[..4], expected);
        assert_eq!(names[4..], ["session-7-000231", "session-7-000500"]);
    }

    #[test]
    fn names_and_numbers_that_are_used_again() {
        let named = |seconds, key| {
            let mut event = Event { build: key, ..hit(seconds, 0, 0) };
            event.push(Text::Build, b"nightly");
            event
        };
        let events = [named(1, 3), miss(5, 2, 90, 91), named(6, 3), named(7, 5)];
        let (builds, of) = builds(events.iter());
        assert_eq!(of, [0, 1, 0, 2]);
        assert_eq!((builds[0].calls, builds[2].calls), (2, 1));
        assert_eq!(builds[0].name, builds[2].name);
    }
}
