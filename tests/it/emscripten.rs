//! Emscripten: emcc, em++ and emar by name, with Python, node and shells behind them.

use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::cache::{Cache, Outcome};
use crate::project::Project;
use crate::tools;

const FILES: &[(&str, &str)] = &[
    (
        "a.c",
        "#include <stdio.h>\n#include \"h.h\"\nint f(void);\nint main(void) { printf(\"%d\", f() + H); }\n",
    ),
    ("h.h", "#define H 1\n"),
    ("b.c", "int f(void) { return 1; }\n"),
    ("c.cc", "template <class T> T g(T x) { return x + 1; }\nint h() { return g(1); }\n"),
];

/// Where Debian has Emscripten.
const INSTALLED: &str = "/usr/share/emscripten";

/// Makes Emscripten anew in a directory `em` below `$1`, of the files of the installed one: scripts are copies, the rest links.
const COPY: &str = r#"
set -e
E=/usr/share/emscripten; mkdir -p "$1/em/cache/sysroot" "$1/em/__pycache__"; cd "$1/em"
for f in $E/* $E/.emscripten; do
    case ${f##*/} in
        cache | tools | tests | docs | media | cmake | __pycache__ | *.py | .emscripten | wrapper* | *.html | *.txt~) ;;
        *) ln -s $f . ;;
    esac
done
cp $E/*.py $E/.emscripten .; cp -r $E/tools .
cp $E/__pycache__/* __pycache__/ 2>/dev/null || true
for f in $E/cache/*; do case $f in */sysroot) ;; *) cp -rs $f cache/ ;; esac; done
cp -rs $E/cache/sysroot cache/
for t in emcc em++ emar; do
    printf '#!/bin/sh\nexec python3 "%s/%s.py" "$@"\n' "$PWD" $t >$t; chmod 755 $t
done
"#;

/// Variables with which nothing but the system is on `PATH`.
pub const ON_PATH: [(&str, &str); 2] =
    [("PATH", "/usr/bin:/bin"), ("NODE_PATH", "/usr/share/nodejs")];

/// A cache with these, if Emscripten is here.
pub fn cache() -> Option<Cache> {
    let with = |cache: Cache, (name, value): (&str, &str)| cache.with(name, value);
    tools::have("emcc").then(|| ON_PATH.into_iter().fold(Cache::new(), with))
}

pub fn project() -> Project {
    Project::with(FILES)
}

/// An Emscripten of a test's own, whose files it may change.
pub struct Emscripten(TempDir);

impl Emscripten {
    /// First on the cache's `PATH`.
    pub fn first_on_path(cache: &mut Cache) -> Emscripten {
        let root = tempfile::Builder::new().prefix("ibid-emscripten-").tempdir().unwrap();
        let mut shell = cache.command("sh");
        let done = shell.args(["-c", COPY, "sh"]).arg(root.path()).output().unwrap();
        assert!(done.status.success(), "{done:?}");
        let own = Emscripten(root);
        cache.set("PATH", format!("{}:/usr/bin:/bin", own.at("").display()));
        own
    }

    pub fn at(&self, name: &str) -> PathBuf {
        self.0.path().join("em").join(name)
    }

    /// Puts a file of its own in the place of a link, or changes one.
    pub fn change(&self, name: &str, change: impl Fn(String) -> String) {
        let path = self.at(name);
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        std::fs::write(&path, change(text)).unwrap();
    }
}

/// Removes what calls have made.
pub fn clean(project: &Project) {
    for entry in std::fs::read_dir(project.path()).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        if name.starts_with("p.") || name == "a.d" || name.starts_with("a.out") {
            project.remove(&name);
        }
    }
}

/// Runs a command until it hits, which it must by the third time, and once more.
#[track_caller]
pub fn hits_in_the_end(project: &Project, cache: &Cache, line: &str) {
    let mut outcomes = Vec::new();
    for _ in 0..3 {
        clean(project);
        let seen = project.call(cache, line).check();
        assert_eq!(seen.done.code, Some(0), "{line}: {:?}", seen.done);
        outcomes.push(seen.outcome);
        if outcomes.last() == Some(&Outcome::InvocationHit) {
            // What is there already is replaced.
            project.call(cache, line).check().expect(&Outcome::InvocationHit);
            return;
        }
    }
    panic!("{line}: {outcomes:?}");
}

#[test]
fn every_kind_of_compile_is_a_hit() {
    let Some(cache) = cache() else { return };
    let project = project();
    for line in [
        "emcc -c a.c -o p.o",
        "emcc -O2 -g -Wall -c a.c -MD -MF p.d -o p.o",
        "em++ -std=c++17 -c c.cc -o p.o",
        "emcc -E a.c",
        "emcc -E a.c -o p.i",
        "emcc -S a.c -o p.s",
        "emcc -MM a.c",
        "emcc -c -flto -pthread b.c -o p.o",
        "emcc -c b.c -s USE_PTHREADS=1 -o p.o",
    ] {
        hits_in_the_end(&project, &cache, line);
    }
    // Touched, and put back: by content.
    project.call(&cache, "emcc -c a.c -o p.o").check().expect_hit();
    project.touch("h.h");
    project.touch("a.c");
    project.call(&cache, "emcc -c a.c -o p.o").check().expect(&Outcome::PortableHit);
    project.write("h.h", "#define H 2\n");
    project.call(&cache, "emcc -c a.c -o p.o").check().expect_miss();
    project.write("h.h", "#define H 1\n");
    project.call(&cache, "emcc -c a.c -o p.o").check().expect(&Outcome::PortableHit);
}

#[test]
fn every_kind_of_link_is_a_hit() {
    let Some(cache) = cache() else { return };
    let project = project();
    project.shell(&cache, "emcc -c a.c b.c");
    project.write("data.txt", "some data\n");
    project.write("pre.js", "var before = Date.now();\n");
    for line in [
        "emcc a.o b.o -o p.js",
        "emcc a.o b.o",
        "emcc a.o b.o -o p.html",
        "emcc a.o b.o -o p.wasm",
        "emcc -O2 a.o b.o -o p.js",
        "emcc -r a.o b.o -o p.o",
        "emcc a.c b.c -o p.mjs",
        "em++ a.o b.o --pre-js pre.js --emit-symbol-map -o p.js",
        "emcc a.o b.o --embed-file data.txt@/x -gsource-map -o p.js",
    ] {
        hits_in_the_end(&project, &cache, line);
    }
}

#[test]
fn archives() {
    let Some(cache) = cache() else { return };
    let project = project();
    project.shell(&cache, "emcc -c a.c b.c");
    for _ in 0..2 {
        project.call(&cache, "emar rcs p.a a.o").check();
        clean(&project);
    }
    let call = project.call(&cache, "emar rcs p.a a.o");
    call.check().expect(&Outcome::InvocationHit);
    // One that is there is added to.
    project.shell(&cache, "rm p.a; emar rcs p.a b.o");
    call.check();
    let seen = project.call(&cache, "emar t p.a").check();
    assert_eq!(seen.done.stdout, "b.o\na.o\n");
    // An index of symbols is made in place.
    let seen = project.call(&cache, "emranlib p.a").check();
    assert!(matches!(seen.outcome, Outcome::PassedThrough(_)), "{:?}", seen.outcome);
}

/// The linker by its name.
#[test]
fn wasm_ld() {
    let Some(cache) = cache() else { return };
    let project = project();
    project.shell(&cache, "emcc -c b.c");
    hits_in_the_end(&project, &cache, "wasm-ld --no-entry --export-all b.o -o p.wasm");
}

/// Whatever fails fails as the bare tool does, and nothing is lost.
#[test]
fn bad_input() {
    let Some(cache) = cache() else { return };
    let project = project();
    project.write("bad.c", "int x = ;\n");
    project.write("no_node", "LLVM_ROOT='/usr/bin'\nBINARYEN_ROOT='/usr'\nNODE_JS='/none/node'\nFROZEN_CACHE=True\nLLVM_ADD_VERSION='14'\nCLANG_ADD_VERSION='14'\n");
    project.write("broken", "LLVM_ROOT = '\n");
    project.write("empty", "");
    project.shell(&cache, "emcc -c a.c b.c");
    for (line, config) in [
        ("emcc -c bad.c -o p.o", None),
        ("emcc -c none.c -o p.o", None),
        ("emcc", None),
        ("emcc a.o b.o -o none/p.js", None),
        ("emcc a.o b.o --js-library none.js -o p.js", None),
        ("emcc a.o b.o --js-library", None),
        ("emcc @none.rsp -o p.js", None),
        ("emar rcs none/p.a a.o", None),
        ("emcc -c a.c -o p.o", Some("broken")),
        ("emcc -c a.c -o p.o", Some("empty")),
        ("emcc -c a.c -o p.o", Some("none")),
    ] {
        for _ in 0..2 {
            clean(&project);
            let mut call = project.call(&cache, line);
            if let Some(config) = config {
                call = call.env("EM_CONFIG", project.at(config));
            }
            let seen = call.check();
            assert!(!seen.outcome.is_hit(), "{line}: {:?}", seen.outcome);
        }
    }
    // Their messages name temporary files.
    for (objects, config) in [("a.o", None), ("a.o b.o", Some("no_node"))] {
        let run = |with_ibid: bool| {
            let line = format!("emcc {objects} -o p.js");
            let words: Vec<&str> = line.split(' ').collect();
            let mut run = if with_ibid { cache.ibid(&words) } else { cache.command(words[0]) };
            run.args(if with_ibid { &[][..] } else { &words[1..] });
            run.envs(config.map(|name| ("EM_CONFIG", project.at(name))));
            let done = run.current_dir(project.path()).output().unwrap();
            (done.status.code(), done.stdout, project.at("p.js").exists())
        };
        assert_eq!(run(true), run(false), "{objects} {config:?}");
    }
    let counters = cache.counters();
    assert_eq!(counters.sum("internal_errors"), 0, "{counters:?}");
}

/// Python is killed by what it runs: the same end, and nothing stored.
#[test]
fn killed() {
    let Some(cache) = cache() else { return };
    let project = project();
    project.write_program("llvm/clang-14", "#!/bin/sh\nkill -9 $PPID\n");
    for name in ["clang++-14", "wasm-ld", "llvm-nm-14", "llvm-ar-14"] {
        project.symlink("clang-14", &format!("llvm/{name}"));
    }
    let config = std::fs::read_to_string(Path::new(INSTALLED).join(".emscripten")).unwrap();
    let llvm = format!("LLVM_ROOT = '{}' #", project.at("llvm").display());
    project.write("config", config.replace("LLVM_ROOT =", &llvm));
    for _ in 0..2 {
        let call =
            project.call(&cache, "emcc -c a.c -o p.o").env("EM_CONFIG", project.at("config"));
        let seen = call.check();
        assert_eq!(seen.done.signal, Some(9), "{:?}", seen.done);
    }
    assert_eq!(cache.counters().get("stored"), 0, "{:?}", cache.counters());
}

/// Scripts of the user's that show what differs from run to run are told from Emscripten's own.
#[test]
fn scripts_that_show_what_differs() {
    let Some(mut cache) = cache() else { return };
    let project = project();
    project.shell(&cache, "emcc -c a.c b.c");
    let config = std::fs::read_to_string(Path::new(INSTALLED).join(".emscripten")).unwrap();
    project
        .write("config", format!("{config}\nimport time\nCLOSURE_COMPILER = str(time.time())\n"));
    project.write(
        "l.js",
        "mergeInto(LibraryManager.library, { f: function() { return {{{ Date.now() }}}; } });\n",
    );
    project.write_program(
        "bin/emcc",
        "#!/usr/bin/python3\nimport os, sys, time\n\
         os.execv('/usr/bin/emcc', ['/usr/bin/emcc', '-DT=%d' % time.time_ns()] + sys.argv[1:])\n",
    );
    project.write("modules/plain.py", "X = 1\n");
    let stored = |cache: &Cache, line: &str, config: Option<&str>| {
        let counted = cache.count(|| {
            let mut run = cache.ibid(line.split(' '));
            run.env("EMCC_CFLAGS", "-O1");
            run.envs(config.map(|name| ("EM_CONFIG", project.at(name))));
            let done = run.current_dir(project.path()).output().unwrap();
            assert!(done.status.success(), "{line}: {done:?}");
        });
        counted.get("stored") + counted.hits()
    };
    let own = project.at("bin/emcc").display().to_string();
    for (line, config) in [
        ("emcc -c a.c -o p.o", Some("config")),
        ("emcc a.o b.o --js-library l.js -o p.js", None),
        ("emcc a.o b.o --js-library=l.js -o p.js", None),
        ("emcc a.o b.o --preload-file h.h -o p.js", None),
        (&format!("{own} -c a.c -o p.o"), None),
    ] {
        for _ in 0..3 {
            assert_eq!(stored(&cache, line, config), 0, "{line}");
        }
    }
    cache.set("EMCC_DEBUG", "1");
    for _ in 0..3 {
        assert_eq!(stored(&cache, "emcc -c a.c -o p.o", None), 0);
    }
    project.write("d.c", "const char *d = __DATE__ __TIME__;\n");
    cache.unset("EMCC_DEBUG");
    for _ in 0..3 {
        assert_eq!(stored(&cache, "emcc -c d.c -o p.o", None), 0);
    }
}

/// Python keeps translated modules: they are no output either, and each is an input.
#[test]
fn translated_modules() {
    let Some(mut cache) = cache() else { return };
    let own = Emscripten::first_on_path(&mut cache);
    let project = project();
    std::fs::remove_dir_all(own.at("tools/__pycache__")).unwrap();
    let run = |cache: &Cache| {
        cache.count(|| {
            let mut run = cache.ibid(["emcc", "-c", "b.c", "-o", "p.o"]);
            assert!(run.current_dir(project.path()).status().unwrap().success());
        })
    };
    let first = run(&cache);
    assert_eq!(first.get("stored"), 0, "{first:?}");
    assert!(own.at("tools/__pycache__").exists());
    let stored: u64 = (0..2).map(|_| run(&cache).get("stored")).sum();
    assert!(stored >= 1 && run(&cache).hits() == 1);
    std::fs::remove_dir_all(own.at("tools/__pycache__")).unwrap();
    let again = run(&cache);
    assert_eq!(again.hits() + again.get("stored"), 0, "{again:?}");
    assert!(own.at("tools/__pycache__").exists());
}

/// Shell scripts that look for Python stand before it, as pyenv's do.
#[test]
fn python_behind_shell_scripts() {
    let Some(mut cache) = cache() else { return };
    let project = project();
    let tree = Project::new();
    let at = tree.path().display();
    tree.write_program(
        "shims/python3",
        &format!(
            "#!/usr/bin/env bash\nset -e\nprogram=\"${{0##*/}}\"\nexport PYENV_ROOT=\"{at}\"\n\
             exec \"{at}/libexec/pyenv\" exec \"$program\" \"$@\"\n"
        ),
    );
    tree.write_program(
        "libexec/pyenv",
        "#!/usr/bin/env bash\nset -e\nNAME=PYENV_ROOT\n[ -n \"${!NAME}\" ]\nshift 2\n\
         for i in 1 2 3; do dirname \"$(readlink -f \"$0\")\" >/dev/null; done\nexec /usr/bin/python3 \"$@\"\n",
    );
    cache.set("PATH", format!("{at}/shims:/usr/bin:/bin"));
    hits_in_the_end(&project, &cache, "emcc -c a.c -o p.o");
    project.touch("h.h");
    project.call(&cache, "emcc -c a.c -o p.o").check().expect_hit();
}
