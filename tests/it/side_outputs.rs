//! Everything that a compile leaves behind beside the object comes back from the cache as the tool would have left it.
//!
//! Read next: `terminals.rs` for what it says.

use std::os::unix::fs::PermissionsExt;

use crate::cache::{Cache, Outcome};
use crate::call::{Call, StdIn};
use crate::project::Project;
use crate::tools::{self, ALL, C, CLANG, GCC};

const SOURCE: &str = "\
#include \"h.h\"
static int twice(int a) { return 2 * a; }
int f(int a) { int s = 0; for (int i = 0; i < a; i++) s += twice(i) + H; return s; }
";

fn project() -> Project {
    Project::with(&[("a.c", SOURCE), ("a.cc", SOURCE), ("h.h", "#define H 3\n"), ("out/keep", "")])
}

/// Compiles with `args` three times: a miss, a hit with no outputs there, a hit over the outputs.
fn replays(names: &[&str], args: &str) {
    for tool in tools::present(names) {
        let (cache, project) = (Cache::new(), project());
        let source = if tool.contains("++") { "a.cc" } else { "a.c" };
        let line = format!("{tool} {}", args.replace("SOURCE", source));
        let call = project.call(&cache, &line);
        let first = call.check().expect(&Outcome::Miss);
        assert!(!first.written.is_empty(), "{line} writes something");
        for (name, shape) in first.written.iter().rev() {
            let is_file = shape.as_ref().is_some_and(|shape| shape.links == 1);
            if is_file {
                project.remove(name.to_str().unwrap());
            }
        }
        call.check().expect_hit();
        call.check().expect_hit();
    }
}

macro_rules! replays {
    ($($name:ident: $tools:expr, [$($args:literal),* $(,)?];)*) => {
        $(#[test] fn $name() { for args in [$($args),*] { replays($tools, args); } })*
    };
}

replays! {
    plain: ALL, ["-c SOURCE -o a.o", "-c SOURCE", "SOURCE -c", "-c -oa.o SOURCE", "-O2 -g -c SOURCE -o out/a.o"];
    assembly: ALL, ["-S SOURCE -o a.s", "-S -O1 SOURCE"];
    depfiles: ALL, [
        "-MD -c SOURCE -o a.o", "-MMD -c SOURCE -o a.o", "-MD -MF out/dep -c SOURCE -o a.o",
        "-MD -MFdep -MT target -c SOURCE -o a.o", "-MD -MQ $target -MP -c SOURCE -o a.o",
        "-Wp,-MD,wp.d -c SOURCE -o a.o", "-Wp,-MMD,wp.d,-MTx -c SOURCE -o a.o", "-MD -c SOURCE",
    ];
    compilation_database: CLANG, ["-MJ a.json -c SOURCE -o a.o"];
    split_debug: C, ["-g -gsplit-dwarf -c SOURCE -o a.o", "-gsplit-dwarf -g -c SOURCE -o out/a.o", "-g -gsplit-dwarf -c SOURCE"];
    split_debug_of_clang: CLANG, ["-g -gsplit-dwarf=single -c SOURCE -o a.o", "-gdwarf-4 -gsplit-dwarf -c SOURCE -o a.obj"];
    split_debug_of_gcc: GCC, ["-g -gsplit-dwarf -dumpbase x -c SOURCE -o a.o", "-gsplit-dwarf -g2 -gz -c SOURCE -o a.o"];
    stack_usage: GCC, ["-fstack-usage -c SOURCE -o a.o", "-fstack-usage -fcallgraph-info -c SOURCE -o out/a.o"];
    prototypes: GCC, ["-aux-info protos -c SOURCE -o a.o"];
    temporaries: C, ["-save-temps -c SOURCE -o a.o", "-save-temps=obj -c SOURCE -o out/a.o"];
    dumps: GCC, ["-O2 -fdump-tree-optimized -c SOURCE -o a.o", "-O1 -fdump-rtl-final=out/rtl -c SOURCE -o a.o", "-O2 -fdump-tree-gimple -dumpdir out/ -c SOURCE -o a.o"];
    class_hierarchy: &["g++"], ["-fdump-lang-class -c SOURCE -o a.o"];
    assembler_depfile: GCC, ["-pipe -Wa,-MD,as.d -c SOURCE -o a.o"];
    assembler_listing: GCC, ["-Wa,-adhln=list -g -c SOURCE -o a.o"];
    optimisation_record: CLANG, ["-O2 -fsave-optimization-record -c SOURCE -o a.o", "-O2 -fsave-optimization-record=yaml -foptimization-record-file=rec -c SOURCE -o a.o"];
    serialized_diagnostics: CLANG, ["--serialize-diagnostics diag -Wall -c SOURCE -o a.o"];
    profile_arcs_of_clang: CLANG, ["-fprofile-instr-generate -fcoverage-mapping -c SOURCE -o a.o"];
    bitcode: CLANG, ["-emit-llvm -c SOURCE -o a.bc", "-flto -c SOURCE -o a.o", "-flto=thin -c SOURCE -o a.o"];
    link_time_of_gcc: GCC, ["-flto -frandom-seed=7 -c SOURCE -o a.o", "-flto -ffat-lto-objects -frandom-seed=7 -O2 -c SOURCE -o a.o"];
    assembler_text_on_stdout: GCC, ["-pipe -Wa,-al -c SOURCE -o a.o"];
}

/// Outputs that differ from run to run of the bare tool still come back, whatever the second run is counted as.
#[test]
fn outputs_that_are_never_the_same() {
    let cases: &[(&[&str], &str, &[&str])] = &[
        (GCC, "--coverage -c a.c -o a.o", &["a.gcno", "a.o"]),
        (CLANG, "--coverage -c a.c -o a.o", &["a.gcno", "a.o"]),
        (GCC, "-ftest-coverage -fprofile-arcs -O2 -c a.c -o out/a.o", &["a.gcno", "a.o"]),
        (GCC, "-O2 -fsave-optimization-record -c a.c -o a.o", &["a.c.opt-record.json.gz"]),
        (CLANG, "-ftime-trace -c a.c -o a.o", &["a.json"]),
        (GCC, "-flto -c a.c -o a.o", &["a.o"]),
    ];
    for (names, line, unstable) in cases {
        for tool in tools::present(names) {
            let (cache, project) = (Cache::new(), project());
            let unstable: Vec<String> = unstable.iter().map(|&name| name.to_owned()).collect();
            let line = format!("{tool} {line}");
            for _ in 0..3 {
                let seen = project.call(&cache, &line).unstable(&unstable).check();
                for name in &unstable {
                    assert!(seen.written.keys().any(|path| path.ends_with(name)), "{line}: {name}");
                }
            }
        }
    }
}

/// What is at the output's place before: each time a miss, then a hit, each like the bare tool's.
fn over(prepare: impl Fn(&Project), args: &str, expect_hit: bool) {
    for tool in tools::of_each_family() {
        let (cache, project) = (Cache::new(), project());
        let source = if tool.contains("++") { "a.cc" } else { "a.c" };
        let line = format!("{tool} {}", args.replace("SOURCE", source));
        prepare(&project);
        project.call(&cache, &line).check();
        // The bare tool may have replaced what was prepared.
        let _ = std::fs::remove_file(project.at("a.o"));
        prepare(&project);
        let again = project.call(&cache, &line).check();
        assert!(!expect_hit || again.outcome.is_hit(), "{tool}: {:?}", again.outcome);
    }
}

#[test]
fn over_an_older_file() {
    over(|p| p.write("a.o", "older"), "-c SOURCE -o a.o", true);
}

#[test]
fn over_an_empty_file() {
    over(|p| p.write("a.o", ""), "-c SOURCE -o a.o", true);
}

#[test]
fn over_an_executable_file() {
    let prepare = |p: &Project| {
        p.write("a.o", "older");
        p.chmod("a.o", 0o751);
    };
    over(prepare, "-c SOURCE -o a.o", false);
}

#[test]
fn over_a_read_only_file() {
    let prepare = |p: &Project| {
        p.write("a.o", "older");
        p.chmod("a.o", 0o444);
    };
    over(prepare, "-c SOURCE -o a.o", false);
}

#[test]
fn through_a_symlink() {
    let prepare = |p: &Project| {
        p.write("out/real.o", "older");
        p.symlink("out/real.o", "a.o");
    };
    over(prepare, "-c SOURCE -o a.o", false);
}

#[test]
fn through_a_dangling_symlink() {
    let prepare = |p: &Project| {
        let _ = std::fs::remove_file(p.at("out/real.o"));
        p.symlink("out/real.o", "a.o");
    };
    over(prepare, "-c SOURCE -o a.o", false);
}

#[test]
fn over_a_hard_linked_file() {
    let prepare = |p: &Project| {
        let _ = std::fs::remove_file(p.at("second"));
        p.write("a.o", "older");
        p.hard_link("a.o", "second");
    };
    over(prepare, "-c SOURCE -o a.o", false);
}

#[test]
fn over_a_hard_linked_depfile() {
    let prepare = |p: &Project| {
        let _ = std::fs::remove_file(p.at("second"));
        p.write("a.d", "older");
        p.chmod("a.d", 0o640);
        p.hard_link("a.d", "second");
    };
    let prepare_again = |p: &Project| {
        let _ = std::fs::remove_file(p.at("a.d"));
        prepare(p);
    };
    over(prepare_again, "-MD -c SOURCE -o a.o", false);
}

#[test]
fn over_a_directory() {
    let (cache, project) = (Cache::new(), project());
    for tool in tools::of_each_family() {
        let line = format!("{tool} -c a.c -o a.o");
        project.call(&cache, &line).check();
        project.remove("a.o");
        project.mkdir("a.o");
        let seen = project.call(&cache, &line).check();
        assert_ne!(seen.done.code, Some(0));
        project.remove("a.o");
    }
}

#[test]
fn into_a_directory_that_is_not_there() {
    let (cache, project) = (Cache::new(), project());
    for tool in tools::of_each_family() {
        let line = format!("{tool} -c a.c -o new/a.o");
        project.mkdir("new");
        project.call(&cache, &line).check();
        project.remove("new");
        let seen = project.call(&cache, &line).check();
        assert_eq!(seen.outcome, Outcome::ToolFailure);
    }
}

#[test]
fn under_a_narrow_umask() {
    for tool in tools::of_each_family() {
        let (cache, project) = (Cache::new(), project());
        let line = format!("{tool} -MD -c a.c -o a.o");
        project.call(&cache, &line).umask(Some(0o077)).check().expect(&Outcome::Miss);
        project.remove("a.o");
        project.remove("a.d");
        project.call(&cache, &line).umask(Some(0o077)).check().expect_hit();
        let mode = std::fs::metadata(project.at("a.o")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
}

/// The cache's own copy must survive what a build does to its outputs.
#[test]
fn an_output_that_is_edited_in_place() {
    for tool in tools::of_each_family() {
        let (cache, project) = (Cache::new(), project());
        let line = format!("{tool} -c a.c -o a.o");
        for _ in 0..3 {
            project.call(&cache, &line).check();
            let length = project.read("a.o").len();
            project.write("a.o", vec![b'x'; length]);
        }
    }
}

#[test]
fn standard_input_of_every_kind() {
    for tool in tools::present(C) {
        let (cache, project) = (Cache::new(), project());
        let line = format!("{tool} -c a.c -o a.o");
        let kinds =
            [StdIn::Null, StdIn::Closed, StdIn::Pipe(b"x".to_vec()), StdIn::File("h.h".into())];
        for kind in kinds {
            for _ in 0..2 {
                project.call(&cache, &line).stdin(kind.clone()).check();
            }
        }
    }
}

#[test]
fn names_with_blanks_quotes_and_other_bytes() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;
    for tool in tools::present(C) {
        let cache = Cache::new();
        for name in
            [&b"a b.c"[..], b"a'\"$(b).c", b"-a.c", "\u{e4}\u{1f600}.c".as_bytes(), b"\xff\xfe.c"]
        {
            let project = Project::new();
            let name = OsStr::from_bytes(name);
            std::fs::write(project.at(name), SOURCE.replace("#include \"h.h\"", "#define H 1"))
                .unwrap();
            let mut spelled = std::ffi::OsString::from("./");
            spelled.push(name);
            let call = Call::new(
                &cache,
                project.path(),
                [OsStr::new(tool), OsStr::new("-MD"), OsStr::new("-c")],
            );
            let call = call.arg(spelled).arg("-o").arg("a b.o");
            call.check().expect(&Outcome::Miss);
            call.check().expect_hit();
        }
    }
}

/// gcc appends its report to what is there: a hit where nothing is, and never a hit where something is.
#[test]
fn an_appended_report() {
    for tool in tools::present(GCC) {
        let (cache, project) = (Cache::new(), project());
        let source = if tool.contains("++") { "a.cc" } else { "a.c" };
        let line = format!("{tool} -O3 -fopt-info-all=report -c {source} -o a.o");
        let call = project.call(&cache, &line);
        call.check().expect(&Outcome::Miss);
        let over = call.check();
        assert_eq!(over.outcome, Outcome::NotStored("input_modified".into()), "{line}");
        project.remove("report");
        call.check().expect_hit();
    }
}

/// A list of access rights that a directory gives to new files decides their mode, not what the tool asked for.
#[test]
fn a_directory_that_gives_modes() {
    for tool in tools::present(C) {
        let cache = Cache::new();
        let project = Project::with(&[("a.c", "int a;\n"), ("rw/x", ""), ("plain/x", "")]);
        // Version 2; owner, group and others, each with rw.
        let list = [2, 0, 0, 0].into_iter().chain(
            [1u8, 4, 0x20].into_iter().flat_map(|who| [who, 0, 6, 0, 0xff, 0xff, 0xff, 0xff]),
        );
        let list: Vec<u8> = list.collect();
        let name = "system.posix_acl_default";
        let flags = rustix::fs::XattrFlags::empty();
        if rustix::fs::setxattr(project.at("rw"), name, &list, flags).is_err() {
            return;
        }
        let line = format!("{tool} -MD -c a.c -o out/a.o");
        for order in [["rw", "plain", "rw"], ["plain", "rw", "plain"]] {
            for to in order {
                project.symlink(to, "out");
                for below in ["out/a.o", "out/a.d"] {
                    let _ = std::fs::remove_file(project.at(below));
                }
                project.call(&cache, &line).check();
                project.call(&cache, &line).check();
            }
        }
    }
}

/// One output is a link to another one of the same command.
#[test]
fn an_output_that_leads_to_another_one() {
    for tool in tools::present(tools::C) {
        for (args, from, to) in [
            ("-S -MD -MF a.d a.c -o a.s", "a.d", "a.s"),
            ("-S -fstack-usage a.c -o a.s", "a.su", "a.s"),
            ("-c -MD -MF a.d -fstack-usage a.c -o a.o", "a.d", "a.su"),
        ] {
            let cache = Cache::new();
            let project = Project::with(&[("a.c", "int f(int a) { return a; }\n")]);
            let call = project.call(&cache, &format!("{tool} {args}"));
            for _ in 0..3 {
                project.shell(&cache, &format!("rm -f a.s a.d a.su a.o; ln -s {to} {from}"));
                call.check();
            }
            project.shell(&cache, "rm -f a.s a.d a.su a.o");
            call.check();
            call.check();
        }
    }
}
