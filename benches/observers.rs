//! What observing costs: a compile bare, under the shim, and under the shim and seccomp, interleaved.
//!
//! `cargo bench --bench observers -- [--rounds N] [--only NAME]...`. Nothing is looked up or stored: what is added is
//! ibid's own start and end and the observation. Read next: `rivals/process.rs`.
#![allow(clippy::disallowed_methods, reason = "a bench starts programs and reads the environment")]
#![allow(clippy::print_stdout, reason = "its table goes to standard output")]
#![allow(clippy::cast_precision_loss, reason = "figures for people")]
#![allow(clippy::cast_possible_truncation, reason = "figures for people")]
#![allow(clippy::cast_sign_loss, reason = "figures for people")]

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use clap::Parser;

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

/// Runs before those that are measured: in them the tool's programs come to be trusted.
const WARM_UPS: usize = 3;
const FILES: &[(&str, &str)] = &[
    ("a.c", "#include <stdio.h>\nint main(void) { puts(\"a\"); return 0; }\n"),
    (
        "a.cc",
        "#include <string>\n#include <vector>\nint f() { return std::vector<std::string>(3).size(); }\n",
    ),
    ("a.rs", "pub fn f(x: &str) -> String { format!(\"{x}{x}\") }\n"),
];
const WORKLOADS: &[(&str, &str)] = &[
    ("c", "gcc -O1 -c a.c -o a.o"),
    ("cxx", "clang++ -c a.cc -o a.o"),
    ("rust", "rustc --crate-type rlib a.rs -o a.rlib"),
];
/// How it is observed, and ibid's own variables for that.
const OBSERVERS: &[(&str, Option<&str>)] =
    &[("bare", None), ("preload", Some("preload")), ("seccomp", Some("seccomp"))];

/// Times compiles under each observer.
#[derive(Debug, Parser)]
struct Args {
    /// How often each runs
    #[arg(long, default_value_t = 100)]
    rounds: usize,
    /// Only these: c, cxx, rust
    #[arg(long, value_name = "NAME", value_parser = ["c", "cxx", "rust"])]
    only: Vec<String>,
    /// What cargo says
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> io::Result<()> {
    let args = Args::parse();
    let rounds = if args.bench { args.rounds.max(1) } else { args.rounds.min(3) };
    let stage = Stage::new(None)?;
    std::env::set_current_dir(stage.below(""))?;
    for (name, text) in FILES {
        std::fs::write(name, text)?;
    }
    let starter = Starter::new()?;
    println!("{:<8} {:<8} {:>9} {:>9} {:>8}", "workload", "observer", "p50 ms", "p95 ms", "added");
    for (name, line) in WORKLOADS {
        if args.only.is_empty() || args.only.iter().any(|only| only == name) {
            measure(&stage, &starter, (name, line), rounds)?;
        }
    }
    Ok(())
}

fn measure(
    stage: &Stage,
    starter: &Starter,
    (name, line): (&str, &str),
    rounds: usize,
) -> io::Result<()> {
    let words: Vec<&str> = line.split(' ').collect();
    let Some(compiler) = words.first().and_then(|tool| find(stage, tool)) else {
        println!("{name:<8} absent");
        return Ok(());
    };
    for (_, observer) in OBSERVERS {
        for _ in 0..WARM_UPS {
            starter.run(&[call(stage, &compiler, &words, *observer, false)], 1)?;
        }
    }
    let mut times = vec![Vec::new(); OBSERVERS.len()];
    for _ in 0..rounds {
        for ((_, observer), times) in OBSERVERS.iter().zip(&mut times) {
            let sample = starter.run(&[call(stage, &compiler, &words, *observer, true)], 1)?;
            times.push(ms(&sample));
        }
    }
    let figures: Vec<Figures> = times.into_iter().map(Figures::of).collect();
    let bare = figures.first().map_or(0.0, |bare| bare.p50);
    for ((observer, _), figures) in OBSERVERS.iter().zip(&figures) {
        let added = (figures.p50 / bare - 1.0) * 100.0;
        println!("{name:<8} {observer:<8} {:>9.2} {:>9.2} {added:>7.1}%", figures.p50, figures.p95);
    }
    Ok(())
}

fn call(
    stage: &Stage,
    compiler: &Path,
    words: &[&str],
    observer: Option<&str>,
    measured: bool,
) -> Call {
    let rest = words.iter().skip(1).map(OsString::from);
    let mut environment = stage.environment();
    let Some(observer) = observer else {
        let args = [compiler.as_os_str().to_owned()].into_iter().chain(rest).collect();
        return Call { program: compiler.to_owned(), args, environment };
    };
    environment.push(("IBID_OBSERVER".into(), observer.into()));
    environment.push(("IBID_RECACHE".into(), "1".into()));
    if measured {
        environment.push(("IBID_READONLY".into(), "1".into()));
    }
    let before = ["ibid".into(), "exec".into(), "--".into(), compiler.as_os_str().to_owned()];
    let program = PathBuf::from(env!("CARGO_BIN_EXE_ibid"));
    Call { program, args: before.into_iter().chain(rest).collect(), environment }
}

/// The tool itself, past rustup.
fn find(stage: &Stage, tool: &str) -> Option<PathBuf> {
    if tool != "rustc" {
        return stage.find(tool);
    }
    let told = Command::new("rustc").args(["--print", "sysroot"]).output().ok()?;
    let sysroot = String::from_utf8(told.stdout).ok()?;
    let rustc = Path::new(sysroot.trim()).join("bin/rustc");
    rustc.is_file().then_some(rustc)
}
