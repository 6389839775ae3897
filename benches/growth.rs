//! What a cache costs as it grows: a hit, a content hit, a miss, a start, `stats`, `verify` and `gc`, at several sizes.
//!
//! `cargo bench --bench growth -- [--rounds N] [--records N --blob-bytes N]`. A real compile is stored first; what fills the cache are
//! copies of its record under other keys, each with an object of its own. Whole processes; medians. Read next: `rivals/process.rs`.
#![allow(clippy::print_stdout, reason = "its table goes to standard output")]
#![allow(clippy::disallowed_methods, reason = "a bench reads the environment")]
#![allow(clippy::cast_precision_loss, reason = "figures for people")]
#![allow(clippy::cast_possible_truncation, reason = "figures for people")]
#![allow(clippy::cast_sign_loss, reason = "figures for people")]

use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::PathBuf;

use clap::Parser;
use ibid::store::Store;
use ibid::store::draft::Draft;

#[allow(dead_code, reason = "the other bench uses the rest")]
#[path = "rivals/figures.rs"]
mod figures;
#[allow(dead_code, reason = "the other bench uses the rest")]
#[path = "rivals/process.rs"]
mod process;
#[allow(dead_code, reason = "the other bench uses the rest")]
#[path = "rivals/stage.rs"]
mod stage;

use figures::{Figures, ms};
use process::{Call, Starter};
use stage::Stage;

/// Records, and bytes of the object of each.
const SIZES: [(u64, usize); 5] = [
    (1_000, 1 << 10),
    (100_000, 1 << 10),
    (1_000_000, 1 << 10),
    (10_000, 100 << 10),
    (10_000, 1 << 20),
];
/// No more than a user may set; nothing is evicted or compressed.
const CACHE_BYTES_MAX: u64 = 1 << 40;
/// A process stores about this many before the index is looked at.
const RECORDS_OF_A_PROCESS: u64 = 1000;
const SOURCE: &str = "#include <stdio.h>\n#include <stdlib.h>\nint main(void) { puts(\"a\"); return EXIT_SUCCESS; }\n";
const COMPILE: [&str; 6] = ["gcc", "-O2", "-c", "a.c", "-o", "a.o"];

/// Fills caches, and times what users call.
#[derive(Debug, Parser)]
struct Args {
    /// How often each short call runs
    #[arg(long, default_value_t = 100)]
    rounds: usize,
    /// One size only: how many records
    #[arg(long, requires = "blob_bytes")]
    records: Option<u64>,
    /// One size only: bytes of each object
    #[arg(long, requires = "records")]
    blob_bytes: Option<usize>,
    /// What cargo says
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> io::Result<()> {
    let args = Args::parse();
    let rounds = if args.bench { args.rounds.max(1) } else { args.rounds.min(3) };
    let sizes = match args.records.zip(args.blob_bytes) {
        Some(size) => vec![size],
        None if args.bench => SIZES.to_vec(),
        None => vec![(1_000, 1 << 10)],
    };
    println!(
        "records   MiB on disk  direct ms  content ms  miss ms  start ms  stats s  verify s  gc s"
    );
    for (records, blob_bytes) in sizes {
        let scene = Scene::new()?;
        scene.fill(records, blob_bytes)?;
        scene.measure(records, rounds)?;
    }
    Ok(())
}

/// A cache, and a source file in the working directory.
struct Scene {
    stage: Stage,
    starter: Starter,
}

impl Scene {
    fn new() -> io::Result<Scene> {
        let stage = Stage::new(None)?;
        std::env::set_current_dir(stage.below(""))?;
        fs::write("a.c", SOURCE)?;
        let scene = Scene { stage, starter: Starter::new()? };
        // The second one is a hit; what the tool is trusted with is known by then.
        for number in 0..3 {
            scene.compile(Some(number))?;
        }
        scene.compile(None)?;
        Ok(scene)
    }

    fn store(&self) -> io::Result<Store> {
        Store::open(&self.stage.below("ibid"), CACHE_BYTES_MAX).map_err(io::Error::other)
    }

    /// Stores copies of the last record, as processes do: some each, after which the index may be made larger.
    fn fill(&self, records: u64, blob_bytes: usize) -> io::Result<()> {
        let mut model = None;
        self.store()?.each_record(|draft| model = Some(draft.clone()));
        let model: Draft = model.ok_or_else(|| io::Error::other("nothing was stored"))?;
        let mut bytes = vec![0; blob_bytes];
        for first in (0..records).step_by(RECORDS_OF_A_PROCESS as usize) {
            let store = self.store()?;
            for number in first..records.min(first + RECORDS_OF_A_PROCESS) {
                bytes[..8].copy_from_slice(&number.to_le_bytes());
                let mut draft = model.clone();
                let blob = store.put_blob(&bytes).map_err(io::Error::other)?;
                draft.outputs.iter_mut().for_each(|output| output.blob = blob);
                draft.direct_key = key(b"direct", number);
                draft.result_key = key(b"result", number);
                store.put_record(&draft).map_err(io::Error::other)?;
            }
            store.settle();
        }
        Ok(())
    }

    fn measure(&self, records: u64, rounds: usize) -> io::Result<()> {
        let touch = || fs::write("a.c", SOURCE);
        // What is not measured: the first calls after the cache was filled.
        for number in 10..13 {
            self.compile(None)?;
            self.compile(Some(number))?;
        }
        let mut times = [const { Vec::new() }; 4];
        for round in 0..rounds {
            self.compile(None)?;
            times[0].push(self.compile(None)?);
            touch()?;
            times[1].push(self.compile(None)?);
            times[2].push(self.compile(Some(100 + round))?);
        }
        // As after a boot: what is only in memory is gone, the digests of all files too.
        for _ in 0..rounds {
            self.stage.shared_memory().map_or(Ok(()), fs::remove_file)?;
            times[3].push(self.compile(None)?);
        }
        let [direct, content, miss, start] = times.map(|times| Figures::of(times).p50);
        let seconds = |words: &[&str]| -> io::Result<f64> {
            Ok(ms(&self.starter.run(&[self.call(words)], 1)?) / 1e3)
        };
        let (stats, verify) = (seconds(&["stats"])?, seconds(&["verify"])?);
        let gc = seconds(&["gc"])?;
        let mib = self.store()?.bytes_used() >> 20;
        println!(
            "{records:>7} {mib:>13} {direct:>10.3} {content:>11.3} {miss:>8.2} {start:>9.3} {stats:>8.3} {verify:>9.2} {gc:>5.2}"
        );
        Ok(())
    }

    /// Milliseconds of a compile; one with a number is another command.
    fn compile(&self, number: Option<usize>) -> io::Result<f64> {
        let number = number.map(|number| format!("-DNUMBER={number}"));
        let words: Vec<&str> = COMPILE.into_iter().chain(number.as_deref()).collect();
        Ok(ms(&self.starter.run(&[self.call(&words)], 1)?))
    }

    fn call(&self, words: &[&str]) -> Call {
        let mut environment = self.stage.environment();
        environment.push(("IBID_MAX_SIZE".into(), format!("{}GiB", CACHE_BYTES_MAX >> 30).into()));
        let args = ["ibid"].iter().chain(words).map(OsString::from).collect();
        Call { program: PathBuf::from(env!("CARGO_BIN_EXE_ibid")), args, environment }
    }
}

/// A key that no command has.
fn key(kind: &[u8], number: u64) -> [u8; 16] {
    let digest = blake3::hash(&[kind, &number.to_le_bytes()[..]].concat());
    let [first, second] = [0, 8].map(|at| &digest.as_bytes()[at..at + 8]);
    [first, second].concat().try_into().expect("16 bytes")
}
