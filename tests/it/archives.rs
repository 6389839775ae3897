//! Archivers, linkers and copiers of objects by name: `ibid ar …`, and links of these names.

use crate::cache::{Cache, Outcome};
use crate::call::Through;
use crate::cases;
use crate::project::Project;
use crate::scene::Scene;
use crate::tools;

const ARCHIVERS: &[&str] = &["ar", "llvm-ar-14"];
const AR: &[&str] = &["ar"];
const LINKERS: &[&str] = &["ld", "ld.gold", "ld.lld", "mold"];

/// Objects `f.o`, `g.o` and `m.o`.
fn project(cache: &Cache) -> Project {
    let project = Project::with(&[
        ("f.c", "int f(void) { return 1; }\n"),
        ("g.c", "int g(void) { return 2; }\n"),
        ("m.c", "int f(void);\nvoid _start(void) { f(); }\n"),
    ]);
    project.shell(cache, "gcc -g -c f.c g.c m.c");
    project
}

/// Runs a command until it hits, which it must by the third time; the outcomes of the runs.
fn hits_in_the_end(project: &Project, cache: &Cache, line: &str, made: &[&str]) {
    let mut outcomes = Vec::new();
    for _ in 0..3 {
        for name in made.iter().filter(|name| project.at(name).exists()) {
            project.remove(name);
        }
        outcomes.push(project.call(cache, line).check().outcome);
    }
    assert!(outcomes[2].is_hit(), "{line}: {outcomes:?}");
}

#[test]
fn fresh_archives_are_hits() {
    for tool in tools::present(ARCHIVERS) {
        let cache = Cache::new();
        let project = project(&cache);
        for args in [
            "rcs l.a f.o g.o",
            "cr l.a f.o",
            "-rcs l.a g.o f.o",
            "rcsD l.a f.o",
            "rcST l.a f.o g.o",
            "qc l.a f.o g.o",
            "rcvs l.a f.o",
            "rs l.a f.o",
        ] {
            hits_in_the_end(&project, &cache, &format!("{tool} {args}"), &["l.a"]);
        }
    }
}

/// Objects that were made anew are the same objects: their times do not enter an archive, unless it is to hold them.
#[test]
fn times_of_members() {
    for tool in tools::present(ARCHIVERS) {
        let cache = Cache::new();
        let project = project(&cache);
        for (args, is_hit) in
            [("rcs l.a f.o", true), ("rcsU l.a f.o", false), ("rcSU l.a f.o", false)]
        {
            hits_or_time(&project, &cache, &format!("{tool} {args}"));
            project.touch("f.o");
            project.remove("l.a");
            let unstable: &[String] = if is_hit { &[] } else { &["l.a".into()] };
            let call = project.call(&cache, &format!("{tool} {args}")).unstable(unstable);
            let outcome = call.check().outcome;
            assert_eq!(outcome.is_hit(), is_hit, "{tool} {args}: {outcome:?}");
        }
    }
}

/// Makes an archive twice. One with a table of symbols shows when it was made.
fn hits_or_time(project: &Project, cache: &Cache, line: &str) {
    for _ in 0..2 {
        if project.at("l.a").exists() {
            project.remove("l.a");
        }
        project.call(cache, line).unstable(&["l.a".into()]).check();
    }
}

/// An archive that is there is added to.
#[test]
fn archives_that_are_there() {
    for tool in tools::present(ARCHIVERS) {
        let cache = Cache::new();
        let project = project(&cache);
        let call = project.call(&cache, &format!("{tool} rcs l.a f.o"));
        call.check();
        project.remove("l.a");
        call.check();
        call.check();
        for before in ["g.o", "f.o g.o", "f.o"] {
            for _ in 0..2 {
                project.shell(&cache, &format!("rm -f l.a; ar rcs l.a {before}"));
                let seen = call.check();
                assert!(!seen.outcome.is_hit(), "{tool}, over {before}: {:?}", seen.outcome);
            }
        }
        project.remove("l.a");
        call.check().expect_hit();
    }
}

#[test]
fn what_archivers_do_beside() {
    let cache = Cache::new();
    let project = project(&cache);
    project.shell(&cache, "ar rcs l.a f.o g.o");
    let passed = |reason: &str| Outcome::PassedThrough(reason.to_owned());
    for (args, reason) in [
        ("t l.a", "query"),
        ("p l.a f.o", "query"),
        ("--version", "query"),
        ("s l.a", "unsupported_flag"),
        ("d l.a f.o", "unsupported_flag"),
        ("x l.a f.o", "unsupported_flag"),
        ("ma f.o l.a g.o", "unsupported_flag"),
        ("", "no_source"),
        ("-M", "standard_input"),
    ] {
        project.call(&cache, &format!("ar {args}")).check().expect(&passed(reason));
    }
    project.call(&cache, "ranlib l.a").check().expect(&passed("unknown_tool"));
    project.call(&cache, "strip l.a").check().expect(&passed("unsupported_flag"));
    project.call(&cache, "objcopy f.o").check().expect(&passed("unsupported_flag"));
}

#[test]
fn linkers_by_name() {
    for tool in tools::present(LINKERS) {
        let cache = Cache::new();
        let project = project(&cache);
        for args in [
            "m.o f.o -o p",
            "-r f.o g.o -o r.o",
            "-shared f.o -Map=p.map -o p",
            "m.o f.o -s -o p",
            "--trace m.o f.o -o p",
        ] {
            // mold's child may outlive it, and then not all is seen.
            let stay = if tool == "mold" { "--no-fork" } else { "" };
            let line = format!("{tool} {stay} {args}");
            hits_in_the_end(&project, &cache, &line, &["p", "r.o", "p.map"]);
        }
        let uuid = project.call(&cache, &format!("{tool} m.o f.o --build-id=uuid -o p"));
        let seen = uuid.unstable(&["p".into()]).check();
        seen.expect(&Outcome::PassedThrough("unsupported_flag".into()));
    }
}

#[test]
fn copiers_by_name() {
    let cache = Cache::new();
    let project = project(&cache);
    for line in ["strip -g f.o -o s.o", "objcopy -g f.o s.o", "objcopy --only-keep-debug f.o s.o"] {
        if tools::have(line.split(' ').next().unwrap()) {
            hits_in_the_end(&project, &cache, line, &["s.o"]);
        }
    }
    // The mode of what is copied is that of the copy.
    project.chmod("f.o", 0o755);
    project.remove("s.o");
    let call = project.call(&cache, "objcopy -g f.o s.o");
    assert!(!call.check().outcome.is_hit());
    project.chmod("s.o", 0o600);
    call.check();
    call.check();
}

#[test]
fn by_links_of_their_names() {
    for (tool, args) in [("ar", "rcs l.a f.o"), ("ld", "m.o f.o -o p"), ("strip", "-g f.o -o s.o")]
    {
        let cache = Cache::new();
        let project = project(&cache);
        project.symlink(tools::ibid().to_str().unwrap(), &format!("bin/{tool}"));
        let link = Through::Masquerade(project.at(format!("bin/{tool}")));
        let call = project.call(&cache, &format!("{tool} {args}")).through(link);
        let mut outcomes = Vec::new();
        for _ in 0..3 {
            project.shell(&cache, "rm -f l.a p s.o");
            outcomes.push(call.check().outcome);
        }
        assert!(outcomes[2].is_hit(), "{tool}: {outcomes:?}");
    }
}

#[test]
fn bad_input() {
    for tool in tools::present(ARCHIVERS) {
        let cache = Cache::new();
        let project = project(&cache);
        project.mkdir("dir.a");
        project.write("text.a", "no archive\n");
        project.write("many.rsp", "f.o\n".repeat(500_000));
        for args in [
            "rcs dir.a f.o",
            "rcs text.a f.o",
            "rcs l.a none.o",
            "rcs none/l.a f.o",
            "rcs l.a @none.rsp",
            "rcs",
            "rz l.a f.o",
            "rcs l.a dir.a",
        ] {
            for _ in 0..3 {
                project.call(&cache, &format!("{tool} {args}")).check();
            }
        }
        assert_eq!(cache.counters().sum("internal_errors"), 0, "{tool}");
        assert_eq!(cache.counters().hits(), 0, "{tool}: {:?}", cache.counters());
    }
}

fn members(s: &Scene) {
    s.write("f.c", "int f(void) { return 1; }\n");
    s.write("g.c", "int g(void) { return 1; }\n");
    s.sh("gcc -c f.c g.c");
}

cases! {
    archive_member_changes: AR,
        |s| { members(s); s.remove_before_each("l.a"); s.args("rcs l.a f.o g.o"); },
        |s| { s.write("f.c", "int f(void) { return 2; }\n"); s.sh("gcc -c f.c"); };
    archive_member_changes_behind_a_list: AR,
        |s| { members(s); s.write("l.rsp", "f.o g.o"); s.remove_before_each("l.a"); s.args("rcs l.a @l.rsp"); },
        |s| { s.write("l.rsp", "g.o f.o"); };
    archive_of_a_thin_member: AR,
        |s| { members(s); s.remove_before_each("l.a"); s.args("rcsT l.a f.o"); },
        |s| { s.write("f.c", "int fff(void) { return 2; }\n"); s.sh("gcc -c f.c"); };
    archive_appears_in_its_place: AR,
        |s| { members(s); s.remove_before_each("l.a"); s.args("rcs l.a f.o"); },
        |s| { s.keep("l.a"); s.sh("rm -f l.a; ar rcs l.a g.o"); s.never_hits(); };
    linked_object_changes: &["ld"],
        |s| { members(s); s.remove_before_each("p"); s.args("-r f.o g.o -o p"); },
        |s| { s.write("f.c", "int f(void) { return 2; }\n"); s.sh("gcc -c f.c"); };
    stripped_object_changes: &["strip"],
        |s| { members(s); s.remove_before_each("s.o"); s.args("-g f.o -o s.o"); },
        |s| { s.write("f.c", "int f(void) { return 2; }\n"); s.sh("gcc -c f.c"); };
}
