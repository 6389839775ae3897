//! `ibid stats`: what the counters say and what the cache holds: as text, as one JSON object, for Prometheus, or as sccache
//! shows it.
//!
//! `docs/stats.schema.json` is the schema of the object; its names stay. Read next: `docs/outcomes.md`.

use std::io::{self, Write};
use std::path::Path;

use serde_json::{Map, Value, json};

use super::args::{Format, Stats};
use super::reasons::in_short;
use super::texts::{bytes, duration, percent};
use crate::config::{self, Config};
use crate::error::StoreError;
use crate::outcome::{InternalError, NotStored, PassReason};
use crate::shm::counters::Counter;
use crate::store::Store;
use crate::wrapper::history::History;

use kinds::Kinds;
use spans::Spans;

mod formats;
pub mod kinds;
pub mod spans;

/// Shows, and with `--zero` resets afterwards.
pub fn run(asked: &Stats, stdout: &mut dyn Write, stderr: &mut dyn Write) -> io::Result<u8> {
    let config = config::load();
    let opened = Store::open_configured(&config);
    if let Err(error) = &opened {
        writeln!(stderr, "ibid: nothing is cached: {error}")?;
    }
    let figures = figures(&opened, &config);
    match asked.format {
        _ if asked.json => writeln!(stdout, "{figures:#}")?,
        Format::Json => writeln!(stdout, "{figures:#}")?,
        Format::Text => {
            show(&figures, stdout)?;
            writeln!(stdout)?;
            spans::show(&figures, stdout)?;
            kinds::show(&figures, stdout)?;
        }
        Format::Prometheus => formats::prometheus(&figures, stdout)?,
        Format::Sccache => formats::sccache(&figures, stdout)?,
    }
    if let (true, Ok(store)) = (asked.zero, &opened) {
        store.cache.volatile.zero();
    }
    Ok(0)
}

/// The object of `stats --json`.
fn figures(opened: &Result<Store, StoreError>, config: &Config) -> Value {
    let store = opened.as_ref().ok();
    let sum = |counter| store.map_or(0, |store| store.cache.volatile.sum(counter));
    let each = |name: &str, count: u64| (name.to_owned(), json!(count));
    let reasons = |all: &[(&'static str, Counter)]| -> Map<String, Value> {
        all.iter()
            .map(|(name, counter)| each(name, sum(*counter)))
            .filter(|(_, n)| *n != json!(0))
            .collect()
    };
    let named =
        |names: Vec<&'static str>, counter: fn(usize) -> Counter| -> Vec<(&'static str, Counter)> {
            names.into_iter().enumerate().map(|(number, name)| (name, counter(number))).collect()
        };
    let passed = named(PassReason::ALL.iter().map(|r| r.name()).collect(), Counter::passed_through);
    let not_stored = named(NotStored::ALL.iter().map(|r| r.name()).collect(), Counter::not_stored);
    let errors =
        named(InternalError::ALL.iter().map(|e| e.name()).collect(), Counter::internal_error);
    let mut errors = reasons(&errors);
    if let Some(error) = opened.as_ref().err().and_then(StoreError::counted) {
        // Where nothing can be counted, what keeps it from being counted is still told.
        errors.insert(error.name().into(), json!(1));
    }
    let history = store.map(History::read);
    let Spans { today, this_build, name } = Spans::of(history.as_ref());
    let Kinds { by_tool, by_language } = Kinds::of(history.as_ref());
    let (records, blobs) = store.map_or((0, 0), Store::count_entries);
    json!({
        "version": env!("CARGO_PKG_VERSION"),
        "cache_dir": config.cache_dir.as_deref().unwrap_or(Path::new("")).to_string_lossy(),
        "invocation_hits": sum(Counter::INVOCATION_HITS),
        "portable_hits": sum(Counter::PORTABLE_HITS),
        "remote_hits": sum(Counter::REMOTE_HITS),
        "misses": sum(Counter::MISSES),
        "stored": sum(Counter::STORED),
        "not_stored": reasons(&not_stored),
        "passed_through": reasons(&passed),
        "tool_failures": sum(Counter::TOOL_FAILURES),
        "failure_hits": sum(Counter::FAILURE_HITS),
        "internal_errors": errors,
        "evictions": sum(Counter::EVICTIONS),
        "records": records,
        "blobs": blobs,
        "bytes_used": store.map_or(0, Store::bytes_used),
        "bytes_max": config.max_size_bytes,
        "time_saved_ms": sum(Counter::TIME_SAVED_US) / 1000,
        "today": today,
        "this_build": this_build,
        "this_build_name": name,
        "by_tool": by_tool,
        "by_language": by_language,
    })
}

/// One figure; zero where there is none by that name.
fn number(figures: &Value, name: &str) -> u64 {
    figures[name].as_u64().unwrap_or(0)
}

/// The sum of an object of reasons.
fn total(figures: &Value, name: &str) -> u64 {
    figures[name].as_object().map_or(0, |reasons| reasons.values().filter_map(Value::as_u64).sum())
}

/// Direct hits and content hits.
fn hits(span: &Value) -> u64 {
    number(span, "invocation_hits") + number(span, "portable_hits")
}

/// All calls of a span, or of the whole object, where they are counted by reason.
fn calls(span: &Value) -> u64 {
    let passed = number(span, "passed_through") + total(span, "passed_through");
    hits(span) + number(span, "misses") + number(span, "tool_failures") + passed
}

/// Hits of hits and misses.
fn hit_rate(span: &Value) -> String {
    percent(hits(span), hits(span) + number(span, "misses"))
}

fn show(figures: &Value, out: &mut dyn Write) -> io::Result<()> {
    let number = |name: &str| number(figures, name);
    let (hits, misses) = (hits(figures), number("misses"));
    let of =
        if hits + misses > 0 { format!("  ({hits} of {})", hits + misses) } else { String::new() };
    writeln!(out, "cache directory    {}", figures["cache_dir"].as_str().unwrap_or(""))?;
    writeln!(out, "hit rate           {}{of}", hit_rate(figures))?;
    writeln!(out, "  direct hits      {}", number("invocation_hits"))?;
    writeln!(out, "  content hits     {}", number("portable_hits"))?;
    if number("remote_hits") > 0 {
        writeln!(out, "    from a remote  {}", number("remote_hits"))?;
    }
    writeln!(out, "misses             {misses}")?;
    writeln!(out, "  stored           {}", number("stored"))?;
    show_reasons(figures, "not_stored", "  not stored       ", out)?;
    show_reasons(figures, "passed_through", "passed through     ", out)?;
    writeln!(out, "failed compiles    {}", number("tool_failures"))?;
    if number("failure_hits") > 0 {
        writeln!(out, "  from the cache   {}", number("failure_hits"))?;
    }
    show_reasons(figures, "internal_errors", "internal errors    ", out)?;
    writeln!(out, "time saved         {}", duration(number("time_saved_ms")))?;
    let (used, max) = (number("bytes_used"), number("bytes_max"));
    writeln!(out, "size               {} of {}", bytes(used), bytes(max))?;
    writeln!(out, "records, blobs     {}, {}", number("records"), number("blobs"))
}

/// A line with the sum, and one for each reason, the most frequent first; nothing where the sum is zero.
fn show_reasons(figures: &Value, name: &str, title: &str, out: &mut dyn Write) -> io::Result<()> {
    let Some(reasons) = figures[name].as_object().filter(|reasons| !reasons.is_empty()) else {
        return Ok(());
    };
    writeln!(out, "{title}{}", total(figures, name))?;
    let mut reasons: Vec<_> =
        reasons.iter().map(|(name, count)| (count.as_u64().unwrap_or(0), name)).collect();
    reasons.sort_by(|one, other| other.0.cmp(&one.0).then(one.1.cmp(other.1)));
    for (count, name) in reasons {
        let meaning = in_short(name).unwrap_or_default();
        writeln!(out, "    {name:<22} {count:>7}  {meaning}")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{formats, kinds, show, spans};

    /// Figures in which every line of every format has something to show.
    fn full() -> serde_json::Value {
        json!({
            "version": "1.2.3",
            "cache_dir": "/srv/cache/ibid",
            "invocation_hits": 2100,
            "portable_hits": 34,
            "misses": 300,
            "stored": 296,
            "not_stored": { "used_time": 3, "observation_incomplete": 1 },
            "passed_through": { "link": 12, "query": 12, "no_working_directory": 2, "unknown_tool": 1 },
            "tool_failures": 7,
            "internal_errors": { "corrupt": 1 },
            "evictions": 2,
            "records": 500,
            "blobs": 800,
            "bytes_used": 123_456_789,
            "bytes_max": 10_000_000_000_u64,
            "time_saved_ms": 754_321,
            "today": {
                "invocation_hits": 90, "portable_hits": 10, "misses": 25, "passed_through": 3,
                "tool_failures": 2, "time_saved_ms": 61_500,
            },
            "this_build": {
                "invocation_hits": 0, "portable_hits": 0, "misses": 0, "passed_through": 1,
                "tool_failures": 0, "time_saved_ms": 0,
            },
            "this_build_name": "make-4242",
            "by_tool": [
                span("rustc", 1700, 200, 9), span("gcc", 400, 100, 25),
                span("a-very-long-prefix-linux-gnu-g++-12", 0, 0, 7),
            ],
            "by_language": [span("Rust", 1700, 200, 9), span("C", 400, 100, 25), span("C++", 0, 0, 7)],
        })
    }

    fn span(name: &str, hits: u64, misses: u64, passed: u64) -> serde_json::Value {
        json!({
            "name": name,
            "invocation_hits": hits, "portable_hits": 0, "misses": misses, "passed_through": passed,
            "tool_failures": 0, "time_saved_ms": hits * 100,
        })
    }

    fn printed(
        print: fn(&serde_json::Value, &mut dyn std::io::Write) -> std::io::Result<()>,
        figures: &serde_json::Value,
    ) -> String {
        let mut out = Vec::new();
        print(figures, &mut out).expect("a Vec");
        let text = String::from_utf8(out).expect("text");
        assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
        text
    }

    #[test]
    fn the_text() {
        let expected = "\
cache directory    /srv/cache/ibid
hit rate           87.6 %  (2134 of 2434)
  direct hits      2100
  content hits     34
misses             300
  stored           296
  not stored       4
    used_time                    3  it asked for the time (__TIME__)
    observation_incomplete       1  not all that it did could be seen
passed through     27
    link                        12  it links (earlier versions of ibid)
    query                       12  a question to the tool (--version)
    no_working_directory         2  the directory is gone, or too large a call
    unknown_tool                 1  not a tool that ibid knows
failed compiles    7
internal errors    1
    corrupt                      1  damaged bytes, taken for absent
time saved         12 min 34 s
size               123 MB of 10 GB
records, blobs     500, 800
";
        assert_eq!(printed(show, &full()), expected);
        assert!(printed(show, &json!({})).contains("hit rate           -\n"));
    }

    #[test]
    fn today_and_this_build() {
        let expected = "\x20                           today    this build           all
calls                         130             1          2468
hits                          100             0          2134
misses                         25             0           300
hit rate                   80.0 %             -        87.6 %
time saved                   61 s         0.0 s   12 min 34 s
this build         make-4242
";
        assert_eq!(printed(spans::show, &full()), expected);
        assert!(!printed(spans::show, &json!({})).contains("this build    "));
    }

    #[test]
    fn by_tool_and_by_language() {
        let expected = "
The last 2441 calls:

by tool                       calls     hits   misses   hit rate    time saved
  rustc                        1909     1700      200     89.4 %    2 min 50 s
  gcc                           525      400      100     80.0 %          40 s
  …prefix-linux-gnu-g++-12        7        0        0          -         0.0 s

by language                   calls     hits   misses   hit rate    time saved
  Rust                         1909     1700      200     89.4 %    2 min 50 s
  C                             525      400      100     80.0 %          40 s
  C++                             7        0        0          -         0.0 s
";
        assert_eq!(printed(kinds::show, &full()), expected);
        assert_eq!(printed(kinds::show, &json!({})), "");
        let many: Vec<_> =
            (0..30).map(|at| span(&format!("t\u{1b}{at:02}"), 30 - at, 0, 0)).collect();
        let text = printed(kinds::show, &json!({ "by_tool": many, "by_language": [] }));
        assert!(text.contains("  t\\u{1b}08 ") && !text.contains("09 "), "{text}");
        assert!(text.contains("  21 others                     231      231"), "{text}");
    }

    #[test]
    fn for_prometheus() {
        let text = printed(formats::prometheus, &full());
        for line in [
            "ibid_hits_total{kind=\"direct\"} 2100",
            "ibid_hits_total{kind=\"content\"} 34",
            "ibid_misses_total 300",
            "ibid_not_stored_total{reason=\"used_time\"} 3",
            "ibid_passed_through_total{reason=\"query\"} 12",
            "ibid_time_saved_seconds_total 754.321",
            "ibid_size_bytes 123456789",
            "ibid_info{version=\"1.2.3\",cache_dir=\"/srv/cache/ibid\"} 1",
        ] {
            assert!(text.lines().any(|known| known == line), "{line}: {text}");
        }
        let names = |prefix: &str| -> Vec<String> {
            let words = text.lines().filter_map(|line| line.strip_prefix(prefix));
            words.filter_map(|rest| rest.split(' ').next().map(str::to_owned)).collect()
        };
        assert_eq!(names("# HELP "), names("# TYPE "));
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            let (name, value) = line.rsplit_once(' ').expect("a value");
            let family = name.split('{').next().expect("a name");
            assert!(names("# TYPE ").iter().any(|known| known == family), "{line}");
            assert!(value.parse::<f64>().is_ok(), "{line}");
        }
        let odd = printed(formats::prometheus, &json!({ "cache_dir": "/a\"b\\c\nd" }));
        assert!(odd.contains(r#"cache_dir="/a\"b\\c\nd""#), "{odd}");
    }

    #[test]
    fn as_sccache_shows_it() {
        let text = printed(formats::sccache, &full());
        let expected = "\
Compile requests                   2468
Compile requests executed          2441
Cache hits                         2134
Cache misses                        300
Cache hits rate                   87.67 %
Cache read errors                     1
Cache write errors                    0
Compilations                        307
Compilation failures                  7
Non-cacheable compilations            4
Non-cacheable calls                  14
Non-compilation calls                12
Unsupported compiler calls            1

Non-cacheable reasons:
link                                 12
no_working_directory                  2
observation_incomplete                1
query                                12
unknown_tool                          1
used_time                             3

Cache location                  Local disk: \"/srv/cache/ibid\"
Version (client)                1.2.3
Cache size                          117 MiB
Max cache size                     9536 MiB
";
        assert_eq!(text, expected);
        // By language only where that is known of all calls.
        let mut all = full();
        all["tool_failures"] = json!(0);
        all["invocation_hits"] = json!(2066);
        all["passed_through"] = json!({ "query": 41 });
        let text = printed(formats::sccache, &all);
        for line in [
            "Cache hits                         2100",
            "Cache hits (C/C++)                  400",
            "Cache hits (Rust)                  1700",
            "Cache misses (C/C++)                100",
            "Cache hits rate (Rust)            89.47 %",
        ] {
            assert!(text.lines().any(|known| known == line), "{line}: {text}");
        }
    }
}
