//! What each call leaves in the event rings: `ibid explain --last`, `--build`, and the columns of `ibid stats`.

use std::process::Output;
use std::thread;

use serde_json::Value;

use crate::cache::{Cache, Outcome};
use crate::project::Project;
use crate::statistics::{check, page};
use crate::tools;

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// A project whose calls run in builds that have names.
struct Place {
    cache: Cache,
    project: Project,
}

impl Place {
    fn new() -> Place {
        let files = [
            ("a.c", "#include \"h.h\"\n#if __has_include(\"new.h\")\n#endif\nint a = H;\n"),
            ("b.c", "int b;\n"),
            ("t.c", "const char *t = __TIME__;\n"),
            ("wrong.c", "int a = ;\n"),
            ("h.h", "#define H 1\n"),
        ];
        let place = Place { cache: Cache::new(), project: Project::with(&files) };
        place.project.mkdir("below");
        place
    }

    fn run(&self, build: &str, below: &str, line: &str) -> Output {
        let mut command = self.cache.ibid(line.split(' '));
        command.current_dir(self.project.at(below)).env("IBID_BUILD", build);
        command.output().unwrap()
    }

    /// Waits until the inputs are old enough, and compiles.
    fn compile(&self, build: &str, line: &str, outcome: &Outcome) {
        let call = self.project.call(&self.cache, line).env("IBID_BUILD", build);
        call.unstable(&["t.o".to_owned()]).check().expect(outcome);
    }

    fn explain(&self, build: &str) -> Value {
        let said = self.cache.say(&["explain", "--build", build, "--json"]);
        serde_json::from_str(&said).unwrap()
    }

    /// The only miss of a build: its cause and what that is about.
    fn cause(&self, build: &str) -> (String, String) {
        let all = self.explain(build);
        let [miss] = &all["misses"].as_array().unwrap()[..] else { panic!("one miss: {all:#}") };
        let text = |name: &str| miss[name].as_str().unwrap().to_owned();
        assert_eq!((text("build"), text("tool")), (build.to_owned(), "gcc".to_owned()));
        (text("cause"), text("what"))
    }
}

#[test]
fn hits_before_libc() {
    let place = Place::new();
    place.compile("cold", "gcc -c a.c -o a.o", &Outcome::Miss);
    for _ in 0..3 {
        place.compile("warm", "gcc -c a.c -o a.o", &Outcome::InvocationHit);
    }
    let said = place.explain("warm");
    assert_eq!((&said["calls"], &said["hits"]), (&3.into(), &3.into()), "{said:#}");
    assert_eq!(said["misses"], Value::Array(Vec::new()));
    let stats = |build: &str| -> Value {
        let mut command = place.cache.ibid(["stats", "--json"]);
        let done = command.env("IBID_BUILD", build).output().unwrap();
        serde_json::from_slice(&done.stdout).unwrap()
    };
    let warm = stats("warm");
    assert_eq!(warm["this_build"]["invocation_hits"], 3, "{warm:#}");
    assert_eq!(warm["this_build"]["misses"], 0);
    assert_eq!(
        (&warm["today"]["misses"], &warm["today"]["invocation_hits"]),
        (&1.into(), &3.into())
    );
    assert_eq!(warm["this_build_name"], "warm");
    assert_eq!(warm["time_saved_ms"], warm["today"]["time_saved_ms"]);
    assert_eq!(stats("cold")["this_build"]["misses"], 1);
    assert_eq!(stats("no such build")["this_build_name"], "");
}

#[test]
fn causes() {
    let place = Place::new();
    let line = "gcc -c a.c -o a.o";
    let what = |build: &str| {
        let (cause, what) = place.cause(build);
        [cause, what]
    };
    place.compile("first", line, &Outcome::Miss);
    assert_eq!(what("first"), ["new_source", ""]);
    place.compile("argument", "gcc -DX -c a.c -o a.o", &Outcome::Miss);
    assert_eq!(what("argument"), ["new_argument", "`-DX` is new"]);
    // Touched, too: that alone is no cause.
    place.project.touch("a.c");
    place.project.write("h.h", "#define H 2\n");
    place.compile("header", line, &Outcome::Miss);
    assert_eq!(what("header"), ["file_changed", "h.h"]);
    place.project.write("new.h", "");
    place.compile("appeared", line, &Outcome::Miss);
    assert_eq!(what("appeared"), ["file_appeared", "new.h"]);
    place.compile("time", "gcc -c t.c -o t.o", &Outcome::NotStored("used_time".into()));
    let time = place.explain("time");
    assert_eq!(time["groups"][0]["name"], "used_time", "{time:#}");
    assert_eq!(time["misses"][0]["not_stored"], "used_time");
    assert_eq!(time["misses"][0]["source"], "t.c");

    // Another directory, with the same name of the source.
    place.project.write("below/a.c", "int other;\n");
    thread::sleep(std::time::Duration::from_millis(100));
    place.run("directory", "below", "gcc -c a.c -o a.o");
    assert_eq!(what("directory")[0], "other_directory");
    let to_do =
        |build: &str| place.explain(build)["groups"][0]["what_to_do"].as_str().unwrap().to_owned();
    // Nothing names the directory but the options: maps would hide it, and may not hide what records the options.
    place.compile("debug", "gcc -g -c a.c -o a.o", &Outcome::Miss);
    place.run("debug elsewhere", "below", "gcc -g -c a.c -o a.o");
    let said = to_do("debug elsewhere");
    assert!(said.starts_with("set `IBID_REMAP=auto`, which would serve up to 1 of them"), "{said}");
    place.compile("switches", "gcc -frecord-gcc-switches -c a.c -o a.o", &Outcome::Miss);
    place.run("switches elsewhere", "below", "gcc -frecord-gcc-switches -c a.c -o a.o");
    let said = to_do("switches elsewhere");
    assert!(said.starts_with("set `IBID_REMAP=auto`; or name"), "{said}");
    let call = place.project.call(&place.cache, line).env("CPATH", "/tmp");
    call.env("IBID_BUILD", "variable").check().expect(&Outcome::Miss);
    assert_eq!(what("variable"), ["variable", "CPATH"]);
    let call = place.project.call(&place.cache, line).env("IBID_RECACHE", "1");
    call.env("IBID_BUILD", "recache").check().expect(&Outcome::Miss);
    assert_eq!(what("recache"), ["recache", ""]);
}

#[test]
fn what_is_no_miss() {
    let place = Place::new();
    place.compile("b", "gcc -c wrong.c", &Outcome::ToolFailure);
    place.compile("b", "gcc --version", &Outcome::PassedThrough("query".into()));
    place.compile("b", "gcc -c b.c -o b.o", &Outcome::Miss);
    place.project.touch("b.c");
    place.compile("b", "gcc -c b.c -o b.o", &Outcome::PortableHit);
    let said = place.explain("b");
    for (name, count) in [("calls", 4), ("hits", 1), ("tool_failures", 1), ("passed_through", 1)] {
        assert_eq!(said[name], count, "{name}: {said:#}");
    }
    assert_eq!(said["misses"].as_array().unwrap().len(), 1);
}

/// The whole text, at 80 columns.
#[test]
fn the_text() {
    let place = Place::new();
    place.compile("old", "gcc -c a.c -o a.o", &Outcome::Miss);
    place.project.write("h.h", "#define H 2\n");
    for (line, outcome) in [
        ("gcc -c a.c -o a.o", Outcome::Miss),
        ("gcc -c a.c -o a.o", Outcome::InvocationHit),
        ("gcc -c t.c -o t.o", Outcome::NotStored("used_time".into())),
        ("gcc -c b.c -o b.o", Outcome::Miss),
        ("gcc -c t.c -o t.o", Outcome::NotStored("used_time".into())),
        ("gcc --version", Outcome::PassedThrough("query".into())),
    ] {
        place.compile("night ly", line, &outcome);
    }
    let said = place.cache.say(&["explain", "--build", "night ly"]);
    assert!(said.lines().all(|line| line.chars().count() <= 80), "{said}");
    // Times differ from run to run.
    let settled: Vec<String> = said
        .lines()
        .map(|line| match line.rsplit_once(": ") {
            Some((begin, time)) if time.ends_with(" s") => format!("{begin}: TIME"),
            _ if line.starts_with("build ") => line.replace(|c: char| c.is_ascii_digit(), "9"),
            _ => line.to_owned(),
        })
        .collect();
    let expected = "\
build night ly, 99:99:99 to 99:99:99 UTC
6 calls, 1 hit, 4 misses, 1 passed through

     2  it asked for the time (__TIME__)
        t.c and 1 more: TIME
        -> leave `__DATE__` and `__TIME__` out, or set `SOURCE_DATE_EPOCH`

     1  h.h has changed
        a.c: TIME
        -> nothing, if it had to change; what changes often (a version, a date)
        costs least in a file that few sources include

     1  not compiled before
        b.c: TIME
        -> nothing: the next compile is a hit";
    assert_eq!(settled.join("\n"), expected);
    let last = place.cache.say(&["explain", "--last", "1"]);
    assert!(last.starts_with("the last miss\n") && last.contains("t.c: "), "{last}");
    assert!(place.cache.say(&["explain", "--last"]).starts_with("the last 5 misses\n"));
    assert_eq!(Cache::new().say(&["explain", "--last"]), "no miss is known\n");
    let stats = place.cache.say(&["stats"]);
    assert!(stats.lines().any(|line| line.starts_with("this build         night ly")), "{stats}");
}

#[test]
fn the_object_is_what_the_schema_says() {
    let schema: Value = serde_json::from_str(&page("explain.schema.json")).unwrap();
    let place = Place::new();
    let asked = |place: &Place| {
        let said = place.cache.say(&["explain", "--last", "--json"]);
        let object: Value = serde_json::from_str(&said).unwrap();
        check(&object, &schema, &schema, "explain");
        object
    };
    asked(&place);
    place.compile("b", "gcc -c a.c", &Outcome::Miss);
    place.compile("b", "gcc -c t.c", &Outcome::NotStored("used_time".into()));
    let object = asked(&place);
    assert_eq!(object["groups"].as_array().unwrap().len(), 2, "{object:#}");
}

#[test]
fn a_build_that_is_not_known() {
    let place = Place::new();
    for (args, expected) in [
        (&["explain", "--build"][..], "ibid: no build is known yet\n"),
        (&["explain", "--build", "x"], "ibid: no build `x` is known; none is known yet\n"),
    ] {
        let done = place.cache.ibid(args).output().unwrap();
        assert_eq!((done.status.code(), text(&done.stderr).as_str()), (Some(2), expected));
        assert!(done.stdout.is_empty());
    }
    place.compile("here", "gcc -c b.c", &Outcome::Miss);
    let done = place.cache.ibid(["explain", "--json", "--build", "a\nb"]).output().unwrap();
    let expected = "ibid: no build `a\\nb` is known; the last are `here`\n";
    assert_eq!((done.status.code(), text(&done.stderr).as_str()), (Some(2), expected));
    for args in [&["explain", "--last", "many"][..], &["explain", "--last", "1", "--", "gcc"]] {
        let done = place.cache.ibid(args).output().unwrap();
        assert_eq!(done.status.code(), Some(2), "{args:?}: {done:?}");
        assert!((1..=8).contains(&text(&done.stderr).lines().count()), "{done:?}");
    }
}

/// Many processes at once: each of them is there afterwards.
#[test]
fn many_at_once() {
    const THREADS: usize = 8;
    const EACH: usize = 25;
    let place = Place::new();
    place.compile("cold", "gcc -c b.c -o b.o", &Outcome::Miss);
    thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                for _ in 0..EACH {
                    let done = place.run("storm", "", "gcc -c b.c -o b.o");
                    assert!(done.status.success(), "{done:?}");
                }
            });
        }
    });
    let said = place.explain("storm");
    assert_eq!(said["calls"], THREADS * EACH, "{said:#}");
    assert_eq!(said["hits"], THREADS * EACH);
}

/// Without a name the build is that of make above, hits included.
#[test]
fn the_build_of_make() {
    if !tools::have("make") {
        return;
    }
    let place = Place::new();
    let ibid = tools::ibid();
    let makefile = format!(
        "all: a.o b.o\n%.o: %.c\n\t{0} gcc -c $< -o $@\nsub:\n\t$(MAKE) all\n",
        ibid.display()
    );
    place.project.write("Makefile", &makefile);
    place.project.write("a.c", "int a;\n");
    let make = |target: &str| {
        let mut command = place.cache.command(tools::path_of("make"));
        let done = command.arg(target).current_dir(place.project.path()).output().unwrap();
        assert!(done.status.success(), "{done:?}");
        for name in ["a.o", "b.o"] {
            place.project.remove(name);
        }
        let said = place.cache.say(&["explain", "--build", "--json"]);
        serde_json::from_str::<Value>(&said).unwrap()
    };
    let first = make("all");
    let name = first["build"].as_str().unwrap();
    assert!(name.starts_with("make-"), "{first:#}");
    assert_eq!((&first["calls"], &first["hits"]), (&2.into(), &0.into()));
    // A make below make is the same build; one more miss tells whose the hits are.
    place.project.write("b.c", "int b2;\n");
    thread::sleep(std::time::Duration::from_millis(100));
    let second = make("sub");
    assert_ne!(second["build"], first["build"]);
    assert!(second["build"].as_str().unwrap().starts_with("make-"), "{second:#}");
    assert_eq!((&second["calls"], &second["hits"]), (&2.into(), &1.into()), "{second:#}");
}

/// No shared memory, one that cannot be written, one that is full: compiles work, and are known where anything is counted.
#[test]
fn without_shared_memory() {
    if !tools::is_root() || !tools::have("unshare") {
        return;
    }
    for mount in [
        "mount -t tmpfs -o size=64k ibid-test /dev/shm",
        "mount -t tmpfs -o ro ibid-test /dev/shm",
        "mount -t tmpfs -o size=8m ibid-test /dev/shm && (head -c 9000000 /dev/zero >/dev/shm/full; true)",
    ] {
        let place = Place::new();
        let script = format!(
            "{mount} || exit 9
            \"$0\" gcc -c b.c -o b.o && \"$0\" gcc -c b.c -o b.o && \"$0\" explain --build x --json"
        );
        let mut shell = place.cache.command("unshare");
        let shell = shell.args(["-m", "sh", "-c", &script]).arg(tools::ibid());
        let done = shell.current_dir(place.project.path()).env("IBID_BUILD", "x").output().unwrap();
        assert!(done.status.success(), "{mount}: {done:?}");
        let said: Value = serde_json::from_slice(&done.stdout).unwrap();
        assert_eq!((&said["calls"], &said["hits"]), (&2.into(), &1.into()), "{mount}: {said:#}");
    }
}
