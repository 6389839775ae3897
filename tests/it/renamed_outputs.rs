//! One result under several names: two targets that compile one source with the same options share it, unless what is made shows
//! what it is called.
//!
//! Each result is compared with what the bare tool makes under that name.

use crate::cache::Cache;
use crate::project::Project;
use crate::several_places::{PLACES, Scene};
use crate::tools;

const FILES: &[(&str, &str)] = &[
    ("inc/a.h", "#define A 1\nstatic inline int twice(int x) { return 2 * x; }\n"),
    (
        "src/a.c",
        "#include <assert.h>\n#include <stdio.h>\n#include \"a.h\"\n\
         int a(int x) { assert(x); return printf(\"%s %d\", __FILE__, twice(x) + A); }\n",
    ),
    ("src/w.c", "#warning \"this\"\nint f(void) { int unused; return 1; }\n"),
    ("x/keep", ""),
    ("x/y/keep", ""),
    ("a-directory/of-a-very-long-name/that-breaks-lines/keep", ""),
];

/// The name without its ending, of each kind of length.
const NAMES: [&str; 5] =
    ["x/a", "b", "x/y/b.c", "a-directory/of-a-very-long-name/that-breaks-lines/a", "x/a.b"];

fn renamed(line: &str, name: &str) -> String {
    line.replace("{o}", name)
}

/// The first name is compiled, the second compared, the others are served; each is known by its stamps then.
#[track_caller]
fn serves_all_names(scene: &Scene, line: &str) {
    let here = PLACES[0];
    scene.call(here, &renamed(line, NAMES[0])).check().expect_miss();
    for name in &NAMES[1..] {
        let line = renamed(line, name);
        scene.expect_shared(here, &line, *name == NAMES[1]);
        scene.call(here, &line).check().expect_hit();
    }
    for (place, name) in PLACES[1..].iter().zip(NAMES.iter().rev()) {
        let line = renamed(line, name);
        if line.starts_with("one") || line.contains("{here}") {
            continue;
        }
        scene.expect_shared(place, &line, false);
    }
}

#[track_caller]
fn serves_one_name(scene: &Scene, line: &str) {
    for name in NAMES {
        let seen = scene.call(PLACES[0], &renamed(line, name)).check();
        assert!(!seen.outcome.is_hit(), "{line} as {name}: {:?}", seen.outcome);
    }
    let audits = scene.cache.counters().get("internal_errors/audit");
    assert_eq!(audits, 0, "{line}: a result of another name was taken for one of this name");
}

#[test]
fn outputs_of_several_names() {
    for tool in tools::of_each_family() {
        for options in tools::some_of(
            [
                "-O2 -Iinc -c src/a.c -o {o}.o",
                "-O2 -Iinc -c src/a.c -o{o}.o",
                "-MD -Iinc -c src/a.c -o {o}.o",
                "-MD -MP -MT {o}.o -MF {o}.Tpo -Iinc -c src/a.c -o {o}.o",
                "-MMD -MQ {o}.o -MF{o}.d -Iinc -c -o {o}.o src/a.c",
                "-MD -MT all -MF {o}.d -Iinc -c src/a.c -o {o}.o",
                "-Wall -c src/w.c -o {o}.o",
            ],
            tool,
        ) {
            serves_all_names(&Scene::new(FILES), &format!("{tool} {options}"));
        }
    }
}

/// The kernel's makefiles ask which options there are under names made of process numbers.
#[test]
fn words_for_the_assembler() {
    let line = "gcc -Werror -Wa,-mtune=generic64,--fatal-warnings -c -x c /dev/null -o {o}";
    serves_all_names(&Scene::new(FILES), line);
}

#[test]
fn outputs_of_several_names_with_maps() {
    for tool in tools::of_each_family() {
        for options in tools::some_of(
            [
                "-O2 -g -Iinc -c src/a.c -o {o}.o",
                "-MD -MT {o}.o -MF {o}.d -g3 -Iinc -c {here}/src/a.c -o {o}.o",
                "-MD -g -Iinc -c {here}/src/a.c -o {here}/{o}.o",
            ],
            tool,
        ) {
            serves_all_names(&Scene::mapped(FILES), &format!("{tool} {options}"));
        }
    }
}

/// With debug information the result is bound to its directory, but not to its name.
#[test]
fn names_in_one_directory() {
    for tool in tools::of_each_family() {
        let scene = Scene::new(FILES);
        let line =
            |name: &str| format!("{tool} -g -O2 -I{{here}}/inc -c {{here}}/src/a.c -o {name}.o");
        scene.call(PLACES[0], &line(NAMES[0])).check().expect_miss();
        for name in &NAMES[1..] {
            scene.expect_shared(PLACES[0], &line(name), *name == NAMES[1]);
        }
        let seen = scene.call(PLACES[1], &line(NAMES[1])).check();
        assert!(seen.outcome.is_miss(), "{tool}: {:?}", seen.outcome);
    }
}

#[test]
fn what_shows_the_name() {
    for tool in tools::of_each_family() {
        let common = [
            "-g -gsplit-dwarf",
            "--coverage -frandom-seed=1",
            "-flto -frandom-seed=1",
            "-frandom-seed={o}.o",
            "-Wp,-MD,{o}.d",
            "-MD -MT {o}",
            "-save-temps=obj",
            "-DNAME=\"{o}.o\"",
        ];
        let of_gcc = [
            "-fstack-usage",
            "-fdump-tree-optimized",
            "-Wa,-adhln={o}.lst",
            "-frecord-gcc-switches",
        ];
        let of_clang =
            ["-Xclang -debug-info-kind=limited", "-fprofile-instr-generate -fcoverage-mapping"];
        let own: &[&str] = if tools::is_gcc(tool) { &of_gcc } else { &of_clang };
        for options in common.iter().chain(own) {
            let line = format!("{tool} {options} -Iinc -c src/a.c -o {{o}}.o");
            serves_one_name(&Scene::new(FILES), &line);
        }
        serves_one_name(&Scene::new(FILES), &format!("{tool} -Iinc -c src/a.c -o ./{{o}}.o"));
    }
}

/// A file that is an input under one name, and the output under the next.
#[test]
fn an_output_in_the_place_of_an_input() {
    for tool in tools::of_each_family() {
        let scene = Scene::new(FILES);
        let line = |output: &str| format!("{tool} -Iinc -Ix -c src/a.c -o {output}");
        scene.call(PLACES[0], &line("x/a.o")).check().expect_miss();
        scene.call(PLACES[0], &line("inc/b.h")).check();
        let seen = scene.call(PLACES[0], &line("inc/a.h")).check();
        assert!(!seen.outcome.is_hit(), "{tool}: {:?}", seen.outcome);
    }
}

/// A program that stands where the compiler is looked for, and makes something of the name.
#[test]
fn a_compiler_that_makes_something_of_the_name() {
    for tool in tools::present(&["gcc", "clang"]) {
        let (cache, project) = (Cache::new(), Project::with(FILES));
        project.write_program(
            "bin/cc1-of-mine",
            &format!("#!/bin/sh\nfor word; do last=$word; done\nexec {tool} \"-DNAME=\\\"$last\\\"\" \"$@\"\n"),
        );
        project.rename("bin/cc1-of-mine", &format!("bin/{tool}"));
        project.write("n.c", "const char name[] = NAME;\n");
        for name in NAMES {
            let line = format!("./bin/{tool} -c n.c -o {name}.o");
            let path = std::env::var("PATH").unwrap();
            let seen = project.call(&cache, &line).env("PATH", path).check();
            assert!(!seen.outcome.is_hit(), "{tool} as {name}: {:?}", seen.outcome);
        }
    }
}

/// Two libraries of one project that compile the same sources.
#[test]
fn two_targets_of_cmake() {
    for generator in ["Unix Makefiles", "Ninja"] {
        if !tools::have("cmake") || generator == "Ninja" && !tools::have("ninja") {
            continue;
        }
        let mut cache = Cache::new();
        cache.set("IBID_MAX_SIZE", "1G");
        let project = Project::with(FILES);
        project.write(
            "CMakeLists.txt",
            "cmake_minimum_required(VERSION 3.10)\nproject(two C)\ninclude_directories(inc)\n\
             foreach(name one two three)\n  add_library(${name} STATIC src/a.c src/w.c)\nendforeach()\n",
        );
        let launcher = env!("CARGO_BIN_EXE_ibid");
        project.shell(
            &cache,
            &format!(
                "cmake -G '{generator}' -DCMAKE_C_COMPILER_LAUNCHER={launcher} -S . -B build >out"
            ),
        );
        let built = cache.count(|| {
            project.shell(&cache, "cmake --build build -j1 >out 2>&1");
        });
        assert_eq!(built.get("misses"), 2, "{generator}: {built:?}");
        assert_eq!(built.get("portable_hits"), 4, "{generator}: {built:?}");
        let again = cache.count(|| {
            project.shell(&cache, "cmake --build build >out 2>&1");
        });
        assert_eq!(again.outcomes(), 0, "{generator}: {again:?}");
    }
}
