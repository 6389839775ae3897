//! Each input of a call of Emscripten's: changed, it is a miss, and the result is that of the bare tool.

use std::path::Path;

use crate::cache::Cache;
use crate::call::Seen;
use crate::emscripten::{Emscripten, cache, clean, hits_in_the_end, project};
use crate::project::Project;

/// Runs `line` until it hits, changes something, and runs it again: another result.
#[track_caller]
fn shows(project: &Project, cache: &Cache, line: &str, change: impl FnOnce()) {
    let seen = shows_or_not(project, cache, line, change);
    assert!(
        !seen.0.same_result(&seen.1),
        "{line}: the change makes no difference: {:?}",
        seen.1.done
    );
}

/// The results before and after; the second must be a miss.
#[track_caller]
fn shows_or_not(
    project: &Project,
    cache: &Cache,
    line: &str,
    change: impl FnOnce(),
) -> (Seen, Seen) {
    hits_in_the_end(project, cache, line);
    clean(project);
    let before = project.call(cache, line).check().expect_hit();
    clean(project);
    change();
    let after = project.call(cache, line).check();
    assert!(!after.outcome.is_hit(), "{line}: {:?}", after.outcome);
    (before, after)
}

#[test]
fn files_that_the_project_has() {
    let Some(cache) = cache() else { return };
    let project = project();
    project.write("r.rsp", "-DR=1 -c r.c -o p.o\n");
    project.write("r.c", "int r = R;\n");
    shows(&project, &cache, "emcc -c a.c -o p.o", || project.write("h.h", "#define H 2\n"));
    shows(&project, &cache, "emcc -c b.c -o p.o", || {
        project.write("b.c", "int f(void) { return 2; }\n");
    });
    shows(&project, &cache, "emcc @r.rsp", || project.write("r.rsp", "-DR=2 -c r.c -o p.o\n"));
    project.shell(&cache, "mkdir one two; cp h.h two; emcc -c a.c b.c; rm h.h");
    shows(&project, &cache, "emcc -Ione -Itwo -c a.c -o p.o", || {
        project.write("one/h.h", "#define H 3\n");
    });
    project.write("l.js", "mergeInto(LibraryManager.library, { g: function() { return 1; } });\n");
    project.write("pre.js", "var x = 1;\n");
    project.write("post.js", "var y = 1;\n");
    project.write("shell.html", "<p>1</p>{{{ SCRIPT }}}\n");
    project.write("data.txt", "1\n");
    project.write("d/data.txt", "1\n");
    project.write("g.c", "int g(void);\nint main(void) { return g(); }\n");
    let link = "emcc g.c -sASSERTIONS=0";
    shows(&project, &cache, &format!("{link} --js-library l.js -o p.js"), || {
        let library = "mergeInto(LibraryManager.library, { g: function() { return 2; } });\n";
        project.write("l.js", library);
    });
    let link = "emcc a.o b.o";
    shows(&project, &cache, &format!("{link} --pre-js pre.js -o p.js"), || {
        project.write("pre.js", "var x = 2;\n");
    });
    shows(&project, &cache, &format!("{link} --post-js post.js -o p.js"), || {
        project.write("post.js", "var y = 2;\n");
    });
    shows(&project, &cache, &format!("{link} --shell-file shell.html -o p.html"), || {
        project.write("shell.html", "<p>2</p>{{{ SCRIPT }}}\n");
    });
    shows(&project, &cache, &format!("{link} --embed-file d -o p.js"), || {
        project.write("d/data.txt", "2\n");
    });
    shows(&project, &cache, &format!("{link} --embed-file d -o p.js"), || {
        project.write("d/more.txt", "3\n");
    });
    shows(&project, &cache, &format!("{link} -o p.js"), || {
        project.shell(&cache, "printf 'int f(void) { return 7; }\\n' >b.c; emcc -c b.c");
    });
}

#[test]
fn variables_and_settings() {
    let Some(mut cache) = cache() else { return };
    let project = project();
    let config = std::fs::read_to_string("/usr/share/emscripten/.emscripten").unwrap();
    cache.set("EMCC_CFLAGS", "-DX=1");
    project.write("x.c", "int x = X;\n");
    hits_in_the_end(&project, &cache, "emcc -c x.c -o p.o");
    cache.set("EMCC_CFLAGS", "-DX=2");
    let seen = project.call(&cache, "emcc -c x.c -o p.o").check();
    assert!(!seen.outcome.is_hit(), "{:?}", seen.outcome);
    cache.set("EMCC_CFLAGS", "-DX=1");
    project.call(&cache, "emcc -c x.c -o p.o").check().expect_hit();

    // Another compiler by the settings file: here one with an option more.
    project.write_program("llvm/clang-14", "#!/bin/sh\nexec /usr/bin/clang-14 -DX=3 \"$@\"\n");
    project.write("config", &config);
    cache.unset("EMCC_CFLAGS");
    project.write("x.c", "#ifndef X\n#define X 0\n#endif\nint x = X;\n");
    cache.set("EM_CONFIG", project.at("config"));
    let llvm = format!("LLVM_ROOT = '{}' #", project.at("llvm").display());
    shows(&project, &cache, "emcc -c x.c -o p.o", || {
        project.write("config", config.replace("LLVM_ROOT =", &llvm));
    });
    // `~/.emscripten` counts where Emscripten has no settings beside it: that it is not there is seen.
    cache.unset("EM_CONFIG");
    let own = Emscripten::first_on_path(&mut cache);
    std::fs::remove_file(own.at(".emscripten")).unwrap();
    let home = cache.root().join("home/.emscripten");
    std::fs::write(&home, &config).unwrap();
    shows(&project, &cache, "emcc -c x.c -o p.o", || {
        std::fs::write(&home, config.replace("LLVM_ROOT =", &llvm)).unwrap();
    });
    std::fs::write(&home, &config).unwrap();
    shows(&project, &cache, "emcc -c x.c -o p.o", || {
        std::fs::write(own.at(".emscripten"), config.replace("LLVM_ROOT =", &llvm)).unwrap();
    });
}

#[test]
fn files_of_emscripten() {
    let Some(mut cache) = cache() else { return };
    let own = Emscripten::first_on_path(&mut cache);
    let project = project();
    project.write("e.c", "#include <errno.h>\nint e = ENOENT;\n");
    shows(&project, &cache, "emcc -c e.c -o p.o", || {
        own.change("cache/sysroot/include/errno.h", |text| {
            text + "\n#undef ENOENT\n#define ENOENT 99\n"
        });
    });
    // A script of Emscripten's: the entry, and a module, which Python has translated.
    project.write("x.c", "#ifndef X\n#define X 0\n#endif\nint x = X;\n");
    shows(&project, &cache, "emcc -c x.c -o p.o", || {
        own.change("emcc.py", |text| {
            text.replace(
                "  cflags += ['-Werror=implicit",
                "  cflags += ['-DX=1', '-Werror=implicit",
            )
        });
    });
    let seen = shows_or_not(&project, &cache, "emcc -c b.c -o p.o", || {
        own.change("tools/shared.py", |text| text + "\nprint('changed')\n");
    });
    assert_eq!(seen.1.done.stdout, "changed\n");
    own.change("tools/shared.py", |text| text.replace("\nprint('changed')\n", ""));
    // A library of the system's, for a link; and one that node runs.
    project.shell(&cache, "emcc -c a.c b.c");
    let libc = Path::new("cache/sysroot/lib/wasm32-emscripten/libc-debug.a");
    let line = "emcc a.o b.o -g -o p.js";
    shows(&project, &cache, line, || {
        let path = own.at(libc.to_str().unwrap());
        let copy = path.with_extension("new");
        std::fs::copy(&path, &copy).unwrap();
        std::fs::rename(&copy, &path).unwrap();
        project.shell(
            &cache,
            &format!(
                "printf 'int printf(const char *f, ...) {{ return 5; }}\\n' >printf.c; emcc -c printf.c; \
                 llvm-ar-14 r {} printf.o",
                path.display()
            ),
        );
    });
    std::fs::remove_file(own.at("src")).unwrap();
    project.shell(&cache, &format!("cp -r /usr/share/emscripten/src {}", own.at("src").display()));
    shows(&project, &cache, line, || {
        own.change("src/postamble.js", |text| text + "\n// changed\n");
    });
}
