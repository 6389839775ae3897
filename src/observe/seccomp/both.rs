//! What a tool was seen to do by both observers: paths from the system calls, all else from the shim.
//!
//! Where the shim was not, or missed something, nothing is known of variables: then the whole environment counts, and
//! the clock must have been taken away for the observation to be the whole truth.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use super::CallsSeen;
use super::missed::{Missed, attribute, missed};
use crate::observe::known::numbers::Question;
use crate::observe::loader::UnseenReads;
use crate::observe::shim::log::{Event, ShimLog, What};
use crate::observe::trace::Trace;
use crate::observe::trace::programs::Programs;
use crate::observe::{Fact, Observation, SeenOutput, Unsteady};

/// Both views of a run as one, and what the shim missed.
pub fn both(
    seen: CallsSeen,
    shim: ShimLog,
    shim_trace: Trace,
    unseen_reads: UnseenReads,
) -> (Observation, Vec<Missed>) {
    let CallsSeen { events, asked, clockless, .. } = seen;
    let (lost, places) = (shim.lost.clone(), shim_trace.first_places());
    let reported: HashSet<(u32, PathBuf)> = starts(&shim.events).collect();
    let mut calls = Trace::at(places.anew());
    let killed = Programs::of(&shim.events).killed;
    let by_shim = unseen_reads.conclude(shim_trace, shim);
    let events = without_nested(events, &reported);
    let started: Vec<(u32, PathBuf)> = starts(&events).collect();
    calls.add(&events);
    let mut whole = calls.conclude_calls(&events, lost);
    let (mut missed, events) = if started.iter().all(|start| reported.contains(start)) {
        (missed(&places, &whole, &by_shim), events)
    } else {
        // Where it was not, it has missed nothing.
        let mut shared = Trace::at(places.anew());
        let events = without(events, |start| !reported.contains(start));
        shared.add(&events);
        (missed(&places, &shared.conclude_calls(&events, None), &by_shim), events)
    };
    attribute(&mut missed, &events, places.cwd());
    // A shim that missed one thing is not believed about others.
    let is_silent = |start: &(u32, PathBuf)| !missed.is_empty() || !reported.contains(start);
    let silent: Vec<&(u32, PathBuf)> = started.iter().filter(|start| is_silent(start)).collect();
    if let Some((_, image)) = silent.iter().find(|start| !clockless.contains(**start)) {
        let reason = format!("the clock of {} could not be watched", image.display());
        whole.incomplete.get_or_insert(reason);
    }
    let is_silent_image = |image: &Path| {
        silent.iter().any(|(_, silent)| silent == image || image.as_os_str().is_empty())
    };
    whole.unsteady.retain(|(_, image)| is_silent_image(image));
    for (question, image) in asked.into_iter().filter(|(_, image)| is_silent_image(image)) {
        let unsteady = match question {
            Question::Time => {
                whole.facts.insert(Fact::Time);
                whole.timers.insert(image);
                continue;
            }
            Question::Clock => Unsteady::Clock,
            Question::Random => Unsteady::Random,
            Question::Process => Unsteady::Process,
            Question::System => Unsteady::System,
            Question::Host => Unsteady::Host,
        };
        whole.unsteady.insert((unsteady, image));
    }
    if silent.is_empty() {
        // Of all opens of the loader's cache that the kernel saw, the shim saw those that are not the loader's.
        whole.library_names.clone_from(&by_shim.library_names);
    } else {
        whole.facts.insert(Fact::UnseenVariables);
        // Until their end, which no call shows, they may have written what they had open.
        whole.outputs.iter_mut().for_each(|output| output.is_open_to_the_end = true);
    }
    if let Some(image) = killed.filter(|_| missed.is_empty()) {
        let reason = format!("program {} did not report its end", image.display());
        whole.incomplete.get_or_insert(reason);
    }
    if reported.is_empty() || !missed.is_empty() {
        whole.facts.insert(Fact::UnseenPlugins);
    }
    if silent.is_empty() {
        // The shim looks itself before each change; that it did shows as a call of the program's.
        for output in &mut whole.outputs {
            let is_same = |same: &SeenOutput| same.path == output.path;
            output.was_asked &= !by_shim.outputs.iter().any(is_same);
        }
    }
    add_from_shim(&mut whole, by_shim);
    (whole, missed)
}

/// What no system call shows.
fn add_from_shim(whole: &mut Observation, shim: Observation) {
    // These follow from paths, of which the shim may know too few.
    let by_paths = |fact: &Fact| matches!(fact, Fact::SideEffect | Fact::InputModified);
    whole.facts.extend(shim.facts.into_iter().filter(|fact| !by_paths(fact)));
    whole.unsteady.extend(shim.unsteady);
    whole.timers.extend(shim.timers);
    whole.local_timers.extend(shim.local_timers);
    whole.variables.extend(shim.variables);
    whole.plugin_variables.extend(shim.plugin_variables);
    whole.questions.extend(shim.questions);
    whole.plugins.extend(shim.plugins);
    whole.states.extend(shim.states);
    whole.path_searches.extend(shim.path_searches);
    for output in &mut whole.outputs {
        for seen in shim.outputs.iter().filter(|seen| seen.path == output.path) {
            // Who looked for it, a system call does not show; and what is open at a program's end, no call closes.
            output.must_be_absent |= seen.must_be_absent;
            output.was_asked |= seen.was_asked;
            output.stat = output.stat.into_iter().chain(seen.stat).max_by_key(|stat| stat.ctime_ns);
        }
    }
    for image in shim.images {
        if !whole.images.contains(&image) {
            whole.images.push(image);
        }
    }
}

fn starts(events: &[Event]) -> impl Iterator<Item = (u32, PathBuf)> {
    events.iter().filter_map(|event| match &event.what {
        What::Start { image, .. } => Some((event.pid, image.clone())),
        _ => None,
    })
}

/// What a nested ibid did to find its tool, it has reported; what it read of its own does not count.
fn without_nested(events: Vec<Event>, reported: &HashSet<(u32, PathBuf)>) -> Vec<Event> {
    let Ok(ibid) = std::fs::read_link("/proc/self/exe") else { return events };
    without(events, |start| start.1 == ibid && reported.contains(start))
}

/// What was not done by certain programs.
fn without(events: Vec<Event>, is_left_out: impl Fn(&(u32, PathBuf)) -> bool) -> Vec<Event> {
    let mut left_out: HashSet<u32> = HashSet::new();
    let mut kept = Vec::with_capacity(events.len());
    for event in events {
        if let What::Start { image, .. } = &event.what {
            if is_left_out(&(event.pid, image.clone())) {
                left_out.insert(event.pid);
            } else {
                left_out.remove(&event.pid);
            }
        }
        let counts = matches!(
            event.what,
            What::Start { .. }
                | What::Exec { .. }
                | What::Ran { .. }
                | What::Exit
                | What::Incomplete { .. }
        );
        if counts || !left_out.contains(&event.pid) {
            kept.push(event);
        }
    }
    kept
}
