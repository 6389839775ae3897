//! One result, several directories: what serves another directory than the one that made it, and what must not.
//!
//! Each case is compiled in three directories of different lengths and depths (two that agree prove nothing), and each result
//! is compared with the bare tool's there.

use std::path::Path;

use ibid::probe::{cold_part, hot_part};
use ibid::shm::layout::Kind;
use ibid::store::draft::Draft;
use ibid::store::{MAX_BYTES_DEFAULT, Store};

use crate::cache::{Cache, Outcome};
use crate::call::Call;
use crate::project::Project;
use crate::rustc;
use crate::several_places::{PLACES, Scene};
use crate::tools;

/// Sources that do not show where they are, as long as their names are relative.
const FILES: &[(&str, &str)] = &[
    ("src/a.h", "#define A 1\nstatic inline int twice(int x) { return 2 * x; }\n"),
    (
        "src/a.c",
        "#include <assert.h>\n#include <stdio.h>\n#include \"a.h\"\n#include \"../other/b.h\"\n\
         int a(int x) { assert(x); return printf(\"%s %d\", __FILE__, twice(x) + A + B); }\n",
    ),
    ("other/b.h", "#define B 2\n"),
    ("src/s.S", ".globl s\ns: .incbin \"other/b.h\"\n"),
];

fn c_tools() -> Vec<&'static str> {
    tools::of_each_family()
}

#[test]
fn relative_names() {
    for tool in c_tools() {
        for options in tools::some_of(
            [
                "-O2 -Iother -c src/a.c -o a.o",
                "-c src/a.c",
                "-O2 -Wall -Wextra -fPIC -DX=1 -MD -MP -MF a.d -c src/a.c -o a.o",
                "-S src/a.c -o a.s",
                "-g0 -c src/a.c -o a.o",
                "-c src/s.S -o s.o",
            ],
            tool,
        ) {
            Scene::new(FILES).serves_all(&format!("{tool} {options}"));
        }
    }
}

#[test]
fn a_build_directory_beside_the_sources() {
    let files = [FILES, &[("build/x/keep", "")]].concat();
    for tool in c_tools() {
        Scene::new(&files)
            .serves_all(&format!("build/x: {tool} -O2 -MD -I../../other -c ../../src/a.c -o a.o"));
    }
}

#[test]
fn text() {
    let files = [("w.c", "#warning \"this\"\nint f(void) { int unused; return 1; }\n")];
    for tool in c_tools() {
        Scene::new(&files).serves_all(&format!("{tool} -Wall -c w.c -o w.o"));
    }
}

/// What differs between two places, mostly without a byte of the path in it.
#[test]
fn options_that_show_the_directory() {
    for tool in c_tools() {
        let common = [
            "-g",
            "-g1 -gz",
            "-ggdb3",
            "-gsplit-dwarf",
            "--coverage -frandom-seed=1",
            "-fprofile-arcs -frandom-seed=1",
            "-flto -frandom-seed=1",
            "-O2 -g -S",
        ];
        let of_gcc = [
            "-fverbose-asm",
            "-frecord-gcc-switches -g",
            "-fstack-usage",
            "-fdump-tree-all",
            "-grecord-gcc-switches",
        ];
        let of_clang = [
            "-fprofile-instr-generate -fcoverage-mapping",
            "-funique-internal-linkage-names",
            "-emit-llvm -g",
            "-Xclang -debug-info-kind=limited",
        ];
        let own: &[&str] = if tools::is_gcc(tool) { &of_gcc } else { &of_clang };
        for options in common.iter().chain(own) {
            let stop = if options.contains("-S") { "" } else { "-c" };
            Scene::new(FILES).serves_one(&format!("{tool} {options} {stop} src/a.c -o a.o"));
        }
    }
}

/// A value made of the file's name, which does not occur in it.
const HASHES: &str = "#define W2(x) L##x\n#define W(x) W2(x)\n\
    const char name[] = {sizeof(__FILE__), __FILE__[3] + 1, __FILE__[sizeof(__FILE__) / 2] ^ 7};\n\
    const wchar_t wide[] = W(__FILE__);\n";

#[test]
fn absolute_names() {
    let text = format!("#include <stddef.h>\n#include \"src/a.h\"\n{HASHES}");
    let files = [FILES, &[("h.c", text.as_str())]].concat();
    for tool in c_tools() {
        for options in tools::some_of(
            [
                "-c {here}/h.c -o a.o",
                "-c h.c -I{here}/src -o a.o",
                "-c h.c -include {here}/src/a.h -o a.o",
                "-c h.c -o {here}/a.o",
                "-c h.c -MD -MT {here}/a.o -o a.o",
                "-c h.c -DX=\"{here}\" -o a.o",
                "-c h.c -B{here} -o a.o",
            ],
            tool,
        ) {
            Scene::new(&files).serves_one(&format!("{tool} {options}"));
        }
    }
}

#[test]
fn absolute_names_in_the_sources() {
    for tool in c_tools() {
        let scene = Scene::new(FILES);
        for place in PLACES {
            let here = scene.at(place);
            scene.project.write(
                &format!("{place}/i.c"),
                format!("#include \"{}/src/a.h\"\nint i = A;\n", here.display()),
            );
            scene.call(place, &format!("{tool} -c i.c -o i.o")).check().expect_miss();
        }
    }
}

#[test]
fn variables_that_name_the_place() {
    for tool in c_tools() {
        let files = [FILES, &[("v.c", "#include <a.h>\nint v = A;\n")]].concat();
        let scene = Scene::new(&files);
        for place in PLACES {
            let path = scene.at(place).join("src");
            let line = format!("{tool} -c v.c -o v.o");
            scene.call(place, &line).env("CPATH", path.to_str().unwrap()).check().expect_miss();
        }
    }
}

/// Files above the place, or in one place only, that a relative name leads to.
#[test]
fn what_differs_by_place() {
    for tool in c_tools() {
        let files = [
            ("d.c", "#include \"../d.h\"\nint d = D;\n"),
            ("e.c", "#if __has_include(\"../e.h\")\nint e = 1;\n#else\nint e = 2;\n#endif\n"),
            ("f.c", "#include \"f.h\"\nint f = F;\n"),
            ("x/f.h", "#define F 1\n"),
            ("y/f.h", "#define F 2\n"),
        ];
        let scene = Scene::new(&files);
        for (number, place) in PLACES.into_iter().enumerate() {
            let above = Path::new(place).parent().unwrap().join("d.h");
            scene.project.write(above.to_str().unwrap(), format!("#define D {number}\n"));
            scene.call(place, &format!("{tool} -c d.c -o d.o")).check().expect_miss();
        }
        scene.project.write("second/e.h", "");
        scene.project.write("a/much/longer/directory/than/e.h", "");
        for place in PLACES {
            let _compared = scene.call(place, &format!("{tool} -c e.c -o e.o")).check();
        }
        // A header that is in the first directory of the path in one place only.
        scene.project.remove("second/place/x/f.h");
        for place in PLACES {
            let _compared = scene.call(place, &format!("{tool} -Ix -Iy -c f.c -o f.o")).check();
        }
        // A link that leads elsewhere.
        for (number, place) in PLACES.into_iter().enumerate() {
            scene.project.remove(&format!("{place}/y/f.h"));
            scene.project.write(&format!("far/{number}.h"), format!("#define F {number}\n"));
            let target = scene.project.at(format!("far/{number}.h"));
            scene.project.symlink(target.to_str().unwrap(), &format!("{place}/y/f.h"));
            scene.call(place, &format!("{tool} -Iy -c f.c -o f.o")).check().expect_miss();
        }
    }
}

/// The same bytes behind a link that names the place, and behind one that does not.
#[test]
fn links() {
    for tool in c_tools() {
        for (is_free, absolute) in [(true, false), (false, true)] {
            let scene = Scene::new(&[
                ("l.c", "#include \"l.h\"\nint l = L;\n"),
                ("real.h", "#define L 1\n"),
            ]);
            for place in PLACES {
                let target =
                    if absolute { scene.at(place).join("real.h") } else { "real.h".into() };
                scene.project.symlink(target.to_str().unwrap(), &format!("{place}/l.h"));
                let line = format!("{tool} -c l.c -o l.o");
                if is_free && place != PLACES[0] {
                    scene.expect_shared(place, &line, place == PLACES[1]);
                } else {
                    scene.call(place, &line).check().expect_miss();
                }
            }
        }
    }
}

/// Another assembler in a directory that `PATH` names by a relative name, in one place only.
#[test]
fn another_assembler_in_one_place() {
    let scene = Scene::new(FILES);
    let path = format!("bin:{}", std::env::var("PATH").unwrap());
    let line = "gcc -O2 -c src/a.c -o a.o";
    scene.project.write_program(
        &format!("{}/bin/as", PLACES[2]),
        &format!("#!/bin/sh\nexec {} --defsym another=1 \"$@\"\n", tools::path_of("as").display()),
    );
    for place in PLACES {
        let seen = scene.call(place, line).env("PATH", &path).check();
        assert!(place != PLACES[2] || !seen.outcome.is_hit(), "{:?}", seen.outcome);
    }
}

/// Two headers that are included once and are equal: one file in one place, of another time in another.
#[test]
fn headers_that_are_included_once() {
    const ONCE: &str = "#pragma once\n#ifdef N\n#define M 1\n#endif\n#define N 1\n";
    let text =
        "#include \"x.h\"\n#include \"y.h\"\n#ifdef M\nint a = 2;\n#else\nint a = 1;\n#endif\n";
    for tool in c_tools() {
        let scene = Scene::new(&[("o.c", text), ("x.h", ONCE), ("y.h", ONCE)]);
        let then =
            std::time::SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1_600_000_000);
        for place in PLACES {
            for name in ["x.h", "y.h"] {
                scene.project.set_time(&format!("{place}/{name}"), then);
            }
        }
        let (x, y) = (format!("{}/x.h", PLACES[1]), format!("{}/y.h", PLACES[1]));
        scene.project.remove(&y);
        scene.project.hard_link(&x, &y);
        scene.project.touch(&format!("{}/y.h", PLACES[2]));
        for _ in 0..2 {
            for place in PLACES {
                let _compared = scene.call(place, &format!("{tool} -c o.c -o o.o")).check();
            }
        }
    }
}

/// Another name for the working directory in `PWD`, and none.
#[test]
fn another_name_for_the_directory() {
    for tool in c_tools() {
        for line in [format!("{tool} -c src/a.c -o a.o"), format!("{tool} -g -c src/a.c -o a.o")] {
            let scene = Scene::new(FILES);
            scene.project.symlink("second/place", "link");
            let link = scene.project.at("link");
            scene.call(PLACES[0], &line).check().expect(&Outcome::Miss);
            for pwd in [link.to_str().unwrap(), "/", "."] {
                let _compared = scene.call(PLACES[1], &line).env("PWD", pwd).check();
                let _compared = scene.call(PLACES[2], &line).env("PWD", pwd).check();
            }
        }
    }
}

/// A script that tells the compiler where it is.
#[test]
fn a_script_before_the_compiler() {
    for tool in tools::present(&["gcc", "clang"]) {
        let scene = Scene::new(&[("p.c", "const char p[] = P;\n")]);
        let real = tools::path_of(tool);
        let script = format!("#!/bin/sh\nexec {} -DP=\"\\\"$PWD\\\"\" \"$@\"\n", real.display());
        scene.project.write_program(tool, &script);
        for place in PLACES {
            let _compared = scene.call(place, &format!("{{base}}/{tool} -c p.c -o p.o")).check();
        }
    }
}

/// A directory that was served goes, and comes again with other files; the one that made the result goes.
#[test]
fn places_that_go() {
    for tool in c_tools() {
        let line = format!("{tool} -O2 -c src/a.c -o a.o");
        let scene = Scene::new(FILES);
        scene.call(PLACES[1], &line).check().expect(&Outcome::Miss);
        std::fs::remove_dir_all(scene.project.at("second")).unwrap();
        scene.expect_shared(PLACES[2], &line, true);
        let edit = |place: &str| {
            scene.project.write(&format!("{place}/src/a.h"), FILES[0].1.replace('1', "7"));
        };
        edit(PLACES[2]);
        scene.call(PLACES[2], &line).check().expect(&Outcome::Miss);
        scene.expect_shared(PLACES[0], &line, false);
        edit(PLACES[0]);
        scene.expect_shared(PLACES[0], &line, false);
    }
}

/// A result of another directory that is not what the tool makes here: its class is not shared any longer.
#[test]
fn an_audit_that_finds_a_difference() {
    for tool in tools::present(&["gcc", "clang"]) {
        let scene = Scene::new(FILES);
        let line = |name: &str| format!("{tool} -O2 -c src/{name}.c -o {name}.o");
        for (place, name) in PLACES.iter().flat_map(|place| [(place, "b"), (place, "c")]) {
            scene.project.write(&format!("{place}/src/{name}.c"), format!("int {name} = 1;\n"));
        }
        scene.call(PLACES[0], &line("a")).check().expect(&Outcome::Miss);
        scene.call(PLACES[0], &line("b")).check().expect(&Outcome::Miss);
        // No command is known that makes one, so the stored outputs are exchanged.
        exchange_outputs(&scene.cache);
        let counted = scene.cache.count(|| {
            let _compared = scene.call(PLACES[1], &line("a")).check();
        });
        assert_eq!(counted.get("internal_errors/audit"), 1, "{tool}: {counted:?}");
        let doctor = scene.cache.ibid(["doctor", "-v", "--quick"]).output().unwrap();
        let doctor = String::from_utf8(doctor.stdout).unwrap();
        assert!(doctor.contains("gave other bytes in another directory"), "{doctor}");
        scene.call(PLACES[2], &line("b")).check().expect_miss();
        scene.call(PLACES[2], &line("b")).check().expect(&Outcome::InvocationHit);
    }
}

/// Puts other bytes under the outputs of all records of a cache.
fn exchange_outputs(cache: &Cache) {
    let store = Store::open(&cache.dir(), MAX_BYTES_DEFAULT).unwrap();
    let mut arena = vec![0; 1 << 20];
    let mut drafts = Vec::new();
    store.each_entry(|entry| {
        if entry.header.kind() == Some(Kind::Record) {
            let (record, rest) = hot_part(&store.cache.segments, entry, &mut arena).unwrap();
            let (cold, _) = cold_part(&store.cache.segments, entry, &record, rest).unwrap();
            drafts.push(Draft::decode(&record, &cold, &entry.header.key).unwrap());
        }
    });
    for mut draft in drafts {
        draft.outputs[0].blob = store.put_blob(b"something else").unwrap();
        store.put_record(&draft).unwrap();
    }
}

/// A directory whose name is part of another's, one with blanks, one at the top.
#[test]
fn names_of_places() {
    for tool in c_tools() {
        let (cache, project) = (Cache::new(), Project::new());
        let names = ["proj", "proj-deps", "pro", "with blank", "quo'te", "\u{e4}"];
        for name in names {
            project.write(&format!("{name}/a.h"), "#define A 1\n");
            project.write(
                &format!("{name}/a.c"),
                format!("#include \"a.h\"\n{}", "const char *f = __FILE__;\nint a = A;\n"),
            );
        }
        for options in ["-c a.c -o a.o", "-g -c a.c -o a.o", "-c a.c -I../proj -o a.o"] {
            for name in names {
                let words: Vec<String> =
                    format!("{tool} {options}").split(' ').map(str::to_owned).collect();
                let directory = project.at(name).canonicalize().unwrap();
                let _compared = Call::new(&cache, &directory, words)
                    .env("PWD", directory.to_str().unwrap())
                    .check();
            }
        }
    }
}

/// What takes the whole environment may make something of a `PWD` that is not the working directory.
#[test]
fn a_directory_among_all_variables() {
    let Some(tools) = rustc::toolchain() else { return };
    let rustc = tools.join("rustc").display().to_string();
    let (cache, project) = (Cache::new(), Project::new());
    project.write(
        "m.rs",
        "use proc_macro::TokenStream;\n#[proc_macro]\npub fn here(_: TokenStream) -> TokenStream {\n\
         let all: String = std::env::vars().filter(|(name, _)| name == \"PWD\").map(|(_, it)| it).collect();\n\
         format!(\"{all:?}\").parse().unwrap() }\n",
    );
    project.write("a.rs", "pub const HERE: &str = m::here!();\n");
    let made = format!("{rustc} --edition 2021 --crate-type proc-macro --extern proc_macro m.rs");
    project.shell(&cache, &made);
    project.mkdir("x");
    project.mkdir("y");
    let line = format!(
        "{rustc} --edition 2021 --crate-type lib --emit metadata --extern m=libm.so a.rs -o a.rmeta"
    );
    for name in ["x", "y", "x", "y"] {
        let value = project.at(name);
        // By its stats it is another one than before.
        project.touch("a.rs");
        project.call(&cache, &line).env("PWD", value.to_str().unwrap()).check();
    }
}

/// `explain` says what binds a result to its place, and what would help.
#[test]
fn explained() {
    for tool in tools::present(&["gcc", "clang"]) {
        let scene = Scene::new(FILES);
        for (options, why) in [
            ("-g -Iother -c src/a.c -o a.o", "IBID_REMAP=auto may hide it"),
            ("-Iother -c {here}/src/a.c -o a.o", "IBID_REMAP=auto may hide it"),
            ("-fstack-usage -Iother -c src/a.c -o a.o", "may be in what this command writes"),
        ] {
            let line = format!("{tool} {options}");
            scene.call(PLACES[0], &line).check().expect_miss();
            let line = line.replace("{here}", scene.at(PLACES[0]).to_str().unwrap());
            let mut explain = scene.cache.ibid(["explain", "--"]);
            explain.args(line.split(' ')).current_dir(scene.at(PLACES[1]));
            let said = String::from_utf8(explain.output().unwrap().stdout).unwrap();
            assert!(said.starts_with("miss the working directory is"), "{said}");
            assert!(said.contains("serves its own place only") && said.contains(why), "{said}");
        }
    }
}
