//! Links, archives and preprocessed text: what serves another directory than the one that made it, and what must not.
//!
//! Each case runs in several directories of different lengths, and each result is compared with the bare tool's there. The
//! objects are made by the bare compiler.

use std::path::Path;

use crate::cache::{Cache, Outcome};
use crate::project::Project;
use crate::several_places::{PLACES, Scene, line_of};
use crate::tools;

const C: &[&str] = &["gcc", "clang"];

const FILES: &[(&str, &str)] = &[
    ("f.h", "int f(int);\n"),
    ("f.c", "#include \"f.h\"\nint f(int x) { return x + 1; }\n"),
    (
        "m.c",
        "#include \"f.h\"\n#include <stdio.h>\nint main(void) { return printf(\"%d\", f(1)) == 0; }\n",
    ),
    ("named.c", "#include <stdio.h>\nint main(void) { return puts(__FILE__) < 0; }\n"),
    ("bad.c", "#include \"f.h\"\nint f(int x) { return y; }\n"),
    ("v.map", "{ global: f; local: *; };\n"),
    ("build/keep", ""),
];

/// The objects that are linked, in each place; `{here}` in `line` is the place.
fn with_objects(scene: Scene, line: &str) -> Scene {
    for place in PLACES {
        let here = scene.at(place);
        let line = line.replace("{here}", here.to_str().unwrap());
        scene.project.shell(&scene.cache, &format!("cd {} && {line}", here.display()));
    }
    scene
}

const OBJECTS: &str =
    "gcc -fPIC -c f.c && gcc -c m.c && ar rcD libf.a f.o && gcc -shared f.o -o libf.so";

/// The first run of a tool is watched by both observers, which name some files in different ways.
fn warm_up(scene: &Scene, tool: &str) {
    let _watched = scene.call(PLACES[0], &format!("{tool} -O1 named.c -o warm")).check();
    scene.project.remove(&format!("{}/warm", PLACES[0]));
}

#[test]
fn what_serves_all_places() {
    for tool in tools::present(C) {
        let all = [
            "m.o f.o -o p",
            "m.o f.o",
            "-O2 -Wl,--as-needed -Wl,-z,relro m.o f.o -o p",
            "m.o -L. -lf -o p",
            "m.o libf.a -o p",
            "-shared f.o -Wl,--version-script=v.map -Wl,-soname,libg.so.1 -o libg.so",
            "m.c f.o -o p",
            "-O2 m.c f.o -lm -o p",
            "-E m.c -o m.i",
            "-E m.c",
            "-M m.c",
            "-MM f.c -o f.d",
            "-fsyntax-only m.c",
        ];
        for options in tools::some_of(all, tool) {
            let scene = with_objects(Scene::new(FILES), OBJECTS);
            warm_up(&scene, tool);
            scene.serves_all(&format!("{tool} {options}"));
        }
    }
}

#[test]
fn other_linkers() {
    for linker in ["gold", "lld", "mold"] {
        if !tools::have(&format!("ld.{linker}")) {
            continue;
        }
        let scene = with_objects(Scene::new(FILES), OBJECTS);
        let line = format!("gcc -fuse-ld={linker} m.o f.o -o p");
        // The first link of a linker may be one of which not all was seen.
        for place in PLACES {
            let _warmed = scene.call(place, &line).check();
            scene.project.remove(&format!("{place}/p"));
        }
        for place in PLACES {
            let outcome = scene.call(place, &line).check().outcome;
            assert!(outcome.is_hit(), "{linker} in {place}: {outcome:?}");
        }
    }
}

#[test]
fn archives() {
    for tool in tools::present(&["ar", "llvm-ar"]) {
        let scene = with_objects(Scene::new(FILES), "gcc -c f.c && gcc -c m.c");
        for place in PLACES {
            let seen = scene.call(place, &format!("{tool} rcD libx.a f.o m.o")).check();
            assert_eq!(
                seen.outcome.is_hit(),
                place != PLACES[0],
                "{tool} in {place}: {:?}",
                seen.outcome
            );
        }
    }
}

/// A thin archive holds the way from its own directory to its members, which names the working directory.
#[test]
fn thin_archives() {
    for tool in tools::present(&["ar", "llvm-ar"]) {
        for options in ["rcT", "rcST", "rcS --thin"] {
            let scene = with_objects(Scene::new(FILES), "gcc -c f.c");
            scene.serves_one(&format!("{tool} {options} ../thin.a f.o"));
        }
    }
}

/// What differs between two places, or may.
#[test]
fn what_serves_one_place() {
    for tool in tools::present(C) {
        let all = [
            "{here}/m.o f.o -o p",
            "m.o -L{here} -lf -o p",
            "m.o f.o -Wl,-rpath,{here} -o p",
            "m.o -L. -lf -Wl,-rpath={here} -o p",
            "m.o {here}/libf.so -o p",
            "m.o f.o -Wl,-Map=p.map -o p",
            "m.o f.o -o {here}/p",
            "-g m.c f.o -o p",
            "-g -E m.c -o m.i",
            "-E {here}/m.c -o m.i",
            "-M {here}/m.c",
            "-flto m.c f.c -o p",
            "m.o f.o -Wl,--dependency-file=p.d -o p",
        ];
        for options in tools::some_of(all, tool) {
            let scene = with_objects(Scene::new(FILES), OBJECTS);
            scene.serves_one(&format!("{tool} {options}"));
        }
    }
}

/// Objects of intermediate code, which the linker compiles where it runs.
#[test]
fn intermediate_code() {
    for (tool, objects, link) in [
        ("gcc", "gcc -flto -c f.c && gcc -flto -c m.c", "gcc m.o f.o -o p"),
        (
            "gcc",
            "gcc -g -flto -ffat-lto-objects -c f.c && gcc -g -flto -ffat-lto-objects -c m.c",
            "gcc m.o f.o -o p",
        ),
        (
            "ld.lld",
            "clang -g -flto=thin -c f.c && clang -g -flto=thin -c m.c",
            "clang -fuse-ld=lld m.o f.o -o p",
        ),
        (
            "ld.lld",
            "clang -flto -c f.c && clang -flto -c m.c && ar rcD libf.a f.o",
            "clang -fuse-ld=lld m.o libf.a -o p",
        ),
    ] {
        if !tools::have(tool) || !tools::have("clang") {
            continue;
        }
        let scene = with_objects(Scene::new(FILES), objects);
        scene.serves_one(link);
    }
}

/// An object that shows where it was compiled is another one in each place, and so is what is linked from it.
#[test]
fn objects_that_name_their_place() {
    for tool in tools::present(C) {
        let scene = with_objects(Scene::new(FILES), "gcc -c {here}/named.c");
        scene.serves_one(&format!("{tool} named.o -o p"));
        let scene = with_objects(Scene::new(FILES), "gcc -g -c m.c && gcc -c f.c");
        scene.serves_one(&format!("{tool} m.o f.o -o p"));
    }
}

/// With maps, absolute names may lead to what is linked.
#[test]
fn links_with_maps() {
    for tool in tools::present(C) {
        let free = [
            "-g {here}/m.o {here}/f.o -o {here}/p",
            "build: -g {here}/m.c {here}/f.o -o p",
            "build: ../m.o -L{here} -lf -o p",
            "build: {here}/m.o {here}/libf.a -o x",
        ];
        for options in tools::some_of(free, tool) {
            let scene = with_objects(Scene::mapped(FILES), OBJECTS);
            scene.serves_all(&line_of(tool, options));
        }
        for options in [
            "m.o f.o -Wl,-rpath,{here} -o p",
            "-E {here}/m.c -o m.i",
            "m.o f.o -Wl,-Map={here}/p.map -o p",
        ] {
            let scene = with_objects(Scene::mapped(FILES), OBJECTS);
            scene.serves_one(&format!("{tool} {options}"));
        }
    }
}

/// A compile that fails in the same way in two places is served in the third.
#[test]
fn failing_runs() {
    for tool in tools::present(C) {
        for (scene, line) in [
            (Scene::new(FILES), format!("{tool} -c bad.c -o bad.o")),
            (Scene::new(FILES), format!("{tool} bad.c -o p")),
            (Scene::mapped(FILES), format!("{tool} -g -c {{here}}/bad.c -o bad.o")),
        ] {
            warm_up(&scene, tool);
            for place in &PLACES[..2] {
                scene.call(place, &line).check().expect(&Outcome::ToolFailure);
            }
            // The first is compared, and the other may be drawn by lot.
            let log = scene.cache.root().join("log");
            let mut outcomes = Vec::new();
            for place in [PLACES[2], PLACES[0]] {
                let call = scene.call(place, &line).env("IBID_LOG", log.to_str().unwrap());
                outcomes.push(call.check().outcome);
            }
            let compared = std::fs::read_to_string(&log).unwrap();
            let compared = compared.matches("is compared with the tool's").count();
            let served = outcomes.iter().filter(|it| **it == Outcome::FailureHit).count();
            assert_eq!(served + compared, 2, "{line}: {outcomes:?}");
        }
    }
}

/// CMake configures a project in several build directories, within the repository and beside it: its trials, in directories and of
/// programs whose names are drawn, are served from the second time on.
#[test]
fn trials_of_cmake() {
    if !["cmake", "make", "gcc"].iter().all(|tool| tools::have(tool)) {
        return;
    }
    let lists = "cmake_minimum_required(VERSION 3.10)\nproject(p C)\ninclude(CheckSymbolExists)\ninclude(CheckCSourceCompiles)\n\
         include(CheckTypeSize)\ninclude(CheckIncludeFile)\ncheck_symbol_exists(printf stdio.h HAVE_PRINTF)\n\
         check_c_source_compiles(\"int main(void) { return 0; }\" IT_COMPILES)\ncheck_type_size(long SIZEOF_LONG)\n\
         check_include_file(unistd.h HAVE_UNISTD_H)\nset(CMAKE_REQUIRED_INCLUDES ${CMAKE_SOURCE_DIR}/inc)\n\
         check_symbol_exists(MINE mine.h HAVE_MINE)\nset(CMAKE_REQUIRED_LIBRARIES m)\ncheck_symbol_exists(cos math.h HAVE_COS)\n";
    for generator in ["Unix Makefiles", "Ninja"] {
        if generator == "Ninja" && !tools::have("ninja") {
            continue;
        }
        let (mut cache, project) = (Cache::new(), Project::new());
        cache.set("IBID_REMAP", "auto");
        for place in ["one", "another/place"] {
            project.write(&format!("{place}/CMakeLists.txt"), lists);
            project.write(&format!("{place}/inc/mine.h"), "#define MINE 1\n");
            project.mkdir(&format!("{place}/.git"));
        }
        project.mkdir("bin");
        for name in ["cc", "gcc"] {
            project.symlink(tools::ibid().to_str().unwrap(), &format!("bin/{name}"));
        }
        let path = format!("{}:{}", project.at("bin").display(), std::env::var("PATH").unwrap());
        let configure = |source: &str, build: &Path| {
            let done = cache
                .command("cmake")
                .env("PATH", &path)
                .args(["-G", generator, "-DCMAKE_C_COMPILER=gcc", "-S"])
                .arg(project.at(source))
                .arg("-B")
                .arg(build)
                .output()
                .unwrap();
            let text = String::from_utf8_lossy(&done.stdout).into_owned();
            assert!(done.status.success(), "{text}");
            let found = text.matches("- found").count() + text.matches("- Success").count();
            assert_eq!(found, 8, "{text}");
        };
        // Of the very first link the observers name some files otherwise.
        project.write("w.c", "int main(void) { return 0; }\n");
        project.shell(&cache, &format!("{} gcc w.c -o w", tools::ibid().display()));
        let first = cache.count(|| configure("one", &project.at("one/build")));
        assert!(first.get("misses") >= 14, "{generator}: {first:?}");
        for (source, build) in [
            ("one", "one/other-build"),
            ("another/place", "another/place/b"),
            ("one", "beside/b"),
            ("one", "beside2/b"),
        ] {
            let counted = cache.count(|| configure(source, &project.at(build)));
            // A build directory outside of the repository is another kind of place.
            let is_first_of_kind = build == "beside/b";
            if !is_first_of_kind {
                assert_eq!(counted.get("misses"), 0, "{generator} {build}: {counted:?}");
            }
            assert!(
                counted.get("portable_hits") >= 14 || is_first_of_kind,
                "{generator} {build}: {counted:?}"
            );
            assert_eq!(counted.sum("internal_errors"), 0, "{generator} {build}: {counted:?}");
        }
    }
}
