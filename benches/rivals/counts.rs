//! What the caches' own counters say: one function for each cache reads what it prints.

use serde_json::Value;

/// What a cache says that it did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Results that came from the cache.
    pub hits: u64,
    /// Results that were made because they were not there.
    pub made: u64,
    /// Commands that were handed through.
    pub passed_through: u64,
}

impl Counts {
    /// What was added since `before`.
    pub fn since(self, before: Counts) -> Counts {
        Counts {
            hits: self.hits.saturating_sub(before.hits),
            made: self.made.saturating_sub(before.made),
            passed_through: self.passed_through.saturating_sub(before.passed_through),
        }
    }

    /// All that was counted.
    pub fn sum(self) -> u64 {
        self.hits + self.made + self.passed_through
    }
}

/// The number at a path of keys; 0 where there is none.
fn number(value: &Value, path: &str) -> u64 {
    value.pointer(path).and_then(Value::as_u64).unwrap_or(0)
}

/// The sum of all numbers of an object.
fn sum(value: &Value, path: &str) -> u64 {
    let members = value.pointer(path).and_then(Value::as_object).into_iter().flatten();
    members.filter_map(|(_, count)| count.as_u64()).sum()
}

/// What ibid prints.
pub fn of_ibid(text: &[u8]) -> Option<Counts> {
    let stats: Value = serde_json::from_slice(text).ok()?;
    Some(Counts {
        hits: number(&stats, "/invocation_hits") + number(&stats, "/portable_hits"),
        made: number(&stats, "/stored"),
        passed_through: sum(&stats, "/passed_through"),
    })
}

/// What ccache prints.
pub fn of_ccache(text: &[u8]) -> Option<Counts> {
    // What ccache counts when it gives a command to the compiler.
    const PASSED_THROUGH: &[&str] = &[
        "autoconf_test",
        "bad_compiler_arguments",
        "called_for_link",
        "called_for_preprocessing",
        "could_not_use_modules",
        "multiple_source_files",
        "no_input_file",
        "output_to_stdout",
        "unsupported_code_directive",
        "unsupported_compiler_option",
        "unsupported_source_language",
    ];
    let text = std::str::from_utf8(text).ok()?;
    let count = |name: &str| {
        let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('\t'));
        value.and_then(|value| value.trim().parse::<u64>().ok()).unwrap_or(0)
    };
    Some(Counts {
        hits: count("direct_cache_hit") + count("preprocessed_cache_hit"),
        made: count("cache_miss"),
        passed_through: PASSED_THROUGH.iter().map(|name| count(name)).sum(),
    })
}

/// What sccache prints.
pub fn of_sccache(text: &[u8]) -> Option<Counts> {
    let stats: Value = serde_json::from_slice(text).ok()?;
    let passed = [
        "/stats/requests_not_cacheable",
        "/stats/requests_not_compile",
        "/stats/requests_unsupported_compiler",
        "/stats/non_cacheable_compilations",
    ];
    Some(Counts {
        hits: sum(&stats, "/stats/cache_hits/counts"),
        made: sum(&stats, "/stats/cache_misses/counts"),
        passed_through: passed.iter().map(|path| number(&stats, path)).sum(),
    })
}

/// What zccache prints.
pub fn of_zccache(text: &[u8]) -> Option<Counts> {
    let stats: Value = serde_json::from_slice(text).ok()?;
    let count = |name: &str| number(&stats, &format!("/daemon/{name}"));
    Some(Counts {
        hits: count("cache_hits") + count("link_hits"),
        made: count("cache_misses") + count("link_misses"),
        passed_through: count("non_cacheable") + count("link_non_cacheable"),
    })
}

/// What kache prints.
pub fn of_kache(text: &[u8]) -> Option<Counts> {
    let stats: Value = serde_json::from_slice(text).ok()?;
    let report = if stats.get("report").is_some() { "/report" } else { "" };
    let count = |name: &str| number(&stats, &format!("{report}/summary/{name}"));
    Some(Counts {
        hits: count("local_hits") + count("dups"),
        made: count("misses"),
        passed_through: count("passthroughs"),
    })
}
