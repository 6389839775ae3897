//! `ibid stats` in all its forms, and the pages that say what it means.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use ibid::outcome::{Cause, InternalError, NotStored, PassReason};
use serde_json::Value;

use crate::cache::Cache;
use crate::project::Project;
use crate::rustc;

pub fn page(name: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs").join(name)).unwrap()
}

/// A cache that has counted one of each outcome.
fn used() -> Cache {
    let files =
        [("a.c", "int a;\n"), ("t.c", "const char *t = __TIME__;\n"), ("wrong.c", "int a = ;\n")];
    let (cache, project) = (Cache::new(), Project::with(&files));
    for line in ["-c a.c", "-c a.c", "-c t.c", "-c wrong.c", "--version", "-dumpversion"] {
        let call = project.call(&cache, &format!("gcc {line}"));
        call.unstable(&["t.o".to_owned()]).check();
    }
    project.touch("a.c");
    project.call(&cache, "gcc -c a.c").check();
    cache
}

#[test]
fn every_outcome_is_explained() {
    let page = page("outcomes.md");
    let rows: Vec<&str> = page.lines().filter_map(|line| line.strip_prefix("| `")).collect();
    let passed = PassReason::ALL.iter().map(|reason| reason.name());
    let not_stored = NotStored::ALL.iter().map(|reason| reason.name());
    let errors = InternalError::ALL.iter().map(|error| error.name());
    let outcomes =
        ["invocation_hits", "portable_hits", "misses", "passed_through", "tool_failures"];
    let causes = Cause::ALL.iter().map(|cause| cause.name());
    let names = passed.chain(not_stored).chain(errors).chain(outcomes).chain(causes);
    let names: Vec<&str> = names.collect();
    for name in &names {
        let found: Vec<_> = rows.iter().filter(|row| row.split('`').next() == Some(name)).collect();
        assert_eq!(found.len(), 1, "{name} is explained once");
        let cells: Vec<_> = found[0].split('|').map(str::trim).collect();
        assert!(cells.len() == 4 && cells[1].len() > 3 && cells[2].len() > 3, "{name}: {cells:?}");
    }
    for row in rows {
        let name = row.split('`').next().unwrap();
        assert!(names.contains(&name), "{name} is no outcome");
    }
}

/// Whether `value` is what `schema` describes: the words of JSON Schema that ours uses.
pub fn check(value: &Value, schema: &Value, all: &Value, at: &str) {
    if let Some(reference) = schema["$ref"].as_str() {
        let pointer = reference.strip_prefix('#').unwrap();
        return check(value, all.pointer(pointer).unwrap(), all, at);
    }
    match schema["type"].as_str().unwrap() {
        "string" => assert!(value.is_string(), "{at}: {value}"),
        "integer" => {
            let least = schema["minimum"].as_u64().unwrap_or(0);
            assert!(value.as_u64().is_some_and(|number| number >= least), "{at}: {value}");
        }
        "object" => {
            let object = value.as_object().unwrap_or_else(|| panic!("{at}: {value}"));
            for name in schema["required"].as_array().into_iter().flatten() {
                assert!(object.contains_key(name.as_str().unwrap()), "{at}: no {name}");
            }
            for (name, value) in object {
                let known = schema["properties"].get(name).or(schema.get("additionalProperties"));
                let known = known.unwrap_or_else(|| panic!("{at}/{name} is not described"));
                check(value, known, all, &format!("{at}/{name}"));
            }
        }
        "array" => {
            for (number, value) in value.as_array().unwrap().iter().enumerate() {
                check(value, &schema["items"], all, &format!("{at}/{number}"));
            }
        }
        other => panic!("{at}: unknown type {other}"),
    }
}

#[test]
fn the_object_is_what_the_schema_says() {
    let schema: Value = serde_json::from_str(&page("stats.schema.json")).unwrap();
    for cache in [Cache::new(), used()] {
        let object: Value = serde_json::from_str(&cache.say(&["stats", "--json"])).unwrap();
        check(&object, &schema, &schema, "stats");
        let by_format: Value =
            serde_json::from_str(&cache.say(&["stats", "--format", "json"])).unwrap();
        assert_eq!(object, by_format);
    }
    // The names of the contract.
    for name in [
        "invocation_hits",
        "portable_hits",
        "misses",
        "stored",
        "not_stored",
        "passed_through",
        "tool_failures",
        "internal_errors",
        "evictions",
        "records",
        "blobs",
        "bytes_used",
        "bytes_max",
        "time_saved_ms",
        "cache_dir",
        "version",
    ] {
        let required = schema["required"].as_array().unwrap();
        assert!(required.iter().any(|known| known == name), "{name}");
    }
}

/// The samples of a page in Prometheus' text format 0.0.4, read as strictly as that is defined.
fn samples(page: &str) -> BTreeMap<String, f64> {
    let is_name = |name: &str| {
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == ':';
        name.chars().all(plain) && name.starts_with(|c: char| !c.is_ascii_digit())
    };
    let (mut kinds, mut found) = (BTreeMap::new(), BTreeMap::new());
    let mut family = "";
    assert!(page.ends_with('\n'), "{page}");
    for line in page.lines() {
        if let Some(help) = line.strip_prefix("# HELP ") {
            family = help.split_once(' ').unwrap().0;
            assert!(is_name(family) && !kinds.contains_key(family), "{line}");
            continue;
        }
        if let Some(kind) = line.strip_prefix("# TYPE ") {
            let (name, kind) = kind.split_once(' ').unwrap();
            assert!(name == family && ["counter", "gauge"].contains(&kind), "{line}");
            assert_eq!(kind == "counter", name.ends_with("_total"), "{line}");
            kinds.insert(name.to_owned(), kind.to_owned());
            continue;
        }
        let (sample, value) = line.rsplit_once(' ').unwrap();
        let (name, labels) = sample.split_once('{').unwrap_or((sample, ""));
        assert!(name == family && kinds.contains_key(name), "a family stands together: {line}");
        let mut rest = labels.strip_suffix('}').unwrap_or(labels);
        while !rest.is_empty() {
            let (label, value) = rest.split_once("=\"").unwrap();
            assert!(is_name(label), "{line}");
            let mut end = None;
            let mut bytes = value.char_indices();
            while let Some((at, c)) = bytes.next() {
                match c {
                    '\\' => assert!(matches!(bytes.next(), Some((_, '\\' | '"' | 'n'))), "{line}"),
                    '"' => {
                        end = Some(at);
                        break;
                    }
                    _ => {}
                }
            }
            rest = &value[end.unwrap() + 1..];
            rest = rest.strip_prefix(',').unwrap_or(rest);
        }
        let old = found.insert(sample.to_owned(), value.parse().unwrap());
        assert_eq!(old, None, "{line}");
    }
    assert!(kinds.len() > 10, "{page}");
    found
}

/// The span of this name in a list.
#[track_caller]
fn of<'o>(object: &'o Value, list: &str, name: &str) -> &'o Value {
    let found = object[list].as_array().unwrap().iter().find(|span| span["name"] == name);
    found.unwrap_or_else(|| panic!("no {name}: {object:#}"))
}

/// By tool and by language: hits before libc are told by their records.
#[test]
fn by_tool_and_by_language() {
    let files = [("a.c", "int a;\n"), ("b.cc", "int b;\n"), ("m.rs", "pub fn m() {}\n")];
    let (cache, project) = (rustc::cache(), Project::with(&files));
    let compile = |line: &str, times: usize| {
        for _ in 0..times {
            project.call(&cache, line).check();
        }
    };
    compile("gcc -c a.c -o a.o", 3);
    compile("g++ -c b.cc -o b.o", 2);
    compile("g++ -c a.c -o a.o", 1);
    compile("gcc --version", 1);
    compile("rustc --crate-type lib --emit metadata m.rs", 2);
    let object: Value = serde_json::from_str(&cache.say(&["stats", "--json"])).unwrap();
    let figures = |kind: &str, name: &str| {
        let span = of(&object, kind, name);
        ["invocation_hits", "misses", "passed_through"].map(|figure| span[figure].as_u64())
    };
    let expected = |figures: [u64; 3]| figures.map(Some);
    assert_eq!(figures("by_tool", "gcc"), expected([2, 1, 1]), "{object:#}");
    assert_eq!(figures("by_tool", "g++"), expected([1, 2, 0]));
    assert_eq!(figures("by_tool", "rustc"), expected([1, 1, 0]));
    assert_eq!(figures("by_language", "C"), expected([2, 1, 0]));
    assert_eq!(figures("by_language", "C++"), expected([1, 2, 0]));
    assert_eq!(figures("by_language", "Rust"), expected([1, 1, 0]));
    assert_eq!(figures("by_language", "other"), expected([0, 0, 1]));
    let saved = |span: &Value| span["time_saved_ms"].as_u64().unwrap();
    assert!(saved(of(&object, "by_tool", "g++")) > 0, "{object:#}");
    let sum: u64 = object["by_tool"].as_array().unwrap().iter().map(saved).sum();
    assert!(saved(&object).abs_diff(sum) <= 3, "parts of a millisecond: {object:#}");

    let text = cache.say(&["stats"]);
    assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
    let row = |name: &str| {
        let of = |line: &&str| line.split_whitespace().next() == Some(name);
        text.lines().find(of).unwrap().split_whitespace().take(6).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(row("gcc"), "gcc 4 2 1 66.6 %");
    assert_eq!(row("C++"), "C++ 3 1 2 33.3 %");
    let sccache = cache.say(&["stats", "--format", "sccache"]);
    assert!(sccache.contains("Cache hits (C/C++)                    3\n"), "{sccache}");

    // Without their records the hits have no tool.
    cache.say(&["clear"]);
    let object: Value = serde_json::from_str(&cache.say(&["stats", "--json"])).unwrap();
    assert_eq!(of(&object, "by_tool", "(not known)")["invocation_hits"], 4, "{object:#}");
    assert_eq!(of(&object, "by_tool", "gcc")["misses"], 1);
}

#[test]
fn the_forms() {
    let cache = used();
    let text = cache.say(&["stats"]);
    for line in [
        "hit rate           50.0 %  (2 of 4)",
        "  direct hits      1",
        "  content hits     1",
        "    used_time                    1  it asked for the time (__TIME__)",
        "    query                        2  a question to the tool (--version)",
        "failed compiles    1",
    ] {
        assert!(text.lines().any(|known| known == line), "{line}: {text}");
    }
    assert_eq!(text, cache.say(&["stats", "--format", "text"]));
    let prometheus = samples(&cache.say(&["stats", "--format", "prometheus"]));
    for (sample, value) in [
        ("ibid_hits_total{kind=\"direct\"}", 1.0),
        ("ibid_hits_total{kind=\"content\"}", 1.0),
        ("ibid_misses_total", 2.0),
        ("ibid_tool_failures_total", 1.0),
        ("ibid_passed_through_total{reason=\"query\"}", 2.0),
    ] {
        assert_eq!(prometheus.get(sample), Some(&value), "{sample}: {prometheus:?}");
    }
    let sccache = cache.say(&["stats", "--format", "sccache"]);
    let figure = |name: &str| -> u64 {
        let line = sccache.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        line.trim().parse().unwrap()
    };
    assert_eq!(figure("Compile requests  "), 7);
    assert_eq!(figure("Compile requests executed"), 5);
    assert_eq!(figure("Cache hits  "), 2);
    assert_eq!(figure("Cache misses"), 2);
    for wrong in [&["stats", "--format", "xml"][..], &["stats", "--json", "--format", "text"]] {
        let done = cache.ibid(wrong).output().unwrap();
        assert_eq!(done.status.code(), Some(2), "{wrong:?}: {done:?}");
    }
}
