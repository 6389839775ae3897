//! Whether a second chance for what was used pays: `cargo bench --bench eviction -- DIR…`, each a directory of C
//! sources, such as four versions of one program.
//!
//! Builds are run for real, through ibid, and what they look up is recorded; then the row is replayed on caches that
//! are too small for it, under several ways to evict. Read next: `policy.rs`.
#![allow(clippy::disallowed_methods, reason = "a bench starts programs and reads its arguments")]
#![allow(clippy::print_stdout, reason = "its figures")]

mod policy;

use std::collections::HashMap;
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use ibid::store::Store;
use policy::{Entry, Policy, replay};

#[path = "../../tests/it/random.rs"]
#[allow(missing_docs, dead_code, reason = "it belongs to the integration tests")]
#[allow(clippy::unwrap_used, reason = "as there")]
mod random;
use random::Random;

/// Much more than what is compiled needs.
const MAX_BYTES: u64 = 10 << 30;
const CONFIGS: [&[&str]; 4] =
    [&["-O0", "-g"], &["-O2"], &["-O2", "-g", "-fPIC"], &["-Os", "-DNDEBUG"]];

/// A directory of sources that a developer builds and edits.
struct Branch {
    path: PathBuf,
    /// Sources, and how often each was edited.
    sources: Vec<(String, usize)>,
}

/// Runs each compile that is new, and notes every one that a build asks for.
struct Recorder {
    scratch: tempfile::TempDir,
    branches: Vec<Branch>,
    store: Store,
    known: HashMap<String, Entry>,
    row: Vec<Entry>,
}

impl Recorder {
    fn new(from: &[PathBuf]) -> Recorder {
        let scratch = tempfile::tempdir().expect("a temporary directory");
        let branch = |(number, from): (usize, &PathBuf)| {
            let path = scratch.path().join(number.to_string());
            let copied = Command::new("cp").args(["-rL"]).args([from, &path]).status();
            assert!(copied.expect("cp runs").success(), "{}", from.display());
            Branch { sources: sources(&path), path }
        };
        let branches = from.iter().enumerate().map(branch).collect();
        let store = Store::open(&scratch.path().join("cache"), MAX_BYTES).expect("a cache");
        let mut recorder =
            Recorder { scratch, branches, store, known: HashMap::new(), row: Vec::new() };
        recorder.leave_out_what_fails();
        recorder
    }

    /// Sources that are parts of others, or want what is not here.
    fn leave_out_what_fails(&mut self) {
        for branch in 0..self.branches.len() {
            let sources = std::mem::take(&mut self.branches[branch].sources);
            let compiles =
                |(name, _): &(String, usize)| self.compile(branch, name, CONFIGS[0], "1");
            self.branches[branch].sources = sources.into_iter().filter(compiles).collect();
        }
    }

    fn compile(&self, branch: usize, name: &str, config: &[&str], without_ibid: &str) -> bool {
        Command::new(env!("CARGO_BIN_EXE_ibid"))
            .args(["gcc", "-c", "-I.", name, "-o", "out.o"])
            .args(config)
            .current_dir(&self.branches[branch].path)
            .env("IBID_DIR", self.scratch.path().join("cache"))
            .env("IBID_DISABLE", without_ibid)
            .env("IBID_CONFIG", self.scratch.path().join("none"))
            .stderr(Stdio::null())
            .status()
            .expect("ibid runs")
            .success()
    }

    fn look_up(&mut self, branch: usize, source: usize, config: usize) {
        let (name, edits) = self.branches[branch].sources[source].clone();
        let key = format!("{branch}/{name} {config} {edits}");
        let entry = self.known.get(&key).copied().unwrap_or_else(|| {
            let before = self.store.bytes_stored();
            // One object, new each time: what was stored is this compile's.
            assert!(self.compile(branch, &name, CONFIGS[config], ""), "{key}");
            let bytes = self.store.bytes_stored() - before;
            assert!(bytes > 0, "not stored: {key}");
            let entry = Entry { id: self.known.len(), bytes };
            self.known.insert(key, entry);
            entry
        });
        self.row.push(entry);
    }

    fn build(&mut self, branch: usize, config: usize) {
        for source in 0..self.branches[branch].sources.len() {
            self.look_up(branch, source, config);
        }
    }

    /// Changes a source for good, and builds.
    fn edit(&mut self, branch: usize, config: usize, random: &mut Random) {
        let source = random.below(self.branches[branch].sources.len());
        let Branch { path, sources } = &mut self.branches[branch];
        let (name, edits) = &mut sources[source];
        *edits += 1;
        let path = path.join(name);
        let mut text = fs::read_to_string(&path).expect("text");
        writeln!(text, "\nint edit_{edits} = {edits};").expect("a string takes all");
        fs::write(&path, text).expect("written");
        // Make asks for what is changed.
        self.look_up(branch, source, config);
    }

    fn take(&mut self) -> Vec<Entry> {
        std::mem::take(&mut self.row)
    }
}

fn sources(directory: &Path) -> Vec<(String, usize)> {
    let names = fs::read_dir(directory).expect("a directory of sources").flatten();
    let is_source = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "c");
    let paths = names.map(|entry| entry.path()).filter(is_source);
    let name = |path: PathBuf| path.file_name()?.to_str().map(|name| (name.to_owned(), 0));
    let mut sources: Vec<_> = paths.filter_map(name).collect();
    sources.sort();
    sources
}

/// A developer on the first branch, who visits the others now and then, and edits; each visit is a build from the start.
fn branches(recorder: &mut Recorder, random: &mut Random) -> Vec<Entry> {
    let count = recorder.branches.len();
    for _ in 0..40 {
        let branch = if random.once_in(2) { 0 } else { random.below(count) };
        recorder.build(branch, 0);
        for _ in 0..random.below(6) {
            recorder.edit(branch, 0, random);
        }
    }
    recorder.take()
}

/// One branch, built for debugging most of the time, and in other ways between.
fn configurations(recorder: &mut Recorder, random: &mut Random) -> Vec<Entry> {
    for _ in 0..40 {
        let config = if random.once_in(2) { 0 } else { random.below(CONFIGS.len()) };
        recorder.build(0, config);
        for _ in 0..random.below(4) {
            recorder.edit(0, config, random);
        }
    }
    recorder.take()
}

/// All branches in all configurations, round after round, as a build server has it.
fn rounds(recorder: &mut Recorder, _: &mut Random) -> Vec<Entry> {
    for _ in 0..4 {
        for branch in 0..recorder.branches.len() {
            (0..CONFIGS.len()).for_each(|config| recorder.build(branch, config));
        }
    }
    recorder.take()
}

type Builds = fn(&mut Recorder, &mut Random) -> Vec<Entry>;

fn main() {
    let given = std::env::args_os().skip(1).filter(|arg| !arg.as_encoded_bytes().starts_with(b"-"));
    let given: Vec<PathBuf> = given.map(PathBuf::from).collect();
    if given.is_empty() {
        println!("usage: cargo bench --bench eviction -- DIR…, directories of C sources");
        return;
    }
    let mut recorder = Recorder::new(&given);
    let mut random = Random::new(1);
    println!(
        "builds          look-ups  distinct     MB  cache  segments  oldest first  second chance (copied MB)  lru"
    );
    let kinds: [(&str, usize, Builds); 3] =
        [("branches", 4, branches), ("configurations", 4, configurations), ("rounds", 1, rounds)];
    for (name, times, builds) in kinds {
        let rows: Vec<_> = (0..times).map(|_| builds(&mut recorder, &mut random)).collect();
        for part in [2, 4] {
            for segments in [7, 24] {
                report(name, &rows, part, segments);
            }
        }
    }
}

/// Replays each row on a cache that has room for a part of what is in it; the sums.
fn report(name: &str, rows: &[Vec<Entry>], part: u64, segments: u64) {
    let distinct = |row: &[Entry]| -> HashMap<usize, u64> {
        row.iter().map(|entry| (entry.id, entry.bytes)).collect()
    };
    let bytes_of = |row: &[Entry]| distinct(row).values().sum::<u64>();
    let sum = |policy| {
        let figures = rows.iter().map(|row| replay(row, bytes_of(row) / part, segments, policy));
        figures.fold((0, 0), |(misses, copied), one| {
            (misses + one.misses, copied + one.copied_bytes / 1_000_000)
        })
    };
    let (oldest, second) = (sum(Policy::OldestFirst), sum(Policy::SecondChance));
    let look_ups: usize = rows.iter().map(Vec::len).sum();
    let new: usize = rows.iter().map(|row| distinct(row).len()).sum();
    let mb = rows.iter().map(|row| bytes_of(row)).sum::<u64>() / 1_000_000;
    let lru = sum(Policy::LeastRecentlyUsed).0;
    println!(
        "{name:<15} {look_ups:>8}  {new:>8}  {mb:>5}  1/{part}    {segments:>8}  {:>12}  {:>13} ({:>9})  {lru:>9}",
        oldest.0, second.0, second.1,
    );
}
