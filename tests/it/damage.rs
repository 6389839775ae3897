//! Files of a cache, the volatile segment among them, that somebody overwrites, cuts, punches, removes or replaces,
//! between compiles and under running ones.

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use rustix::fs::{FallocateFlags, fallocate};

use crate::cache::{Cache, Outcome};
use crate::project::Project;
use crate::random::Random;
use crate::tools::{self, say};

const TWO: &[(&str, &str)] = &[("a.c", "int a = 1;\n"), ("b.c", "int b = 2;\n")];

/// Where the volatile segment's name stands in an index.
const VOLATILE_NAME: std::ops::Range<usize> = 56..120;

/// The shared memory of a cache that is there.
pub fn volatile_segment(cache: &Cache) -> PathBuf {
    let inside = fs::read_dir(cache.dir()).unwrap().next().unwrap().unwrap().path();
    let head = fs::read(inside.join("index")).unwrap();
    let name = head[VOLATILE_NAME].split(|byte| *byte == 0).next().unwrap();
    Path::new("/dev/shm").join(std::str::from_utf8(name).unwrap())
}

/// A cache whose shared memory goes with it, whatever it has become.
struct Damaged {
    cache: Cache,
    volatile: PathBuf,
}

impl Damaged {
    /// A cache with the results of both sources.
    fn new(project: &Project) -> Damaged {
        let cache = Cache::new();
        for name in ["a", "b"] {
            project.call(&cache, &format!("gcc -c {name}.c -o {name}.o")).check();
        }
        let volatile = volatile_segment(&cache);
        Damaged { cache, volatile }
    }

    /// All files there are now.
    fn files(&self) -> Vec<PathBuf> {
        let mut files = vec![];
        let mut to_do = vec![self.cache.dir(), self.cache.root().join("runtime")];
        while let Some(directory) = to_do.pop() {
            for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
                let is_directory = entry.file_type().is_ok_and(|kind| kind.is_dir());
                let list = if is_directory { &mut to_do } else { &mut files };
                list.push(entry.path());
            }
        }
        files.extend(self.volatile.is_file().then(|| self.volatile.clone()));
        files.sort();
        files
    }
}

impl Drop for Damaged {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.volatile).or_else(|_| fs::remove_dir_all(&self.volatile));
    }
}

/// What is done to a file; that it is not there any more is no error.
type Damage = fn(&Path, &mut Random) -> std::io::Result<()>;

fn open(path: &Path) -> std::io::Result<File> {
    OpenOptions::new().read(true).write(true).open(path)
}

fn overwrite(path: &Path, random: &mut Random) -> std::io::Result<()> {
    let file = open(path)?;
    let len = usize::try_from(file.metadata()?.len()).unwrap();
    let bytes: Vec<u8> = (0..random.below(8192)).map(|_| random.next().to_le_bytes()[0]).collect();
    for _ in 0..8 {
        // Most of what matters stands in the beginning.
        let end = if random.once_in(2) { 8192 } else { len };
        let at = random.below(end.min(len).max(1));
        file.write_all_at(&bytes[..bytes.len().min(len - at)], at as u64)?;
    }
    Ok(())
}

fn truncate(path: &Path, random: &mut Random) -> std::io::Result<()> {
    let file = open(path)?;
    let len = file.metadata()?.len();
    file.set_len(if random.once_in(2) { 0 } else { random.next() % (len + 1) })
}

fn replace_by_directory(path: &Path, _: &mut Random) -> std::io::Result<()> {
    fs::remove_file(path)?;
    fs::create_dir(path)
}

fn remove(path: &Path, _: &mut Random) -> std::io::Result<()> {
    fs::remove_file(path)
}

fn punch(path: &Path, random: &mut Random) -> std::io::Result<()> {
    let file = open(path)?;
    let at = if random.once_in(2) { 0 } else { random.next() % 262_144 / 4096 * 4096 };
    fallocate(&file, FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE, at, 65536)?;
    Ok(())
}

fn flip(path: &Path, random: &mut Random) -> std::io::Result<()> {
    let file = open(path)?;
    let len = usize::try_from(file.metadata()?.len()).unwrap();
    for _ in 0..64 {
        let at = random.below(len.clamp(1, 40_000)) as u64;
        let mut byte = [0];
        file.read_exact_at(&mut byte, at)?;
        file.write_all_at(&[byte[0] ^ 1 << random.below(8)], at)?;
    }
    Ok(())
}

/// Another file of the cache, in its place.
fn replace_by_another(path: &Path, random: &mut Random) -> std::io::Result<()> {
    let others: Vec<_> = fs::read_dir(path.parent().unwrap())?.flatten().collect();
    let other = others[random.below(others.len())].path();
    let copy = path.with_extension("copy");
    let is_small = other.metadata()?.len() < 1 << 20;
    let copied = if is_small { fs::copy(&other, &copy).map(drop) } else { fs::write(&copy, "x") };
    copied.and_then(|()| fs::rename(&copy, path))
}

#[test]
fn every_file_between_compiles() {
    const KINDS: [Damage; 3] = [overwrite, truncate, replace_by_directory];
    let seed = Random::seed();
    say(&format!("damage between compiles: seed {seed}"));
    let mut random = Random::new(seed);
    let project = Project::with(TWO);
    let damaged = Damaged::new(&project);
    let compile =
        |name: &str| project.call(&damaged.cache, &format!("gcc -c {name}.c -o {name}.o")).check();
    for name in ["a", "b"] {
        compile(name).expect_hit();
    }
    for round in 0..if tools::long() { 250 } else { 25 } {
        let files = damaged.files();
        assert!(files.len() > 1, "{files:?}");
        // All of them, or one.
        let only = random.once_in(2).then(|| random.below(files.len()));
        for (at, file) in files.iter().enumerate() {
            if only.is_none_or(|only| only == at) {
                KINDS[random.below(3)](file, &mut random).unwrap_or_else(|error| {
                    panic!("round {round}, seed {seed}: {}: {error}", file.display())
                });
            }
        }
        for name in ["a", "b"] {
            compile(name);
        }
    }
    for name in ["a", "b"] {
        compile(name);
    }
    for name in ["a", "b"] {
        compile(name).expect_hit();
    }
}

/// Four workers compile while `damage` is done to one file after the other: nobody may die of it, or wait for ever.
fn under_running_compiles(damage: Damage) {
    let seed = Random::seed();
    let project = Project::with(TWO);
    let damaged = Damaged::new(&project);
    let expected = ["a", "b"].map(|name| project.read(&format!("{name}.o")));
    let compiles = if tools::long() { 200 } else { 10 };
    let work = |worker: usize| {
        for step in 0..compiles {
            let at = (worker + step) % 2;
            let (source, object) = (format!("{}.c", ["a", "b"][at]), format!("{worker}{at}.o"));
            let mut compile = damaged.cache.ibid(["gcc", "-c", &source, "-o", &object]);
            let done = compile.current_dir(project.path()).output().unwrap();
            assert!(
                done.status.success() && done.stdout.is_empty() && done.stderr.is_empty(),
                "seed {seed}: {done:?}"
            );
            assert!(project.read(&object) == expected[at], "seed {seed}: {object}");
        }
    };
    let work = &work;
    thread::scope(|scope| {
        let workers: Vec<_> = (0..4).map(|worker| scope.spawn(move || work(worker))).collect();
        let mut random = Random::new(seed);
        while workers.iter().any(|worker| !worker.is_finished()) {
            for file in damaged.files() {
                // What is in use may have gone, or have become something else, by now.
                let _ = damage(&file, &mut random);
                thread::sleep(Duration::from_millis(2));
            }
        }
    });
    // Whatever it has come to: it stores and hits again.
    let call = project.call(&damaged.cache, "gcc -c b.c -o b.o");
    call.check();
    assert!(matches!(call.check().outcome, Outcome::InvocationHit | Outcome::PortableHit));
}

#[test]
fn cut_under_running_compiles() {
    under_running_compiles(truncate);
}

#[test]
fn punched_under_running_compiles() {
    under_running_compiles(punch);
}

#[test]
fn flipped_under_running_compiles() {
    under_running_compiles(flip);
}

#[test]
fn removed_under_running_compiles() {
    under_running_compiles(remove);
}

#[test]
fn replaced_under_running_compiles() {
    under_running_compiles(replace_by_another);
    under_running_compiles(replace_by_directory);
}
