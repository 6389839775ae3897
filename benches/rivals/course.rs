//! One workload, measured: cold, then warm, tool after tool in turn, so that a drift of the machine hits all alike.
//!
//! Before and after each phase every cache's own counters are read. Read next: `step.rs` (what a step is), `runner.rs`
//! (what the counters must say).

use std::fs;
use std::io;
use std::time::Duration;

use super::counts::Counts;
use super::figures::Row;
use super::outputs::{Originals, outputs};
use super::process::{Call, Sample, Starter, SystemCalls, system_calls};
use super::runner::{Runner, relate_to_ideal};
use super::split::Split;
use super::stage::Stage;
use super::step::{Plan, Site, Step, Subject};
use super::tools::{BARE, IBID, Tool};
use super::workloads::Workload;

/// Warm rounds before those that are measured: at most so many, until the cache finds everything.
const WARM_UPS: usize = 3;

/// All that measuring needs.
pub struct Course<'a> {
    /// Where it happens.
    pub stage: &'a Stage,
    /// What starts processes.
    pub starter: &'a Starter,
    /// Who takes part, the bare compiler first.
    pub tools: &'a [Tool],
    /// How many files, if the workload takes so many.
    pub files: usize,
    /// How many rounds with empty caches.
    pub cold_rounds: usize,
    /// How many warm rounds.
    pub rounds: usize,
    /// How many rounds of the bare compiler.
    pub bare_rounds: usize,
    /// The crate that is to be built, if there is one.
    pub subject: Option<&'a Subject>,
}

/// What was measured.
pub struct Measured {
    /// A row for each tool and phase.
    pub rows: Vec<Row>,
    /// A hit of ibid's, if that is one process.
    pub hit: Option<Hit>,
    /// The parts of each cache's warm build, if that is what was measured.
    pub splits: Vec<Split>,
}

/// One hit of ibid's.
pub struct Hit {
    /// What it ran and left, and where.
    pub step: Step,
    /// What it asked the kernel.
    pub calls: SystemCalls,
    /// What the bare compiler does.
    pub bare: SystemCalls,
}

impl Course<'_> {
    /// Measures it.
    pub fn measure(&self, workload: &Workload) -> io::Result<Measured> {
        let runners = self.tools.iter().map(|tool| Runner::new(workload, tool));
        let compiler = workload.compilers.iter().find(|name| self.stage.find(name).is_some());
        let Some(compiler) = compiler else {
            let rows = runners.flat_map(|runner| runner.rows(true));
            let rows = rows.map(|row| Row::absent(row.workload, row.tool, row.phase)).collect();
            return Ok(Measured { rows, hit: None, splits: Vec::new() });
        };
        let plan = self.lay_out(workload, compiler)?;
        let mut runners: Vec<Runner<'_>> = runners.collect();
        let originals = self.cold(&mut runners, workload, &plan)?;
        let has_warm = !plan.warm.is_empty();
        let (mut hit, mut splits) = (None, Vec::new());
        if has_warm {
            for runner in runners.iter_mut().filter(|runner| runner.tool.is_ideal()) {
                self.record(runner, workload, &plan)?;
            }
            for runner in runners.iter_mut().filter(|runner| runner.tool.is_cache()) {
                self.warm_up(runner, workload, &plan, &originals)?;
            }
            self.warm(&mut runners, workload, &plan)?;
            hit = self.look_inside(&mut runners, &plan)?;
            splits = self.split(&runners, &plan)?;
        }
        let mut rows: Vec<Row> =
            runners.into_iter().flat_map(|runner| runner.rows(has_warm)).collect();
        relate_to_ideal(&mut rows);
        Ok(Measured { rows, hit, splits })
    }

    /// Writes the workload's files; they are old enough for every cache when it returns.
    fn lay_out(&self, workload: &Workload, compiler: &'static str) -> io::Result<Plan> {
        let site = Site {
            stage: self.stage,
            directory: self.stage.below("work").join(workload.name),
            compiler,
            files: self.files.min(workload.files_max),
            rounds: self.rounds.min(workload.rounds_max) + WARM_UPS,
            subject: self.subject,
        };
        fs::create_dir_all(&site.directory)?;
        let plan = (workload.plan)(&site)?;
        // ccache distrusts a header of the same second as the compile, ibid one of the same tick.
        std::thread::sleep(Duration::from_millis(1100));
        Ok(plan)
    }

    /// Runs what nobody has seen, in each round.
    fn cold(
        &self,
        runners: &mut [Runner<'_>],
        workload: &Workload,
        plan: &Plan,
    ) -> io::Result<Originals> {
        let mut originals = Originals::new();
        self.cold_round(runners, workload, plan, (0, &mut originals))?;
        for round in 1..self.cold_rounds {
            self.stage.empty_caches()?;
            for runner in runners.iter_mut().filter(|runner| runner.takes_part()) {
                if let Err(error) = runner.tool.start_daemon() {
                    runner.leave_out(&error);
                }
            }
            self.cold_round(runners, workload, plan, (round, &mut originals))?;
        }
        Ok(originals)
    }

    fn cold_round(
        &self,
        runners: &mut [Runner<'_>],
        workload: &Workload,
        plan: &Plan,
        (round, originals): (usize, &mut Originals),
    ) -> io::Result<()> {
        let mut before = counts(runners)?;
        for (number, step) in plan.cold.iter().enumerate() {
            progress("cold", round * plan.cold.len() + number, self.cold_rounds * plan.cold.len());
            if number == plan.unmeasured {
                before = counts(runners)?;
            }
            for runner in in_turn(runners, round + number).filter(|runner| !runner.tool.is_ideal())
            {
                let Some(sample) = self.run(runner, step)? else { continue };
                if !runner.tool.is_cache() {
                    originals.extend(outputs(step)?);
                }
                if number >= plan.unmeasured {
                    runner.cold_samples.push(sample);
                }
            }
        }
        let bare = runners.iter().find(|runner| !runner.tool.is_cache());
        let bare = bare.map_or_else(Vec::new, |bare| bare.cold_samples.clone());
        let measured = &plan.cold[plan.unmeasured..];
        for (runner, before) in runners.iter_mut().zip(before) {
            if !runner.tool.is_ideal() {
                runner.finish_cold(workload, measured, before, &bare)?;
            }
        }
        Ok(())
    }

    /// Shows the ideal wrapper all that it will be asked. How long that takes says nothing.
    fn record(&self, runner: &mut Runner<'_>, workload: &Workload, plan: &Plan) -> io::Result<()> {
        let before = runner.tool.counts()?;
        for step in &plan.cold {
            self.run(runner, step)?;
        }
        runner.finish_cold(workload, &plan.cold, before, &[])
    }

    /// Brings a cache to where it finds everything; one that does not is out.
    fn warm_up(
        &self,
        runner: &mut Runner<'_>,
        workload: &Workload,
        plan: &Plan,
        originals: &Originals,
    ) -> io::Result<()> {
        for number in 0..WARM_UPS {
            if !runner.takes_part() {
                return Ok(());
            }
            let steps = &plan.warm[number % plan.warm.len()];
            let before = runner.tool.counts()?;
            for step in steps {
                if self.run(runner, step)?.is_some() {
                    runner.compare(step, originals)?;
                }
            }
            let expected = runner.expected(workload, steps);
            if runner.finish_warm_up(before, expected, number + 1 == WARM_UPS)? {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Runs what every cache that is still there knows: all steps by one tool, then all by the next.
    fn warm(&self, runners: &mut [Runner<'_>], workload: &Workload, plan: &Plan) -> io::Result<()> {
        let rounds = self.rounds.min(workload.rounds_max);
        let bare_rounds = self.bare_rounds.min(workload.bare_rounds_max).clamp(1, rounds);
        let bare_every = rounds.div_ceil(bare_rounds);
        let before = counts(runners)?;
        runners
            .iter_mut()
            .filter(|runner| runner.takes_part())
            .for_each(|runner| runner.warm.rounds = 0);
        for round in 0..rounds {
            progress("warm", round, rounds);
            let steps = &plan.warm[(WARM_UPS + round) % plan.warm.len()];
            for runner in in_turn(runners, round) {
                if !runner.tool.is_cache() && !round.is_multiple_of(bare_every) {
                    continue;
                }
                runner.warm.rounds += 1;
                for step in steps {
                    let sample = self.run(runner, step)?;
                    runner.warm_samples.extend(sample);
                }
            }
        }
        for (runner, before) in runners.iter_mut().zip(before) {
            let per_round = runner.expected(workload, &plan.warm[0]);
            runner.finish_warm(before, per_round)?;
        }
        Ok(())
    }

    /// Splits the warm builds of those caches that found everything.
    fn split(&self, runners: &[Runner<'_>], plan: &Plan) -> io::Result<Vec<Split>> {
        let step = &plan.warm[0][0];
        let measured = runners
            .iter()
            .filter(|runner| step.is_build && runner.tool.is_cache() && runner.takes_part());
        let split =
            |runner: &Runner<'_>| Split::measure(self.stage, self.starter, runner.tool, step);
        measured.map(split).collect()
    }

    /// Counts the system calls of a step that is one process, and keeps those of ibid's.
    fn look_inside(&self, runners: &mut [Runner<'_>], plan: &Plan) -> io::Result<Option<Hit>> {
        let step = &plan.warm[0][0];
        let (log, strace) = (self.stage.below("strace.log"), self.stage.find("strace"));
        let is_one = plan.warm.len() == 1 && step.commands.len() == 1 && !step.is_build;
        let mut hit = None;
        for runner in runners.iter_mut().filter(|_| is_one) {
            if !runner.tool.is_cache() || !runner.takes_part() {
                continue;
            }
            step.make_ready()?;
            let call = &runner.tool.calls(self.stage, step)?[0];
            let Some(calls) = system_calls(call, strace.as_deref(), &log) else { continue };
            runner.warm.system_calls = Some(calls.count);
            if runner.tool.name == IBID {
                step.make_ready()?;
                let Some(bare) = self.tools.iter().find(|tool| tool.name == BARE) else { continue };
                let bare = &bare.calls(self.stage, step)?[0];
                let bare = system_calls(bare, strace.as_deref(), &log).unwrap_or_default();
                hit = Some(Hit { step: step.clone(), calls, bare });
            }
        }
        Ok(hit)
    }

    /// Runs a step where its outputs are not, and sees that they are there afterwards. A cache that fails is out.
    fn run(&self, runner: &mut Runner<'_>, step: &Step) -> io::Result<Option<Sample>> {
        step.make_ready()?;
        let calls: Vec<Call> = runner.tool.calls(self.stage, step)?;
        let ran = self.starter.run(&calls, step.jobs);
        let missing = step.outputs.iter().find(|output| !output.exists());
        let ran = match missing {
            Some(output) => ran.and(Err(io::Error::other(format!("no {}", output.display())))),
            None => ran,
        };
        match ran {
            Err(error) if runner.tool.is_cache() && error.kind() != io::ErrorKind::Interrupted => {
                runner.leave_out(&error);
                Ok(None)
            }
            ran => ran.map(Some),
        }
    }
}

/// Those that take part, beginning with another one each time.
fn in_turn<'r, 'a>(
    runners: &'r mut [Runner<'a>],
    turn: usize,
) -> impl Iterator<Item = &'r mut Runner<'a>> {
    let first = turn % runners.len();
    let (before, after) = runners.split_at_mut(first);
    after.iter_mut().chain(before).filter(|runner| runner.takes_part())
}

fn counts(runners: &[Runner<'_>]) -> io::Result<Vec<Counts>> {
    runners.iter().map(|runner| runner.tool.counts()).collect()
}

/// Says every tenth where it is.
fn progress(phase: &str, number: usize, all: usize) {
    if number.is_multiple_of(all.div_ceil(10)) {
        eprintln!("  {phase} {number}/{all}");
    }
}
