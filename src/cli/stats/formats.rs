//! The figures of `ibid stats` for programs and people who know another form of them.
//!
//! Sources: Prometheus' text exposition format 0.0.4; the lines of `sccache --show-stats`.

use std::io::{self, Write};

use serde_json::Value;

use super::{calls, hits, kinds, number, total};

/// Figures that are one number: its name there, its name here, what it is, and whether it only grows.
const SINGLE: &[(&str, &str, &str, bool)] = &[
    ("ibid_misses_total", "misses", "Compiles that ran and succeeded.", true),
    ("ibid_stored_total", "stored", "Results that were stored.", true),
    ("ibid_tool_failures_total", "tool_failures", "Compiles that failed.", true),
    ("ibid_evictions_total", "evictions", "Segments that were evicted.", true),
    ("ibid_records", "records", "Records in the cache.", false),
    ("ibid_blobs", "blobs", "Blobs in the cache.", false),
    ("ibid_size_bytes", "bytes_used", "What the cache takes on the disk.", false),
    ("ibid_size_max_bytes", "bytes_max", "What the cache may take.", false),
];

/// Those that are counted by a reason.
const BY_REASON: &[(&str, &str, &str)] = &[
    ("ibid_not_stored_total", "not_stored", "Results that were not stored."),
    ("ibid_passed_through_total", "passed_through", "Calls without a look-up."),
    ("ibid_internal_errors_total", "internal_errors", "What did not work in the cache."),
];

/// Prometheus' text format.
pub fn prometheus(figures: &Value, out: &mut dyn Write) -> io::Result<()> {
    let head = |out: &mut dyn Write, name: &str, help: &str, grows: bool| {
        let kind = if grows { "counter" } else { "gauge" };
        writeln!(out, "# HELP {name} {help}\n# TYPE {name} {kind}")
    };
    head(out, "ibid_hits_total", "Compiles that were served from the cache.", true)?;
    for (kind, name) in [("direct", "invocation_hits"), ("content", "portable_hits")] {
        writeln!(out, "ibid_hits_total{{kind=\"{kind}\"}} {}", number(figures, name))?;
    }
    for (there, here, help, grows) in SINGLE {
        head(out, there, help, *grows)?;
        writeln!(out, "{there} {}", number(figures, here))?;
    }
    for (there, here, help) in BY_REASON {
        head(out, there, help, true)?;
        for (reason, count) in figures[here].as_object().into_iter().flatten() {
            writeln!(out, "{there}{{reason=\"{}\"}} {count}", label(reason))?;
        }
    }
    let saved = "ibid_time_saved_seconds_total";
    head(out, saved, "How long the tools would have run.", true)?;
    let ms = number(figures, "time_saved_ms");
    writeln!(out, "{saved} {}.{:03}", ms / 1000, ms % 1000)?;
    head(out, "ibid_info", "The version and the place of the cache.", false)?;
    let text = |name: &str| label(figures[name].as_str().unwrap_or_default());
    let (version, cache_dir) = (text("version"), text("cache_dir"));
    writeln!(out, "ibid_info{{version=\"{version}\",cache_dir=\"{cache_dir}\"}} 1")
}

/// The value of a label.
fn label(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

/// sccache's name of a language, and the names here.
const SCCACHE_LANGUAGES: &[(&str, &[&str])] = &[
    ("Assembler", &["assembler"]),
    ("C/C++", &["C", "C++", "Objective-C", "Objective-C++"]),
    ("Rust", &["Rust"]),
];

/// What readers of `sccache --show-stats` look for: its lines that have a counterpart here.
pub fn sccache(figures: &Value, out: &mut dyn Write) -> io::Result<()> {
    let number = |name: &str| number(figures, name);
    let reason = |kind: &str, name: &str| figures[kind][name].as_u64().unwrap_or(0);
    let (hits, misses) = (hits(figures), number("misses"));
    let executed = hits + misses + number("tool_failures");
    let passed = total(figures, "passed_through");
    let questions = reason("passed_through", "query");
    let unknown = reason("passed_through", "unknown_tool");
    let ran = executed - hits - number("failure_hits").min(number("tool_failures"));
    let languages = languages(figures);
    let line = |out: &mut dyn Write, name: &str, count: u64| writeln!(out, "{name:<30} {count:>8}");
    line(out, "Compile requests", executed + passed)?;
    line(out, "Compile requests executed", executed)?;
    line(out, "Cache hits", hits)?;
    for (name, hits, _) in &languages {
        line(out, &format!("Cache hits ({name})"), *hits)?;
    }
    line(out, "Cache misses", misses)?;
    for (name, _, misses) in &languages {
        line(out, &format!("Cache misses ({name})"), *misses)?;
    }
    rate(out, "Cache hits rate", hits, misses)?;
    for (name, hits, misses) in &languages {
        rate(out, &format!("Cache hits rate ({name})"), *hits, *misses)?;
    }
    line(out, "Cache read errors", reason("internal_errors", "corrupt"))?;
    line(out, "Cache write errors", reason("not_stored", "store_failed"))?;
    line(out, "Compilations", ran)?;
    line(out, "Compilation failures", number("tool_failures"))?;
    line(out, "Non-cacheable compilations", total(figures, "not_stored"))?;
    line(out, "Non-cacheable calls", passed.saturating_sub(questions + unknown))?;
    line(out, "Non-compilation calls", questions)?;
    line(out, "Unsupported compiler calls", unknown)?;
    let reasons = ["not_stored", "passed_through"].map(|kind| figures[kind].as_object());
    let mut reasons: Vec<_> = reasons.into_iter().flatten().flatten().collect();
    reasons.sort_unstable_by_key(|(name, _)| *name);
    if !reasons.is_empty() {
        writeln!(out, "\nNon-cacheable reasons:")?;
    }
    for (name, count) in reasons {
        line(out, name, count.as_u64().unwrap_or(0))?;
    }
    let text = |name: &str| figures[name].as_str().unwrap_or_default().to_owned();
    writeln!(out, "\n{:<31} Local disk: {:?}", "Cache location", text("cache_dir"))?;
    writeln!(out, "{:<31} {}", "Version (client)", text("version"))?;
    for (name, figure) in [("Cache size", "bytes_used"), ("Max cache size", "bytes_max")] {
        writeln!(out, "{name:<30} {:>8} MiB", number(figure) >> 20)?;
    }
    Ok(())
}

fn rate(out: &mut dyn Write, name: &str, hits: u64, misses: u64) -> io::Result<()> {
    let rate = (hits * 10_000).checked_div(hits + misses).unwrap_or(0);
    writeln!(out, "{name:<30} {:>5}.{:02} %", rate / 100, rate % 100)
}

/// Hits and misses of sccache's languages; none where not all calls that are counted are known one by one.
fn languages(figures: &Value) -> Vec<(&'static str, u64, u64)> {
    let spans = kinds::spans(figures, "by_language");
    if spans.iter().map(calls).sum::<u64>() != calls(figures) {
        return Vec::new();
    }
    let sum = |names: &[&str], figure: fn(&Value) -> u64| -> u64 {
        let is_it = |span: &&Value| names.iter().any(|name| span["name"] == *name);
        spans.iter().filter(is_it).map(figure).sum()
    };
    let of = |(name, ours): &(&'static str, &[&str])| {
        (*name, sum(ours, hits), sum(ours, |span| number(span, "misses")))
    };
    SCCACHE_LANGUAGES.iter().map(of).filter(|(_, hits, misses)| hits + misses > 0).collect()
}
