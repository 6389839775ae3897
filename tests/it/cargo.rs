//! Whole builds by cargo with `RUSTC_WRAPPER=ibid`: cold, cleaned, warm, edited; next to what cargo does alone.
//!
//! The workspace has a proc macro that reads a file, a build script, `env!`, tests and a binary, and depends on nothing else.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Command, Output};

use crate::cache::{Cache, Counters};
use crate::project::Project;
use crate::rustc::{cache, toolchain};
use crate::tools::{self, have, skip};

const MANIFESTS: &[(&str, &str)] = &[
    ("Cargo.toml", "[workspace]\nmembers = [\"mac\", \"low\", \"app\"]\nresolver = \"2\"\n"),
    (
        "mac/Cargo.toml",
        "[package]\nname = \"mac\"\nversion = \"0.1.0\"\nedition = \"2021\"\n[lib]\nproc-macro = true\n",
    ),
    (
        "low/Cargo.toml",
        "[package]\nname = \"low\"\nversion = \"0.1.0\"\nedition = \"2021\"\n[dependencies]\nmac = { path = \"../mac\" }\n",
    ),
    (
        "app/Cargo.toml",
        "[package]\nname = \"app\"\nversion = \"0.1.0\"\nedition = \"2021\"\nbuild = \"build.rs\"\n[dependencies]\nlow = { path = \"../low\" }\n",
    ),
];

const SOURCES: &[(&str, &str)] = &[
    (
        "mac/src/lib.rs",
        "use proc_macro::TokenStream;\n#[proc_macro]\npub fn text_of(input: TokenStream) -> TokenStream {\n\
         let name = input.to_string().replace('\"', \"\");\nlet dir = std::env::var(\"CARGO_MANIFEST_DIR\").unwrap();\n\
         let text = std::fs::read_to_string(std::path::Path::new(&dir).join(name)).unwrap();\n\
         format!(\"{text:?}\").parse().unwrap()\n}\n",
    ),
    (
        "low/src/lib.rs",
        "mod inner;\npub const GREETING: &str = mac::text_of!(\"greeting.txt\");\npub fn twice(x: u32) -> u32 { inner::double(x) }\nfn unused() {}\n\
         #[cfg(test)]\nmod tests {\n#[test]\nfn doubles() { assert_eq!(super::twice(2), 4); }\n}\n",
    ),
    ("low/src/inner.rs", "pub fn double(x: u32) -> u32 { x * 2 }\n"),
    ("low/greeting.txt", "hello"),
    (
        "app/build.rs",
        "fn main() {\nprintln!(\"cargo:rerun-if-changed=build.rs\");\nprintln!(\"cargo:rustc-env=BUILT=yes\");\n\
         let out = std::env::var(\"OUT_DIR\").unwrap();\nstd::fs::write(format!(\"{out}/made.rs\"), \"pub const MADE: u32 = 7;\").unwrap();\n}\n",
    ),
    (
        "app/src/main.rs",
        "mod made { include!(concat!(env!(\"OUT_DIR\"), \"/made.rs\")); }\nfn main() { println!(\"{} {} {} {}\", low::GREETING, low::twice(4), made::MADE, env!(\"BUILT\")); }\n\
         #[test]\nfn works() { assert_eq!(made::MADE, 7); }\n",
    ),
    ("app/tests/it.rs", "#[test]\nfn it() { assert_eq!(low::twice(1), 2); }\n"),
];

pub struct Workspace {
    pub cache: Cache,
    pub project: Project,
}

/// What one run of cargo said, and how ibid's invocations in it ended.
pub struct Ran {
    pub stdout: String,
    pub stderr: String,
    pub counted: Counters,
}

impl Ran {
    #[track_caller]
    pub fn is_all_hits(&self) -> &Ran {
        let is_it = self.counted.hits() > 0 && self.counted.hits() == self.counted.outcomes();
        assert!(is_it, "{:?}\n{}", self.counted, self.stderr);
        self
    }

    #[track_caller]
    pub fn is_all_stored(&self) -> &Ran {
        let counted = &self.counted;
        let misses = counted.get("misses");
        let is_it = misses > 0 && counted.get("stored") == misses;
        assert!(is_it && counted.hits() + misses == counted.outcomes(), "{counted:?}");
        self
    }

    /// Lines of cargo's that do not tell times or places.
    fn messages(&self) -> Vec<&str> {
        self.stderr.lines().filter(|line| !line.contains("Finished")).collect()
    }

    /// What cargo says it compiled.
    fn compiled(&self) -> BTreeSet<&str> {
        let lines = self.stderr.lines().map(str::trim);
        lines.filter(|line| line.starts_with("Compiling") || line.starts_with("Checking")).collect()
    }
}

impl Workspace {
    pub fn new() -> Option<Workspace> {
        if !have("cargo") {
            return None;
        }
        toolchain()?;
        let files: Vec<_> = MANIFESTS.iter().chain(SOURCES).copied().collect();
        let mut cache = cache().with("CARGO_NET_OFFLINE", "true").with("CARGO_TERM_COLOR", "never");
        // Two at a time, whatever the machine: then what cargo says comes in few orders.
        cache.set("CARGO_BUILD_JOBS", "2");
        Some(Workspace { cache, project: Project::with(&files) })
    }

    pub fn command(&self, line: &str) -> Command {
        let mut words = line.split_whitespace();
        let mut command = self.cache.command(words.next().unwrap());
        command.args(words).current_dir(self.project.path());
        command
    }

    /// Runs a line with ibid; it must succeed.
    #[track_caller]
    pub fn run(&self, line: &str) -> Ran {
        let mut done = None;
        let counted = self.cache.count(|| {
            done = Some(self.command(line).env("RUSTC_WRAPPER", tools::ibid()).output().unwrap());
        });
        Ran::of(line, &done.unwrap(), counted)
    }

    /// Runs it without ibid.
    #[track_caller]
    pub fn run_bare(&self, line: &str) -> Ran {
        Ran::of(line, &self.command(line).output().unwrap(), Counters::default())
    }
}

impl Ran {
    #[track_caller]
    fn of(line: &str, done: &Output, counted: Counters) -> Ran {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let ran = Ran { stdout: text(&done.stdout), stderr: text(&done.stderr), counted };
        assert!(done.status.success(), "{line}: {}\n{}\n{}", done.status, ran.stdout, ran.stderr);
        ran
    }
}

/// Every file that a compiler wrote, with its bytes; not cargo's own notes, nor the incremental directory.
fn compiled_files(target: &Path) -> Vec<(String, Vec<u8>)> {
    let mut files = Vec::new();
    for below in ["debug/deps", "debug/build"] {
        let mut to_do = vec![target.join(below)];
        while let Some(directory) = to_do.pop() {
            for entry in std::fs::read_dir(directory).unwrap().flatten() {
                let path = entry.path();
                if path.is_dir() {
                    to_do.push(path);
                } else if !path.ends_with("output") && !path.ends_with("invoked.timestamp") {
                    let bytes = std::fs::read(&path).unwrap();
                    files.push((path.strip_prefix(target).unwrap().display().to_string(), bytes));
                }
            }
        }
    }
    files.sort();
    files
}

#[test]
fn a_workspace_comes_back_without_a_compile() {
    let Some(work) = Workspace::new() else { return };
    comes_back(&work, "cargo build", false);
}

#[test]
fn a_workspace_without_incremental_units_comes_back_byte_for_byte() {
    let Some(mut work) = Workspace::new() else { return };
    work.cache.set("CARGO_INCREMENTAL", "0");
    comes_back(&work, "cargo build", true);
}

/// `is_stable`: rustc itself makes the same bytes each time, as it does not where units are incremental.
fn comes_back(work: &Workspace, line: &str, is_stable: bool) {
    let cold = work.run(line);
    cold.is_all_stored();
    let binary = "target/debug/app";
    let said = work.run_bare(binary).stdout;
    assert_eq!(said, "hello 8 7 yes\n");

    work.project.rename("target", "cold");
    let warm = work.run(line);
    warm.is_all_hits();
    assert!(warm.stderr.contains("function `unused` is never used"), "{}", warm.stderr);
    assert_eq!(work.run_bare(binary).stdout, said);
    let restored = compiled_files(&work.project.at("target"));

    // Nothing is left to do, with ibid or without: and cargo alone makes the same bytes.
    let again = work.run(line);
    assert_eq!((again.counted.outcomes(), again.compiled().len()), (0, 0), "{}", again.stderr);
    work.project.remove("target");
    work.run_bare(line);
    let bare = compiled_files(&work.project.at("target"));
    let names = |files: &[(String, Vec<u8>)]| files.iter().map(|f| f.0.clone()).collect::<Vec<_>>();
    assert_eq!(names(&restored), names(&bare));
    for ((name, ours), (_, theirs)) in restored.iter().zip(&bare) {
        assert!(!is_stable || ours == theirs, "{name} differs");
    }
}

#[test]
fn tests_run_from_restored_binaries() {
    let Some(work) = Workspace::new() else { return };
    work.run("cargo test --no-run").is_all_stored();
    work.project.remove("target");
    work.run("cargo test --no-run").is_all_hits();
    let tested = work.run("cargo test --workspace");
    assert_eq!(tested.stdout.matches("test result: ok. 1 passed").count(), 3, "{}", tested.stdout);
}

#[test]
fn an_edit_recompiles_what_it_does_without_ibid() {
    let Some(work) = Workspace::new() else { return };
    let bare = |line: &str| work.run_bare(&format!("{line} --target-dir bare"));
    work.run("cargo build");
    work.project.remove("target");
    work.run("cargo build").is_all_hits();
    bare("cargo build");
    for (name, text) in [
        ("low/src/inner.rs", "pub fn double(x: u32) -> u32 { x + x }\n"),
        ("app/build.rs", SOURCES[4].1.replace("= 7", "= 9").as_str()),
        ("app/src/main.rs", "fn main() {}\n"),
    ] {
        work.project.write(name, text);
        let ours = work.run("cargo build");
        assert_eq!(ours.compiled(), bare("cargo build").compiled(), "{name}");
        assert!(ours.counted.get("misses") > 0, "{name}: {:?}", ours.counted);
        assert_eq!(work.run("cargo build").counted.outcomes(), 0);
    }
}

#[test]
fn a_touched_file_and_a_switched_branch_are_hits() {
    let Some(work) = Workspace::new() else { return };
    let inner = "low/src/inner.rs";
    let (one, two) = (SOURCES[2].1, "pub fn double(x: u32) -> u32 { x + x }\n");
    work.run("cargo build").is_all_stored();
    work.project.write(inner, two);
    work.run("cargo build").is_all_stored();
    for text in [one, two, one, two] {
        work.project.write(inner, text);
        work.run("cargo build").is_all_hits();
        assert_eq!(work.run_bare("target/debug/app").stdout, "hello 8 7 yes\n");
    }
    work.project.touch(inner);
    let touched = work.run("cargo build");
    assert!(touched.is_all_hits().compiled().len() == 2, "{}", touched.stderr);
}

#[test]
fn every_command_of_cargo() {
    let Some(work) = Workspace::new() else { return };
    work.run("cargo build").is_all_stored();
    // After a build a check has work of its own: it is another kind of unit.
    for line in [
        "cargo check --all-targets",
        "cargo clippy --all-targets",
        "cargo build --release -j8",
        "cargo doc --no-deps -j1",
    ] {
        if line.contains("clippy") && !have("cargo-clippy") {
            continue;
        }
        // What an earlier command left would not be built: cargo shares units between commands.
        work.project.remove("target");
        let cold = work.run(line);
        work.project.remove("target");
        let warm = work.run(line);
        warm.is_all_hits();
        let sorted =
            |ran: &Ran| ran.messages().iter().map(|s| (*s).to_owned()).collect::<BTreeSet<_>>();
        let (mut ours, theirs) = (sorted(&warm), sorted(&cold));
        // How many of two targets' warnings are duplicates depends on which comes first.
        let depends = ["Compiling", "Checking", "generated"];
        ours.retain(|line| !depends.iter().any(|word| line.contains(word)));
        assert!(ours.is_subset(&theirs), "{line}: {ours:?}\n{theirs:?}");
        assert_eq!(work.run(line).counted.outcomes(), 0, "{line}");
    }
}

#[test]
fn toolchains_by_name() {
    let Some(mut work) = Workspace::new() else { return };
    let Some(list) = Command::new("rustup").args(["toolchain", "list"]).output().ok() else {
        return skip("rustup is not here");
    };
    let list = String::from_utf8(list.stdout).unwrap();
    let names: Vec<&str> = list.lines().filter_map(|line| line.split_whitespace().next()).collect();
    if names.len() < 2 {
        return skip("there is only one toolchain");
    }
    for turn in 0..2 {
        for name in names.iter().take(2) {
            work.cache.set("RUSTUP_TOOLCHAIN", name);
            let ran = work.run("cargo check -p mac");
            if turn == 1 {
                ran.is_all_hits();
            }
            work.project.remove("target");
        }
    }
}

#[test]
fn a_compile_error_is_shown_each_time_and_then_mended() {
    let Some(work) = Workspace::new() else { return };
    work.project.write("low/src/inner.rs", "pub fn double(x: u32) -> u32 { y }\n");
    let mut texts = BTreeSet::new();
    for wrapper in [tools::ibid().to_str().unwrap(), tools::ibid().to_str().unwrap(), ""] {
        let done = work.command("cargo check -j1").env("RUSTC_WRAPPER", wrapper).output().unwrap();
        assert_eq!(done.status.code(), Some(101));
        let text = String::from_utf8(done.stderr).unwrap();
        let message = |line: &&str| {
            !line.contains("Checking")
                && !line.contains("Compiling")
                && !line.contains("process didn't exit")
        };
        texts.insert(text.lines().filter(message).map(str::to_owned).collect::<Vec<_>>());
    }
    assert_eq!(texts.len(), 1, "{texts:?}");
    work.project.write("low/src/inner.rs", SOURCES[2].1);
    work.run("cargo check");
}

/// A driver of the user's own: a program that is linked to rustc's library, as the wrapper of the workspace's crates.
#[test]
fn a_driver_of_the_users_own() {
    let Some(toolchain) = toolchain() else { return };
    if !["gcc", "nm", "cargo"].into_iter().all(have) {
        return;
    }
    let libraries = toolchain.parent().unwrap().join("lib");
    let is_driver =
        |path: &std::path::PathBuf| path.to_string_lossy().contains("/librustc_driver-");
    let mut files = std::fs::read_dir(&libraries).unwrap().map(|entry| entry.unwrap().path());
    let Some(library) = files.find(is_driver) else { return skip("rustc is linked statically") };
    let symbols = Command::new("nm").args(["-D", "--defined-only"]).arg(&library).output().unwrap();
    let symbols = String::from_utf8(symbols.stdout).unwrap();
    let main = symbols.split_whitespace().find(|name| name.ends_with("rustc_driver_impl4main"));
    let Some(main) = main else { return skip("rustc's library has no main") };
    let (cache, project) = (cache(), Project::with(&[("src/lib.rs", "pub fn f() -> u32 { 3 }\n")]));
    project.write(
        "Cargo.toml",
        "[package]\nname = \"one\"\nversion = \"0.1.0\"\nedition = \"2021\"\n",
    );
    let name = library.file_name().unwrap().to_str().unwrap();
    for (extra, is_stored) in [("", true), ("time(0);", false), ("getpid();", false)] {
        // Cargo puts rustc's path before its arguments.
        project.write(
            "driver.c",
            format!(
                "#include <string.h>\n#include <time.h>\n#include <unistd.h>\nvoid {main}(void);\nint main(int n, char **v) {{\n\
                 if (n > 1 && strstr(v[1], \"rustc\")) {{ v[1] = v[0]; execv(v[0], v + 1); }}\n{extra}\n{main}();\nreturn 0; }}\n"
            ),
        );
        let dir = libraries.display();
        let line = format!(
            "gcc driver.c -o my-driver -L{dir} -l:{name} -Wl,-rpath,{dir} -Wl,--allow-shlib-undefined"
        );
        project.shell(&cache, &line);
        let build = || {
            let _ = std::fs::remove_dir_all(project.at("target"));
            cache.count(|| {
                let mut build = cache.command("cargo");
                build.args(["build", "--offline"]).current_dir(project.path());
                build.env("RUSTC_WRAPPER", tools::ibid());
                build.env("RUSTC_WORKSPACE_WRAPPER", project.at("my-driver"));
                // The members of an incremental library have names that are drawn.
                build.env("CARGO_INCREMENTAL", "0");
                let done = build.output().unwrap();
                assert!(done.status.success(), "{done:?}");
            })
        };
        build();
        let library = std::fs::read(project.at("target/debug/libone.rlib")).unwrap();
        let warm = build();
        assert_eq!(warm.get("misses") == 0 && warm.hits() > 0, is_stored, "{extra}: {warm:?}");
        assert_eq!(std::fs::read(project.at("target/debug/libone.rlib")).unwrap(), library);
        if is_stored {
            project.write("src/lib.rs", "pub fn f() -> u32 { 4 }\n");
            std::thread::sleep(std::time::Duration::from_millis(60));
            assert!(build().hits() < warm.hits());
        }
    }
}
