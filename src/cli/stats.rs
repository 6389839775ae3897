//! `ibid stats`: what the counters say and what the cache holds, as text or as one JSON object.

use std::io::{self, Write};
use std::path::Path;

use serde_json::{Map, Value, json};

use super::args::Stats;
use crate::config::{self, Config};
use crate::error::StoreError;
use crate::outcome::{InternalError, NotStored, PassReason};
use crate::shm::counters::Counter;
use crate::store::Store;

/// Shows, and with `--zero` resets afterwards.
pub fn run(asked: &Stats, stdout: &mut dyn Write, stderr: &mut dyn Write) -> io::Result<u8> {
    let config = config::load();
    let opened = Store::open_configured(&config);
    if let Err(error) = &opened {
        writeln!(stderr, "ibid: nothing is cached: {error}")?;
    }
    let figures = figures(&opened, &config);
    if asked.json {
        writeln!(stdout, "{figures:#}")?;
    } else {
        show(&figures, stdout)?;
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
    let (records, blobs) = store.map_or((0, 0), Store::count_entries);
    json!({
        "version": env!("CARGO_PKG_VERSION"),
        "cache_dir": config.cache_dir.as_deref().unwrap_or(Path::new("")).to_string_lossy(),
        "invocation_hits": sum(Counter::INVOCATION_HITS),
        "portable_hits": sum(Counter::PORTABLE_HITS),
        "misses": sum(Counter::MISSES),
        "stored": sum(Counter::STORED),
        "not_stored": reasons(&not_stored),
        "passed_through": reasons(&passed),
        "tool_failures": sum(Counter::TOOL_FAILURES),
        "internal_errors": errors,
        "evictions": sum(Counter::EVICTIONS),
        "records": records,
        "blobs": blobs,
        "bytes_used": store.map_or(0, Store::bytes_used),
        "bytes_max": config.max_size_bytes,
        "time_saved_ms": sum(Counter::TIME_SAVED_US) / 1000,
    })
}

fn show(figures: &Value, out: &mut dyn Write) -> io::Result<()> {
    let number = |name: &str| figures[name].as_u64().unwrap_or(0);
    let (direct, by_content, misses) =
        (number("invocation_hits"), number("portable_hits"), number("misses"));
    let cacheable = direct + by_content + misses;
    let share = |part: u64| {
        (part * 100).checked_div(cacheable).map_or(String::new(), |share| format!("  ({share} %)"))
    };
    writeln!(out, "cache directory    {}", figures["cache_dir"].as_str().unwrap_or(""))?;
    writeln!(out, "hits               {}{}", direct + by_content, share(direct + by_content))?;
    writeln!(out, "  direct           {direct}")?;
    writeln!(out, "  by content       {by_content}")?;
    writeln!(out, "misses             {misses}{}", share(misses))?;
    writeln!(out, "  stored           {}", number("stored"))?;
    show_reasons(&figures["not_stored"], "  not stored       ", out)?;
    show_reasons(&figures["passed_through"], "passed through     ", out)?;
    writeln!(out, "failed compiles    {}", number("tool_failures"))?;
    show_reasons(&figures["internal_errors"], "internal errors    ", out)?;
    writeln!(out, "time saved         {} s", number("time_saved_ms") / 1000)?;
    let (used, max) = (number("bytes_used"), number("bytes_max"));
    writeln!(out, "size               {} of {}", bytes(used), bytes(max))?;
    writeln!(out, "records, blobs     {}, {}", number("records"), number("blobs"))
}

/// A line with the sum, and one for each reason; nothing where the sum is zero.
fn show_reasons(reasons: &Value, title: &str, out: &mut dyn Write) -> io::Result<()> {
    let Some(reasons) = reasons.as_object().filter(|reasons| !reasons.is_empty()) else {
        return Ok(());
    };
    let sum: u64 = reasons.values().filter_map(Value::as_u64).sum();
    writeln!(out, "{title}{sum}")?;
    for (name, count) in reasons {
        writeln!(out, "    {:<18} {count}", name.replace('_', " "))?;
    }
    Ok(())
}

/// A number of bytes for a person.
pub fn bytes(count: u64) -> String {
    const UNITS: [&str; 4] = ["B", "kB", "MB", "GB"];
    let mut unit = 0;
    let mut scaled = count;
    while scaled >= 10_000 && unit + 1 < UNITS.len() {
        scaled /= 1000;
        unit += 1;
    }
    format!("{scaled} {}", UNITS[unit])
}
