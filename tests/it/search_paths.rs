//! Another `PATH`: what a result of another one serves, and what appears in its directories later.

use std::fs;

use crate::cache::{Cache, Outcome};
use crate::call::Call;
use crate::project::Project;
use crate::tools;

/// Compilers that search an assembler.
const LINES: [&str; 2] = ["gcc -O1 -c a.c -o a.o", "clang -fno-integrated-as -O1 -c a.c -o a.o"];

struct Scene {
    cache: Cache,
    project: Project,
    line: &'static str,
}

impl Scene {
    fn new(line: &'static str) -> Scene {
        let project = Project::with(&[("a.c", "int a;\n")]);
        project.shell(&Cache::new(), "mkdir one two three; ln -s three link");
        Scene { cache: Cache::new(), project, line }
    }

    /// A call with these directories before the usual ones.
    fn call(&self, first: &str) -> Call<'_> {
        let root = self.project.path().to_str().unwrap();
        let path = first.replace('@', root) + ":" + &std::env::var("PATH").unwrap();
        self.project.call(&self.cache, self.line).env("PATH", &path)
    }

    /// A call that finds another program: no hit, unless it is an assembler; clang looks beside itself first.
    fn call_finding_another(&self, first: &str, program: &str) {
        let seen = self.call(first).check();
        assert!(
            !seen.outcome.is_hit() || program == "as" && self.line.starts_with("clang"),
            "{first}: {seen:?}"
        );
    }

    /// A program that does what the usual one of that name does, and shows that it ran.
    fn write_another(&self, name: &str, program: &str) {
        let (real, option) = match program {
            "as" => ("as", "--defsym another=1"),
            _ => (program, "-DANOTHER -fno-ident"),
        };
        let real = tools::path_of(real);
        self.project
            .write_program(name, &format!("#!/bin/sh\nexec {} {option} \"$@\"\n", real.display()));
    }
}

/// What is found in a directory that only the second `PATH` names counts from the first hit on.
#[test]
fn programs_that_appear_in_another_path() {
    const FIRST: [&str; 7] = [
        "@/two",
        "@/gone/far:@/two",
        "@/three:@/two",
        "@/link:@/two",
        "@/gone:@/two",
        "two",
        "@/one/../two",
    ];
    for (line, program, count) in [
        (LINES[0], "as", FIRST.len()),
        (LINES[0], "gcc", 2),
        (LINES[1], "as", 1),
        (LINES[1], "clang", 2),
    ] {
        for first in &FIRST[..count] {
            let scene = Scene::new(line);
            scene.call("@/one").check().expect(&Outcome::Miss);
            scene.call(first).check().expect(&Outcome::PortableHit);
            scene.call(first).check().expect(&Outcome::InvocationHit);
            for directory in first.split(':').rev() {
                let name = format!("{}/{program}", directory.replace("@/", ""));
                scene.write_another(&name, program);
                scene.call_finding_another(first, program);
                fs::remove_file(scene.project.at(&name)).unwrap();
                scene.call(first).check();
            }
            scene.call("@/one").check();
        }
    }
}

/// The same by links, files and directories that are something else first.
#[test]
fn directories_of_another_path_that_change() {
    for line in LINES {
        let scene = Scene::new(line);
        scene.call("@/one").check().expect(&Outcome::Miss);
        scene.write_another("elsewhere/as", "as");
        for first in ["@/link", "@/later", "@/file", "@/link/below"] {
            scene.project.shell(
                &scene.cache,
                "rm -rf link later file three; mkdir three; ln -s three link; touch file",
            );
            scene.call(first).check().expect_hit();
            scene.call(first).check().expect_hit();
            let change = match first {
                "@/link" => "ln -sfn elsewhere link",
                "@/later" => "ln -s elsewhere later",
                "@/file" => "rm file; cp -r elsewhere file",
                _ => "cp -r elsewhere three/below",
            };
            scene.project.shell(&scene.cache, change);
            scene.call_finding_another(first, "as");
        }
    }
}

/// What was searched in vain may be gone where others have another `PATH`; not what the tool asked for itself.
#[test]
fn directories_of_the_first_path_that_are_gone() {
    for line in LINES {
        let scene = Scene::new(line);
        scene.project.shell(&scene.cache, "mkdir -p own/tools/bin own/bin; sleep 0.1");
        let own = "@/own/tools/bin:@/own/bin:@/own/none";
        scene.call(own).check().expect(&Outcome::Miss);
        for gone in ["own/none", "own/tools/bin", "own/tools", "own/bin", "own"] {
            scene.project.shell(&scene.cache, &format!("rm -rf {gone}"));
            for first in ["@/two", "@/two:@/three"] {
                let seen = scene.call(first).check();
                // clang looks for more names there, of which not all are known to be programs'.
                assert!(seen.outcome == Outcome::PortableHit || line == LINES[1], "{seen:?}");
                scene.call(first).check().expect(&Outcome::InvocationHit);
            }
        }
        scene.call(own).check();
        scene.call(own).check().expect(&Outcome::InvocationHit);
        // They are back, with another assembler.
        scene.write_another("own/tools/bin/as", "as");
        scene.call_finding_another(own, "as");
        for first in ["@/own/tools/bin", "@/two"] {
            scene.call(first).check();
        }
    }
    for (line, first) in [
        ("gcc -Wmissing-include-dirs -I@/own -c a.c -o a.o", "@/own/bin"),
        ("gcc -Wmissing-include-dirs -I@/own/bin/../bin -c a.c -o a.o", "@/own/bin"),
        ("gcc -B@/own/bin -c a.c -o a.o", "@/own/bin"),
    ] {
        let mut scene = Scene::new(LINES[0]);
        let line = line.replace('@', scene.project.path().to_str().unwrap());
        scene.line = Box::leak(line.into_boxed_str());
        scene.project.shell(&scene.cache, "mkdir -p own/bin; sleep 0.1");
        for _ in 0..2 {
            scene.call(first).check();
            scene.call("@/two").check();
        }
        scene.project.shell(&scene.cache, "rm -r own");
        scene.call("@/two").check();
        scene.call(first).check();
        scene.write_another("own/bin/as", "as");
        scene.call("@/two").check();
        scene.call(first).check();
    }
}

/// `PATH` names a directory of one checkout, in each of them.
#[test]
fn a_directory_of_one_checkout_in_path() {
    for line in LINES {
        for (from, to) in [("one", "two"), ("two", "one")] {
            for appears in [0, 1, 2] {
                let scene = Scene::new(line);
                scene.project.shell(
                    &scene.cache,
                    "mkdir -p one/bin two/bin; cp a.c one; cp a.c two; sleep 0.1",
                );
                let call = |place: &str| scene.call("@/one/bin").cwd(place);
                let appear = |at| {
                    if appears == at {
                        scene.write_another("one/bin/as", "as");
                    }
                };
                call(from).check().expect(&Outcome::Miss);
                appear(0);
                call(to).check();
                appear(1);
                call(to).check();
                call(to).check();
                appear(2);
                call(to).check();
                call(from).check();
            }
        }
    }
}

/// A file that cannot be run is passed over until it can.
#[test]
fn a_program_that_cannot_be_run_yet() {
    for line in LINES {
        let scene = Scene::new(line);
        scene.call("@/one").check().expect(&Outcome::Miss);
        scene.write_another("two/as", "as");
        scene.project.shell(&scene.cache, "chmod a-x two/as");
        scene.call("@/two").check();
        scene.call("@/two").check();
        scene.project.shell(&scene.cache, "chmod a+x two/as");
        scene.call_finding_another("@/two", "as");
        scene.project.shell(&scene.cache, "rm two/as; mkdir two/as");
        scene.call("@/two").check();
        scene.call("@/two").check();
        scene.project.shell(&scene.cache, "rmdir two/as");
        scene.write_another("two/as", "as");
        scene.call_finding_another("@/two", "as");
    }
}

/// `collect2` and clang search `PATH` themselves.
#[test]
fn linkers_in_another_path() {
    for (line, program) in [
        ("gcc m.o -o m", "ld"),
        ("gcc -fuse-ld=gold m.o -o m", "ld.gold"),
        ("gcc -flto m.o -o m", "as"),
        ("clang m.o -o m", "ld"),
        ("clang -fuse-ld=lld m.o -o m", "ld.lld"),
    ] {
        let scene = Scene::new(line);
        scene.project.write("m.c", "int main(void) { return 0; }\n");
        scene.project.shell(&scene.cache, "gcc -flto -ffat-lto-objects -c m.c -o m.o; sleep 0.1");
        for first in ["@/one", "@/two"] {
            scene.call(first).check();
        }
        let real = tools::path_of(program);
        let said = format!("#!/bin/sh\necho {program} >&2\nexec {} \"$@\"\n", real.display());
        scene.project.write_program(&format!("three/{program}"), &said);
        for first in ["@/three", "@/two:@/three", "@/two", "@/three"] {
            scene.call(first).check();
        }
        scene.project.write_program(&format!("two/{program}"), &said);
        for first in ["@/two", "@/one", "@/two"] {
            scene.call(first).check();
        }
    }
}

/// Compares a call with the bare tool's after each step of a script, in several values of `PATH` and `PWD`.
fn compare(line: &str, steps: &[(&str, &str)]) {
    let scene = Scene::new("");
    scene.project.write("m.c", "extern int f(void);\nint main(void) { return f(); }\n");
    let root = scene.project.path().to_str().unwrap();
    let usual = std::env::var("PATH").unwrap();
    for (step, value) in steps {
        scene.project.shell(&scene.cache, &format!("{step}\nsleep 0.1"));
        let value = value.replace('@', root);
        let call = scene.project.call(&scene.cache, &line.replace('@', root));
        let call = match value.strip_prefix("PWD=") {
            Some(directory) => call.env("PWD", directory),
            None => call.env("PATH", format!("{value}:{usual}")),
        };
        call.check();
    }
}

const ANOTHER: &str = "#!/bin/sh\necho another >&2\nexec /usr/bin/as \"$@\"\n";

/// libc searches an assembler for a compiler that is called by its path.
#[test]
fn compilers_by_their_paths() {
    let write = format!("cat >two/as <<'X'\n{ANOTHER}X\nchmod 755 two/as");
    for tool in ["gcc", "g++"] {
        let line = format!("{} -c a.c -o a.o", tools::path_of(tool).display());
        let steps = [
            ("", "@/one"),
            (&*write, "@/two"),
            ("", "@/one"),
            ("rm two/as", "@/two"),
            (&*write, "@/two"),
        ];
        compare(&line, &steps);
    }
}

/// Headers and libraries in a directory that `PATH` names are no programs.
#[test]
fn what_is_no_program_in_a_directory_of_path() {
    let (own, other) =
        ("echo 'int a1;' >g/h.h", "mkdir -p k/include; echo 'int a2;' >k/include/h.h");
    for tool in tools::C {
        for (line, below) in [("-I@/k/include -Ig", "@/k"), ("-I@/k/include -Ig", "@/k/include")] {
            compare(
                &format!("{tool} {line} -c b.c -o b.o"),
                &[
                    (&format!("mkdir k g; echo '#include <h.h>' >b.c; {own}"), below),
                    ("rm -r k", "@/one"),
                    (other, "@/one"),
                ],
            );
        }
        let library = |value: u8, at: &str| {
            format!(
                "echo 'int f(void) {{ return {value}; }}' >f.c; gcc -c f.c; mkdir -p {at}; ar rcD {at}/libf.a f.o"
            )
        };
        compare(
            &format!("{tool} m.o -L@/d -Lg -lf -o m"),
            &[
                (&format!("gcc -c m.c; {}; mkdir d", library(1, "g")), "@/d"),
                ("", "@/one"),
                ("rmdir d", "@/one"),
                (&library(2, "d"), "@/one"),
            ],
        );
    }
}

/// What `PWD` leads to counts also after a hit under another one.
#[test]
fn another_working_directory_by_name() {
    for tool in tools::C {
        let line = format!("{tool} -g -c a.c -o a.o");
        compare(
            &line,
            &[("", "PWD=/nope"), ("", "PWD=@/mm"), ("", "PWD=@/mm"), ("ln -s . mm", "PWD=@/mm")],
        );
        let retargeted = ["ln -s one mm", "", "", "ln -sfn . mm"].map(|step| (step, "PWD=@/mm"));
        compare(&line, &[("", "PWD=/nope")].iter().chain(&retargeted).copied().collect::<Vec<_>>());
        let replaced = ["mkdir mm", "", "", "rmdir mm; ln -s . mm"].map(|step| (step, "PWD=@/mm"));
        compare(&line, &[("", "PWD=/nope")].iter().chain(&replaced).copied().collect::<Vec<_>>());
    }
}

/// `collect2` can be asked to show `PATH`.
#[test]
fn a_text_that_shows_path() {
    let line = "gcc -fno-use-linker-plugin -Wl,-debug m.o -o m";
    compare(
        line,
        &[("echo 'int main(void) { return 0; }' >m.c; gcc -c m.c", "@/one"), ("", "@/two")],
    );
}

/// Whether a program may be run can change with its owner: there nothing is stored.
#[test]
fn programs_of_others() {
    if !tools::is_root() || !tools::have("setpriv") {
        return tools::skip("becoming another user needs root and setpriv");
    }
    let scene = Scene::new("");
    let script = r#"
        exec 2>&1; set -eu; umask 022; mkdir program a; cp "$ibid" program/ibid
        export IBID_DIR=$PWD/cache XDG_RUNTIME_DIR=$PWD HOME=$PWD PATH=$PWD/a:$PATH
        printf '#!/bin/sh\necho another >&2\nexec /usr/bin/as "$@"\n' >a/as
        chown 65534:65534 .; chmod 755 . a; chmod 744 a/as; sleep 1.1
        as_user="setpriv --reuid=65534 --regid=65534 --clear-groups"
        for i in 1 2; do $as_user program/ibid gcc -c a.c -o a.o; done
        chown 65534:65534 a/as
        $as_user program/ibid gcc -c a.c -o a.o 2>said; grep another said"#;
    let mut command = scene.cache.command("sh");
    command.args(["-c", script]).current_dir(scene.project.path()).env("ibid", tools::ibid());
    let done = command.output().unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stdout));
}
