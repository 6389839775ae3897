//! Directories that a tool makes: outputs like others, made where they are not there.

use crate::cache::{Cache, Outcome};
use crate::project::Project;
use crate::rustc::toolchain;
use crate::tools;

/// Nothing is there, then all of it, then the directory alone.
#[test]
fn directories_that_the_tool_makes() {
    let Some(rustc) = toolchain() else { return };
    let rustc = rustc.join("rustc").display().to_string();
    let cache = Cache::new();
    let project = Project::with(&[("a.rs", "pub fn f() {}\n"), ("b.rs", "pub fn g() {}\n")]);
    let make = |source: &str, out_dir: &str| {
        let line = format!("{rustc} --crate-type lib --out-dir {out_dir} {source}");
        project.call(&cache, &line).check()
    };
    for out_dir in ["new", "deep/er/new"] {
        make("a.rs", out_dir).expect(&Outcome::Miss);
        make("a.rs", out_dir).expect_hit();
        project.remove(out_dir);
        make("a.rs", out_dir).expect_hit();
        project.remove(&format!("{out_dir}/liba.rlib"));
        make("a.rs", out_dir).expect_hit();
        // Made when the directory was there, and served when it is not.
        make("b.rs", out_dir).expect(&Outcome::Miss);
        project.remove(out_dir);
        make("b.rs", out_dir).expect_hit();
    }
    project.remove("new");
    project.write("new", "a file stands in the way");
    assert_ne!(make("a.rs", "new").done.code, Some(0));
    assert_eq!(project.read("new"), b"a file stands in the way");
    project.remove("new");
    project.symlink("elsewhere", "new");
    make("a.rs", "new");
    project.mkdir("elsewhere");
    make("a.rs", "new");
}

/// gcc makes the directory of compiled modules.
#[test]
fn the_directory_of_modules() {
    for tool in tools::present(&["g++"]) {
        let cache = Cache::new();
        let source = "export module m;\nexport int f() { return 1; }\n";
        let project = Project::with(&[("m.cc", source)]);
        let line = format!("{tool} -std=c++20 -fmodules-ts -c m.cc -o m.o");
        let call = project.call(&cache, &line).env("SOURCE_DATE_EPOCH", "1");
        call.check().expect(&Outcome::Miss);
        call.check();
        project.remove("gcm.cache");
        call.check().expect_hit();
        project.remove("gcm.cache/m.gcm");
        call.check().expect_hit();
    }
}

/// Of an unknown program it is not known what it does where a directory is.
#[test]
fn a_directory_that_a_script_makes() {
    let cache = Cache::new();
    let project = Project::new();
    project.write_program("gcc", "#!/bin/sh\nmkdir made 2>/dev/null\nexec /usr/bin/gcc \"$@\"\n");
    project.write("a.c", "int a;\n");
    for _ in 0..2 {
        let done = project.call(&cache, "./gcc -c a.c -o a.o").check();
        project.remove("made");
        assert!(done.outcome.is_miss(), "{:?}", done.outcome);
    }
}

/// rustc writes where the link leads, and finds crates there.
#[test]
fn an_output_directory_behind_a_link() {
    let Some(rustc) = toolchain() else { return };
    let rustc = rustc.join("rustc").display().to_string();
    for (out_dir, link) in [("o", "o"), ("o/sub", "o")] {
        let cache = Cache::new();
        let project = Project::new();
        for place in ["A", "B"] {
            let below = out_dir.replacen(link, place, 1);
            project.write("q.rs", format!("pub fn f() -> &'static str {{ \"{place}\" }}\n"));
            project.mkdir(&below);
            let line = format!("{rustc} --crate-type rlib --out-dir {below} q.rs");
            project.shell(&cache, &line);
        }
        project.write("a.rs", "extern crate q;\nfn main() { println!(\"{}\", q::f()); }\n");
        project.symlink("A", link);
        let line = format!("{rustc} a.rs --out-dir {out_dir} --extern q={out_dir}/libq.rlib");
        let call = project.call(&cache, &line);
        call.check();
        call.check();
        project.symlink("B", link);
        call.check();
        let program = format!("./{out_dir}/a");
        assert_eq!(project.shell(&cache, &program).trim(), "B", "{out_dir}");
        // A directory becomes a link.
        project.remove(link);
        project.mkdir(out_dir);
        project
            .shell(&cache, &format!("cp {}/libq.rlib {out_dir}", out_dir.replacen(link, "A", 1)));
        call.check();
        call.check();
        project.rename(link, "moved");
        project.symlink("moved", link);
        call.check();
    }
}
