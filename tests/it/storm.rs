//! Many compiles at once on a cache that is far too small, and compiles that are killed at any moment: no wrong object.

use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group};

use crate::cache::Cache;
use crate::project::Project;
use crate::random::Random;
use crate::tools::{self, say};

/// Objects of 2 MiB, which are alike but for one number.
struct Objects {
    project: Project,
    one: Vec<u8>,
    /// Where the number stands.
    at: usize,
}

impl Objects {
    fn new(cache: &Cache, workers: usize) -> Objects {
        let text = "int number = N;\nasm(\".incbin \\\"../filler\\\"\");\n";
        let project = Project::with(&[("big.c", text)]);
        // What can be compressed would be, and nothing evicted.
        project.write("filler", Random::new(1).bytes(2 << 20));
        project.mkdir("bare");
        let bare = |number: &str| {
            project.shell(cache, &format!("cd bare && gcc -c ../big.c -DN={number} -o bare.o"));
            project.read("bare/bare.o")
        };
        let (one, other) = (bare("0x01010101"), bare("0x02020202"));
        let differs = |at: &usize| one[*at] != other[*at];
        let places: Vec<_> = (0..one.len()).filter(differs).collect();
        let at = places[0];
        assert!(one.len() == other.len() && places == [at, at + 1, at + 2, at + 3]);
        for worker in 0..workers {
            project.mkdir(&worker.to_string());
        }
        thread::sleep(Duration::from_millis(60));
        Objects { project, one, at }
    }

    fn compile(&self, cache: &Cache, worker: usize, number: usize) -> Command {
        // Not 0, which the compiler puts elsewhere.
        let (define, object) = (format!("-DN={}", number + 1), format!("{number}.o"));
        let mut compile = cache.ibid(["gcc", "-c", "../big.c", &define, "-o", &object]);
        compile.current_dir(self.project.at(worker.to_string())).stdin(Stdio::null());
        compile
    }

    fn check(&self, worker: usize, number: usize, done: &Output) {
        assert!(
            done.status.success() && done.stdout.is_empty() && done.stderr.is_empty(),
            "{done:?}"
        );
        let mut expected = self.one.clone();
        let number_bytes = u32::try_from(number + 1).unwrap().to_le_bytes();
        expected[self.at..self.at + 4].copy_from_slice(&number_bytes);
        assert!(self.project.read(&format!("{worker}/{number}.o")) == expected, "object {number}");
    }
}

/// Room for two segments: a quarter of what is compiled.
fn small_cache() -> Cache {
    Cache::new().with("IBID_MAX_SIZE", "130M")
}

#[test]
fn sixty_four_processes_while_segments_are_evicted() {
    const WORKERS: usize = 64;
    const OWN: usize = 4;
    let picks = if tools::long() { 40 } else { 5 };
    let seed = Random::seed();
    let cache = small_cache();
    let objects = Objects::new(&cache, WORKERS);
    let begin = Instant::now();
    let counted = cache.count(|| {
        thread::scope(|scope| {
            for worker in 0..WORKERS {
                let (cache, objects) = (&cache, &objects);
                let mut random = Random::new(seed + worker as u64);
                scope.spawn(move || {
                    for _ in 0..picks {
                        let number = worker * OWN + random.below(OWN);
                        let done = objects.compile(cache, worker, number).output().unwrap();
                        objects.check(worker, number, &done);
                    }
                });
            }
        });
    });
    let (compiles, took_ms) = (WORKERS * picks, begin.elapsed().as_millis());
    say(&format!(
        "64 processes, seed {seed}: {compiles} compiles of 2 MiB in {took_ms} ms, {} a second; {} hits, {} evictions",
        compiles as u128 * 1000 / took_ms,
        counted.hits(),
        counted.get("evictions")
    ));
    assert_eq!(counted.outcomes(), compiles as u64, "{counted:?}");
    assert_eq!(counted.sum("internal_errors"), 0, "{counted:?}");
    assert!(counted.hits() > 0 && counted.get("evictions") > 0, "{counted:?}");
    cache.say(&["verify"]);
}

/// How the compiles of one worker ended.
#[derive(Default)]
struct Tally {
    finished: usize,
    killed: usize,
}

#[test]
fn killed_at_any_moment() {
    const WORKERS: usize = 4;
    const OWN: usize = 24;
    let seed = Random::seed();
    let cache = small_cache();
    let objects = Objects::new(&cache, WORKERS);
    let end = Instant::now() + Duration::from_secs(if tools::long() { 60 } else { 8 });
    let work = |worker: usize| {
        let (mut random, mut tally) = (Random::new(seed + worker as u64), Tally::default());
        while Instant::now() < end || tally.killed < 5 || tally.finished < 2 {
            let number = worker * OWN + random.below(OWN);
            let mut compile = objects.compile(&cache, worker, number);
            compile.stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
            let child = compile.spawn().unwrap();
            // From at once to a quarter of a second; or not at all.
            if random.once_in(4) {
                let done = child.wait_with_output().unwrap();
                objects.check(worker, number, &done);
                tally.finished += 1;
                continue;
            }
            let micros = 1 << random.below(19);
            thread::sleep(Duration::from_micros(random.next() % micros));
            match kill(child) {
                Some(done) => {
                    objects.check(worker, number, &done);
                    tally.finished += 1;
                }
                None => tally.killed += 1,
            }
        }
        tally
    };
    let mut all = Tally::default();
    thread::scope(|scope| {
        let workers: Vec<_> =
            (0..WORKERS).map(|worker| scope.spawn(move || work(worker))).collect();
        for worker in workers {
            let tally = worker.join().unwrap();
            all.finished += tally.finished;
            all.killed += tally.killed;
        }
    });
    say(&format!("seed {seed}: {} compiles killed, {} finished", all.killed, all.finished));
    cache.say(&["verify"]);
    for number in 0..OWN {
        for is_again in [false, true] {
            let counted = cache.count(|| {
                let done = objects.compile(&cache, 0, number).output().unwrap();
                objects.check(0, number, &done);
            });
            assert!(counted.hits() == 1 || !is_again, "{counted:?}");
        }
    }
}

/// Kills a compile with all that it has started; what it said if it had ended before.
fn kill(mut child: Child) -> Option<Output> {
    let has_ended = child.try_wait().unwrap().is_some();
    if !has_ended {
        kill_process_group(Pid::from_child(&child), Signal::KILL).unwrap();
    }
    let done = child.wait_with_output().unwrap();
    has_ended.then_some(done)
}
