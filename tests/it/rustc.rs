//! rustc by itself: what it reads, in all the ways in which a crate can read something, against the bare rustc run now.
//!
//! A case: what is there, the command, what changes. The whole of a build, with cargo, is in `cargo.rs`.

use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;

use crate::cache::{Cache, Outcome};
use crate::call::{Call, StdIn};
use crate::project::Project;
use crate::tools::{have, skip};

/// Whether there is a Rust to test with, and where the toolchain's own programs are (not rustup's proxies).
pub fn toolchain() -> Option<PathBuf> {
    static SYSROOT: OnceLock<Option<PathBuf>> = OnceLock::new();
    if !have("rustc") {
        return None;
    }
    let asked = SYSROOT.get_or_init(|| {
        let said = Command::new("rustc").args(["--print", "sysroot"]).output().unwrap();
        Some(PathBuf::from(String::from_utf8(said.stdout).unwrap().trim()).join("bin"))
    });
    asked.clone()
}

/// A cache in whose environment rustup's proxies find their toolchains.
pub fn cache() -> Cache {
    let home = std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".rustup"));
    let rustup = std::env::var_os("RUSTUP_HOME").map(PathBuf::from).or(home);
    match rustup.filter(|path| path.is_dir()) {
        Some(rustup) => Cache::new().with("RUSTUP_HOME", rustup),
        None => Cache::new(),
    }
}

/// A crate that is compiled again and again.
pub struct Scene {
    pub cache: Cache,
    pub project: Project,
    pub tool: String,
    pub args: Vec<String>,
    /// Where it is called, below the project.
    pub directory: String,
    environment: Vec<(String, Option<String>)>,
}

impl Scene {
    pub fn new(source: &str, args: &str) -> Option<Scene> {
        let tool = toolchain()?.join("rustc").to_str().unwrap().to_owned();
        let project = Project::with(&[("a.rs", source)]);
        let args = format!("--edition 2021 {args} a.rs");
        let args = args.split_whitespace().map(str::to_owned).collect();
        let (directory, environment) = Default::default();
        Some(Scene { cache: cache(), project, tool, args, directory, environment })
    }

    /// One with a proc macro crate, `m`, whose macro `m::it!` is this function's body; it gives text.
    pub fn with_macro(body: &str, source: &str) -> Option<Scene> {
        let scene = Scene::new(source, "--crate-type lib --extern m=libm.so")?;
        let source = format!(
            "extern crate proc_macro; use proc_macro::TokenStream;\n\
             #[proc_macro] pub fn it(_: TokenStream) -> TokenStream {{ \
             let text: String = {{ {body} }}; format!(\"{{:?}}\", text).parse().unwrap() }}\n"
        );
        scene.project.write("m.rs", source);
        let line = format!("{} --edition 2021 --crate-type proc-macro m.rs", scene.tool);
        scene.project.shell(&scene.cache, &line);
        Some(scene)
    }

    pub fn set(&mut self, name: &str, value: Option<&str>) {
        self.environment.retain(|(known, _)| known != name);
        self.environment.push((name.into(), value.map(Into::into)));
    }

    pub fn call(&self) -> Call<'_> {
        let argv = std::iter::once(&self.tool).chain(&self.args);
        let call = Call::new(&self.cache, self.project.path(), argv);
        call.cwd(&self.directory).env_all(&self.environment)
    }

    /// A miss that is stored, then a hit; after `change` a result of another content, and after `back` the first is a hit again.
    #[track_caller]
    pub fn matters(mut self, change: impl Fn(&mut Scene), back: impl Fn(&mut Scene)) {
        let first = self.call().check().expect(&Outcome::Miss);
        self.call().check().expect_hit();
        change(&mut self);
        let second = self.call().check();
        assert!(!second.outcome.is_hit() && !second.same_result(&first), "{:?}", second.outcome);
        back(&mut self);
        assert!(self.call().check().expect_hit().same_result(&first));
    }

    /// After `change` it is still a hit.
    #[track_caller]
    pub fn does_not_matter(mut self, change: impl Fn(&mut Scene)) {
        self.call().check().expect(&Outcome::Miss);
        change(&mut self);
        self.call().check().expect_hit();
    }

    /// The result is never stored, for this reason.
    #[track_caller]
    pub fn stays_unstored(self, reason: &str) {
        for _ in 0..2 {
            self.call().check().expect(&Outcome::NotStored(reason.into()));
        }
    }
}

pub const LIB: &str = "--crate-type lib";
pub const SHOWS_MACRO: &str = "pub static A: &str = m::it!();\n";

macro_rules! changes {
    ($($name:ident: $scene:expr, $change:expr, $back:expr;)*) => {$(
        #[test]
        fn $name() {
            if let Some(scene) = $scene {
                scene.matters($change, $back);
            }
        }
    )*};
}

pub(crate) use changes;

changes! {
    source: Scene::new("pub static A: u8 = 1;\n", LIB),
        |s| s.project.write("a.rs", "pub static A: u8 = 2;\n"), |s| s.project.write("a.rs", "pub static A: u8 = 1;\n");
    module_file: Scene::new("mod b; pub static A: u8 = b::B;\n", LIB).inspect(|s| s.project.write("b.rs", "pub const B: u8 = 1;\n")),
        |s| s.project.write("b.rs", "pub const B: u8 = 2;\n"), |s| s.project.write("b.rs", "pub const B: u8 = 1;\n");
    module_directory_appears: Scene::new("mod b; pub static A: u8 = b::B;\n", LIB).inspect(|s| s.project.write("b.rs", "pub const B: u8 = 1;\n")),
        |s| s.project.write("b/mod.rs", ""), |s| s.project.remove("b");
    included_text: Scene::new("pub static A: &str = include_str!(\"t.txt\");\n", LIB).inspect(|s| s.project.write("t.txt", "one")),
        |s| s.project.write("t.txt", "two"), |s| s.project.write("t.txt", "one");
    included_from_a_directory_that_a_variable_names: Scene::new("include!(concat!(env!(\"OUT_DIR\"), \"/made.rs\"));\n", LIB)
            .map(|mut s| { s.project.write("out/made.rs", "pub static A: u8 = 1;\n"); s.project.write("other/made.rs", "pub static A: u8 = 2;\n"); s.set("OUT_DIR", Some("out")); s }),
        |s| s.set("OUT_DIR", Some("other")), |s| s.set("OUT_DIR", Some("out"));
    env_of_a_variable: Scene::new("pub static A: &str = env!(\"A\");\n", LIB).map(|mut s| { s.set("A", Some("one")); s }),
        |s| s.set("A", Some("two")), |s| s.set("A", Some("one"));
    env_of_path: Scene::new("pub static A: &str = env!(\"PATH\");\n", LIB).map(|mut s| { s.set("PATH", Some("/usr/bin:/bin")); s }),
        |s| s.set("PATH", Some("/nowhere:/usr/bin:/bin")), |s| s.set("PATH", Some("/usr/bin:/bin"));
    env_of_a_pwd_elsewhere: Scene::new("pub static A: &str = env!(\"PWD\");\n", LIB).map(|mut s| { s.set("PWD", Some("/usr")); s }),
        |s| s.set("PWD", Some("/")), |s| s.set("PWD", Some("/usr"));
    option_env_of_path: Scene::new("pub static A: Option<&str> = option_env!(\"PATH\");\n", LIB).map(|mut s| { s.set("PATH", Some("/usr/bin:/bin")); s }),
        |s| s.set("PATH", Some("/bin")), |s| s.set("PATH", Some("/usr/bin:/bin"));
    option_env_of_an_unset_variable: Scene::new("pub static A: Option<&str> = option_env!(\"A\");\n", LIB),
        |s| s.set("A", Some("")), |s| s.set("A", None);
    macro_reads_a_file: Scene::with_macro("std::fs::read_to_string(\"t.txt\").unwrap()", SHOWS_MACRO).inspect(|s| s.project.write("t.txt", "one")),
        |s| s.project.write("t.txt", "two"), |s| s.project.write("t.txt", "one");
    macro_looks_in_vain: Scene::with_macro("std::path::Path::new(\"t.txt\").exists().to_string()", SHOWS_MACRO),
        |s| s.project.write("t.txt", ""), |s| s.project.remove("t.txt");
    macro_lists_a_directory: Scene::with_macro("std::fs::read_dir(\"d\").unwrap().count().to_string()", SHOWS_MACRO).inspect(|s| s.project.write("d/1", "")),
        |s| s.project.write("d/2", ""), |s| s.project.remove("d/2");
    macro_reads_a_variable: Scene::with_macro("std::env::var(\"A\").unwrap_or_default()", SHOWS_MACRO),
        |s| s.set("A", Some("one")), |s| s.set("A", None);
    macro_walks_the_environment: Scene::with_macro("std::env::vars().find(|(n, _)| n.ends_with(\"_Q\")).map_or(String::new(), |(_, v)| v)", SHOWS_MACRO),
        |s| s.set("A_Q", Some("one")), |s| s.set("A_Q", None);
    macro_runs_a_program: Scene::with_macro("String::from_utf8(std::process::Command::new(\"cat\").arg(\"t.txt\").output().unwrap().stdout).unwrap()", SHOWS_MACRO).inspect(|s| s.project.write("t.txt", "one")),
        |s| s.project.write("t.txt", "two"), |s| s.project.write("t.txt", "one");
    macro_itself: Scene::with_macro("\"one\".to_owned()", SHOWS_MACRO)
            .inspect(|s| { let line = format!("cp libm.so one.so; sed 's/one/two/' m.rs > n.rs; {} --edition 2021 --crate-type proc-macro --crate-name m n.rs -o two.so", s.tool); s.project.shell(&s.cache, &line); }),
        |s| { s.project.shell(&s.cache, "cp two.so libm.so"); }, |s| { s.project.shell(&s.cache, "cp one.so libm.so"); };
    variable_that_shapes_messages: Scene::new("pub static A: Option<&str> = option_env!(\"TERM\");\n", LIB),
        |s| s.set("TERM", Some("one")), |s| s.set("TERM", None);
    directory_for_temporary_files: Scene::new("pub static A: Option<&str> = option_env!(\"TMPDIR\");\n", LIB),
        |s| s.set("TMPDIR", Some("/var/tmp")), |s| s.set("TMPDIR", None);
    job_server_by_name: Scene::new("pub static A: Option<&str> = option_env!(\"MAKEFLAGS\");\n", LIB).map(|mut s| { s.set("MAKEFLAGS", Some("-k")); s }),
        |s| s.set("MAKEFLAGS", Some("-s")), |s| s.set("MAKEFLAGS", Some("-k"));
    macro_reads_the_job_server: Scene::with_macro("std::env::var(\"MAKEFLAGS\").unwrap_or_default()", SHOWS_MACRO).map(|mut s| { s.set("MAKEFLAGS", Some("-k")); s }),
        |s| s.set("MAKEFLAGS", Some("-s")), |s| s.set("MAKEFLAGS", Some("-k"));
    unstable_features_allowed: Scene::new("#![feature(never_type)]\npub static A: u8 = 1;\n", LIB).map(|mut s| { s.set("RUSTC_BOOTSTRAP", Some("1")); s }),
        |s| s.set("RUSTC_BOOTSTRAP", Some("-1")), |s| s.set("RUSTC_BOOTSTRAP", Some("1"));
    argument_file: Scene::new("pub static A: bool = cfg!(a);\n", "--crate-type lib @args").inspect(|s| s.project.write("args", "--cfg\na\n")),
        |s| s.project.write("args", "--cfg\nb\n"), |s| s.project.write("args", "--cfg\na\n");
    lint_level: Scene::new("fn unused() {}\n", "--crate-type lib -Adead_code"),
        |s| { let at = s.args.iter().position(|a| a == "-Adead_code").unwrap(); s.args[at] = "-Wdead_code".into(); },
        |s| { let at = s.args.iter().position(|a| a == "-Wdead_code").unwrap(); s.args[at] = "-Adead_code".into(); };
    capped_lints: Scene::new("#![deny(dead_code)]\nfn unused() {}\n", "--crate-type lib --cap-lints allow"),
        |s| { let at = s.args.iter().position(|a| a == "allow").unwrap(); s.args[at] = "warn".into(); },
        |s| { let at = s.args.iter().position(|a| a == "warn").unwrap(); s.args[at] = "allow".into(); };
    form_of_messages: Scene::new("fn unused() {}\n", "--crate-type lib --error-format json"),
        |s| { let at = s.args.iter().position(|a| a == "json").unwrap(); s.args[at] = "short".into(); },
        |s| { let at = s.args.iter().position(|a| a == "short").unwrap(); s.args[at] = "json".into(); };
    known_configurations: Scene::new("#[cfg(b)] pub fn f() {}\n", "--crate-type lib --check-cfg cfg(a)"),
        |s| { let at = s.args.iter().position(|a| a == "cfg(a)").unwrap(); s.args[at] = "cfg(b)".into(); },
        |s| { let at = s.args.iter().position(|a| a == "cfg(b)").unwrap(); s.args[at] = "cfg(a)".into(); };
    static_library: Scene::new("extern \"C\" { pub fn f(); }\n", "--crate-type lib -L native=. -l static=f")
            .inspect(|s| { s.project.shell(&s.cache, "echo 'int f(void) { return 1; }' | gcc -xc -c - -o f.o && ar rc libf.a f.o && cp libf.a one.a; echo 'int f(void) { return 2; }' | gcc -xc -c - -o f.o && ar rc two.a f.o"); }),
        |s| { s.project.shell(&s.cache, "cp two.a libf.a"); }, |s| { s.project.shell(&s.cache, "cp one.a libf.a"); };
    library_earlier_on_the_path: Scene::new("extern \"C\" { pub fn f(); }\n", "--crate-type lib -L native=first -L native=. -l static=f")
            .inspect(|s| { s.project.shell(&s.cache, "mkdir first; echo 'int f(void) { return 1; }' | gcc -xc -c - -o f.o && ar rc libf.a f.o; echo 'int f(void) { return 2; }' | gcc -xc -c - -o f.o && ar rc two.a f.o"); }),
        |s| { s.project.shell(&s.cache, "cp two.a first/libf.a"); }, |s| s.project.remove("first/libf.a");
    version_script: Scene::new("#[no_mangle] pub extern \"C\" fn f() {}\n", "--crate-type cdylib -C link-arg=-Wl,--version-script=v.map").inspect(|s| s.project.write("v.map", "V1 { global: f; };\n")),
        |s| s.project.write("v.map", "V2 { global: f; };\n"), |s| s.project.write("v.map", "V1 { global: f; };\n");
    crate_behind_a_crate: Scene::new("pub fn a() -> u8 { b::b() }\n", "--crate-type lib -L dependency=deps --extern b=deps/libb.rlib")
            .inspect(|s| {
                s.project.write("c.rs", "#[inline] pub fn c() -> u8 { 1 }\n");
                s.project.write("b.rs", "#[inline] pub fn b() -> u8 { c::c() }\n");
                let line = format!("mkdir deps; {0} --crate-type lib c.rs --out-dir deps; {0} --crate-type lib b.rs --extern c=deps/libc.rlib --out-dir deps; cp deps/libc.rlib c.rlib; cp deps/libc.rlib other.rlib; echo >> other.rlib", s.tool);
                s.project.shell(&s.cache, &line);
            }),
        |s| s.project.remove("deps/libc.rlib"), |s| { s.project.shell(&s.cache, "cp c.rlib deps/libc.rlib"); };
    target_as_a_file: Scene::new("", "--print cfg -Z unstable-options --target t.json")
            .map(|mut s| {
                s.set("RUSTC_BOOTSTRAP", Some("1"));
                let line = format!("RUSTC_BOOTSTRAP=1 {} --print target-spec-json -Z unstable-options > one.json; sed 's/\"env\": \"gnu\"/\"env\": \"\"/' one.json > two.json; cp one.json t.json", s.tool);
                s.project.shell(&s.cache, &line);
                s
            }),
        |s| { s.project.shell(&s.cache, "cp two.json t.json"); }, |s| { s.project.shell(&s.cache, "cp one.json t.json"); };
}

#[test]
fn what_cannot_be_repeated() {
    for (body, reason) in [
        ("let _ = std::time::SystemTime::now(); \"one\".to_owned()", "used_time"),
        ("(std::process::id() > 0).to_string()", "used_random"),
        ("std::net::TcpStream::connect((\"127.0.0.1\", 1)).is_ok().to_string()", "used_network"),
        ("std::fs::read(\"/proc/self/environ\").is_ok().to_string()", "unrepeatable_input"),
    ] {
        if let Some(scene) = Scene::with_macro(body, SHOWS_MACRO) {
            scene.stays_unstored(reason);
        }
    }
}

#[test]
fn what_does_not_matter() {
    // Not one that names descriptors: rustc warns of those that are not there.
    let quiet = "std::env::var(\"A\").unwrap_or_default()";
    let walks = "std::env::vars().count().min(1).to_string()";
    for (body, name) in [(quiet, "OTHER"), (quiet, "CARGO_MAKEFLAGS"), (walks, "CARGO_MAKEFLAGS")] {
        if let Some(scene) = Scene::with_macro(body, SHOWS_MACRO) {
            scene.does_not_matter(|s| s.set(name, Some("-j2")));
        }
    }
    let Some(scene) = Scene::new("", "--crate-type lib -L dependency=deps") else { return };
    scene.project.mkdir("deps");
    scene.does_not_matter(|s| s.project.write("deps/libother-1.rlib", ""));
}

/// `low`, which uses the macro crate `m`, below `a`, which has only `low`; in the directory is another crate of the macro's
/// name, made by `line` from `n.rs`.
fn behind_a_crate(line: &str) -> Option<Scene> {
    let args = "--crate-type lib -L dependency=deps --extern low=deps/liblow-22.rlib";
    let scene = Scene::with_macro("String::new()", "pub use low::A;\n")?;
    let extern_arg = scene.args.iter().position(|arg| arg == "m=libm.so")?;
    let mut scene = Scene { args: scene.args.clone(), ..scene };
    scene.args.splice(extern_arg - 3..=extern_arg, args.split(' ').map(Into::into));
    scene.project.write("low.rs", "pub static A: &str = m::it!();\n");
    scene.project.write("n.rs", "pub fn n() {}\n");
    let rustc = format!("{} --edition 2021 -L dependency=deps --out-dir deps", scene.tool);
    let line = format!(
        "{rustc} --crate-type proc-macro m.rs -C extra-filename=-11 && \
         {rustc} --crate-type lib low.rs --extern m=deps/libm-11.so -C extra-filename=-22 && \
         {rustc} --crate-name m n.rs -C metadata=n -C extra-filename=-33 {line}"
    );
    scene.project.shell(&scene.cache, &line);
    Some(scene)
}

#[test]
fn another_crate_of_a_macros_name_that_is_passed_over() {
    for line in ["--crate-type lib --emit=metadata", "--crate-type dylib -C prefer-dynamic"] {
        let Some(scene) = behind_a_crate(line) else { return };
        scene.call().check().expect(&Outcome::Miss);
        scene.project.shell(&scene.cache, "for f in deps/libm-33.*; do echo >> $f; done");
        scene.call().check().expect_hit();
        scene.project.shell(&scene.cache, "rm deps/libm-33.*");
        scene.call().check().expect_hit();
    }
}

#[test]
fn another_crate_of_a_macros_name_that_is_used() {
    let Some(mut scene) = behind_a_crate("--crate-type lib") else { return };
    scene.project.write("user.rs", "pub use m::n;\n");
    let line =
        "--edition 2021 --crate-type lib user.rs --extern m=deps/libm-33.rlib --out-dir deps";
    let line = format!("{} {line} && cp deps/libm-33.rlib kept", scene.tool);
    scene.project.shell(&scene.cache, &line);
    scene.project.write("a.rs", "pub use low::A;\npub use user::n;\n");
    scene.args.extend(["--extern".into(), "user=deps/libuser.rlib".into()]);
    scene.matters(
        |s| s.project.remove("deps/libm-33.rlib"),
        |s| drop(s.project.shell(&s.cache, "cp kept deps/libm-33.rlib")),
    );
}

/// What is appended to is not replaced, though rustc replaces its own outputs.
#[test]
fn a_macro_appends_to_a_file() {
    let body = "use std::io::Write; std::fs::OpenOptions::new().append(true).create(true).open(\"w\").unwrap().write_all(b\"x\").unwrap(); String::new()";
    let Some(scene) = Scene::with_macro(body, SHOWS_MACRO) else { return };
    scene.call().check().expect(&Outcome::Miss);
    for _ in 0..2 {
        assert!(!scene.call().check().outcome.is_hit());
    }
    scene.project.remove("w");
    scene.call().check().expect_hit();
}

#[test]
fn a_macro_may_read_standard_input() {
    let Some(scene) = Scene::with_macro("\"one\".to_owned()", SHOWS_MACRO) else { return };
    let text = StdIn::Pipe(b"text".to_vec());
    let unrepeatable = Outcome::NotStored("unrepeatable_input".into());
    scene.call().stdin(text.clone()).check().expect(&unrepeatable);
    scene.call().check().expect(&Outcome::Miss);
    scene.call().check().expect_hit();
    scene.call().stdin(text).check().expect(&unrepeatable);
}

#[test]
fn questions() {
    let Some(mut scene) = Scene::new("", "") else { return };
    for args in [
        "-vV",
        "- --crate-name ___ --print=file-names --crate-type bin --print=sysroot --print=cfg",
    ] {
        scene.args = args.split_whitespace().map(str::to_owned).collect();
        scene.call().check().expect(&Outcome::Miss);
        scene.call().check().expect(&Outcome::InvocationHit);
    }
}

#[test]
fn every_kind_of_output() {
    let main = "fn main() { println!(\"x\"); }\n#[no_mangle] pub extern \"C\" fn f() {}\n";
    for args in [
        "-C debuginfo=2",
        "--test",
        "--crate-type rlib -O",
        "--crate-type dylib",
        "--crate-type cdylib -C strip=symbols",
        "--crate-type staticlib",
        "--crate-type lib --emit=asm,llvm-ir,llvm-bc,mir,obj,dep-info,metadata,link",
        "--crate-type lib --emit=dep-info=x.d,metadata=y.rmeta",
        "--crate-type lib -C split-debuginfo=unpacked -C debuginfo=2",
        "--crate-type lib --error-format=json --json=artifacts,diagnostic-rendered-ansi",
    ] {
        let Some(scene) = Scene::new(main, args) else { return };
        scene.call().check().expect(&Outcome::Miss);
        // Over what is there, and where nothing is.
        scene.call().check().expect_hit();
        let fresh = scene.call();
        scene.project.shell(&scene.cache, "find . -type f ! -name a.rs -delete");
        fresh.check().expect_hit();
    }
}

#[test]
fn outputs_with_a_second_link_are_replaced() {
    for args in ["--crate-type lib --emit=dep-info,metadata,link", ""] {
        let Some(scene) = Scene::new("fn main() {}\n", args) else { return };
        let names = if args.is_empty() { &["a"][..] } else { &["liba.rlib", "liba.rmeta"] };
        scene.call().check().expect(&Outcome::Miss);
        for name in names {
            scene.project.hard_link(name, &format!("{name}.link"));
        }
        scene.call().check().expect_hit();
        for name in names {
            scene.project.chmod(name, 0o600);
        }
        scene.call().check().expect_hit();
    }
}

#[test]
fn an_incremental_directory_is_neither_input_nor_output() {
    let Some(mut scene) = Scene::new("", "--crate-type lib --emit=dep-info,metadata,link") else {
        return;
    };
    let kept = scene.cache.root().join("incremental");
    scene.args.extend(["-C".into(), format!("incremental={}", kept.display())]);
    // Not against the bare rustc: it gives what it keeps a second name, and its libraries differ from run to run then.
    let run = |scene: &Scene| {
        let counted = scene.cache.count(|| {
            let mut command = scene.cache.ibid(std::iter::once(&scene.tool).chain(&scene.args));
            assert!(command.current_dir(scene.project.path()).status().unwrap().success());
        });
        (counted.outcome(), scene.project.read("liba.rmeta"), scene.project.read("liba.rlib"))
    };
    for text in ["pub fn f() -> u8 { 2 }\n", "pub fn f() -> u8 { 3 }\n", "pub fn g() {}\n"] {
        scene.project.write("a.rs", text);
        let (outcome, metadata, library) = run(&scene);
        assert_eq!(outcome, Outcome::Miss);
        assert!(kept.read_dir().unwrap().count() > 0, "rustc keeps what it remembers");
        assert_eq!(run(&scene), (Outcome::InvocationHit, metadata, library));
    }
    // What rustc remembers of one source does for another: the result is that of the source.
    let (_, metadata, _) = run(&scene);
    std::fs::remove_dir_all(&kept).unwrap();
    assert_eq!(run(&scene).0, Outcome::InvocationHit);
    assert!(!kept.exists());
    let mut bare = scene.cache.command(&scene.tool);
    assert!(bare.args(&scene.args).current_dir(scene.project.path()).status().unwrap().success());
    assert_eq!(scene.project.read("liba.rmeta"), metadata);
}

#[test]
fn failures_are_the_tools_own() {
    let broken = Scene::new("fn main() { 1 }\n", "");
    let panics = Scene::with_macro("panic!(\"no\")", SHOWS_MACRO);
    let dies = Scene::with_macro("std::process::abort()", SHOWS_MACRO);
    for scene in [broken, panics, dies].into_iter().flatten() {
        for _ in 0..2 {
            scene.call().check().expect(&Outcome::ToolFailure);
        }
    }
}

#[test]
fn an_internal_error_is_never_kept() {
    let Some(mut scene) =
        Scene::new("fn f() {}\n", "--crate-type lib -Z treat-err-as-bug=1 -D dead_code")
    else {
        return;
    };
    scene.set("RUSTC_BOOTSTRAP", Some("1"));
    scene.set("RUSTC_ICE", Some("0"));
    scene.set("RUST_BACKTRACE", Some("0"));
    for _ in 0..2 {
        let counted = scene.cache.count(|| {
            let mut command = scene.cache.ibid(std::iter::once(&scene.tool).chain(&scene.args));
            command.envs(scene.environment.iter().filter_map(|(n, v)| Some((n, v.as_ref()?))));
            assert_eq!(
                command.current_dir(scene.project.path()).output().unwrap().status.code(),
                Some(101)
            );
        });
        assert_eq!(counted.outcome(), Outcome::ToolFailure);
    }
}

#[test]
fn an_output_directory_that_is_gone() {
    let Some(scene) = Scene::new("pub fn f() {}\n", "--crate-type lib --out-dir out") else {
        return;
    };
    scene.project.mkdir("out");
    scene.call().check().expect(&Outcome::Miss);
    // rustc makes it.
    scene.project.remove("out");
    scene.call().check().expect_hit();
    scene.call().check().expect_hit();
}

#[test]
fn clippy_around_rustc() {
    let Some(mut scene) = Scene::new("pub fn f(a: u8, b: u8, c: u8) -> u8 { a + b + c }\n", LIB)
    else {
        return;
    };
    let Some(driver) = toolchain().map(|bin| bin.join("clippy-driver")).filter(|it| it.is_file())
    else {
        return skip("clippy-driver is not here");
    };
    scene.args.insert(0, std::mem::replace(&mut scene.tool, driver.to_str().unwrap().into()));
    let manifest = scene.project.path().to_str().unwrap().to_owned();
    scene.set("CARGO_MANIFEST_DIR", Some(&manifest));
    scene.matters(
        |s| s.project.write("clippy.toml", "too-many-arguments-threshold = 2\n"),
        |s| s.project.remove("clippy.toml"),
    );
}
