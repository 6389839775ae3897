//! The parts of a hit and of a miss one by one: key, probe, judge, deliver, append, publish, find, digest table, look-up by
//! content, observer.
//!
//! `cargo bench --bench parts -- [--quick] [FILTER]`; the options are criterion's. Each part works on a cache and on
//! files of its own. Not here: the learning, which only whole processes reach (`rivals/main.rs`).
#![allow(clippy::disallowed_methods, reason = "a bench starts programs and reads the environment")]
#![allow(clippy::print_stderr, reason = "what is not measured is told")]
#![allow(missing_docs, reason = "criterion's macro makes public functions")]

use std::ffi::{CStr, CString, OsString};
use std::fs;
use std::hint::black_box;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process::{Command as Process, Stdio};

use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use ibid::builder::places::Places;
use ibid::compilers::{Decision, decide};
use ibid::index::cache::SHARED_MEMORY;
use ibid::observe::preload::Preload;
use ibid::probe::command::{Call, Command};
use ibid::probe::content::Contents;
use ibid::probe::judge::{By, Environment, judge};
use ibid::probe::settings::Settings;
use ibid::probe::{Answer, deliver_record, hot_part, look};
use ibid::record::{self, BlobRef, Cold, Record};
use ibid::shm::access::Access;
use ibid::shm::raw;
use ibid::shm::start::{Start, start_from};
use ibid::shm::stat::Stamp;
use ibid::store::Store;
use ibid::store::draft::{Draft, DraftInput, DraftOutput, DraftVariable, Encoded};
use ibid::store::path_set::PathSet;
use ibid::wrapper::content_lookup::{self, Wanted};
use tempfile::TempDir;
use xxhash_rust::xxh3::xxh3_128;

/// How many inputs a record has: a small C file, a large C++ file, something extreme.
const INPUTS: [usize; 3] = [60, 600, 3000];
/// Sizes of an output.
const OUTPUTS: [(&str, usize); 3] = [("4KiB", 4 << 10), ("100KiB", 100 << 10), ("4MiB", 4 << 20)];
/// Small enough that appending without end only evicts.
const CACHE_BYTES_MAX: u64 = 512 << 20;
const ARENA_BYTES: usize = 16 << 20;
const VARIABLES: usize = 60;

/// A cache and a directory for files, which go at the end.
struct Scene {
    store: Store,
    root: TempDir,
}

impl Scene {
    fn new() -> Scene {
        let root = tempfile::Builder::new().prefix("ibid-parts-").tempdir().expect("a directory");
        for below in ["cache", "files"] {
            let made = fs::DirBuilder::new().mode(0o700).create(root.path().join(below));
            made.expect("a directory");
        }
        let store = Store::open(&root.path().join("cache"), CACHE_BYTES_MAX).expect("a cache");
        Scene { store, root }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.root.path().join("files").join(name)
    }

    /// A record of a compile with this many headers, all of which are there.
    fn draft(&self, start: Start, inputs: usize) -> Draft {
        let command = command(start);
        let input = |number: usize| {
            let path = self.file(&format!("some_header_{number}.h"));
            let text = format!("int declared_{number};\n");
            fs::write(&path, &text).expect("a header");
            let path = c_path(&path);
            let state = raw::stat(&path).expect("it was just written");
            DraftInput {
                path,
                kind: record::CONTENT,
                mode: state.mode,
                stamp: state.stat.stamp(),
                digest: *blake3::hash(text.as_bytes()).as_bytes(),
                group: u32::try_from(number).expect("a few thousand"),
                times: 0,
            }
        };
        let variable = |number: usize| DraftVariable {
            name: CString::new(format!("NAME_{number}")).expect("no NUL"),
            value: Some(xxh3_128(format!("value {number}").as_bytes()).to_le_bytes()),
            flags: 0,
        };
        Draft {
            command: command.bytes().to_vec(),
            direct_key: command.direct_key(),
            result_key: [0; 16],
            inputs: (0..inputs).map(input).collect(),
            variables: (0..VARIABLES).step_by(6).map(variable).collect(),
            ..Draft::default()
        }
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        let name = self.store.cache.index.header().volatile;
        let name = name.split(|byte| *byte == 0).next().unwrap_or(&[]);
        if let (Ok(directory), Ok(name)) = (SHARED_MEMORY.to_str(), std::str::from_utf8(name))
            && !name.is_empty()
        {
            let _ = fs::remove_file(Path::new(directory).join(name));
        }
    }
}

fn c_path(path: &Path) -> CString {
    CString::new(path.as_os_str().as_bytes()).expect("no NUL")
}

/// `ibid g++ …` with this many arguments, in an environment like a login's.
fn start(args: usize) -> Start {
    let first = ["ibid", "g++", "-c", "file.cpp", "-o", "file.o"].map(OsString::from);
    let more = (first.len()..args).map(|number| format!("-I/usr/include/some/{number}").into());
    let variable = |number| (format!("NAME_{number}").into(), format!("value {number}").into());
    start_from(first.into_iter().chain(more), (0..VARIABLES).map(variable))
}

fn command(start: Start) -> Command<'static> {
    let call = Call::read(&start).expect("a tool is named");
    Command::kept(start, call, &Settings::default()).expect("a directory")
}

fn keys(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("key");
    for args in [10, 100, 1000] {
        let start = start(args);
        let command = command(start);
        group.bench_function(BenchmarkId::new("invocation", args), |bencher| {
            bencher.iter(|| black_box(&command).direct_key());
        });
    }
    let start = start(10);
    let call = Call::read(&start).expect("a tool is named");
    let mut buffer = vec![0; 8 << 10];
    group.bench_function("command", |bencher| {
        bencher.iter(|| {
            Command::new(black_box(start), call, &Settings::default(), &mut buffer).is_some()
        });
    });
}

fn environments(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("environment");
    let start = start(10);
    let environment = Environment(start);
    group.bench_function("last", |bencher| {
        bencher.iter(|| black_box(&environment).value(black_box(b"NAME_59")));
    });
    group.bench_function("whole", |bencher| bencher.iter(|| black_box(&environment).whole()));
}

fn judges(criterion: &mut Criterion) {
    let scene = Scene::new();
    let start = start(10);
    let (command, environment) = (command(start), Environment(start));
    let mut group = criterion.benchmark_group("judge");
    for inputs in INPUTS {
        let Encoded { hot, cold } = scene.draft(start, inputs).encode();
        let record = Record::read(&hot).expect("a record");
        let digests = scene.store.cache.volatile.digests();
        group.bench_function(BenchmarkId::new("inputs", inputs), |bencher| {
            bencher.iter(|| {
                let load = || Some((Cold(&cold), <&mut [u8]>::default()));
                let mut contents = Contents::new(digests, Access::Own, load);
                let verdict = judge(&record, &command, &environment, &mut contents);
                assert_eq!(verdict, Ok(By::Stamps));
            });
        });
    }
}

fn hot_parts(criterion: &mut Criterion) {
    let scene = Scene::new();
    let mut arena = vec![0; ARENA_BYTES];
    let mut group = criterion.benchmark_group("hot_part");
    for inputs in INPUTS {
        let draft = scene.draft(start(10 + inputs), inputs);
        scene.store.put_record(&draft).expect("stored");
        let found = scene.store.cache.records(&draft.direct_key).next();
        let (_, entry) = found.expect("published");
        let segments = &scene.store.cache.segments;
        group.throughput(Throughput::Bytes(entry.header.hot_bytes.into()));
        group.bench_function(BenchmarkId::new("inputs", inputs), |bencher| {
            bencher.iter(|| assert!(hot_part(segments, black_box(&entry), &mut arena).is_some()));
        });
    }
}

/// All of a hit but the process: find, judge, deliver.
fn probes(criterion: &mut Criterion) {
    let scene = Scene::new();
    let cache = &scene.store.cache;
    let mut arena = vec![0; ARENA_BYTES];
    let mut group = criterion.benchmark_group("probe");
    for inputs in INPUTS {
        let start = start(10 + inputs);
        let (command, environment) = (command(start), Environment(start));
        let mut draft = scene.draft(start, inputs);
        let blob = scene.store.put_blob(&content(4 << 10, inputs as u64)).expect("stored");
        let path = c_path(&scene.file(&format!("output_of_{inputs}.o")));
        draft.outputs.push(output(path, command.creation_mask, blob));
        scene.store.put_record(&draft).expect("stored");
        group.bench_function(BenchmarkId::new("hit", inputs), |bencher| {
            bencher.iter(|| {
                let answer = look(cache, &command, &environment, &mut arena, |_| {});
                assert_eq!(answer, Answer::Hit(By::Stamps, 0));
            });
        });
    }
    let start = start(11);
    let (command, environment) = (command(start), Environment(start));
    group.bench_function("miss", |bencher| {
        bencher.iter(|| {
            let answer = look(cache, &command, &environment, &mut arena, |_| {});
            assert_eq!(answer, Answer::Miss);
        });
    });
}

/// The look-up by content, all digests known.
fn portable_look_ups(criterion: &mut Criterion) {
    let scene = Scene::new();
    let mut arena = vec![0; ARENA_BYTES];
    let mut group = criterion.benchmark_group("portable");
    for inputs in INPUTS {
        let start = start(10 + inputs);
        let (command, environment) = (command(start), Environment(start));
        let (key, mut draft) = ([7; 16], scene.draft(start, inputs));
        let (set, contents) = PathSet::of(&draft, |variable| variable.value);
        draft.result_key = set.result_key(&key, command.place(), &contents);
        scene.store.put_path_set(&key, &set, &[0; 16]).expect("stored");
        scene.store.put_record(&draft).expect("stored");
        let (places, content_key) = (&Places::default(), key);
        let args = ["-c".into(), "a.c".into()];
        let Decision::Cache(policy) = decide("gcc".as_ref(), &args, false, || None) else {
            panic!("gcc can be cached")
        };
        let wanted = Wanted {
            command: &command,
            environment: &environment,
            policy: &policy,
            places,
            project: None,
            content_key,
            is_repeatable: true,
        };
        let mut is_true = || content_lookup::is_true(&scene.store, &wanted, &mut arena).is_some();
        assert!(is_true(), "the record of {inputs} inputs is true");
        group.bench_function(BenchmarkId::new("look_up", inputs), |bencher| {
            bencher.iter(|| assert!(is_true()));
        });
    }
}

fn deliveries(criterion: &mut Criterion) {
    let scene = Scene::new();
    let start = start(10);
    let terms = command(start).terms();
    let mut scratch = vec![0; 1 << 20];
    let mut group = criterion.benchmark_group("deliver");
    for (size, len) in OUTPUTS {
        let path = c_path(&scene.file(&format!("output_{size}.o")));
        let blob = scene.store.put_blob(&content(len, 0)).expect("stored");
        let mut draft = scene.draft(start, 0);
        draft.outputs.push(output(path.clone(), terms.creation_mask, blob));
        let Encoded { hot, .. } = draft.encode();
        let record = Record::read(&hot).expect("a record");
        let mut deliver = || {
            let done = deliver_record(&scene.store.cache, &record, terms, &mut scratch, || {});
            assert!(done.is_ok(), "{done:?}");
        };
        group.throughput(Throughput::Bytes(len as u64));
        group.bench_function(BenchmarkId::new("fresh", size), |bencher| {
            bencher.iter_batched(|| remove(&path), |()| deliver(), BatchSize::PerIteration);
        });
        deliver();
        group.bench_function(BenchmarkId::new("over", size), |bencher| bencher.iter(&mut deliver));
    }
}

fn output(path: CString, mask: u32, blob: BlobRef) -> DraftOutput {
    DraftOutput { path, create_mode: 0o666, mode: 0o666 & !mask, flags: 0, blob }
}

fn remove(path: &CStr) {
    let _ = raw::unlink(path);
}

/// Bytes that no other `number` gives.
fn content(len: usize, number: u64) -> Vec<u8> {
    let mut bytes = vec![7; len];
    bytes[..8].copy_from_slice(&number.to_le_bytes());
    bytes
}

fn appends(criterion: &mut Criterion) {
    let scene = Scene::new();
    let mut number = 0;
    let mut next = || {
        number += 1;
        number
    };
    let mut group = criterion.benchmark_group("append_publish");
    for (size, len) in OUTPUTS {
        group.throughput(Throughput::Bytes(len as u64));
        group.bench_function(BenchmarkId::new("blob", size), |bencher| {
            let fresh = || content(len, next());
            bencher.iter_batched(
                fresh,
                |bytes| scene.store.put_blob(&bytes).expect("stored"),
                BatchSize::PerIteration,
            );
        });
        let same = content(len, 0);
        scene.store.put_blob(&same).expect("stored");
        group.bench_function(BenchmarkId::new("blob_again", size), |bencher| {
            bencher.iter(|| scene.store.put_blob(black_box(&same)).expect("stored"));
        });
    }
}

fn append_records(criterion: &mut Criterion) {
    let scene = Scene::new();
    let mut group = criterion.benchmark_group("append_publish");
    for inputs in INPUTS {
        let mut draft = scene.draft(start(10), inputs);
        let mut number = 0u64;
        group.bench_function(BenchmarkId::new("record", inputs), |bencher| {
            bencher.iter(|| {
                // Another invocation each time, as a miss is.
                number += 1;
                draft.direct_key = xxh3_128(&number.to_le_bytes()).to_le_bytes();
                draft.result_key = xxh3_128(&(!number).to_le_bytes()).to_le_bytes();
                scene.store.put_record(&draft).expect("stored");
            });
        });
    }
}

fn look_ups(criterion: &mut Criterion) {
    let scene = Scene::new();
    let cache = &scene.store.cache;
    let known = scene.store.put_blob(&content(4096, 1)).expect("stored").digest;
    let unknown = [0x5a; 32];
    let draft = scene.draft(start(10), 60);
    scene.store.put_record(&draft).expect("stored");
    let mut group = criterion.benchmark_group("index");
    group.bench_function("blob_hit", |bencher| {
        bencher.iter(|| assert!(cache.find_blob(black_box(&known)).is_some()));
    });
    group.bench_function("blob_miss", |bencher| {
        bencher.iter(|| assert!(cache.find_blob(black_box(&unknown)).is_none()));
    });
    group.bench_function("record_hit", |bencher| {
        bencher.iter(|| assert!(cache.records(black_box(&draft.direct_key)).next().is_some()));
    });
    group.bench_function("record_miss", |bencher| {
        bencher.iter(|| assert!(cache.records(black_box(&[0x5a; 16])).next().is_none()));
    });
}

fn digests(criterion: &mut Criterion) {
    let scene = Scene::new();
    let table = scene.store.cache.volatile.digests();
    let stamp = |number: u64| Stamp(xxh3_128(&number.to_le_bytes()).to_le_bytes());
    for number in 0..1000 {
        table.enter(&stamp(number), &[3; 32]);
    }
    let (known, unknown) = (stamp(999), stamp(1 << 40));
    let mut group = criterion.benchmark_group("digests");
    group.bench_function("find_hit", |bencher| {
        bencher.iter(|| assert!(table.find(black_box(&known)).is_some()));
    });
    group.bench_function("find_miss", |bencher| {
        bencher.iter(|| assert!(table.find(black_box(&unknown)).is_none()));
    });
    group.bench_function("enter", |bencher| {
        bencher.iter(|| table.enter(black_box(&known), &[3; 32]));
    });
    let path = scene.file("header.h");
    fs::write(&path, vec![b' '; 20 << 10]).expect("a header");
    let path = c_path(&path);
    let state = raw::stat(&path).expect("it was just written");
    group.bench_function("hash_20KiB_file", |bencher| {
        bencher.iter(|| assert!(scene.store.digest_file(&path, &state, false).is_some()));
    });
}

fn observers(criterion: &mut Criterion) {
    let scene = Scene::new();
    let mut group = criterion.benchmark_group("observer");
    group.sample_size(10);
    let files = scene.file("");
    group.bench_function("prepare", |bencher| {
        bencher.iter(|| Preload::prepare_in(scene.store.directory(), &files).expect("an observer"));
    });
    fs::write(scene.file("a.c"), "#include <stdio.h>\nint main(void) { return puts(\"a\"); }\n")
        .expect("a source");
    fs::write(scene.file("a.cc"), "#include <iostream>\nint main() { std::cout << 1; }\n")
        .expect("a source");
    for (compiler, source) in [("gcc", "a.c"), ("g++", "a.cc")] {
        let Some(program) = find(compiler) else {
            eprintln!("observer/finish/{compiler}: absent");
            continue;
        };
        let observed = || observed(&scene, &program, source);
        let observation = observed().finish();
        assert!(observation.incomplete.is_none(), "{:?}", observation.incomplete);
        group.bench_function(BenchmarkId::new("finish", compiler), |bencher| {
            bencher.iter_batched(observed, Preload::finish, BatchSize::PerIteration);
        });
    }
}

/// A compile that has ended, its log not yet read.
fn observed(scene: &Scene, program: &Path, source: &str) -> Preload {
    let files = scene.root.path().join("files");
    let mut observer = Preload::prepare_in(scene.store.directory(), &files).expect("an observer");
    assert!(observer.check(program), "{} can be observed", program.display());
    let mut compile = Process::new(program);
    compile.args(["-c", source, "-o", "a.o"]).current_dir(&files).stdin(Stdio::null());
    let status = compile.envs(observer.environment()).status().expect("a compiler");
    assert!(status.success(), "{} {source}: {status}", program.display());
    observer
}

fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|dir| dir.join(program)).find(|path| path.is_file())
}

criterion_group!(hit, keys, environments, look_ups, hot_parts, judges, deliveries, probes);
criterion_group!(miss, appends, append_records, digests, portable_look_ups, observers);
criterion_main!(hit, miss);
