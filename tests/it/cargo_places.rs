//! Builds by cargo in places that are not the usual ones: target directories elsewhere, behind a link or removed meanwhile, source
//! trees that nobody may write; and wrappers around wrappers, and documentation.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use crate::cargo::Workspace;
use crate::interrupted::{begin, end, waiting};
use crate::tools::{self, have, skip};

const SAID: &str = "hello 8 7 yes\n";

#[test]
fn wherever_the_target_directory_is() {
    let Some(mut work) = Workspace::new() else { return };
    let elsewhere = work.cache.root().join("elsewhere");
    work.project.symlink(elsewhere.to_str().unwrap(), "target");
    std::fs::create_dir(&elsewhere).unwrap();
    let clean = |_: &Workspace| {
        std::fs::remove_dir_all(&elsewhere).unwrap();
        std::fs::create_dir(&elsewhere).unwrap();
    };
    work.run("cargo build").is_all_stored();
    clean(&work);
    work.run("cargo build").is_all_hits();
    clean(&work);
    work.cache.set("CARGO_TARGET_DIR", elsewhere.as_os_str());
    work.run("cargo build").is_all_stored();
    clean(&work);
    work.run("cargo build").is_all_hits();
    assert_eq!(work.run("cargo build").counted.outcomes(), 0);
}

#[test]
fn the_target_directory_is_removed_during_the_build() {
    let Some(work) = waiting() else { return };
    for _ in 0..2 {
        let mut build = work.command("cargo build");
        build.env("RUSTC_WRAPPER", tools::ibid());
        let (child, _) = begin(&work.project, "low/", build);
        work.project.remove("target");
        work.project.remove("low/wait");
        let status = end(&work.project, child);
        // rustc found no place for its outputs.
        assert!(!status.success(), "{status}");
        work.run("cargo build");
        assert_eq!(work.run_bare("target/debug/app").stdout, SAID);
        work.project.remove("target");
        work.run("cargo build").is_all_hits();
        assert_eq!(work.run_bare("target/debug/app").stdout, SAID);
        work.cache.say(&["clear"]);
        work.project.remove("target");
    }
}

/// A shell line in a namespace where the project is mounted so that not even root may write there.
fn read_only(work: &Workspace, line: &str) -> Command {
    let mount =
        "mount --bind . . && mount -o remount,bind,ro . && cd \"$PWD\" && exec sh -c \"$0\"";
    let mut command = work.cache.command("unshare");
    command.arg("--mount").args((!tools::is_root()).then_some("--map-root-user"));
    command.args(["sh", "-c", mount, line]).current_dir(work.project.path());
    command
}

#[test]
fn a_source_tree_that_cannot_be_written() {
    let Some(mut work) = Workspace::new() else { return };
    if !have("unshare") {
        return;
    }
    if !read_only(&work, "! touch low/x").output().unwrap().status.success() {
        return skip("nothing may be mounted here");
    }
    work.run_bare("cargo generate-lockfile");
    let elsewhere = work.cache.root().join("elsewhere");
    work.cache.set("CARGO_TARGET_DIR", elsewhere.as_os_str());
    for is_warm in [false, true] {
        let counted = work.cache.count(|| {
            let mut build = read_only(&work, "cargo build --locked");
            let done = build.env("RUSTC_WRAPPER", tools::ibid()).output().unwrap();
            assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        });
        assert_eq!(counted.get("stored"), counted.get("misses"), "{counted:?}");
        assert_eq!(counted.hits() == counted.outcomes(), is_warm, "{counted:?}");
        assert_eq!(work.run_bare(elsewhere.join("debug/app").to_str().unwrap()).stdout, SAID);
        std::fs::remove_dir_all(&elsewhere).unwrap();
    }
}

/// Whichever of the two wrappers ibid is, and if it is both: what is restored is whole.
#[test]
fn ibid_as_either_wrapper_of_cargo_or_both() {
    let ibid = tools::ibid().to_str().unwrap();
    for wrappers in [["", ibid], [ibid, ibid]] {
        let Some(mut work) = Workspace::new() else { return };
        work.cache.set("RUSTC_WORKSPACE_WRAPPER", wrappers[1]);
        let build = || {
            let counted = work.cache.count(|| {
                let done = work.command("cargo build").env("RUSTC_WRAPPER", wrappers[0]).output();
                let done = done.unwrap();
                assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
            });
            assert_eq!(work.run_bare("target/debug/app").stdout, SAID);
            counted
        };
        let cold = build();
        assert!(cold.get("stored") > 0, "{cold:?}");
        work.project.remove("target");
        let warm = build();
        assert_eq!((warm.get("misses"), warm.hits() > 0), (0, true), "{warm:?}");
    }
}

/// Every file below a directory, with its bytes.
fn files(root: &Path) -> BTreeMap<String, Vec<u8>> {
    let (mut files, mut to_do) = (BTreeMap::new(), vec![root.to_owned()]);
    while let Some(directory) = to_do.pop() {
        for path in std::fs::read_dir(directory).unwrap().flatten().map(|entry| entry.path()) {
            if path.is_dir() {
                to_do.push(path);
            } else {
                let name = path.strip_prefix(root).unwrap().display().to_string();
                files.insert(name, std::fs::read(&path).unwrap());
            }
        }
    }
    files
}

/// rustdoc, to which cargo passes no wrapper, rewrites files that several crates share.
#[test]
fn documentation_is_what_it_is_without_ibid() {
    let Some(work) = Workspace::new() else { return };
    work.run_bare("cargo doc -j1");
    let bare = files(&work.project.at("target/doc"));
    assert!(bare.contains_key("low/fn.twice.html"), "{:?}", bare.keys());
    for turn in 0..2 {
        work.project.remove("target");
        let ran = work.run("cargo doc -j1");
        if turn == 1 {
            ran.is_all_hits();
        }
        let ours = files(&work.project.at("target/doc"));
        assert!(ours == bare, "{:?}\n{:?}", ours.keys(), bare.keys());
    }
}
