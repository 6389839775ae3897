//! Links by gcc and clang as builds call them: of objects, of sources, of both, by each linker.

use std::fs;
use std::process::Command;

use crate::cache::{Cache, Outcome};
use crate::cases;
use crate::project::Project;
use crate::tools::{self, C};

const FILES: &[(&str, &str)] = &[
    ("m.c", "int f(void);\nint main(void) { return f(); }\n"),
    ("f.c", "int f(void) { return 1; }\n"),
    ("g.s", ".text\n.globl f\nf: mov $1,%eax\nret\n.section .note.GNU-stack,\"\",@progbits\n"),
    ("v.map", "A { global: f; local: *; };\n"),
    ("w.c", "extern char *tmpnam(char *);\nint main(void) { char b[99]; return !tmpnam(b); }\n"),
];

/// The files, and objects of them.
fn project(cache: &Cache) -> Project {
    let project = Project::with(FILES);
    project.shell(
        cache,
        "gcc -fPIC -c f.c && gcc -c m.c && gcc -flto -c f.c -o lf.o && gcc -flto -c m.c -o lm.o && \
         clang -flto=thin -c f.c -o tf.o && clang -flto=thin -c m.c -o tm.o && \
         rm -f libf.a && ar rcsD libf.a f.o && gcc -shared f.o -o libf.so",
    );
    project
}

/// Command lines whose result is the same at each run, for both compilers.
const LINES: &[&str] = &[
    "m.o f.o -o p",
    "m.o f.o",
    "m.o f.o -o p -Wl,-Map=p.map",
    "m.o -L. -lf -o p",
    "m.o libf.a -o p -Wl,-t",
    "-static m.o f.o -o p",
    "-shared f.o -Wl,--version-script=v.map -Wl,-soname,libg.so.1 -o libg.so",
    "-r -nostdlib m.o f.o -o r.o",
    "m.c f.c -o p",
    "m.c -L. -lf -o p",
    "-g -O2 m.c f.o -o p",
    "-MD -MF p.d m.c f.o -o p",
    "-save-temps m.c f.o -o p",
    "-s m.o f.o -o p",
    "m.o f.o -Wl,--gc-sections -Wl,--build-id=sha1 -o p",
    "m.o f.o -fuse-ld=gold -o p",
    "m.o f.o -fuse-ld=gold -Wl,-Map=p.map -o p",
    "m.o f.o -fuse-ld=lld -o p",
    "m.c f.c -fuse-ld=lld -o p",
    "m.o f.o -fuse-ld=lld -Wl,-Map=p.map -o p",
    "m.o f.o -fuse-ld=mold -Wl,--no-fork -o p",
    "m.c f.c -fuse-ld=mold -Wl,--no-fork -o p",
];
const GCC_LINES: &[&str] = &["-flto lm.o lf.o -o p", "-flto m.c f.c -o p"];
const CLANG_LINES: &[&str] = &[
    "-flto=thin -fuse-ld=lld tm.o tf.o -o p",
    "-flto -fuse-ld=lld m.c f.c -o p",
    "-flto m.c f.c -o p",
];

/// Removes what a link has made.
fn clean(project: &Project) {
    for name in ["p", "a.out", "p.map", "r.o", "libg.so", "p.d"] {
        if project.at(name).exists() {
            project.remove(name);
        }
    }
}

fn all_lines(tool: &str) -> impl Iterator<Item = &'static str> {
    let own = if tools::is_gcc(tool) { GCC_LINES } else { CLANG_LINES };
    let linkers = ["gold", "lld", "mold"].map(|name| (name, tools::have(&format!("ld.{name}"))));
    LINES.iter().chain(own).copied().filter(move |line| {
        linkers.iter().all(|(name, is_here)| *is_here || !line.contains(&format!("={name}")))
    })
}

/// Until a program is there of which nothing is known, the first links are watched, and may not be kept.
fn warm_up(cache: &Cache, project: &Project, tool: &str) {
    for line in all_lines(tool) {
        let line = line.replace("-o p", "-o q");
        project.shell(cache, &format!("{} {tool} {line}; rm -f q a.out", tools::ibid().display()));
    }
}

#[test]
fn every_kind_of_link_is_a_hit() {
    for tool in tools::present(C) {
        let cache = Cache::new();
        let project = project(&cache);
        warm_up(&cache, &project, tool);
        let lines: Vec<&str> = all_lines(tool).collect();
        for line in tools::some_of(lines, tool) {
            clean(&project);
            let call = project.call(&cache, &format!("{tool} {line}"));
            let mut outcome = call.check().outcome;
            if !outcome.is_hit() && outcome != Outcome::Miss {
                clean(&project);
                outcome = call.check().outcome;
            }
            assert!(outcome.is_hit() || outcome == Outcome::Miss, "{tool} {line}: {outcome:?}");
            clean(&project);
            call.check().expect(&Outcome::InvocationHit);
            // What is there already is replaced.
            call.check().expect(&Outcome::InvocationHit);
        }
    }
}

/// Those that are here, but for mold, whose link over an older output is not stored.
fn linkers() -> impl Iterator<Item = &'static str> {
    ["bfd", "gold", "lld"].into_iter().filter(|linker| tools::have(&format!("ld.{linker}")))
}

/// CMake's makefiles link below `cmake -E cmake_link_script`, which leaves its script open.
#[test]
fn a_file_that_is_left_open() {
    for tool in tools::present(C) {
        for linker in linkers() {
            let cache = Cache::new();
            let project = project(&cache);
            for line in ["m.o f.o -o p", "-shared f.o -o libg.so"] {
                let line = format!("{tool} {line} -fuse-ld={linker}");
                let call = || project.call(&cache, &line).after("exec 3<v.map");
                for outcome in [Outcome::Miss, Outcome::InvocationHit] {
                    clean(&project);
                    call().check().expect(&outcome);
                }
            }
        }
    }
}

/// A link over what is there, of which nothing was stored.
#[test]
fn a_link_over_an_older_program() {
    for tool in tools::present(C) {
        for linker in linkers() {
            let cache = Cache::new();
            let project = project(&cache);
            project.shell(&cache, "printf 'int f(void) { return 7; }\\n' >o.c && gcc -c o.c");
            let old = format!("{tool} m.o o.o -fuse-ld={linker} -o p");
            let call = project.call(&cache, &format!("{tool} m.o f.o -fuse-ld={linker} -o p"));
            let mut outcomes = Vec::new();
            for _ in 0..4 {
                project.shell(&cache, &old);
                outcomes.push(call.check().outcome);
            }
            assert!(outcomes.last().is_some_and(Outcome::is_hit), "{tool} {linker}: {outcomes:?}");
        }
    }
}

/// What differs from run to run is not kept: names of temporary objects in map files and messages, drawn build ids.
#[test]
fn what_two_bare_runs_disagree_about() {
    for tool in tools::present(C) {
        let cache = Cache::new();
        let project = project(&cache);
        let mut lines = vec![
            "m.c f.o -o p -Wl,-Map=p.map",
            "m.c f.o -o p -Wl,-t",
            "w.c -o p",
            "m.c f.o -o p -Wl,--cref",
            "m.o f.o -o p -Wl,--build-id=uuid",
        ];
        if tools::have("ld.lld") {
            lines.push("m.o f.o -o p -fuse-ld=lld -Wl,--build-id=uuid");
            lines.push("m.c f.o -o p -fuse-ld=lld -Wl,-Map=p.map");
            lines.push("m.c f.o -o p -fuse-ld=lld -Wl,--reproduce=p.map");
        }
        for line in lines {
            for _ in 0..4 {
                clean(&project);
                let counted = cache.count(|| {
                    let mut run = cache.ibid([tool]);
                    run.args(line.split(' ')).current_dir(project.path());
                    assert!(run.output().unwrap().status.success(), "{tool} {line}");
                });
                assert_eq!(counted.hits() + counted.get("stored"), 0, "{tool} {line}: {counted:?}");
            }
        }
    }
}

/// A link that reads its own output: `ld -r` into one of its objects, a library that is linked against itself.
#[test]
fn what_is_read_is_an_input_though_it_is_replaced() {
    for linker in linkers().filter(|linker| *linker != "gold" || tools::long()) {
        let cache = Cache::new();
        for line in [
            format!("gcc -fuse-ld={linker} -r -nostdlib m.o f.o -o f.o"),
            format!("gcc -fuse-ld={linker} -shared -L. -lf -o ./libf.so"),
            format!("gcc -fuse-ld={linker} -Wl,--threads=1 -shared -L. -lf -o ./libf.so"),
            format!("clang -fuse-ld={linker} -shared m.o f.o libf.so -o libf.so"),
        ] {
            if line.contains("threads") && linker != "lld" {
                continue;
            }
            for value in [1, 2, 1, 3] {
                let project = project(&cache);
                let source = format!("int f(void) {{ return {value}; }} int f{value};\n");
                project.write("f.c", source);
                project.shell(&cache, "gcc -fPIC -c f.c && gcc -shared f.o -o libf.so");
                for _ in 0..3 {
                    project.call(&cache, &line).check();
                }
            }
        }
    }
}

/// Failing links, one after the other as the bare tool.
#[test]
fn bad_input() {
    for tool in tools::present(C) {
        let cache = Cache::new();
        let project = project(&cache);
        project.write("long.rsp", "m.o f.o\n".to_owned() + &"-DLONG_WORD=1\n".repeat(150_000));
        project.mkdir("dir.a");
        project.mkdir("dir");
        project.write("broken.o", "\x7fELF and then nothing");
        project.write("empty.a", "");
        let lines = [
            "m.o f.o @none.rsp -o p",
            "@long.rsp -o p",
            "m.o dir.a -o p",
            "m.o none.o -o p",
            "m.o broken.o -o p",
            "m.o empty.a f.o -o p",
            "m.o f.o -o none/p",
            "m.o f.o -o dir",
            "m.o f.o -lnone -o p",
            "m.o f.o -Wl,--version-script=none.map -o p",
            "m.o f.o -Wl,-T,dir -o p",
            "m.o -o p",
            "f.o m.o f.o -o p",
            "m.o f.o -fuse-ld=none -o p",
            "m.o f.o -o",
        ];
        for line in tools::some_of(lines, tool) {
            for _ in 0..3 {
                project.call(&cache, &format!("{tool} {line}")).check();
            }
        }
        let counters = cache.counters();
        assert_eq!(counters.sum("internal_errors"), 0, "{tool}: {counters:?}");
    }
}

/// A linker that is killed, by a limit of file size: the same end, and nothing stored.
#[test]
fn a_linker_that_is_killed() {
    for tool in tools::present(C) {
        let cache = Cache::new();
        let project = project(&cache);
        let call = project.call(&cache, &format!("{tool} m.o f.o -o p"));
        for _ in 0..3 {
            clean(&project);
            call.check();
        }
        for _ in 0..2 {
            clean(&project);
            let limited = project.call(&cache, &format!("{tool} m.o f.o -o p"));
            let seen = limited.after("ulimit -f 2").unstable(&["p".into()]).check();
            assert!(!seen.outcome.is_hit(), "{:?}", seen.outcome);
        }
        clean(&project);
        call.check().expect(&Outcome::InvocationHit);
    }
}

/// Two links that write one output at once: in the end it is one of the two, whole.
#[test]
fn two_links_of_one_output() {
    for tool in tools::present(C) {
        let cache = Cache::new();
        let project = project(&cache);
        project.shell(&cache, "printf 'int f(void) { return 7; }\\n' >o.c && gcc -c o.c");
        let make = |object: &str| -> Vec<u8> {
            project.shell(&cache, &format!("{tool} m.o {object} -o p"));
            project.read("p")
        };
        let wanted = [make("f.o"), make("o.o")];
        for object in ["f.o", "o.o", "f.o", "o.o", "f.o", "o.o"] {
            clean(&project);
            let mut run = cache.ibid([tool, "m.o", object, "-o", "p"]);
            assert!(run.current_dir(project.path()).status().unwrap().success());
        }
        for _ in 0..10 {
            clean(&project);
            let start = |object: &str| {
                let mut run: Command = cache.ibid([tool, "m.o", object, "-o", "p"]);
                run.current_dir(project.path()).spawn().unwrap()
            };
            let running = ["f.o", "o.o"].map(start);
            for mut link in running {
                assert!(link.wait().unwrap().success());
            }
            assert!(wanted.contains(&fs::read(project.at("p")).unwrap()), "{tool}");
        }
        assert!(cache.counters().hits() > 10, "{:?}", cache.counters());
    }
}

/// Programs of one source, as configure scripts make them. lld names a temporary file after its output.
#[test]
fn what_configure_asks() {
    for tool in tools::present(C) {
        for linker in ["", "-fuse-ld=lld"] {
            if !linker.is_empty() && !tools::have("ld.lld") {
                continue;
            }
            let cache = Cache::new();
            let project = Project::new();
            for pass in 0..4 {
                for call in ["puts(\"\")", "getpid()"] {
                    let name = call.split('(').next().unwrap();
                    let source =
                        format!("int {name}();\nint main(void) {{ return {call} * 0; }}\n");
                    project.write("conftest.c", source);
                    let line = format!("{tool} {linker} -w -o conftest -g -O2 conftest.c -lm");
                    let seen = project.call(&cache, &line).check();
                    project.remove("conftest");
                    assert!(seen.outcome.is_hit() || pass < 3, "{line}: {:?}", seen.outcome);
                }
            }
        }
    }
}

cases! {
    source_of_a_program: C,
        |s| { s.write("a.c", "int main(void) { return 1; }\n"); s.args("a.c -o p"); s.may_hit_or_not(); },
        |s| { s.write("a.c", "int main(void) { return 2; }\n"); };
    header_of_a_program: C,
        |s| { s.write("h.h", "#define H 1\n"); s.write("a.c", "#include \"h.h\"\nint main(void) { return H; }\n"); s.args("a.c -o p"); s.may_hit_or_not(); },
        |s| { s.write("h.h", "#define H 2\n"); };
    library_of_a_program_of_one_source: C,
        |s| { s.write("a.c", "int f(void);\nint main(void) { return f(); }\n"); s.write("f.c", "int f(void) { return 1; }\n"); s.sh("mkdir two one && gcc -c f.c && ar rcs two/libf.a f.o"); s.args("a.c -Lone -Ltwo -lf -o p"); s.may_hit_or_not(); },
        |s| { s.sh("printf 'int f(void) { return 2; }\\n' >f.c; gcc -c f.c && ar rcs one/libf.a f.o"); };
}
