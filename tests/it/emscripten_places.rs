//! Emscripten in several directories: compiles serve all of them, links and what runs scripts of the user's serve one.

use crate::cache::Outcome;
use crate::emscripten::ON_PATH;
use crate::several_places::Scene;
use crate::tools;

/// A source that shows its names in every way that a map hides, and one that shows nothing.
const FILES: &[(&str, &str)] = &[
    ("inc/a.h", "#pragma once\n#define A 1\nstatic inline int twice(int x) { return 2 * x; }\n"),
    (
        "src/a.c",
        "#include <assert.h>\n#include <stdio.h>\n#include \"a.h\"\n\
         int main(void) { assert(A); return printf(\"%s %d %d\", __FILE__, twice(A), (int)sizeof(__FILE__)); }\n",
    ),
    ("src/w.c", "#include \"a.h\"\n#warning \"this\"\nint f(void) { int unused; return A; }\n"),
    ("src/a.cc", "#include <string>\n#include \"a.h\"\nstd::string f() { return __FILE__; }\n"),
    ("lib.js", "mergeInto(LibraryManager.library, { g: function() { return 1; } });\n"),
];

/// The same files in several places, if Emscripten is here.
fn scene(new: impl Fn(&[(&str, &str)]) -> Scene) -> Option<Scene> {
    if !tools::have("emcc") {
        return None;
    }
    let mut scene = new(FILES);
    for (name, value) in ON_PATH {
        scene.cache.set(name, value);
    }
    Some(scene)
}

/// Checks these lines, and `more` in the longer variants, each in a scene of its own.
fn each(new: fn(&[(&str, &str)]) -> Scene, lines: &[&str], more: &[&str], check: fn(&Scene, &str)) {
    for line in lines.iter().chain(more.iter().filter(|_| tools::long())) {
        let Some(scene) = scene(new) else { return };
        check(&scene, line);
    }
}

#[test]
fn compiles_by_relative_names() {
    let more = [
        "em++ -O2 -Iinc -c src/a.cc -o a.o",
        "emcc -s USE_PTHREADS=1 -pthread -Iinc -c src/a.c -o a.o",
        "emcc -Iinc -S src/a.c -o a.s",
        "emcc -Wall -Wextra -Iinc -c src/w.c -o w.o",
    ];
    let lines = ["emcc -O2 -Wall -Iinc -MD -c src/a.c -o a.o"];
    each(Scene::new, &lines, &more, Scene::serves_all);
}

#[test]
fn compiles_with_maps() {
    let more = [
        "em++ -O2 -g -I{here}/inc -c {here}/src/a.cc -o a.o",
        "src: emcc -g3 -I../inc -c {here}/src/a.c -o ../a.o",
        "emcc -Wall -Wextra -g -I{here}/inc -c {here}/src/w.c -o w.o",
    ];
    let lines = ["emcc -g -MD -I{here}/inc -c {here}/src/a.c -o a.o"];
    each(Scene::mapped, &lines, &more, Scene::serves_all);
}

#[test]
fn what_serves_one_place() {
    let more = [
        "emcc -Iinc src/a.c -o a.js",
        "emcc -gsource-map -Iinc -c src/a.c -o a.o",
        "emcc -I{here}/inc -c src/a.c -o a.o",
    ];
    let lines =
        ["emcc -g -Iinc -c src/a.c -o a.o", "emcc --js-library lib.js -Iinc -c src/a.c -o a.o"];
    each(Scene::new, &lines, &more, Scene::serves_one);
}

/// Python takes all variables: one that names the place may be in the result.
#[test]
fn a_variable_that_names_the_place() {
    let Some(scene) = scene(Scene::new) else { return };
    let line = "emcc -O1 -Iinc -c src/a.c -o a.o";
    for place in ["one", "second/place"] {
        let here = scene.at(place);
        let call = scene.call(place, line).env("WHERE", here.to_str().unwrap());
        call.check().expect(&Outcome::Miss);
    }
    assert_eq!(scene.cache.counters().get("internal_errors/audit"), 0);
}
