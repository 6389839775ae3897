//! How each workload is laid out: its files in a directory, and the steps, the same for every tool.
//!
//! The texts of the files: `sources.rs`.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::sources;
use super::step::{Plan, Site, Step};

/// Misses before those that are measured: the first ones make the cache and digest the toolchain.
const FIRST_MISSES: usize = 2;
/// Sources in a call of which one is edited.
const SOURCES_OF_AN_EDIT: usize = 30;

fn words(text: &str) -> Vec<String> {
    text.split_whitespace().map(str::to_owned).collect()
}

/// A step of one command.
fn step(directory: &Path, command: &str, output: &str) -> Step {
    Step {
        directory: directory.to_owned(),
        commands: vec![words(command)],
        jobs: 1,
        outputs: vec![output.into()],
        ..Step::default()
    }
}

/// Writes `count` sources, and gives a step for each: `flags` and the names of source and object follow the compiler.
fn one_by_one(site: &Site<'_>, flags: &str, end: &str, source: &str) -> io::Result<Vec<Step>> {
    for number in 0..site.files {
        let text = source.replace("NUMBER", &number.to_string());
        fs::write(site.directory.join(format!("file_{number}.{end}")), text)?;
    }
    let compile = |number: usize| {
        let output = format!("file_{number}.o");
        let command = format!("{} {flags} -c file_{number}.{end} -o {output}", site.compiler);
        step(&site.directory, &command, &output)
    };
    Ok((0..site.files).map(compile).collect())
}

fn seed_steps(site: &Site<'_>, flags: &str) -> io::Result<Vec<Step>> {
    fs::write(site.directory.join("common.h"), sources::COMMON)?;
    fs::write(site.directory.join("templates.h"), sources::TEMPLATES)?;
    one_by_one(site, flags, "cpp", sources::SEED)
}

/// C++ files with two headers.
pub fn seed(site: &Site<'_>) -> io::Result<Plan> {
    Ok(Plan::again_and_again(seed_steps(site, "")?))
}

/// Small C files.
pub fn c(site: &Site<'_>) -> io::Result<Plan> {
    Ok(Plan::again_and_again(one_by_one(site, "-O2", "c", sources::SMALL)?))
}

/// C files that are compiled once.
pub fn miss(site: &Site<'_>) -> io::Result<Plan> {
    let site =
        Site { directory: site.directory.clone(), files: site.files + FIRST_MISSES, ..*site };
    let cold = one_by_one(&site, "-O2", "c", sources::SMALL)?;
    Ok(Plan { cold, unmeasured: FIRST_MISSES, warm: Vec::new() })
}

/// The seed's files by way of response files.
pub fn response(site: &Site<'_>) -> io::Result<Plan> {
    for number in 0..50 {
        fs::create_dir(site.directory.join(format!("include_{number}")))?;
    }
    let includes: Vec<String> = (0..50).map(|number| format!("-Iinclude_{number}")).collect();
    let mut defines: Vec<String> =
        (0..200).map(|number| format!("-DNAME_{number}={number}")).collect();
    defines.push("@inner.rsp".to_owned());
    fs::write(site.directory.join("inner.rsp"), includes.join("\n"))?;
    fs::write(site.directory.join("outer.rsp"), defines.join("\n"))?;
    Ok(Plan::again_and_again(seed_steps(site, "@outer.rsp")?))
}

/// The steps' commands as one step.
fn together(steps: Vec<Step>, jobs: usize) -> Step {
    let mut steps = steps.into_iter();
    let mut all = steps.next().unwrap_or_default();
    for step in steps {
        all.commands.extend(step.commands);
        all.outputs.extend(step.outputs);
    }
    Step { jobs, ..all }
}

/// The seed's files as one batch.
pub fn parallel(site: &Site<'_>, jobs: usize) -> io::Result<Plan> {
    Ok(Plan::again_and_again(vec![together(seed_steps(site, "")?, jobs)]))
}

/// The seed's files in one call.
pub fn multi(site: &Site<'_>) -> io::Result<Plan> {
    let mut all = together(seed_steps(site, "")?, 1);
    let sources = (0..site.files).map(|number| format!("file_{number}.cpp"));
    all.commands =
        vec![words(&format!("{} -c", site.compiler)).into_iter().chain(sources).collect()];
    Ok(Plan::again_and_again(vec![all]))
}

/// The seed's files in one call, of which one is edited before each.
pub fn multi_edit(site: &Site<'_>) -> io::Result<Plan> {
    let edits = site.files + FIRST_MISSES;
    let site = Site { directory: site.directory.clone(), files: SOURCES_OF_AN_EDIT, ..*site };
    let call = multi(&site)?.cold.remove(0);
    let edit = |number: usize| {
        let text = sources::SEED.replace("NUMBER", &format!("9{number:06}"));
        Step { rewritten: Some((PathBuf::from("file_7.cpp"), text)), ..call.clone() }
    };
    let cold = std::iter::once(call.clone()).chain((1..edits).map(edit)).collect();
    Ok(Plan { cold, unmeasured: FIRST_MISSES, warm: Vec::new() })
}

/// One large C++ file.
pub fn heavy(site: &Site<'_>) -> io::Result<Plan> {
    let flags = "-std=c++17 -O1 -g";
    Ok(Plan::again_and_again(one_by_one(site, flags, "cpp", sources::HEAVY)?))
}

/// Libraries, by rustc.
pub fn rust(site: &Site<'_>, emit: &str, end: &str) -> io::Result<Plan> {
    // As cargo says it: an absolute path. kache keeps nothing otherwise.
    let out = site.directory.join("out");
    let compile = |number: usize| {
        let command = format!(
            "{} --crate-name crate_{number} --edition=2021 src/crate_{number}.rs --crate-type lib \
             --emit={emit} -C opt-level=1 -C metadata=bench{number} --out-dir {}",
            site.compiler,
            out.display(),
        );
        step(&site.directory, &command, &format!("out/libcrate_{number}.{end}"))
    };
    for directory in ["src", "out"] {
        fs::create_dir(site.directory.join(directory))?;
    }
    for number in 0..site.files {
        let text = sources::RUST.replace("NUMBER", &number.to_string());
        fs::write(site.directory.join(format!("src/crate_{number}.rs")), text)?;
    }
    Ok(Plan::again_and_again((0..site.files).map(compile).collect()))
}

/// The seed's objects and a `main`, compiled by the bare compiler; their names.
fn objects(site: &Site<'_>) -> io::Result<String> {
    let mut all = together(seed_steps(site, "")?, 1);
    fs::write(site.directory.join("main.cpp"), "int main() { return 0; }\n")?;
    all.commands.push(words(&format!("{} -c main.cpp -o main.o", site.compiler)));
    for command in &all.commands {
        let mut compile = std::process::Command::new(&command[0]);
        compile.args(&command[1..]).current_dir(&site.directory).env_clear();
        if !compile.envs(site.stage.environment()).status()?.success() {
            return Err(io::Error::other(format!("{command:?} failed")));
        }
    }
    let names = all.outputs.iter().map(|output| format!("{} ", output.display()));
    Ok(names.collect::<String>() + "main.o")
}

/// A program.
pub fn link(site: &Site<'_>) -> io::Result<Plan> {
    let command = format!("{} {} -o program", site.compiler, objects(site)?);
    Ok(Plan::again_and_again(vec![step(&site.directory, &command, "program")]))
}

/// A static library.
pub fn archive(site: &Site<'_>) -> io::Result<Plan> {
    let command = format!("ar rcs libfiles.a {}", objects(site)?);
    Ok(Plan::again_and_again(vec![step(&site.directory, &command, "libfiles.a")]))
}

/// The same files in one checkout after the other.
pub fn siblings(site: &Site<'_>) -> io::Result<Plan> {
    let checkout = |number: usize| {
        let directory = site.directory.join(format!("checkout_{number}"));
        fs::create_dir_all(directory.join(".git"))?;
        one_by_one(&Site { directory, ..*site }, "-O2", "c", sources::SMALL)
    };
    let cold = checkout(0)?;
    let warm = (1..=site.rounds).map(checkout).collect::<io::Result<_>>()?;
    Ok(Plan { cold, unmeasured: 0, warm })
}

/// The same file with ever another text.
#[allow(clippy::unnecessary_wraps, reason = "one of the plans")]
pub fn probe_storm(site: &Site<'_>) -> io::Result<Plan> {
    let probe = |number: usize| {
        let command = format!("{} -c conftest.c -o conftest.o", site.compiler);
        let text = sources::CONFTEST.replace("NUMBER", &number.to_string());
        let rewritten = Some((PathBuf::from("conftest.c"), text));
        Step { rewritten, ..step(&site.directory, &command, "conftest.o") }
    };
    Ok(Plan::again_and_again((0..site.files).map(probe).collect()))
}

/// This project.
pub fn cargo(site: &Site<'_>) -> io::Result<Plan> {
    let project = Path::new(env!("CARGO_MANIFEST_DIR"));
    let names =
        ["src", "tests", "benches", ".cargo", "Cargo.lock", "Cargo.toml", "build.rs", "README.md"];
    for name in names {
        copy(&project.join(name), &site.directory.join(name))?;
    }
    build(site, "dev")
}

/// The crate that was asked for.
pub fn subject(site: &Site<'_>) -> io::Result<Plan> {
    let subject = site.subject.ok_or_else(|| io::Error::other("no crate"))?;
    for entry in fs::read_dir(&subject.directory)? {
        let entry = entry?;
        if entry.file_name() != "target" && entry.file_name() != ".git" {
            copy(&entry.path(), &site.directory.join(entry.file_name()))?;
        }
    }
    build(site, &subject.profile)
}

/// What cargo makes of the copy.
fn build(site: &Site<'_>, profile: &str) -> io::Result<Plan> {
    // What lies above the stage is not for cargo to read.
    let path = site.directory.join("Cargo.toml");
    let manifest = fs::read_to_string(&path)?;
    if !manifest.lines().any(|line| line.starts_with("[workspace")) {
        fs::write(path, manifest + "\n[workspace]\n")?;
    }
    let home = std::env::var_os("CARGO_HOME").map(PathBuf::from);
    let home = home.or_else(|| Some(std::env::home_dir()?.join(".cargo"))).unwrap_or_default();
    // What is compiled incrementally is kept by no cache.
    let environment = vec![
        ("CARGO_HOME".into(), home.into_os_string()),
        ("CARGO_INCREMENTAL".into(), "0".into()),
    ];
    let command = format!("cargo build --offline --locked --profile {profile}");
    let build = step(&site.directory, &command, "target");
    Ok(Plan::again_and_again(vec![Step { environment, is_build: true, ..build }]))
}

/// A file, or a directory with all that is in it.
fn copy(from: &Path, to: &Path) -> io::Result<()> {
    if !from.is_dir() {
        return fs::copy(from, to).map(|_| ());
    }
    fs::create_dir(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        copy(&entry.path(), &to.join(entry.file_name()))?;
    }
    Ok(())
}
