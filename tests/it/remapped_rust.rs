//! `IBID_REMAP=auto` under cargo: workspaces in several places share all that says nothing of them, and nothing else.
//!
//! The reference is cargo without ibid, with a wrapper that gives rustc the same maps.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use crate::cache::{Cache, Counters};
use crate::project::Project;
use crate::rustc::{cache, toolchain};
use crate::tools::{self, have};

const FILES: &[(&str, &str)] = &[
    ("Cargo.toml", "[workspace]\nmembers = [\"mac\", \"low\", \"app\"]\nresolver = \"2\"\n"),
    (
        "mac/Cargo.toml",
        "[package]\nname = \"mac\"\nversion = \"0.1.0\"\nedition = \"2021\"\n[lib]\nproc-macro = true\n",
    ),
    (
        "mac/src/lib.rs",
        "use proc_macro::TokenStream;\n#[proc_macro]\npub fn number(_: TokenStream) -> TokenStream { \"3\".parse().unwrap() }\n",
    ),
    ("low/Cargo.toml", "[package]\nname = \"low\"\nversion = \"0.1.0\"\nedition = \"2021\"\n"),
    (
        "low/src/lib.rs",
        "pub const fn hash(s: &str) -> u64 {\nlet (b, mut h, mut i) = (s.as_bytes(), 7u64, 0);\n\
         while i < b.len() { h = h.wrapping_mul(31).wrapping_add(b[i] as u64); i += 1; }\nh\n}\n\
         pub fn half(x: u32) -> u32 { assert!(x % 2 == 0, \"odd\"); x / 2 }\n\
         #[macro_export] macro_rules! made { ($n:literal) => { include!(concat!(env!(\"OUT_DIR\"), $n)); } }\n",
    ),
    (
        "app/Cargo.toml",
        "[package]\nname = \"app\"\nversion = \"0.1.0\"\nedition = \"2021\"\nbuild = \"build.rs\"\n\
         [dependencies]\nlow = { path = \"../low\" }\nmac = { path = \"../mac\" }\n",
    ),
    (
        "app/build.rs",
        "fn main() {\nprintln!(\"cargo:rerun-if-changed=build.rs\");\nlet out = std::env::var(\"OUT_DIR\").unwrap();\n\
         std::fs::write(format!(\"{out}/made.rs\"), \"pub const MADE: u32 = 14;\").unwrap();\n}\n",
    ),
    ("app/src/main.rs", MAIN),
    ("app/src/extra.rs", "pub fn extra() -> u64 { 1 }\n"),
];

const MAIN: &str = "mod made { include!(concat!(env!(\"OUT_DIR\"), \"/made.rs\")); }\nmod extra;\n\
    const HERE: u64 = low::hash(file!());\nfn unused() {}\n\
    fn main() { println!(\"{} {} {} {HERE} {}\", low::half(made::MADE), mac::number!(), file!(), extra::extra()); }\n";

/// Checkouts of different lengths and depths, each a repository.
struct Checkouts {
    cache: Cache,
    project: Project,
}

const PLACES: [&str; 3] = ["one", "second/place", "a/much/longer/directory/than/those"];

impl Checkouts {
    fn new(changed: &[(&str, &str)]) -> Option<Checkouts> {
        if !have("cargo") {
            return None;
        }
        toolchain()?;
        let mut cache = cache().with("CARGO_NET_OFFLINE", "true").with("CARGO_TERM_COLOR", "never");
        cache.set("CARGO_BUILD_JOBS", "2");
        cache.set("CARGO_INCREMENTAL", "0");
        cache.set("IBID_REMAP", "auto");
        let project = Project::new();
        for place in PLACES {
            for (name, text) in FILES.iter().chain(changed) {
                project.write(&format!("{place}/ws/{name}"), text);
            }
            project.mkdir(&format!("{place}/ws/.git"));
        }
        project.write_program(
            "bare",
            "#!/bin/sh\ncase \" $* \" in *\" --out-dir \"*) exec \"$@\" \
             \"--remap-path-prefix=$PLACE=.\" \"--remap-path-prefix=$TARGET=.\" ;; esac\nexec \"$@\"\n",
        );
        Some(Checkouts { cache, project })
    }

    fn at(&self, place: &str) -> PathBuf {
        self.project.at(place).join("ws").canonicalize().unwrap()
    }

    fn cargo(&self, place: &str, line: &str, target: &Path) -> Command {
        let here = self.at(place);
        let mut command = self.cache.command("cargo");
        command.args(line.split(' ')).current_dir(&here).env("PWD", &here);
        if !target.starts_with(&here) {
            command.env("CARGO_TARGET_DIR", target);
        }
        command
    }

    #[track_caller]
    fn run(&self, place: &str, line: &str, target: &Path) -> Counters {
        self.cache.count(|| {
            let done = self.cargo(place, line, target).env("RUSTC_WRAPPER", tools::ibid()).output();
            succeeded(&done.unwrap());
        })
    }

    /// What cargo leaves without ibid, in the same directory; what was there is put back.
    #[track_caller]
    fn bare(&self, place: &str, line: &str, target: &Path) -> BTreeMap<String, Vec<u8>> {
        let aside = self.project.at("aside");
        std::fs::rename(target, &aside).unwrap();
        let wrapper = self.project.at("bare").canonicalize().unwrap();
        let mut command = self.cargo(place, line, target);
        command.env("RUSTC_WRAPPER", wrapper).env("PLACE", self.at(place)).env("TARGET", target);
        succeeded(&command.output().unwrap());
        let files = compiled(target);
        std::fs::remove_dir_all(target).unwrap();
        std::fs::rename(&aside, target).unwrap();
        files
    }

    /// What is built with ibid is what is built without; what ibid counted.
    #[track_caller]
    fn build(&self, place: &str, target: &Path) -> Counters {
        let counted = self.run(place, "build", target);
        let (with_ibid, bare) = (compiled(target), self.bare(place, "build", target));
        let names = |files: &BTreeMap<String, Vec<u8>>| files.keys().cloned().collect::<Vec<_>>();
        assert_eq!(names(&with_ibid), names(&bare), "{place}");
        for (name, bytes) in &with_ibid {
            assert!(bytes == &bare[name], "{name} in {place}: {counted:?}");
        }
        counted
    }
}

#[track_caller]
fn succeeded(done: &Output) {
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
}

/// All files that rustc has made, by name.
fn compiled(target: &Path) -> BTreeMap<String, Vec<u8>> {
    let (mut files, mut to_do) = (BTreeMap::new(), vec![target.to_owned()]);
    while let Some(directory) = to_do.pop() {
        for path in std::fs::read_dir(directory).unwrap().flatten().map(|entry| entry.path()) {
            let name = path.strip_prefix(target).unwrap().to_str().unwrap().to_owned();
            let is_cargos = ["fingerprint", "incremental", "root-output", "timestamp", "CACHEDIR"]
                .iter()
                .any(|part| name.contains(part));
            if is_cargos || path.file_name().unwrap().to_str().unwrap().starts_with('.') {
                continue;
            }
            if path.is_dir() {
                to_do.push(path);
            } else {
                files.insert(name, std::fs::read(path).unwrap());
            }
        }
    }
    files
}

#[test]
fn a_workspace_in_several_places() {
    let Some(work) = Checkouts::new(&[]) else { return };
    let first = work.at(PLACES[0]);
    for place in PLACES {
        let target = work.at(place).join("target");
        let counted = work.build(place, &target);
        assert_eq!(counted.get("misses") > 0, place == PLACES[0], "{place}: {counted:?}");
        assert_eq!(counted.get("internal_errors/audit"), 0, "{place}: {counted:?}");
        let said = Command::new(target.join("debug/app")).output().unwrap().stdout;
        assert!(said.starts_with(b"7 3 app/src/main.rs "), "{}", String::from_utf8_lossy(&said));
        assert_eq!(work.run(place, "build", &target).outcomes(), 0, "{place}");
        for (name, bytes) in compiled(&target).into_iter().filter(|_| place != PLACES[0]) {
            let is_named = memchr::memmem::find(&bytes, first.as_os_str().as_encoded_bytes());
            assert!(is_named.is_none(), "{name} in {place}");
        }
    }
    // A target directory elsewhere.
    let elsewhere = work.project.path().canonicalize().unwrap().join("elsewhere/target");
    let counted = work.build(PLACES[1], &elsewhere);
    assert_eq!(counted.get("misses"), 0, "{counted:?}");
}

#[test]
fn incremental_builds_in_several_places() {
    let Some(mut work) = Checkouts::new(&[]) else { return };
    work.cache.unset("CARGO_INCREMENTAL");
    for place in PLACES {
        let target = work.at(place).join("target");
        let counted = work.run(place, "build", &target);
        assert_eq!(counted.get("misses") > 0, place == PLACES[0], "{place}: {counted:?}");
        assert_eq!(counted.get("internal_errors/audit"), 0, "{place}: {counted:?}");
        assert_eq!(work.run(place, "build", &target).outcomes(), 0, "{place}");
        work.project
            .write(&format!("{place}/ws/app/src/extra.rs"), "pub fn extra() -> u64 { 5 }\n");
        work.run(place, "build", &target);
        let said = Command::new(target.join("debug/app")).output().unwrap().stdout;
        assert!(said.ends_with(b" 5\n"), "{}", String::from_utf8_lossy(&said));
    }
}

/// `main.rs` with a number more.
fn main_with(expression: &str) -> String {
    MAIN.replace("extra::extra()", &format!("{{ extra::extra() + {expression} }}"))
}

fn macro_with(body: &str) -> String {
    let head =
        "use proc_macro::TokenStream;\n#[proc_macro]\npub fn number(_: TokenStream) -> TokenStream";
    format!("{head} {{ {body} }}\n")
}

fn build_script_with(line: &str) -> String {
    FILES[6].1.replace("let out", &format!("{line}\nlet out"))
}

/// Files that are changed: a place gets into a crate as a value, or another file is read in another place.
type Case = Vec<(&'static str, String)>;

#[track_caller]
fn are_right(cases: Vec<Case>) {
    for changed in cases {
        let changed: Vec<_> = changed.iter().map(|(name, text)| (*name, text.as_str())).collect();
        let Some(work) = Checkouts::new(&changed) else { return };
        for (number, place) in PLACES.into_iter().enumerate() {
            let outside = format!("pub fn extra() -> u64 {{ {number} }}\n");
            work.project.write(&format!("{place}/outside.rs"), outside);
            let counted = work.build(place, &work.at(place).join("target"));
            let audits = counted.get("internal_errors/audit");
            assert_eq!(audits, 0, "{changed:?} in {place}: {counted:?}");
        }
    }
}

#[test]
fn sources_that_say_where_they_are() {
    let main = |expression| vec![("app/src/main.rs", main_with(expression))];
    let low = |more| ("low/src/lib.rs", format!("{}{more}", FILES[4].1));
    let made = MAIN.replace(
        "include!(concat!(env!(\"OUT_DIR\"), \"/made.rs\"));",
        "low::made!(\"/made.rs\");",
    );
    let outside = MAIN.replace("mod extra;", "#[path = \"../../../outside.rs\"] mod extra;");
    let out = "#[macro_export] macro_rules! out { () => { $crate::hash(env!(\"OUT_DIR\")) } }\n";
    are_right(vec![
        main("low::hash(env!(\"CARGO_MANIFEST_DIR\"))"),
        main("low::hash(env!(\"OUT_DIR\"))"),
        main("low::hash(include_str!(concat!(env!(\"CARGO_MANIFEST_DIR\"), \"/build.rs\")))"),
        main("low::hash(option_env!(\"PWD\").unwrap_or(\"\"))"),
        vec![("app/src/main.rs", outside)],
        vec![("app/src/main.rs", made)],
        vec![low(out), ("app/src/main.rs", main_with("low::out!()"))],
    ]);
}

#[test]
fn macros_that_ask_where_they_are() {
    let cases = [
        "format!(\"{}\", std::env::current_dir().unwrap().as_os_str().len()).parse().unwrap()",
        "format!(\"{}\", std::env::var(\"CARGO_MANIFEST_DIR\").unwrap().len()).parse().unwrap()",
        "format!(\"{}\", std::env::var(\"OUT_DIR\").unwrap().len()).parse().unwrap()",
        "format!(\"{}\", std::env::vars().map(|it| it.1.len()).max().unwrap()).parse().unwrap()",
        "let o = std::process::Command::new(\"pwd\").output().unwrap(); format!(\"{}\", o.stdout.len()).parse().unwrap()",
        "let o = std::fs::read_link(\"/proc/self/cwd\").unwrap(); format!(\"{}\", o.as_os_str().len()).parse().unwrap()",
        "let o = std::fs::canonicalize(\".\").unwrap(); format!(\"{}\", o.as_os_str().len()).parse().unwrap()",
        "format!(\"{}\", std::env::args().map(|it| it.len()).max().unwrap()).parse().unwrap()",
    ];
    are_right(cases.map(|body| vec![("mac/src/lib.rs", macro_with(body))]).into());
}

#[test]
fn build_scripts_that_say_where_they_are() {
    let line =
        |line| build_script_with(&format!("let d = std::env::current_dir().unwrap(); {line}"));
    let cfg = "println!(\"cargo::rustc-check-cfg=cfg(at, values(any()))\"); println!(\"cargo:rustc-cfg=at=\\\"{}\\\"\", d.display());";
    are_right(vec![
        vec![
            ("app/build.rs", line("println!(\"cargo:rustc-env=WHERE={}\", d.display());")),
            ("app/src/main.rs", main_with("low::hash(env!(\"WHERE\"))")),
        ],
        vec![(
            "app/build.rs",
            line("println!(\"cargo:rustc-link-arg=-Wl,-rpath,{}\", d.display());"),
        )],
        vec![("app/build.rs", line(cfg))],
    ]);
}
