//! rustup's proxies: whatever chooses the toolchain is part of what a result depends on.
//!
//! Each case runs with a small program that chooses as rustup does, and with rustup itself if it is here. Of the two
//! toolchains, `one` is a link to the one that the tests use, and `two` compiles with `--cfg two`.

use crate::rustc::{LIB, Scene, toolchain};
use crate::tools::{self, skip};

/// As much of rustup as the cases need: `+NAME`, `RUSTUP_TOOLCHAIN`, then from the working directory upwards the
/// settings' override for it and the toolchain files in it; then the default.
const PROXY: &str = r#"#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char settings[65536], text[65536], chosen[4096];

static char *slurp(const char *path, char *text) {
    FILE *file = fopen(path, "r");
    if (!file) return NULL;
    text[fread(text, 1, 65535, file)] = 0;
    fclose(file);
    return text;
}

/* What stands between quotes behind a key. */
static int choose(const char *text, const char *key) {
    const char *at = text ? strstr(text, key) : NULL;
    return at && sscanf(at + strlen(key), " = \"%4000[^\"]", chosen) == 1;
}

static int choose_for(char *directory) {
    char path[8192], key[8192];
    snprintf(key, sizeof key, "\"%s\"", *directory ? directory : "/");
    if (choose(settings, key)) return 1;
    snprintf(path, sizeof path, "%s/rust-toolchain", directory);
    if (slurp(path, text)) return choose(text, "channel") || sscanf(text, "%4000s", chosen) == 1;
    snprintf(path, sizeof path, "%s/rust-toolchain.toml", directory);
    return slurp(path, text) && (choose(text, "channel") || choose(text, "path"));
}

int main(int count, char **arguments) {
    char path[8192], *home = getenv("RUSTUP_HOME"), *named = getenv("RUSTUP_TOOLCHAIN");
    snprintf(path, sizeof path, "%s/settings.toml", home);
    slurp(path, settings);
    if (count > 1 && arguments[1][0] == '+') {
        strcpy(chosen, *++arguments + 1);
    } else if (named) {
        strcpy(chosen, named);
    } else {
        char *directory = getcwd(NULL, 0), *end;
        while (!choose_for(directory) && (end = strrchr(directory, '/'))) *end = 0;
        if (!*chosen) choose(settings, "default_toolchain");
    }
    if (*chosen == '/') snprintf(path, sizeof path, "%s/bin/rustc", chosen);
    else snprintf(path, sizeof path, "%s/toolchains/%s/bin/rustc", home, chosen);
    arguments[0] = path;
    execv(path, arguments);
    perror(path);
    return 1;
}
"#;

const SOURCE: &str =
    "#[cfg(two)] pub static A: &str = \"two\";\n#[cfg(not(two))] pub static A: &str = \"one\";\n";

/// rustup's settings with this default and these lines of overrides.
fn settings(default: &str, overrides: &str) -> String {
    format!(
        "version = \"12\"\nprofile = \"default\"\nauto_self_update = \"disable\"\ndefault_toolchain = \"{default}\"\n\n[overrides]\n{overrides}"
    )
}

fn write_settings(scene: &Scene, default: &str, overrides: &str) {
    std::fs::write(home(scene).join("settings.toml"), settings(default, overrides)).unwrap();
}

fn home(scene: &Scene) -> std::path::PathBuf {
    scene.cache.root().join("rustup")
}

/// A crate in `p/q` of a project, compiled by a proxy `bin/rustc`.
fn scene(rustup: Option<&std::path::Path>) -> Option<Scene> {
    let mut scene = Scene::new("", LIB)?;
    let sysroot = toolchain()?.parent()?.to_owned();
    scene.project.write("p/q/a.rs", SOURCE);
    scene.directory = "p/q".into();
    scene.project.mkdir("bin");
    if let Some(rustup) = rustup {
        scene.project.symlink(rustup.to_str()?, "bin/rustc");
    } else {
        scene.project.write("rustup.c", PROXY);
        let line = "gcc rustup.c -o bin/rustup && ln -s rustup bin/rustc && rm rustup.c";
        scene.project.shell(&scene.cache, line);
    }
    let toolchains = home(&scene).join("toolchains");
    std::fs::create_dir_all(&toolchains).unwrap();
    std::os::unix::fs::symlink(sysroot, toolchains.join("one")).unwrap();
    let second = format!("#!/bin/sh\nexec {} --cfg two \"$@\"\n", scene.tool);
    scene.project.write_program("two/bin/rustc", &second);
    std::os::unix::fs::symlink(scene.project.at("two"), toolchains.join("two")).unwrap();
    write_settings(&scene, "one", "");
    scene.project.at("bin/rustc").to_str()?.clone_into(&mut scene.tool);
    let (home, path) = (home(&scene), format!("{}/bin", scene.project.path().display()));
    scene.cache.set("RUSTUP_HOME", home);
    scene.cache.set("CARGO_HOME", path);
    Some(scene)
}

/// The case with each proxy.
#[track_caller]
fn chooses(prepare: impl Fn(&mut Scene), change: impl Fn(&mut Scene), back: impl Fn(&mut Scene)) {
    let real = tools::find("rustup").and_then(|path| path.canonicalize().ok());
    if real.is_none() {
        skip("rustup is not here; a small program stands in for it");
    }
    for rustup in [None, real.as_deref()].into_iter().take(1 + usize::from(real.is_some())) {
        let Some(mut scene) = scene(rustup) else { return };
        prepare(&mut scene);
        // What rustup makes at its first run is there then.
        let args: Vec<&str> = scene.args.iter().map(String::as_str).collect();
        let line = format!("cd p/q && {} {} && rm *.rlib", scene.tool, args.join(" "));
        scene.project.shell(&scene.cache, &line);
        scene.matters(&change, &back);
    }
}

macro_rules! choices {
    ($($name:ident: $prepare:expr, $change:expr, $back:expr;)*) => {$(
        #[test]
        fn $name() {
            chooses($prepare, $change, $back);
        }
    )*};
}

fn file(scene: &Scene, name: &str, toolchain: &str) {
    scene.project.write(name, format!("[toolchain]\nchannel = \"{toolchain}\"\n"));
}

fn link(scene: &Scene, name: &str, target: &str) {
    let link = home(scene).join("toolchains").join(name);
    std::fs::remove_file(&link).unwrap();
    std::os::unix::fs::symlink(target, link).unwrap();
}

fn override_of(scene: &Scene, directory: &str) -> String {
    format!("\"{}\" = \"two\"\n", scene.project.at(directory).canonicalize().unwrap().display())
}

choices! {
    plus_and_a_name: |s| s.args.insert(0, "+one".into()),
        |s| s.args[0] = "+two".into(), |s| s.args[0] = "+one".into();
    a_variable: |s| s.set("RUSTUP_TOOLCHAIN", Some("one")),
        |s| s.set("RUSTUP_TOOLCHAIN", Some("two")), |s| s.set("RUSTUP_TOOLCHAIN", Some("one"));
    a_variable_that_appears: |s| file(s, "rust-toolchain.toml", "one"),
        |s| s.set("RUSTUP_TOOLCHAIN", Some("two")), |s| s.set("RUSTUP_TOOLCHAIN", None);
    a_file_appears_in_a_directory_above: |_| {},
        |s| file(s, "rust-toolchain.toml", "two"), |s| s.project.remove("rust-toolchain.toml");
    a_file_is_changed_unnoticed: |s| file(s, "p/rust-toolchain.toml", "one"),
        |s| s.project.write_unnoticed("p/rust-toolchain.toml", "[toolchain]\nchannel = \"two\"\n"),
        |s| s.project.write_unnoticed("p/rust-toolchain.toml", "[toolchain]\nchannel = \"one\"\n");
    a_file_appears_nearer: |s| file(s, "rust-toolchain.toml", "one"),
        |s| file(s, "p/q/rust-toolchain.toml", "two"), |s| s.project.remove("p/q/rust-toolchain.toml");
    a_file_of_the_old_form_appears_beside: |s| file(s, "p/rust-toolchain.toml", "one"),
        |s| s.project.write("p/rust-toolchain", "two\n"), |s| s.project.remove("p/rust-toolchain");
    a_file_names_a_path: |s| file(s, "rust-toolchain.toml", "one"),
        |s| s.project.write("rust-toolchain.toml", format!("[toolchain]\npath = \"{}\"\n", s.project.at("two").display())),
        |s| file(s, "rust-toolchain.toml", "one");
    an_override_appears: |_| {},
        |s| write_settings(s, "one", &override_of(s, "p/q")), |s| write_settings(s, "one", "");
    an_override_of_a_directory_above: |_| {},
        |s| write_settings(s, "one", &override_of(s, "")), |s| write_settings(s, "one", "");
    another_default: |_| {},
        |s| write_settings(s, "two", ""), |s| write_settings(s, "one", "");
    a_toolchain_is_linked_elsewhere: |_| {},
        |s| link(s, "one", s.project.at("two").to_str().unwrap()),
        |s| link(s, "one", toolchain().unwrap().parent().unwrap().to_str().unwrap());
    another_home: |s| { std::fs::create_dir_all(s.cache.root().join("other/toolchains")).unwrap(); std::fs::write(s.cache.root().join("other/settings.toml"), settings("two", "")).unwrap(); std::os::unix::fs::symlink(s.project.at("two"), s.cache.root().join("other/toolchains/two")).unwrap(); },
        |s| { let home = s.cache.root().join("other"); s.cache.set("RUSTUP_HOME", home); },
        |s| { let home = home(s); s.cache.set("RUSTUP_HOME", home); };
}
