//! Wrong hits of rustc hunted further: what macros ask, what linkers find, and what stands where an output goes.
//!
//! The scenes are those of `rustc.rs`; each result is compared with the bare rustc's.

use crate::cache::Outcome;
use crate::rustc::{LIB, SHOWS_MACRO, Scene, changes};
use crate::tools;

/// A binary that is linked by what `PATH` in the project finds first.
fn linked(args: &str) -> Option<Scene> {
    let mut scene = Scene::new("fn main() {}\n", args)?;
    scene.project.mkdir("bin");
    let path = std::env::var("PATH").unwrap();
    let path = format!("{}:{path}", scene.project.at("bin").display());
    scene.set("PATH", Some(&path));
    Some(scene)
}

/// A linker that adds something to what it links.
fn write_linker(scene: &Scene, name: &str, mark: &str) {
    scene.project.write_program(
        name,
        &format!("#!/bin/sh\nexec /usr/bin/cc \"$@\" -Wl,--defsym={mark}=1\n"),
    );
}

changes! {
    made_source_of_equal_size_and_time: Scene::new("include!(concat!(env!(\"OUT_DIR\"), \"/made.rs\"));\n", LIB)
            .map(|mut s| { s.project.write("out/made.rs", "pub static A: u8 = 1;\n"); s.set("OUT_DIR", Some("out")); s }),
        |s| s.project.write_unnoticed("out/made.rs", "pub static A: u8 = 2;\n"), |s| s.project.write_unnoticed("out/made.rs", "pub static A: u8 = 1;\n");
    macro_asks_where_a_link_leads: Scene::with_macro("std::fs::read_link(\"l\").unwrap().display().to_string()", SHOWS_MACRO).inspect(|s| s.project.symlink("one", "l")),
        |s| s.project.symlink("two", "l"), |s| s.project.symlink("one", "l");
    macro_runs_a_shell_that_shows_a_variable: Scene::with_macro("String::from_utf8(std::process::Command::new(\"sh\").args([\"-c\", \"echo $A\"]).output().unwrap().stdout).unwrap()", SHOWS_MACRO),
        |s| s.set("A", Some("one")), |s| s.set("A", None);
    macro_runs_a_program_that_lists: Scene::with_macro("String::from_utf8(std::process::Command::new(\"ls\").arg(\"d\").output().unwrap().stdout).unwrap()", SHOWS_MACRO).inspect(|s| s.project.write("d/1", "")),
        |s| s.project.write("d/2", ""), |s| s.project.remove("d/2");
    macro_reads_a_file_of_the_manifests_directory: Scene::with_macro("std::fs::read_to_string(std::path::Path::new(&std::env::var(\"CARGO_MANIFEST_DIR\").unwrap()).join(\"t.txt\")).unwrap()", SHOWS_MACRO)
            .map(|mut s| { s.project.write("one/t.txt", "one"); s.project.write("two/t.txt", "two"); s.project.symlink("one", "here"); s.set("CARGO_MANIFEST_DIR", Some("here")); s }),
        |s| s.project.symlink("two", "here"), |s| s.project.symlink("one", "here");
    macro_lists_where_native_libraries_are: lists_what_rustc_lists("native=d"),
        |s| s.project.write("d/2", ""), |s| s.project.remove("d/2");
    macro_lists_where_crates_are: lists_what_rustc_lists("dependency=d"),
        |s| s.project.write("d/2", ""), |s| s.project.remove("d/2");
    linker_that_appears_on_the_path: linked(""),
        |s| write_linker(s, "bin/cc", "marked"), |s| s.project.remove("bin/cc");
    linker_script_that_is_replaced: linked("-C linker=./linker").inspect(|s| write_linker(s, "linker", "one")),
        |s| write_linker(s, "linker", "two"), |s| write_linker(s, "linker", "one");
    linker_that_appears_where_the_driver_looks: linked("-C link-arg=-Bbin -C linker-features=-lld -Z unstable-options").map(|mut s| { s.set("RUSTC_BOOTSTRAP", Some("1")); s }),
        |s| s.project.write_program("bin/ld", "#!/bin/sh\nexec /usr/bin/ld \"$@\" --defsym=marked=1\n"), |s| s.project.remove("bin/ld");
    shared_library_beside_a_static_one: Scene::new("#[link(name = \"f\")] extern \"C\" { fn f() -> i32; }\nfn main() { unsafe { f(); } }\n", "-L native=.")
            .inspect(|s| { s.project.shell(&s.cache, "echo 'int f(void) { return 1; }' > f.c; gcc -c f.c -o f.o; ar rc libf.a f.o"); }),
        |s| { s.project.shell(&s.cache, "gcc -shared -fPIC f.c -o libf.so"); }, |s| s.project.remove("libf.so");
    linker_input_that_names_another: Scene::new("extern \"C\" { fn f() -> i32; }\nfn main() { unsafe { f(); } }\n", "-C link-arg=f.ld")
            .inspect(|s| { s.project.shell(&s.cache, "echo 'int f(void) { return 1; }' | gcc -xc -c - -o one.o; echo 'int f(void) { return 2; }' | gcc -xc -c - -o two.o; cp one.o f.o; echo 'INPUT(f.o)' > f.ld"); }),
        |s| { s.project.shell(&s.cache, "cp two.o f.o"); }, |s| { s.project.shell(&s.cache, "cp one.o f.o"); };
    messages_of_rustcs_own_log: Scene::new("pub fn f() {}\n", LIB),
        |s| s.set("RUSTC_LOG", Some("rustc_metadata::creader=info")), |s| s.set("RUSTC_LOG", None);
    extern_crate_replaced: Scene::new("pub fn a() -> u8 { b::b() }\n", "--crate-type lib --extern b=libb.rlib")
            .inspect(|s| { s.project.shell(&s.cache, &format!("echo '#[inline] pub fn b() -> u8 {{ 1 }}' > b.rs; {0} --crate-type lib b.rs -o one.rlib; sed -i s/1/2/ b.rs; {0} --crate-type lib b.rs -o two.rlib; cp one.rlib libb.rlib", s.tool)); }),
        |s| { s.project.shell(&s.cache, "cp two.rlib libb.rlib"); }, |s| { s.project.shell(&s.cache, "cp one.rlib libb.rlib"); };
    profile_that_is_used: Scene::new("#[no_mangle] pub fn f(a: u8) -> u8 { if a > 7 { a * 3 } else { 1 } }\n", "--crate-type lib -O -C profile-use=p.profdata").filter(have_profiles),
        |s| { s.project.shell(&s.cache, "cp two.profdata p.profdata"); }, |s| { s.project.shell(&s.cache, "cp one.profdata p.profdata"); };
}

/// With a macro that shows the names in `d`, where rustc looks for something too.
fn lists_what_rustc_lists(kind: &str) -> Option<Scene> {
    let mut scene = Scene::with_macro(
        "let mut names: Vec<_> = std::fs::read_dir(\"d\").unwrap().map(|e| e.unwrap().file_name()).collect(); names.sort(); format!(\"{names:?}\")",
        SHOWS_MACRO,
    )?;
    scene.project.write("d/1", "");
    // rustc lists it once, however often the same is said.
    scene.args.splice(..0, ["-L", kind, "-L", kind].map(str::to_owned));
    Some(scene)
}

/// Sets an attribute of a file.
fn set_attribute(scene: &Scene, value: &str) {
    let flags = rustix::fs::XattrFlags::empty();
    let file = scene.project.at("t.txt");
    rustix::fs::setxattr(file, "user.ibid", value.as_bytes(), flags).unwrap();
}

/// Whether the file system of the tests has attributes of users.
fn has_attributes(scene: &Scene) -> bool {
    let flags = rustix::fs::XattrFlags::empty();
    scene.project.write("t.txt", "");
    let is_set = rustix::fs::setxattr(scene.project.at("t.txt"), "user.ibid", b"one", flags);
    if is_set.is_err() {
        tools::skip("no attributes of users here");
    }
    is_set.is_ok()
}

/// Whether profiles of two different runs could be made.
fn have_profiles(scene: &Scene) -> bool {
    let merge = ["llvm-profdata", "llvm-profdata-19", "llvm-profdata-16", "llvm-profdata-14"];
    let merge = merge.into_iter().find(|name| tools::find(name).is_some());
    let Some(merge) = merge.or_else(|| tools::have("llvm-profdata").then_some("")) else {
        return false;
    };
    for (name, count) in [("one", 3), ("two", 90_000)] {
        let text =
            format!(":ir\nf\n# Func Hash:\n1\n# Num Counters:\n2\n# Counter Values:\n{count}\n1\n");
        scene.project.write(&format!("{name}.text"), text);
        scene.project.shell(&scene.cache, &format!("{merge} merge {name}.text -o {name}.profdata"));
    }
    scene.project.shell(&scene.cache, "cp one.profdata p.profdata");
    true
}

#[test]
fn a_macro_that_asks_for_a_size_or_a_time() {
    for (asked, change) in [
        ("len()", "echo longer > t.txt"),
        ("modified().unwrap()", "touch -d '2001-02-03 04:05:06' t.txt"),
    ] {
        let body = format!("format!(\"{{:?}}\", std::fs::metadata(\"t.txt\").unwrap().{asked})");
        let Some(scene) = Scene::with_macro(&body, SHOWS_MACRO) else { return };
        scene.project.write("t.txt", "");
        let first = scene.call().check().expect(&Outcome::Miss);
        scene.call().check().expect_hit();
        scene.project.shell(&scene.cache, change);
        assert!(!scene.call().check().expect_miss().same_result(&first));
        scene.call().check().expect_hit();
    }
}

const SHOWS_TIME: &[&str] = &[
    "let time = std::fs::metadata(\"t.txt\").unwrap().modified(); format!(\"{} {time:?}\", std::fs::read_to_string(\"t.txt\").unwrap())",
    "let text = std::fs::read_to_string(\"t.txt\").unwrap(); format!(\"{text} {:?}\", std::fs::symlink_metadata(\"t.txt\").unwrap().modified())",
    "format!(\"{:?}\", std::fs::File::open(\"t.txt\").unwrap().metadata().unwrap().modified())",
    "use std::io::Read; let mut file = std::fs::File::open(\"t.txt\").unwrap(); let time = file.metadata().unwrap().modified(); let mut text = String::new(); file.read_to_string(&mut text).unwrap(); format!(\"{text} {time:?}\")",
    "use std::io::BufRead; let file = std::fs::File::open(\"t.txt\").unwrap(); let time = file.metadata().unwrap().modified(); format!(\"{} {time:?}\", std::io::BufReader::new(file).lines().count())",
    "let file = std::fs::File::open(\"t.txt\").unwrap(); let time = file.metadata().unwrap().modified(); drop(file); format!(\"{} {time:?}\", std::fs::read_to_string(\"t.txt\").unwrap())",
    "let each = |e: std::fs::DirEntry| format!(\"{:?} {:?}\", std::fs::read(e.path()), e.metadata().unwrap().modified()); std::fs::read_dir(\"d\").unwrap().flatten().map(each).collect()",
    "std::thread::spawn(|| format!(\"{} {:?}\", std::fs::read_to_string(\"t.txt\").unwrap(), std::fs::metadata(\"t.txt\").unwrap().modified())).join().unwrap()",
    // What `stat` was asked.
    "let date = std::process::Command::new(\"stat\").args([\"-c\", \"%.9Y\", \"t.txt\"]).output().unwrap(); format!(\"{} {}\", std::fs::read_to_string(\"t.txt\").unwrap(), String::from_utf8(date.stdout).unwrap())",
    // The source, which rustc reads.
    "format!(\"{:?}\", std::fs::metadata(\"a.rs\").unwrap().modified())",
];

/// A new time of all that these macros read, and the same content.
fn touch_all(scene: &Scene) {
    for name in ["a.rs", "t.txt", "empty", "d/t.txt"] {
        scene.project.touch(name);
    }
}

fn with_files(scene: Scene) -> Scene {
    scene.project.write("t.txt", "one\n");
    scene.project.write("empty", "");
    scene.project.write("d/t.txt", "two\n");
    scene
}

#[test]
fn a_macro_that_shows_the_time_of_what_it_reads() {
    for body in SHOWS_TIME {
        let Some(scene) = Scene::with_macro(body, SHOWS_MACRO).map(with_files) else { return };
        let mut last = scene.call().check().expect(&Outcome::Miss);
        // The first was watched by both observers, the second by the shim alone.
        for _ in 0..2 {
            scene.call().check().expect_hit();
            touch_all(&scene);
            let now = scene.call().check();
            assert!(now.outcome.is_miss() && !now.same_result(&last), "{body}: {now:?}");
            last = now;
        }
    }
}

#[test]
fn a_macro_that_only_reads_is_served_after_a_touch() {
    for body in [
        "std::fs::read_to_string(\"t.txt\").unwrap()",
        "format!(\"{:?}{:?}\", std::fs::read(\"t.txt\"), std::fs::read(\"empty\"))",
        "use std::io::Read; let mut text = String::new(); std::fs::File::open(\"t.txt\").unwrap().read_to_string(&mut text).unwrap(); text",
        "use std::io::BufRead; std::io::BufReader::new(std::fs::File::open(\"t.txt\").unwrap()).lines().flatten().collect()",
        "std::fs::read_dir(\"d\").unwrap().flatten().map(|e| std::fs::read_to_string(e.path()).unwrap()).collect()",
    ] {
        let Some(scene) = Scene::with_macro(body, SHOWS_MACRO).map(with_files) else { return };
        scene.call().check().expect(&Outcome::Miss);
        touch_all(&scene);
        scene.call().check().expect(&Outcome::PortableHit);
        scene.call().check().expect(&Outcome::InvocationHit);
    }
}

/// As cargo does it in a target directory that was removed. rustc asks about the `.rlib` beside each `.rmeta`, and about both
/// of a crate behind a crate.
#[test]
fn libraries_that_are_made_anew_beside_a_macro() {
    let source = "pub use low::low; pub static A: &str = m::it!();\n";
    let Some(mut scene) = Scene::with_macro("String::new()", source) else { return };
    scene.project.write("deep.rs", "pub fn deep() {}\n");
    scene.project.write("low.rs", "pub fn low() { deep::deep() }\n");
    let rustc = format!(
        "{} --edition 2021 --crate-type lib --emit=metadata,link --out-dir deps -L dependency=deps",
        scene.tool
    );
    let line = format!("{rustc} deep.rs && {rustc} low.rs --extern deep=deps/libdeep.rmeta");
    scene.project.shell(&scene.cache, &line);
    let more = "--emit=metadata -L dependency=deps --extern low=deps/liblow.rmeta";
    scene.args.extend(more.split(' ').map(Into::into));
    scene.call().check().expect(&Outcome::Miss);
    scene.project.shell(&scene.cache, "cp -r deps new && rm -r deps && mv new deps");
    scene.call().check().expect(&Outcome::PortableHit);
}

#[test]
fn what_stands_where_an_output_goes() {
    for prepare in [
        "mkdir liba.rlib",
        "echo old > liba.rlib; chmod a-w liba.rlib",
        "echo old > other; ln -s other liba.rlib",
        "ln -s nowhere liba.rlib",
        "echo old > other; ln other liba.rlib",
        "mkdir a.d",
        "echo old > other; ln -s other a.d",
        "echo old > other; ln other a.d",
        "echo old > a.d; chmod a-w a.d",
    ] {
        let Some(scene) = Scene::new("pub fn f() {}\n", "--crate-type lib --emit=link,dep-info")
        else {
            return;
        };
        scene.call().check().expect(&Outcome::Miss);
        scene.project.shell(&scene.cache, &format!("rm -f liba.rlib a.d; {prepare}"));
        scene.call().check();
        scene.call().check();
    }
}

#[test]
fn the_same_crate_in_two_directories() {
    for args in ["-C debuginfo=2", "--remap-path-prefix=./=x -C debuginfo=2", "--crate-type lib"] {
        let Some(mut scene) =
            Scene::new("pub static F: &str = file!();\nfn main() { panic!() }\n", args)
        else {
            return;
        };
        scene.project.shell(&scene.cache, "mkdir one two; cp a.rs one; cp a.rs two");
        for _ in 0..2 {
            for directory in ["one", "two"] {
                scene.call().cwd(directory).check();
            }
        }
        *scene.args.last_mut().unwrap() = "one/a.rs".into();
        scene.call().check().expect(&Outcome::Miss);
        *scene.args.last_mut().unwrap() = "two/a.rs".into();
        scene.call().check().expect(&Outcome::Miss);
    }
}

#[test]
fn outputs_beside_the_output() {
    let main = "fn main() { println!(\"x\"); }\n";
    for args in [
        "-C codegen-units=2",
        "-C split-debuginfo=packed -C debuginfo=2",
        "-C split-debuginfo=unpacked -C debuginfo=2",
        "-C prefer-dynamic",
        "--crate-type staticlib --print native-static-libs",
        "-C profile-generate",
        "-C instrument-coverage",
        "-C remark=all -C debuginfo=1 -O",
    ] {
        let Some(scene) = Scene::new(main, args) else { return };
        for _ in 0..2 {
            scene.call().check();
        }
    }
}

#[test]
fn two_crates_share_an_incremental_directory() {
    let Some(mut scene) =
        Scene::new("pub fn f() -> u8 { 1 }\n", "--crate-type lib --emit=metadata")
    else {
        return;
    };
    let kept = scene.cache.root().join("incremental");
    scene.args.extend(["-C".into(), format!("incremental={}", kept.display())]);
    scene.project.write("b.rs", "pub fn f() -> u8 { 2 }\n");
    // rustc keeps second names of its outputs there, so their numbers of links differ from a bare run's.
    for turn in 0..2 {
        for (source, other) in [("a.rs", "b"), ("b.rs", "a")] {
            let is_source = |arg: &String| ["a.rs", "b.rs"].contains(&arg.as_str());
            let at = scene.args.iter().position(is_source).unwrap();
            scene.args[at] = source.into();
            let counted = scene.cache.count(|| {
                let mut command = scene.cache.ibid(std::iter::once(&scene.tool).chain(&scene.args));
                assert!(command.current_dir(scene.project.path()).status().unwrap().success());
            });
            assert_eq!(counted.outcome().is_hit(), turn == 1, "{source} {counted:?}");
            assert!(!scene.project.at(format!("lib{other}.rmeta")).exists());
            scene.project.shell(&scene.cache, "rm lib*.rmeta");
        }
    }
}

const SHOWS_ATTRIBUTE: &str = "extern \"C\" { fn getxattr(path: *const i8, name: *const i8, out: *mut u8, len: usize) -> isize; } \
    let mut value = [0; 9]; unsafe { getxattr(c\"t.txt\".as_ptr(), c\"user.ibid\".as_ptr(), value.as_mut_ptr(), 9) }; format!(\"{value:?}\")";

#[test]
fn a_macro_that_shows_an_attribute() {
    let Some(scene) = Scene::with_macro(SHOWS_ATTRIBUTE, SHOWS_MACRO) else { return };
    if !has_attributes(&scene) {
        return;
    }
    let first = scene.call().check().expect(&Outcome::Miss);
    scene.call().check().expect_hit();
    set_attribute(&scene, "two");
    assert!(!scene.call().check().expect_miss().same_result(&first));
    scene.call().check().expect_hit();
}

#[test]
fn a_macro_that_makes_what_it_does_not_find() {
    for body in [
        "std::fs::read_to_string(\"n\").unwrap_or_else(|_| { std::fs::write(\"n\", \"made\").unwrap(); \"made\".to_owned() })",
        "if !std::path::Path::new(\"n\").exists() { std::fs::write(\"n\", \"made\").unwrap(); } std::fs::read_to_string(\"n\").unwrap()",
    ] {
        let Some(scene) = Scene::with_macro(body, SHOWS_MACRO) else { return };
        let first = scene.call().check().expect(&Outcome::Miss);
        scene.project.remove("n");
        assert!(scene.call().check().expect_hit().same_result(&first));
        scene.project.write("n", "mine");
        assert!(!scene.call().check().expect_miss().same_result(&first));
        assert_eq!(scene.project.read("n"), b"mine");
        scene.project.remove("n");
        assert!(scene.call().check().expect_hit().same_result(&first));
    }
}

#[test]
fn a_macro_that_lists_the_processes() {
    let body = "(std::fs::read_dir(\"/proc\").unwrap().count() > 0).to_string()";
    if let Some(scene) = Scene::with_macro(body, SHOWS_MACRO) {
        scene.stays_unstored("unrepeatable_input");
    }
}

/// A macro that runs what `RUN` names, and then does this.
fn runs_and_then(body: &str) -> Option<Scene> {
    let run = "if let Ok(program) = std::env::var(\"RUN\") { std::process::Command::new(program).status().unwrap(); }";
    let scene = Scene::with_macro(&format!("{run} {body}"), SHOWS_MACRO)?;
    scene.project.write("t.txt", "");
    scene.project.write("s.c", "int main(void) { return 0; }\n");
    scene.project.shell(&scene.cache, "gcc -static s.c -o static");
    Some(scene)
}

#[test]
fn a_macro_after_one_that_ran_a_static_program() {
    let shows_time = "format!(\"{:?}\", std::fs::metadata(\"t.txt\").unwrap().modified())";
    let Some(mut scene) = runs_and_then(shows_time) else { return };
    scene.set("RUN", Some("./static"));
    // The first may teach that a program runs in which the shim cannot be.
    for _ in 0..2 {
        assert!(!scene.call().check().outcome.is_hit());
        scene.project.touch("t.txt");
    }
    scene.set("RUN", None);
    for _ in 0..2 {
        scene.call().check().expect(&Outcome::Miss);
        scene.call().check().expect_hit();
        scene.project.touch("t.txt");
    }
    let Some(mut scene) = runs_and_then("std::process::id(); String::new()") else { return };
    scene.set("RUN", Some("./static"));
    scene.stays_unstored("used_random");
}
