//! The timeline: calls side by side in lanes, as many as ran at once.
//!
//! Which core a compile ran on is not known: it may have changed. A lane is what one job of the build did, one call after
//! the other. Read next: `charts.rs`.

use crate::shm::events::Ending;
use crate::wrapper::history::Entry;

/// What became of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// It was served.
    Served,
    /// The tool ran, and its result is stored.
    Compiled,
    /// The tool ran, and its result is not stored.
    NotStored,
    /// The tool ran and failed.
    Failed,
    /// It became the tool: how long that ran is not known.
    PassedThrough,
}

impl Kind {
    /// All of them.
    pub const ALL: [Kind; 5] =
        [Kind::Served, Kind::Compiled, Kind::NotStored, Kind::Failed, Kind::PassedThrough];

    /// In words.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Served => "served from the cache",
            Kind::Compiled => "compiled and stored",
            Kind::NotStored => "compiled, not stored",
            Kind::Failed => "failed",
            Kind::PassedThrough => "passed through",
        }
    }

    /// That of a call; `None` while it runs.
    pub fn of(entry: &Entry) -> Option<Kind> {
        match entry.ending {
            Ending::Running => None,
            Ending::DirectHit | Ending::ContentHit => Some(Kind::Served),
            Ending::Miss if entry.reason().is_some() => Some(Kind::NotStored),
            Ending::Miss => Some(Kind::Compiled),
            Ending::PassedThrough => Some(Kind::PassedThrough),
            Ending::ToolFailure => Some(Kind::Failed),
        }
    }
}

/// A call in its lane; times in ns since the beginning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bar {
    /// Which lane, from 0.
    pub lane: usize,
    /// When the tool began.
    pub from: u64,
    /// When it ended.
    pub to: u64,
    /// What became of it.
    pub kind: Kind,
}

/// The bars of a build, and how long it took.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Timeline {
    /// By lane and time.
    pub bars: Vec<Bar>,
    /// How many lanes there are.
    pub lanes: usize,
    /// From the first beginning to the last end, ns.
    pub took_ns: u64,
}

/// Of how many points in time a line has one each: what lies in one and is of one kind is one bar.
const POINTS: u64 = 2000;

impl Timeline {
    /// Of these calls, which come by the time of their end.
    pub fn of(entries: &[&Entry]) -> Timeline {
        let call = |entry: &&Entry| {
            let took_ns = u64::from(entry.event.took_us) * 1000;
            let to = entry.event.time_ns;
            Some((to.saturating_sub(took_ns), to, Kind::of(entry)?))
        };
        Timeline::pack(entries.iter().filter_map(call).collect())
    }

    fn pack(mut calls: Vec<(u64, u64, Kind)>) -> Timeline {
        calls.sort_by_key(|(from, to, _)| (*from, *to));
        let began = calls.first().map_or(0, |(from, ..)| *from);
        let ended = calls.iter().map(|(_, to, _)| *to).max().unwrap_or(0);
        let took_ns = ended.saturating_sub(began);
        let point_ns = (took_ns / POINTS).max(1);
        // When each lane is free again.
        let mut free: Vec<u64> = Vec::new();
        let mut last: Vec<usize> = Vec::new();
        let mut bars: Vec<Bar> = Vec::new();
        for (from, to, kind) in calls {
            let lane = free.iter().position(|free| *free <= from).unwrap_or(free.len());
            if lane == free.len() {
                free.push(0);
                last.push(usize::MAX);
            }
            free[lane] = to;
            let bar = Bar { lane, from: from - began, to: to - began, kind };
            match bars.get_mut(last[lane]) {
                Some(before) if before.kind == kind && bar.to < before.from + point_ns => {
                    before.to = bar.to;
                }
                _ => {
                    last[lane] = bars.len();
                    bars.push(bar);
                }
            }
        }
        bars.sort_by_key(|bar| (bar.lane, bar.from));
        Timeline { bars, lanes: free.len(), took_ns }
    }
}

#[cfg(test)]
mod tests {
    use super::{Bar, Kind, Timeline};

    #[test]
    fn calls_that_overlap_have_lanes_of_their_own() {
        let calls = vec![
            (100, 200, Kind::Compiled),
            (150, 260, Kind::NotStored),
            (200, 250, Kind::Compiled),
            (255, 255, Kind::Served),
            (210, 220, Kind::Failed),
        ];
        let timeline = Timeline::pack(calls);
        let bar = |lane, from, to, kind| Bar { lane, from, to, kind };
        assert_eq!((timeline.lanes, timeline.took_ns), (3, 160));
        assert_eq!(
            timeline.bars,
            [
                bar(0, 0, 100, Kind::Compiled),
                bar(0, 100, 150, Kind::Compiled),
                bar(0, 155, 155, Kind::Served),
                bar(1, 50, 160, Kind::NotStored),
                bar(2, 110, 120, Kind::Failed),
            ]
        );
    }

    #[test]
    fn a_build_of_hits_has_few_bars() {
        let hits = (0..100_000).map(|at| (at * 1000, at * 1000, Kind::Served));
        let timeline = Timeline::pack(hits.collect());
        assert!(timeline.bars.len() <= 2001 && timeline.lanes == 1, "{}", timeline.bars.len());
        assert_eq!(Timeline::pack(Vec::new()), Timeline::default());
        let one = Timeline::pack(vec![(7, 7, Kind::Served)]);
        assert_eq!((one.bars.len(), one.took_ns), (1, 0));
    }
}
