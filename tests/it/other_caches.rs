//! Other caches by the compilers' names on `PATH`, before the compilers: they are passed over, and that is a part of the
//! record.
//!
//! Read next: `first_week.rs`, "ccache in the chain" (other caches in front of the compiler, by their own name).

use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;

use ibid::compilers::LAUNCHERS;

use crate::cache::{Cache, Outcome};
use crate::call::{Seen, Through};
use crate::project::Project;
use crate::tools;

/// A project with programs `links/gcc` and the like first on `PATH`, which lead to another cache.
struct Place {
    cache: Cache,
    project: Project,
}

impl Place {
    /// `launcher` is a program of that name which runs the real gcc and leaves a trace of itself (`ran`).
    fn with(launcher: &str) -> Place {
        let place =
            Place { cache: Cache::new(), project: Project::with(&[("a.c", "int a = H;\n")]) };
        let gcc = tools::path_of("gcc");
        let text = format!(
            "#!/bin/sh\necho >>{}\nexec {} \"$@\"\n",
            place.trace().display(),
            gcc.display()
        );
        place.project.write_program(&format!("bin/{launcher}"), &text);
        place.project.mkdir("links");
        place
    }

    fn trace(&self) -> PathBuf {
        self.cache.root().join("ran")
    }

    /// These directories of the project are first on `PATH`.
    fn path(&mut self, directories: &[&str]) {
        let path = std::env::var("PATH").unwrap();
        let own: Vec<_> =
            directories.iter().map(|dir| self.project.at(dir).display().to_string()).collect();
        self.cache.set("PATH", format!("{}:{path}", own.join(":")));
    }

    fn compile(&self) -> Seen {
        self.project.call(&self.cache, "gcc -DH=1 -c a.c -o a.o").check()
    }

    /// How often the other cache ran since the last time.
    fn ran(&self) -> usize {
        let ran = fs::read(self.trace()).unwrap_or_default().len();
        let _ = fs::remove_file(self.trace());
        ran
    }
}

#[test]
fn links_are_passed_over() {
    for launcher in LAUNCHERS {
        let mut place = Place::with(launcher);
        place.project.symlink(&format!("../bin/{launcher}"), "links/gcc");
        place.path(&["links"]);
        place.compile().expect(&Outcome::Miss);
        // The bare run, of which there is one for each call, went through it.
        assert_eq!(place.ran(), 1, "{launcher}");
        place.compile().expect(&Outcome::InvocationHit);
        assert_eq!(place.ran(), 1, "{launcher}");
    }
}

#[test]
fn hard_links_and_links_of_links_are_passed_over() {
    let mut place = Place::with("ccache");
    place.path(&["links", "bin"]);
    place.project.hard_link("bin/ccache", "links/gcc");
    place.compile().expect(&Outcome::Miss);
    place.compile().expect(&Outcome::InvocationHit);
    place.project.remove("links/gcc");
    place.project.symlink("../bin/ccache", "links/cc");
    place.project.symlink("cc", "links/gcc");
    place.compile().expect_miss();
    place.compile().expect_hit();
    // Once for each bare run.
    assert_eq!(place.ran(), 4);
}

#[test]
fn two_of_them_and_our_own_link() {
    let mut place = Place::with("ccache");
    place.project.symlink("../bin/ccache", "links/gcc");
    place.project.write_program("bin/distcc", "#!/bin/sh\nexit 9\n");
    place.project.mkdir("more");
    place.project.symlink("../bin/distcc", "more/gcc");
    place.project.mkdir("ours");
    let ours = place.project.at("ours/gcc");
    symlink(tools::ibid(), &ours).unwrap();
    place.path(&["ours", "links", "more"]);
    for outcome in [Outcome::Miss, Outcome::InvocationHit] {
        let counted = place
            .cache
            .count(|| drop(place.project.shell(&place.cache, "gcc -DH=1 -c a.c -o a.o")));
        assert_eq!(counted.outcome(), outcome);
        place.project.shell(
            &place.cache,
            &format!("{} -DH=1 -c a.c -o b.o && cmp a.o b.o", tools::path_of("gcc").display()),
        );
    }
    assert_eq!(place.ran(), 0);
}

/// What was passed over is something else now: the bare result is another one.
#[test]
fn what_was_passed_over_is_replaced() {
    let other = format!("#!/bin/sh\nexec {} \"$@\" -UH -DH=2\n", tools::path_of("gcc").display());
    for (before, after) in [
        ("ln -s ../bin/ccache links/gcc", "rm links/gcc && cp other links/gcc"),
        ("ln -s ../bin/ccache links/gcc", "ln -sf ../other links/gcc"),
        ("ln bin/ccache links/gcc", "cp other links/new && mv links/new links/gcc"),
        (
            "ln -s real links/gcc && ln bin/ccache links/real",
            "cp other links/new && mv links/new links/real",
        ),
        // Our own copies and links as well.
        ("cp \"$IBID\" links/gcc", "cp other links/new && mv links/new links/gcc"),
        (
            "cp \"$IBID\" links/real && ln -s real links/gcc",
            "cp other links/new && mv links/new links/real",
        ),
        ("ln -s \"$IBID\" links/gcc", "ln -sf ../other links/gcc"),
    ] {
        let mut place = Place::with("ccache");
        place.path(&["links", "bin"]);
        place.cache.set("IBID", tools::ibid());
        place.project.write_program("other", &other);
        place.project.shell(&place.cache, before);
        place.compile().expect(&Outcome::Miss);
        place.compile().expect(&Outcome::InvocationHit);
        place.project.shell(&place.cache, after);
        let seen = place.compile();
        assert!(!seen.outcome.is_hit(), "{before}, {after}");
        place.compile();
    }
}

/// Named by its path it is what the user wants; it may look for the compiler and find us.
#[test]
fn one_that_is_asked_for_by_its_path() {
    let mut place = Place::with("ccache");
    place.project.write_program(
        "bin/ccache",
        "#!/bin/sh\nIFS=:\nfor dir in $PATH; do\ntest \"$dir/gcc\" -ef \"$0\" || { test -x \"$dir/gcc\" && exec \"$dir/gcc\" \"$@\"; }\ndone\n",
    );
    place.project.symlink("../bin/ccache", "links/gcc");
    place.project.mkdir("ours");
    let ours = place.project.at("ours/gcc");
    symlink(tools::ibid(), &ours).unwrap();
    place.path(&["ours", "links"]);
    let link = place.project.at("links/gcc");
    for _ in 0..3 {
        let line = format!(
            "-DH=1 -c a.c -o a.o && {} -DH=1 -c a.c -o b.o && cmp a.o b.o",
            tools::path_of("gcc").display()
        );
        let (ibid, link) = (tools::ibid().display(), link.display());
        place.project.shell(&place.cache, &format!("{ibid} {link} {line}"));
        place.project.shell(&place.cache, &format!("{link} {line}"));
    }
    let masked = place.project.call(&place.cache, "gcc -DH=1 -c a.c -o a.o");
    masked.through(Through::Masquerade(ours)).check();
}

/// Nothing is behind its link: it may know of a compiler elsewhere.
#[test]
fn only_another_cache_is_there() {
    let place = Place::with("ccache");
    place.project.symlink("../bin/ccache", "links/no-such-gcc");
    let path =
        format!("{}:{}", place.project.at("links").display(), std::env::var("PATH").unwrap());
    let mut call = place.cache.ibid(["no-such-gcc", "-DH=1", "-c", "a.c", "-o", "a.o"]);
    let done = call.env("PATH", path).current_dir(place.project.path()).output().unwrap();
    assert!(done.status.success() && done.stderr.is_empty(), "{done:?}");
    assert!(place.project.at("a.o").is_file() && place.ran() == 1);
}

#[test]
fn the_links_of_debian() {
    for directory in ["/usr/lib/ccache", "/usr/lib/distcc"] {
        if !PathBuf::from(directory).join("gcc").exists() {
            assert!(std::env::var_os("CI").is_none(), "{directory} is missing");
            tools::skip(&format!("{directory} is not here"));
            continue;
        }
        let (mut cache, project) = (Cache::new(), Project::with(&[("a.c", "int a;\n")]));
        for (name, below) in [("CCACHE_DIR", "ccache"), ("DISTCC_DIR", "distcc")] {
            let dir = cache.root().join(below).into_os_string();
            cache.set(name, dir);
        }
        cache.set("DISTCC_HOSTS", "localhost");
        cache.set("PATH", format!("{directory}:{}", std::env::var("PATH").unwrap()));
        for tool in tools::present(&["gcc", "g++", "clang"]) {
            for outcome in [Outcome::Miss, Outcome::InvocationHit] {
                let line = format!("'{}' {tool} -c a.c -o a.o", tools::ibid().display());
                let counted = cache.count(|| drop(project.shell(&cache, &line)));
                assert_eq!(counted.outcome(), outcome, "{directory} {tool}");
                let bare =
                    format!("{} -c a.c -o b.o && cmp a.o b.o", tools::path_of(tool).display());
                project.shell(&cache, &bare);
            }
        }
        let said =
            cache.command(tools::ibid()).args(["doctor", "-v", "--quick"]).output().unwrap().stdout;
        let said = String::from_utf8(said).unwrap();
        assert!(said.contains(&format!("past {directory}/gcc")), "{said}");
    }
}
