//! Crates with new times whose content somebody has read already: hits by content before libc starts, which add nothing to
//! the store; and what must not be served so. C compilers include what has a crate's name as they include a header.
//!
//! A hit by content after libc has started publishes a record, so that the same call once more is a direct hit; one
//! before it stays a content hit.

use std::fs::File;
use std::os::fd::AsFd;
use std::process::Command;
use std::time::{Duration, SystemTime};

use ibid::shm::clock;

use crate::cache::{Cache, Outcome};
use crate::call::Call;
use crate::damage::volatile_segment;
use crate::project::Project;
use crate::rustc;
use crate::tools::{self, GCC};
use crate::years::cursor;

/// Compiles of several sources with one tool, which are all hits.
struct Scene {
    tool: String,
    cache: Cache,
    project: Project,
}

impl Scene {
    fn new(tool: &str, files: &[(&str, &str)], sources: &[&str]) -> Scene {
        let scene =
            Scene { tool: tool.to_owned(), cache: Cache::new(), project: Project::with(files) };
        for source in sources {
            scene.call(source).check().expect(&Outcome::Miss);
            scene.call(source).check().expect(&Outcome::InvocationHit);
        }
        scene
    }

    fn call(&self, source: &str) -> Call<'_> {
        let line = format!("{} -MD -I. -c {source}.c -o {source}.o", self.tool);
        self.project.call(&self.cache, &line)
    }

    /// A hit by content that leaves no trace in the store, as often as it is asked for.
    #[track_caller]
    fn is_known(&self, source: &str) {
        let before = cursor(&self.cache);
        for _ in 0..2 {
            self.call(source).check().expect(&Outcome::PortableHit);
        }
        assert_eq!(cursor(&self.cache), before, "{}: a record was added", self.tool);
    }

    /// A compile by somebody else, who so comes to know the content of what he reads.
    #[track_caller]
    fn reads(&self, source: &str) {
        self.call(source).check().expect(&Outcome::PortableHit);
        self.call(source).check().expect(&Outcome::InvocationHit);
    }
}

const SHARED: &[(&str, &str)] = &[
    ("libh.rlib", "#define H 1\n"),
    ("a.c", "#include \"libh.rlib\"\nint a = H;\n"),
    ("b.c", "#include \"libh.rlib\"\nint b = H;\n"),
];

#[test]
fn a_touched_header_that_somebody_else_has_read() {
    for tool in tools::of_each_family() {
        let scene = Scene::new(tool, SHARED, &["a", "b"]);
        scene.project.touch("libh.rlib");
        scene.reads("b");
        scene.is_known("a");
        // Another file of the same size with the old time: whatever is known is of other files.
        scene.project.write_unnoticed("libh.rlib", "#define H 2\n");
        scene.call("a").check().expect(&Outcome::Miss);
        scene.call("b").check().expect(&Outcome::Miss);
        scene.project.write_unnoticed("libh.rlib", "#define H 1\n");
        scene.call("b").check().expect_hit();
        scene.call("a").check().expect_hit();
    }
}

#[test]
fn what_is_forgotten_is_read_again() {
    for tool in tools::of_each_family() {
        let scene = Scene::new(tool, SHARED, &["a", "b"]);
        scene.project.touch("libh.rlib");
        scene.reads("b");
        scene.is_known("a");
        std::fs::remove_file(volatile_segment(&scene.cache)).unwrap();
        scene.reads("a");
    }
}

#[test]
fn it_is_explained() {
    for tool in tools::present(GCC) {
        let scene = Scene::new(tool, SHARED, &["a", "b"]);
        scene.project.touch("libh.rlib");
        scene.reads("b");
        let line = format!("{tool} -MD -I. -c a.c -o a.o");
        let words = ["explain", "--"].into_iter().chain(line.split(' '));
        let done = scene.cache.ibid(words).current_dir(scene.project.path()).output().unwrap();
        let said = String::from_utf8(done.stdout).unwrap();
        assert!(said.starts_with("hit") && said.contains("content"), "{said}");
        let log = scene.cache.root().join("log");
        let mut command = scene.cache.ibid(line.split(' '));
        command.env("IBID_LOG", &log).current_dir(scene.project.path());
        let counted = scene.cache.count(|| assert!(command.status().unwrap().success()));
        assert_eq!(counted.outcome(), Outcome::PortableHit);
        assert!(std::fs::read_to_string(log).unwrap().contains("content hit"));
        scene.is_known("a");
    }
}

/// What `#pragma once` tells apart: one file with two names, and two files.
#[test]
fn a_file_with_two_names_becomes_two_files() {
    let once = "#pragma once\n#define JOIN2(a, b) a##b\n#define JOIN(a, b) JOIN2(a, b)\n\
                static int JOIN(v, __COUNTER__) = 1;\n";
    for tool in tools::of_each_family() {
        let project = Project::with(&[
            ("libx.rlib", once),
            ("x.c", "#include \"libx.rlib\"\n"),
            ("y.c", "#include \"liby.rlib\"\n"),
            ("both.c", "#include \"libx.rlib\"\n#include \"liby.rlib\"\nint last = __COUNTER__;\n"),
        ]);
        project.hard_link("libx.rlib", "liby.rlib");
        let scene = Scene { tool: tool.to_owned(), cache: Cache::new(), project };
        for source in ["x", "y", "both"] {
            scene.call(source).check().expect(&Outcome::Miss);
        }
        scene.project.remove("liby.rlib");
        scene.project.write("liby.rlib", once);
        scene.project.set_time("liby.rlib", SystemTime::now() - Duration::from_secs(1000));
        scene.reads("x");
        scene.reads("y");
        scene.call("both").check().expect(&Outcome::Miss);
    }
}

#[test]
fn two_files_of_equal_content_are_judged_by_whether_their_times_are_equal() {
    let guarded = "#pragma once\nstatic int twin;\n";
    let files = [
        ("libx.rlib", guarded),
        ("liby.rlib", guarded),
        ("x.c", "#include \"libx.rlib\"\nint x;\n"),
        ("both.c", "#include \"libx.rlib\"\n#include \"liby.rlib\"\nint both;\n"),
    ];
    for tool in tools::present(GCC) {
        let project = Project::with(&files);
        // Other times: then gcc takes them for two, and the second one's variable is the first one's.
        project.set_time("libx.rlib", SystemTime::now() - Duration::from_secs(1000));
        let scene = Scene { tool: tool.to_owned(), cache: Cache::new(), project };
        for source in ["x", "both"] {
            scene.call(source).check().expect(&Outcome::Miss);
            scene.call(source).check().expect(&Outcome::InvocationHit);
        }
        scene.project.set_time("libx.rlib", SystemTime::now() - Duration::from_secs(500));
        scene.reads("x");
        scene.call("both").check().expect(&Outcome::PortableHit);
        let time = std::fs::metadata(scene.project.at("liby.rlib")).unwrap().modified().unwrap();
        scene.project.set_time("libx.rlib", time);
        scene.reads("x");
        scene.call("both").check().expect_miss();
    }
}

#[test]
fn a_file_that_becomes_a_symlink_to_its_like() {
    for tool in tools::of_each_family() {
        let files = [SHARED, &[("like.h", SHARED[0].1), ("l.c", "#include \"like.h\"\n")]].concat();
        let scene = Scene::new(tool, &files, &["a", "l"]);
        scene.project.touch("like.h");
        scene.reads("l");
        scene.project.remove("libh.rlib");
        scene.project.symlink("like.h", "libh.rlib");
        scene.call("a").check().expect(&Outcome::Miss);
    }
}

/// As after `rm -rf target`: what is delivered is known, if times tell changes apart, however small it is.
#[test]
fn a_library_that_was_just_delivered() {
    let Some(tools) = rustc::toolchain() else { return };
    let (cache, tool) = (rustc::cache(), tools.join("rustc"));
    let project = Project::with(&[
        ("dep.rs", "pub fn one() -> u8 { 1 }\n"),
        ("user.rs", "pub fn two() -> u8 { dep::one() + 1 }\n"),
    ]);
    let run = |mut command: Command, name: &str| {
        let words = format!("--edition 2021 --crate-type lib {name}.rs --extern dep=libdep.rlib");
        let words = words.split(' ').take(if name == "dep" { 5 } else { 7 });
        command.args(words).current_dir(project.path());
        assert!(command.stdin(std::process::Stdio::null()).status().unwrap().success());
    };
    let cached = |name| cache.count(|| run(cache.ibid([&tool]), name)).outcome();
    run(cache.command(&tool), "dep");
    run(cache.command(&tool), "user");
    let bare = project.read("libuser.rlib");
    for name in ["dep", "user"] {
        project.remove(&format!("lib{name}.rlib"));
        assert_eq!(cached(name), Outcome::Miss);
    }
    let settled = cursor(&cache);
    for _ in 0..2 {
        project.remove("libdep.rlib");
        project.remove("libuser.rlib");
        assert_eq!(cached("dep"), Outcome::InvocationHit);
        assert_eq!(cached("user"), Outcome::PortableHit);
        assert!(project.read("libuser.rlib") == bare, "the bytes of the bare rustc");
    }
    assert!(project.read("libdep.rlib").len() < 64 << 10, "it is noted for what it is");
    let library = File::open(project.at("libdep.rlib")).unwrap();
    let is_known = clock::tells_changes_apart(library.as_fd());
    assert_eq!(cursor(&cache) == settled, is_known, "records were added");
}
