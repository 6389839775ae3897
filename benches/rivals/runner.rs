//! One tool while a workload is measured: its samples, what its counters must say, and the rows that come of both.

use std::io;
use std::time::Duration;

use super::counts::Counts;
use super::figures::{Figures, Phase, Row, Status, cpu_ms, ms};
use super::outputs::{Identity, Originals, outputs};
use super::process::Sample;
use super::step::Step;
use super::tools::{IBID, IDEAL, Tool};
use super::workloads::{Expected, Workload};

/// How often counters are read until they stand still: daemons count a little later than they answer.
const READS: usize = 20;

/// A tool on a workload.
pub struct Runner<'a> {
    /// The tool.
    pub tool: &'a Tool,
    /// What it did cold, and what the bare compiler did at all.
    pub cold: Row,
    /// What it did warm.
    pub warm: Row,
    /// Cold, a sample for each measured step.
    pub cold_samples: Vec<Sample>,
    /// Warm, the same.
    pub warm_samples: Vec<Sample>,
    /// How many results it made when it was cold, and how many it found (a build asks some questions twice).
    answered: u64,
    /// One of twenty need not be found.
    may_lack: bool,
}

impl<'a> Runner<'a> {
    /// A tool that has not yet done anything.
    pub fn new(workload: &Workload, tool: &'a Tool) -> Runner<'a> {
        let row = |phase| {
            let phase = if tool.is_cache() { phase } else { Phase::Bare };
            let status = if tool.is_there() { Status::Ok } else { Status::Absent };
            Row { status, ..Row::absent(workload.name, tool.name, phase) }
        };
        let (cold, warm) = (row(Phase::Cold), row(Phase::Warm));
        Runner {
            tool,
            cold,
            warm,
            cold_samples: Vec::new(),
            warm_samples: Vec::new(),
            answered: 0,
            may_lack: workload.expected == Expected::NearlyAsMade,
        }
    }

    /// Whether it is there and has not failed.
    pub fn takes_part(&self) -> bool {
        self.warm.status == Status::Ok
    }

    /// It failed where the bare compiler does not.
    pub fn leave_out(&mut self, error: &io::Error) {
        eprintln!("  {}: {error}; left out", self.tool.name);
        (self.cold.status, self.warm.status) = (Status::NotCached, Status::NotCached);
    }

    /// Whether so many hits are what was expected.
    fn suffices(&self, hits: u64, expected: u64) -> bool {
        hits == expected || self.may_lack && hits * 20 >= expected * 19 && hits < expected
    }

    /// How many hits one run of the steps must be.
    pub fn expected(&self, workload: &Workload, steps: &[Step]) -> u64 {
        match workload.expected {
            Expected::EachCommand => commands(steps),
            Expected::AsMade | Expected::NearlyAsMade => self.answered,
            Expected::SomeMade => 0,
        }
    }

    /// What the counters say of a cold round: everything was made. `bare` are the times of the bare compiler on the
    /// same steps, of this round and those before.
    pub fn finish_cold(
        &mut self,
        workload: &Workload,
        steps: &[Step],
        before: Counts,
        bare: &[Sample],
    ) -> io::Result<()> {
        if self.cold.status != Status::Ok {
            return Ok(());
        }
        self.cold.rounds += 1;
        if !self.tool.is_cache() {
            return Ok(());
        }
        let counts = self.settled(before, commands(steps))?;
        let is_all = match workload.expected {
            Expected::EachCommand => counts.made == commands(steps) && counts.hits == 0,
            Expected::AsMade | Expected::NearlyAsMade => counts.made > counts.hits,
            Expected::SomeMade => counts.made > 0,
        };
        (self.answered, self.cold.hits) = (counts.made + counts.hits, counts.hits);
        self.cold.counted = counts.sum();
        self.cold.status = status(is_all, counts);
        self.cold.fill(&self.cold_samples);
        let compared = |of: fn(&Sample) -> f64, with: fn(f64, f64) -> f64| {
            let pairs = self.cold_samples.iter().zip(bare);
            Some(Figures::of(pairs.map(|(cold, bare)| with(of(cold), of(bare))).collect()))
        };
        let more = |cold: f64, bare: f64| cold - bare;
        self.cold.added_ms = compared(ms, more).map(|figures| figures.p50);
        self.cold.added_cpu_ms = compared(cpu_ms, more).map(|figures| figures.p50);
        self.cold.over_bare = compared(ms, |cold, bare| cold / bare);
        Ok(())
    }

    /// What the counters say of one warm-up: whether it found everything. After the `last` one it is out if not.
    pub fn finish_warm_up(
        &mut self,
        before: Counts,
        expected: u64,
        is_last: bool,
    ) -> io::Result<bool> {
        let counts = self.settled(before, expected)?;
        (self.warm.rounds, self.warm.hits, self.warm.expected_hits) = (1, counts.hits, expected);
        let is_all = expected > 0 && self.suffices(counts.hits, expected);
        if self.takes_part() && !is_all && is_last {
            self.warm.status = status(is_all, counts);
        }
        Ok(is_all)
    }

    /// Sees whether it gave what the compiler gave. ibid must, but that two builds of a crate are alike is the crate's matter;
    /// without it the ideal wrapper's time says nothing.
    pub fn compare(&mut self, step: &Step, originals: &Originals) -> io::Result<()> {
        let left = outputs(step)?;
        let is_other =
            |key: &&Identity| originals.get(*key).is_some_and(|bytes| *bytes != left[*key]);
        let is_lacking = |key: &&Identity| step.is_build && !left.contains_key(*key);
        let other = left.keys().find(is_other).or_else(|| originals.keys().find(is_lacking));
        let Some((path, _)) = other else { return Ok(()) };
        self.warm.differs = true;
        let error = io::Error::other(format!("other bytes than bare: {}", path.display()));
        match self.tool.name {
            IBID if !step.is_build => Err(error),
            IDEAL => {
                self.leave_out(&error);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// What the counters say of all warm rounds.
    pub fn finish_warm(&mut self, before: Counts, expected_per_round: u64) -> io::Result<()> {
        if self.takes_part() && self.tool.is_cache() {
            let expected = expected_per_round * self.warm.rounds as u64;
            let counts = self.settled(before, expected)?;
            (self.warm.hits, self.warm.expected_hits) = (counts.hits, expected);
            self.warm.counted = counts.sum();
            self.warm.status = status(self.suffices(counts.hits, expected), counts);
            self.warm.fill(&self.warm_samples);
        }
        Ok(())
    }

    /// Its rows. The bare compiler has one, whenever it ran; the ideal wrapper's cold build only records.
    pub fn rows(mut self, has_warm: bool) -> Vec<Row> {
        if self.tool.is_ideal() {
            return vec![self.warm];
        }
        if self.tool.is_cache() {
            return if has_warm { vec![self.cold, self.warm] } else { vec![self.cold] };
        }
        self.cold_samples.extend(self.warm_samples);
        self.cold.fill(&self.cold_samples);
        self.cold.rounds += self.warm.rounds;
        vec![self.cold]
    }

    /// What was counted since `before`, once `wanted` commands are counted and the counters stand still.
    fn settled(&self, before: Counts, wanted: u64) -> io::Result<Counts> {
        let mut last = self.tool.counts()?.since(before);
        for _ in 0..READS {
            std::thread::sleep(Duration::from_millis(50));
            let counts = self.tool.counts()?.since(before);
            if counts == last && counts.sum() >= wanted {
                break;
            }
            last = counts;
        }
        Ok(last)
    }
}

/// Tells each cache's warm row how far it is from the ideal wrapper's, if that was measured.
pub fn relate_to_ideal(rows: &mut [Row]) {
    let ideal = rows.iter().find(|row| row.tool == IDEAL).and_then(Row::p50);
    for row in rows.iter_mut().filter(|row| row.phase == Phase::Warm && row.tool != IDEAL) {
        row.over_ideal = ideal.and_then(|ideal| Some(row.p50()? / ideal));
    }
}

/// How many commands these are.
fn commands(steps: &[Step]) -> u64 {
    steps.iter().map(|step| step.commands.len() as u64).sum()
}

fn status(did_it: bool, counts: Counts) -> Status {
    match (did_it, counts.passed_through) {
        (true, _) => Status::Ok,
        (false, 0) => Status::NotCached,
        (false, _) => Status::PassedThrough,
    }
}
