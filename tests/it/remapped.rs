//! `IBID_REMAP=auto`: what serves every place once names of places are mapped, and what must not.
//!
//! Each case is compiled in several directories of different lengths, and each result is compared with what the bare tool makes
//! there with the same maps. Nothing that is delivered names another place.

use std::path::Path;

use crate::cache::{Cache, Outcome};
use crate::call::Call;
use crate::project::Project;
use crate::several_places::{PLACES, Scene, line_of, maps};
use crate::tools;

/// Sources that show their names in every way that a map hides.
const FILES: &[(&str, &str)] = &[
    ("inc/a.h", "#pragma once\n#define A 1\nstatic inline int twice(int x) { return 2 * x; }\n"),
    (
        "src/a.c",
        "#include <assert.h>\n#include <stdio.h>\n#include \"a.h\"\n#include \"../other/b.h\"\n\
         static const unsigned long len = sizeof(__FILE__) + sizeof(__BASE_FILE__);\n\
         static const unsigned short wide[] = u\"\" __FILE__;\n\
         int a(int x) { assert(x); return printf(\"%s %s %d\", __FILE__, __builtin_FILE(), twice(x) + A + B + (int)len + wide[1]); }\n",
    ),
    (
        "src/a.cc",
        "#include <string>\n#include \"a.h\"\n\
         constexpr unsigned long hash(const char *s) { return *s ? hash(s + 1) * 31 + *s : 7; }\n\
         unsigned long in_file = hash(__FILE__), in_builtin = hash(__builtin_FILE()), in_base = hash(__BASE_FILE__);\n\
         namespace { struct Hidden { virtual ~Hidden() {} std::string s = __FILE__; }; }\n\
         std::string f() { static Hidden h; return h.s; }\n",
    ),
    ("other/b.h", "#define B 2\n"),
    ("src/w.c", "#include \"a.h\"\n#warning \"this\"\nint f(void) { int unused; return A; }\n"),
    ("build/x/keep", ""),
];

fn compilers() -> Vec<(&'static str, &'static str)> {
    let all = [("gcc", "a.c"), ("g++", "a.cc"), ("clang", "a.c"), ("clang++", "a.cc")];
    let wanted = tools::of_each_family();
    all.into_iter().filter(|(tool, _)| wanted.contains(tool)).collect()
}

#[test]
fn names_that_maps_hide() {
    for (tool, source) in compilers() {
        for options in tools::some_of(
            [
                format!("-O2 -g -Iinc -c src/{source} -o a.o"),
                format!("-g -I{{here}}/inc -c {{here}}/src/{source} -o a.o"),
                format!("-g3 -I{{here}}/inc -c {{here}}/src/{source} -o {{here}}/a.o"),
                format!("build/x: -gdwarf-5 -I../../inc -c ../../src/{source} -o a.o"),
                format!("build/x: -g -isystem {{here}}/inc -c {{here}}/src/{source} -o a.o"),
                format!(
                    "build: -I{{here}}/inc -include {{here}}/other/b.h -c {{here}}/src/{source} -o x/a.o"
                ),
                format!("-gsplit-dwarf -Iinc -c src/{source} -o a.o"),
                format!(
                    "-g -fPIC -fvisibility=hidden -Iinc -c -x {} src/{source} -o a.o",
                    if source == "a.c" { "c" } else { "c++" }
                ),
            ],
            tool,
        ) {
            Scene::mapped(FILES).serves_all(&line_of(tool, &options));
        }
    }
}

/// Depfiles and diagnostics are written anew, with lines broken where the tool breaks them in the new place.
#[test]
fn texts_that_name_the_place() {
    for (tool, source) in compilers() {
        for options in tools::some_of(
            [
                format!("-MD -MP -MF a.d -g -I{{here}}/inc -c {{here}}/src/{source} -o a.o"),
                format!(
                    "-MD -MT x/a.o -MF {{here}}/a.d -I{{here}}/inc -c {{here}}/src/{source} -o {{here}}/a.o"
                ),
                format!("-MMD -I{{here}}/inc -c {{here}}/src/{source} -o {{here}}/a.o"),
                "-Wall -Wextra -MD -I{here}/inc -c {here}/src/w.c -o a.o".to_owned(),
                "-Wall -Wextra -fdiagnostics-color=always -Iinc -c {here}/src/w.c -o a.o"
                    .to_owned(),
            ],
            tool,
        ) {
            Scene::mapped(FILES).serves_all(&format!("{tool} {options}"));
        }
    }
}

#[test]
fn what_maps_do_not_hide() {
    let values = [FILES, &[("src/v.c", "const char *v = WHERE;\n")]].concat();
    for (tool, source) in compilers() {
        for options in tools::some_of(
            [
                format!("-g -Iinc -DX=\"{{here}}\" -c src/{source} -o a.o"),
                format!("-g -gz -I{{here}}/inc -c {{here}}/src/{source} -o a.o"),
                format!("-flto -I{{here}}/inc -c {{here}}/src/{source} -o a.o"),
                format!("--coverage -I{{here}}/inc -c {{here}}/src/{source} -o a.o"),
                format!("-I{{here}}/inc -Wp,-MD,{{here}}/a.d -c {{here}}/src/{source} -o a.o"),
                format!(
                    "-g -ffile-prefix-map={{here}}=x -I{{here}}/inc -c {{here}}/src/{source} -o a.o"
                ),
            ],
            tool,
        ) {
            let line = format!("{tool} {options}");
            let is_ours = ["-flto", "--coverage", "-ffile-prefix-map", "-gz"]
                .iter()
                .all(|it| !line.contains(it));
            if is_ours {
                Scene::mapped(FILES).serves_one(&line);
            } else {
                serves_one_without_maps(FILES, &line);
            }
        }
        if source == "a.c" {
            Scene::mapped(&values)
                .serves_one(&format!("{tool} -DWHERE=\"{{here}}\" -c src/v.c -o a.o"));
        }
    }
}

/// As [`Scene::serves_one`], of a command that ibid gives no maps.
#[track_caller]
fn serves_one_without_maps(files: &[(&str, &str)], line: &str) {
    let mut scene = Scene::new(files);
    scene.cache.set("IBID_REMAP", "auto");
    for place in PLACES {
        let unstable = [".gcno".to_owned(), ".o".to_owned()];
        let seen = scene.call(place, line).unstable(&unstable).check();
        assert!(!seen.outcome.is_hit(), "{line} in {place}: {:?}", seen.outcome);
    }
}

/// What a source reads by a name that leads out of its place, or that names a place.
#[test]
fn ways_out_of_a_place() {
    let scene_files = |include: &str| {
        let source = format!("#include {include}\nint x = X;\n");
        [("src/o.c".to_owned(), source), ("inc/x.h".to_owned(), "#define X 1\n".to_owned())]
    };
    for (tool, _) in compilers().into_iter().filter(|(tool, _)| !tool.contains("++")) {
        for (include, options) in [
            ("\"../../x.h\"", "-g -c src/o.c -o o.o"),
            ("\"../../x.h\"", "-g -c {here}/src/o.c -o o.o"),
            ("<x.h>", "-g -I.. -c src/o.c -o o.o"),
            ("<x.h>", "-g -I{here}/.. -c {here}/src/o.c -o o.o"),
            ("\"{one}/inc/x.h\"", "-g -c {here}/src/o.c -o o.o"),
            ("\"{base}/x.h\"", "-g -c {here}/src/o.c -o o.o"),
        ] {
            let files = scene_files(include);
            let scene = Scene::mapped(&[]);
            let base = scene.project.path().canonicalize().unwrap();
            for (at, place) in PLACES.iter().enumerate() {
                for (name, text) in &files {
                    let text = text
                        .replace("{one}", base.join(PLACES[0]).to_str().unwrap())
                        .replace("{base}", base.to_str().unwrap());
                    scene.project.write(&format!("{place}/{name}"), text);
                }
                // Another one beside each place.
                let beside = Path::new(place).parent().unwrap().join("x.h");
                scene.project.write(beside.to_str().unwrap(), format!("#define X {at}1\n"));
            }
            for _ in 0..2 {
                for place in PLACES {
                    let _compared = scene.call(place, &format!("{tool} {options}")).check();
                }
            }
        }
    }
}

/// A generated header that names its place, a copy of it elsewhere, and a source that does so by chance.
#[test]
fn contents_that_name_a_place() {
    let files = [(
        "src/c.c",
        "#include \"config.h\"\nconst char *p = PREFIX;\nint len = sizeof(PREFIX);\n",
    )];
    for (tool, _) in compilers().into_iter().filter(|(tool, _)| !tool.contains("++")) {
        for header in [
            "#define PREFIX \"{one}\"\n",
            "#define PREFIX \"{here}\"\n",
            "/* {one} */\n#define PREFIX \"x\"\n",
        ] {
            let scene = Scene::mapped(&files);
            for place in PLACES {
                let text = header
                    .replace("{one}", scene.at(PLACES[0]).to_str().unwrap())
                    .replace("{here}", scene.at(place).to_str().unwrap());
                scene.project.write(&format!("{place}/build/config.h"), text);
            }
            for _ in 0..2 {
                for place in PLACES {
                    let line = format!("{tool} -g -I{{here}}/build -c {{here}}/src/c.c -o c.o");
                    let _compared = scene.call(place, &line).check();
                }
            }
        }
    }
}

/// Headers of other content or absent in one place, a directory that is a link there, another name of the working directory.
#[test]
fn what_differs_by_place() {
    for (tool, source) in compilers() {
        let scene = Scene::mapped(FILES);
        let line = format!(
            "{tool} -g -I{{here}}/first -I{{here}}/inc -MD -c {{here}}/src/{source} -o a.o"
        );
        scene.call(PLACES[0], &line).check().expect_miss();
        scene.project.write(&format!("{}/inc/a.h", PLACES[1]), FILES[0].1.replace('1', "5"));
        scene.call(PLACES[1], &line).check().expect_miss();
        scene.project.write(&format!("{}/first/a.h", PLACES[2]), FILES[0].1.replace('1', "6"));
        scene.call(PLACES[2], &line).check().expect_miss();
        scene.project.remove(&format!("{}/first/a.h", PLACES[2]));
        scene.project.rename(&format!("{}/inc", PLACES[2]), &format!("{}/real", PLACES[2]));
        scene.project.symlink("real", &format!("{}/inc", PLACES[2]));
        let _compared = scene.call(PLACES[2], &line).check();
        let logical = scene.project.at("logical");
        std::os::unix::fs::symlink(scene.at(PLACES[1]), &logical).unwrap();
        for _ in 0..2 {
            let _compared =
                scene.call(PLACES[1], &line).env("PWD", logical.to_str().unwrap()).check();
        }
    }
}

/// A build directory beside the repository, and a root that the user names.
#[test]
fn two_places_and_a_named_root() {
    for (tool, source) in compilers() {
        let (mut cache, project) = (Cache::new(), Project::new());
        cache.set("IBID_REMAP", "auto");
        let tops = ["t/one", "t/second/longer", "t/third/and/still/longer"];
        for top in tops {
            for (name, text) in FILES {
                project.write(&format!("{top}/repo/{name}"), text);
            }
            project.mkdir(&format!("{top}/repo/.git"));
            project.mkdir(&format!("{top}/obj"));
        }
        for is_named in [false, true] {
            for (number, top) in tops.iter().enumerate() {
                let top = project.at(top).canonicalize().unwrap();
                let (repo, object) = (top.join("repo"), top.join("obj"));
                let line = format!(
                    "{tool} -g -MD -I{0}/inc -c {0}/src/{source} -o a{is_named}.o",
                    repo.display()
                );
                let mut call = Call::new(&cache, &object, line.split(' '))
                    .env("PWD", object.to_str().unwrap());
                call = if is_named {
                    call.env("IBID_ROOT", top.to_str().unwrap())
                        .bare_args(maps(tool, &top, &object))
                } else {
                    call.bare_args(maps(tool, &repo, &object))
                        .bare_args(maps(tool, &object, &object))
                };
                let seen = call.check();
                assert_eq!(
                    seen.outcome.is_hit(),
                    number > 0,
                    "{tool} {is_named} {}",
                    top.display()
                );
            }
        }
    }
}

/// Places whose names begin alike, hold each other, or cannot be looked for.
#[test]
fn names_of_places() {
    for (tool, source) in compilers().into_iter().filter(|(tool, _)| !tool.contains("++")) {
        let (mut cache, project) = (Cache::new(), Project::new());
        cache.set("IBID_REMAP", "auto");
        let names = ["proj", "proj2", "pro", "with blank", "quo'te", "\u{e4}", "proj/inner"];
        for name in names {
            for (file, text) in FILES {
                project.write(&format!("{name}/{file}"), text);
            }
            project.mkdir(&format!("{name}/.git"));
        }
        for include in ["inc", "{here}/inc", "{base}/proj2/inc", "{base}/proj/inc"] {
            for name in names.iter().chain(&names) {
                let here = project.at(name).canonicalize().unwrap();
                let base = project.path().canonicalize().unwrap();
                let include = include
                    .replace("{here}", here.to_str().unwrap())
                    .replace("{base}", base.to_str().unwrap());
                let source = here.join("src").join(source);
                let words =
                    [tool, "-g", "-I", &include, "-c", source.to_str().unwrap(), "-o", "a.o"];
                let mut call = Call::new(&cache, &here, words).env("PWD", here.to_str().unwrap());
                if here
                    .to_str()
                    .unwrap()
                    .bytes()
                    .all(|byte| byte.is_ascii_graphic() && byte != b'\'')
                {
                    call = call.bare_args(maps(tool, &here, &here));
                }
                let _compared = call.check();
            }
        }
    }
}

/// Two checkouts that CMake configures, by Ninja and by make: the second compiles nothing, and nothing is left to do then.
#[test]
fn a_cmake_project_in_two_checkouts() {
    if !["cmake", "ninja", "make", "g++"].iter().all(|tool| tools::have(tool)) {
        return;
    }
    let lists = "cmake_minimum_required(VERSION 3.13)\nproject(p C CXX)\nadd_subdirectory(lib)\nadd_executable(app src/main.cc)\n\
         target_link_libraries(app lib)\n";
    for generator in ["Ninja", "Unix Makefiles"] {
        let (mut cache, project) = (Cache::new(), Project::new());
        cache.set("IBID_REMAP", "auto");
        for (number, place) in PLACES[..3].iter().enumerate() {
            for (name, text) in [
                ("CMakeLists.txt", lists),
                (
                    "lib/CMakeLists.txt",
                    "add_library(lib lib.c)\ntarget_include_directories(lib PUBLIC inc)\n",
                ),
                (
                    "lib/inc/lib.h",
                    "#ifdef __cplusplus\nextern \"C\"\n#endif\nconst char *lib(int x);\n",
                ),
                (
                    "lib/lib.c",
                    "#include <lib.h>\n#include <assert.h>\nconst char *lib(int x) { assert(x); return __FILE__; }\n",
                ),
                (
                    "src/main.cc",
                    "#include <lib.h>\n#include <iostream>\nint main() { std::cout << lib(1) << __FILE__; }\n",
                ),
            ] {
                project.write(&format!("{place}/{name}"), text);
            }
            project.mkdir(&format!("{place}/.git"));
            let here = project.at(place).canonicalize().unwrap();
            let run = |words: &[&str]| {
                let done = cache.command(words[0]).args(&words[1..]).current_dir(&here).output();
                let done = done.unwrap();
                assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
                String::from_utf8_lossy(&done.stdout).into_owned()
            };
            let launcher = tools::ibid().to_str().unwrap();
            let flag = |language: &str| format!("-DCMAKE_{language}_COMPILER_LAUNCHER={launcher}");
            let (c, cxx) = (flag("C"), flag("CXX"));
            run(&[
                "cmake",
                "-S",
                ".",
                "-B",
                "build",
                "-G",
                generator,
                "-DCMAKE_BUILD_TYPE=Debug",
                &c,
                &cxx,
            ]);
            let counted = cache.count(|| drop(run(&["cmake", "--build", "build"])));
            let expected = if number == 0 { ("misses", 2) } else { ("portable_hits", 2) };
            assert_eq!(counted.get(expected.0), expected.1, "{generator} {place}: {counted:?}");
            assert_eq!(counted.outcomes(), 2, "{generator} {place}: {counted:?}");
            let again = cache.count(|| drop(run(&["cmake", "--build", "build"])));
            assert_eq!(again.outcomes(), 0, "{generator} {place}: {again:?}");
            assert_eq!(run(&["build/app"]), "./lib/lib.c./src/main.cc");
            // What depends on a header is compiled when that changes.
            project.write(&format!("{place}/lib/inc/lib.h"), format!("#ifdef __cplusplus\nextern \"C\"\n#endif\nconst char *lib(int x);\n// {number}\n"));
            let edited = cache.count(|| drop(run(&["cmake", "--build", "build"])));
            assert_eq!(edited.outcomes(), 2, "{generator} {place}: {edited:?}");
        }
    }
}

/// From where `docs/places.md` says, a debugger finds the source in each place.
#[test]
fn debuggers_find_the_sources() {
    if !tools::have("gdb") {
        return;
    }
    let files = [
        ("src/a.c", "int f(int x) {\n  return x + 1;\n}\nint main(void) { return f(1); }\n"),
        ("build/keep", ""),
    ];
    for (tool, name) in [("gcc", "."), ("clang", "/proc/self/cwd")] {
        if !tools::have(tool) {
            continue;
        }
        for source in ["../src/a.c", "{here}/src/a.c"] {
            let scene = Scene::mapped(&files);
            for place in PLACES {
                let _compared =
                    scene.call(place, &format!("build: {tool} -g -O0 -c {source} -o a.o")).check();
                let here = scene.at(place);
                let build = here.join("build");
                let linked =
                    scene.cache.command(tool).args(["a.o", "-o", "a"]).current_dir(&build).status();
                assert!(linked.unwrap().success());
                let list = |directory: &Path, first: &str| {
                    let mut gdb = scene.cache.command("gdb");
                    let done = gdb
                        .args(["-batch", "-nx", "-ex", first, "-ex", "list f"])
                        .arg(build.join("a"))
                        .current_dir(directory)
                        .output();
                    String::from_utf8_lossy(&done.unwrap().stdout).into_owned()
                };
                let rule = format!("set substitute-path {name} {}", here.display());
                for (directory, first) in
                    [(here.as_path(), "echo"), (Path::new("/"), rule.as_str())]
                {
                    let listed = list(directory, first);
                    assert!(
                        listed.contains("return x + 1"),
                        "{tool} {source} {place} {first}: {listed}"
                    );
                }
            }
        }
    }
}

/// What one cache exports serves another place in a new cache; so does a copy of the cache's directory.
#[test]
fn an_exported_cache_serves_other_places() {
    for (tool, source) in compilers() {
        let scene = Scene::mapped(FILES);
        let line = format!("{tool} -g -MD -I{{here}}/inc -c {{here}}/src/{source} -o a.o");
        scene.call(PLACES[0], &line).check().expect(&Outcome::Miss);
        let file = scene.cache.root().join("export");
        scene.cache.say(&["export", file.to_str().unwrap()]);
        for place in &PLACES[1..] {
            let mut other = Scene::mapped(FILES);
            if *place == PLACES[1] {
                other.cache.say(&["import", file.to_str().unwrap()]);
            } else {
                let copied = std::process::Command::new("cp")
                    .arg("-r")
                    .args([scene.cache.dir(), other.cache.dir()])
                    .status();
                assert!(copied.unwrap().success());
            }
            other.cache.set("HOME", "/nowhere");
            other.expect_shared(place, &line, true);
            other.call(place, &line).check().expect(&Outcome::InvocationHit);
        }
    }
}

/// A repository that comes to be in between is another root, and so another result.
#[test]
fn a_repository_that_appears() {
    for (tool, source) in compilers() {
        let scene = Scene::mapped(FILES);
        let line = format!("{tool} -g -I{{here}}/inc -c {{here}}/src/{source} -o a.o");
        let here = scene.at(PLACES[0]);
        scene.call(PLACES[0], &line).check().expect(&Outcome::Miss);
        scene.call(PLACES[0], &line).check().expect(&Outcome::InvocationHit);
        scene.project.mkdir(&format!("{}/src/.git", PLACES[0]));
        let words = line.replace("{here}", here.to_str().unwrap());
        let call = Call::new(&scene.cache, &here, words.split(' '))
            .env("PWD", here.to_str().unwrap())
            .bare_args(maps(tool, &here.join("src"), &here))
            .bare_args(maps(tool, &here, &here));
        assert!(!call.check().outcome.is_hit());
    }
}

/// An argument that holds the byte by which a place's name is hidden is not that place's name.
#[test]
fn an_argument_like_a_place_holder() {
    for (tool, source) in compilers() {
        let scene = Scene::mapped(FILES);
        for place in PLACES {
            scene.project.write(&format!("{place}/first/keep"), "");
        }
        let line = |first: &str| format!("{tool} -g -I{first}/first -Iinc -c src/{source} -o a.o");
        // It is given no maps.
        let here = scene.at(PLACES[0]);
        let _compared = Call::new(&scene.cache, &here, line("\u{1}").split(' ')).check();
        scene.project.write(&format!("{}/first/a.h", PLACES[1]), FILES[0].1.replace('1', "5"));
        for _ in 0..2 {
            let _compared = scene.call(PLACES[1], &line("{here}")).check();
            let _compared = scene.call(PLACES[2], &line("{here}")).check();
        }
        assert_eq!(scene.cache.counters().get("internal_errors/audit"), 0, "{tool}");
    }
}
