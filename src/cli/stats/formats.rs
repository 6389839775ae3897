//! The figures of `ibid stats` for programs and people who know another form of them.
//!
//! Sources: Prometheus' text exposition format 0.0.4; the lines of `sccache --show-stats`.

use std::io::{self, Write};

use serde_json::Value;

use super::{hit_rate, number, total};

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

/// What readers of `sccache --show-stats` look for: its lines that have a counterpart here.
pub fn sccache(figures: &Value, out: &mut dyn Write) -> io::Result<()> {
    let number = |name: &str| number(figures, name);
    let reason = |kind: &str, name: &str| figures[kind][name].as_u64().unwrap_or(0);
    let hits = number("invocation_hits") + number("portable_hits");
    let executed = hits + number("misses") + number("tool_failures");
    let passed = total(figures, "passed_through");
    let questions = reason("passed_through", "query");
    let unknown = reason("passed_through", "unknown_tool");
    let mut line = |name: &str, count: u64| writeln!(out, "{name:<30} {count:>8}");
    line("Compile requests", executed + passed)?;
    line("Compile requests executed", executed)?;
    line("Cache hits", hits)?;
    line("Cache misses", number("misses"))?;
    let rate = hit_rate(figures).unwrap_or(0);
    writeln!(out, "{:<30} {:>6}.{} %", "Cache hits rate", rate / 10, rate % 10)?;
    let mut line = |name: &str, count: u64| writeln!(out, "{name:<30} {count:>8}");
    line("Cache read errors", reason("internal_errors", "corrupt"))?;
    line("Cache write errors", reason("not_stored", "store_failed"))?;
    line("Compilation failures", number("tool_failures"))?;
    line("Non-cacheable compilations", total(figures, "not_stored"))?;
    line("Non-cacheable calls", passed - questions - unknown)?;
    line("Non-compilation calls", questions)?;
    line("Unsupported compiler calls", unknown)?;
    let reasons = ["not_stored", "passed_through"].map(|kind| figures[kind].as_object());
    let mut reasons: Vec<_> = reasons.into_iter().flatten().flatten().collect();
    reasons.sort_unstable_by_key(|(name, _)| *name);
    if !reasons.is_empty() {
        writeln!(out, "\nNon-cacheable reasons:")?;
    }
    for (name, count) in reasons {
        writeln!(out, "{name:<30} {:>8}", count.as_u64().unwrap_or(0))?;
    }
    let text = |name: &str| figures[name].as_str().unwrap_or_default().to_owned();
    writeln!(out, "\n{:<31} Local disk: {:?}", "Cache location", text("cache_dir"))?;
    writeln!(out, "{:<31} {}", "Version (client)", text("version"))?;
    for (name, figure) in [("Cache size", "bytes_used"), ("Max cache size", "bytes_max")] {
        writeln!(out, "{name:<30} {:>8} MiB", number(figure) >> 20)?;
    }
    Ok(())
}
