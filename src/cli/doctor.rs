//! `ibid doctor [-v] [--quick] [--json]`: whether compiles are cached here, what is wrong, and what to do about it.
//!
//! What fails keeps everything from being cached, or is a setting that is refused; what warns costs something; what is noted
//! is only not set up. Nothing is changed. Read next: `doctor/`, `wrapper/tryout.rs`.

mod builds;
mod layer;
mod place;
mod remotes;
mod self_test;
mod tools;

use std::io::{self, IsTerminal, Write};

use serde_json::json;

use super::args::Doctor;
use super::texts::{plural, wrapped};
use crate::config::{self, Config, Log, Observer, Share, distance};
use crate::env;
use crate::shm::clock;
use crate::store::Store;
use crate::store::audits::differing;
use crate::store::verdicts::{DISTRUST_S_MAX, Verdict, Verdicts};
use crate::wrapper;

/// How good a finding is, the worst first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Mark {
    /// Nothing can be cached.
    Fail,
    /// A setting that is refused; its default holds.
    Refused,
    Warn,
    Note,
    Ok,
}

/// What was looked at; what was found, and what to do about it.
struct Finding {
    mark: Mark,
    what: &'static str,
    found: String,
    to_do: Option<String>,
}

impl Mark {
    fn name(self) -> &'static str {
        match self {
            Mark::Fail | Mark::Refused => "fail",
            Mark::Warn => "warn",
            Mark::Note => "note",
            Mark::Ok => "ok",
        }
    }
}

fn finding(mark: Mark, what: &'static str, found: impl Into<String>) -> Finding {
    Finding { mark, what, found: found.into(), to_do: None }
}

impl Finding {
    fn advise(self, to_do: impl Into<String>) -> Finding {
        Finding { to_do: Some(to_do.into()), ..self }
    }
}

/// Looks at everything; 1 if nothing can be cached or a setting is refused.
pub fn run(asked: &Doctor, stdout: &mut dyn Write) -> io::Result<u8> {
    let config = config::load();
    let opened = Store::open_configured(&config);
    let mut findings = settings(&config);
    findings.extend(place::directory(&config, &opened));
    if let Ok(store) = &opened {
        findings.extend(place::shared_memory(store));
        findings.extend(layer::layer(&config, store));
    }
    findings.push(binary());
    findings.extend(opened.iter().flat_map(observers));
    findings.extend(opened.iter().filter_map(audits));
    findings.push(file_times());
    findings.extend(remotes::all(&config));
    let compilers = tools::found();
    findings.extend(tools::compilers(&compilers));
    findings.extend(tools::links(&compilers));
    let works = findings.iter().all(|finding| finding.mark != Mark::Fail);
    if works && !asked.quick {
        findings.extend(self_test::compilers(&config, compilers));
    }
    findings.extend(builds::all(&config));

    let has = |mark| findings.iter().any(|finding| finding.mark == mark);
    let (can_cache, is_refused) = (!has(Mark::Fail), has(Mark::Refused));
    let verdict = match findings.iter().map(|finding| finding.mark).min() {
        Some(Mark::Fail) => "Nothing is cached here.",
        Some(Mark::Refused) => "Compiles are cached, but a setting is refused.",
        Some(Mark::Warn) => "Compiles are cached. What costs something:",
        Some(Mark::Note) => "Compiles are cached. What is not set up:",
        Some(Mark::Ok) | None => "Compiles are cached, and all is well.",
    };
    if asked.json {
        let line = |f: &Finding| json!({ "mark": f.mark.name(), "what": f.what, "found": f.found, "do": f.to_do });
        let findings: Vec<_> = findings.iter().map(line).collect();
        let all = json!({ "verdict": verdict, "can_cache": can_cache, "findings": findings });
        writeln!(stdout, "{all:#}")?;
    } else {
        writeln!(stdout, "{verdict}")?;
        if asked.verbose {
            details(findings, io::stdout().is_terminal(), stdout)?;
        } else {
            summary(findings, stdout)?;
        }
    }
    Ok(u8::from(!can_cache || is_refused))
}

/// Whether a result of another directory was found to be wrong in this one.
fn audits(store: &Store) -> Option<Finding> {
    let classes = differing(store.directory());
    let classes_text = plural(classes, "kind of command", "kinds of commands");
    let found = format!("{classes_text} gave other bytes in another directory");
    let to_do = "their results serve one directory only; please report the options";
    (classes > 0).then(|| finding(Mark::Warn, "directories", found).advise(to_do))
}

/// Each finding in a line of its own, the worst first, otherwise in the order in which things were looked at. On a terminal
/// long lines go on below what was found.
fn details(
    mut findings: Vec<Finding>,
    is_terminal: bool,
    stdout: &mut dyn Write,
) -> io::Result<()> {
    findings.sort_by_key(|finding| finding.mark);
    for Finding { mark, what, found, to_do } in &findings {
        let to_do = to_do.as_ref().map_or_else(String::new, |to_do| format!("; {to_do}"));
        let text = format!("{found}{to_do}");
        let lines =
            if is_terminal { wrapped(text.split_whitespace(), DETAIL_INDENT) } else { vec![text] };
        let head = format!("{:<INDENT$}{what:<16} ", mark.name());
        for (at, line) in lines.iter().enumerate() {
            writeln!(stdout, "{:<DETAIL_INDENT$}{line}", if at == 0 { &head } else { "" })?;
        }
    }
    Ok(())
}

/// How many lines a page of a terminal has.
const LINES: usize = 24;
/// What stands before each line of a finding.
const INDENT: usize = 6;
/// What stands before what was found, among the details.
const DETAIL_INDENT: usize = INDENT + 17;

/// What is not as it should be, the worst first, on one page of a terminal.
fn summary(mut findings: Vec<Finding>, stdout: &mut dyn Write) -> io::Result<()> {
    // Where nothing can be cached, nothing has to be set up.
    let is_hopeless = findings.iter().any(|finding| finding.mark == Mark::Fail);
    let least = if is_hopeless { Mark::Warn } else { Mark::Note };
    findings.retain(|finding| finding.mark <= least);
    findings.sort_by_key(|finding| finding.mark);
    // The verdict, a blank line, the last two lines, and the line of a prompt.
    let mut left = LINES - 5;
    let mut shown = 0;
    if !findings.is_empty() {
        writeln!(stdout)?;
    }
    for Finding { mark, what, found, to_do } in &findings {
        let of = |text: String| wrapped(text.split_whitespace(), INDENT);
        let mut lines = of(format!("{what}: {found}"));
        lines.extend(to_do.iter().flat_map(|to_do| of(format!("-> {to_do}"))));
        if lines.len() > left && shown > 0 {
            break;
        }
        left = left.saturating_sub(lines.len());
        shown += 1;
        for (at, line) in lines.iter().enumerate() {
            let mark = if at == 0 { mark.name() } else { "" };
            writeln!(stdout, "{mark:<INDENT$}{line}")?;
        }
    }
    let all = "ll that was looked at: `ibid doctor -v`.";
    match findings.len() - shown {
        0 => writeln!(stdout, "\nA{all}"),
        more => writeln!(stdout, "\n{more} more, and a{all}"),
    }
}

fn settings(config: &Config) -> Vec<Finding> {
    let refused = |problem: &String| {
        finding(Mark::Refused, "settings", problem.as_str()).advise("until then it is ignored")
    };
    let mut findings: Vec<_> = config.problems.iter().map(refused).collect();
    if config.disable {
        let found = finding(Mark::Fail, "settings", "`disable` is on: every compile just runs");
        findings.push(found.advise("unset IBID_DISABLE, or `ibid config unset disable`"));
    }
    if config.observer == Observer::Off {
        let found = "`observer` is off: nothing is watched, so nothing is cached";
        let found = finding(Mark::Fail, "settings", found);
        findings.push(found.advise("unset IBID_OBSERVER, or `ibid config unset observer`"));
    }
    if config.readonly {
        let found = finding(Mark::Warn, "settings", "`readonly` is on: nothing is stored");
        findings.push(found.advise("unset IBID_READONLY, or `ibid config unset readonly`"));
    }
    if config.recache {
        let found = finding(Mark::Warn, "settings", "`recache` is on: nothing is a hit");
        findings.push(found.advise("unset IBID_RECACHE, or `ibid config unset recache`"));
    }
    if config.share == Share::Group && env::get(env::IBID_SHARE).is_none() {
        let found = finding(Mark::Warn, "settings", "`share` is on in the settings file only");
        findings.push(found.advise("hits are faster with IBID_SHARE=group in the environment"));
    }
    findings.extend(config.log.as_ref().and_then(log));
    findings.extend(not_there(config));
    findings.extend(unknown_variables());
    if findings.is_empty() {
        let file = config.config_path.as_deref().filter(|path| path.exists());
        let none = || "no file, defaults and environment".to_owned();
        let found = file.map_or_else(none, |file| file.display().to_string());
        findings.push(finding(Mark::Ok, "settings", found));
    }
    findings.extend(config.project.iter().map(|project| {
        finding(Mark::Ok, "settings", format!("of this project: {}", project.path.display()))
    }));
    findings
}

/// A log that cannot be written: compiles say nothing of it.
fn log(log: &Log) -> Option<Finding> {
    let Log::File(path) = log else { return None };
    let why = match path.parent() {
        _ if path.is_dir() => "is a directory",
        Some(parent) if !parent.is_dir() => "is in a directory that is not there",
        _ => return None,
    };
    let found = finding(Mark::Warn, "settings", format!("the log {} {why}", path.display()));
    Some(found.advise("set IBID_LOG to `stderr` or to a file that can be written"))
}

/// A root, or a settings file of a name that was set, that is not there.
fn not_there(config: &Config) -> Vec<Finding> {
    let root = config.root.iter().filter(|root| !root.is_dir()).map(|root| {
        let found = format!("the root {} is no directory, and stands for nothing", root.display());
        finding(Mark::Warn, "settings", found).advise("set IBID_ROOT to the project's directory")
    });
    let named = config.config_path.iter().filter(|_| env::get_nonempty(env::IBID_CONFIG).is_some());
    let file = named.filter(|path| !path.exists()).map(|path| {
        let found = format!("the settings file {} is not there", path.display());
        finding(Mark::Warn, "settings", found).advise("make it, or unset IBID_CONFIG")
    });
    root.chain(file).collect()
}

/// Variables with our prefix that no part of ibid reads; those that begin as these are the tests'.
fn unknown_variables() -> Vec<Finding> {
    const SLIPS_MAX: usize = 2;
    const OF_TESTS: [&str; 2] = ["IBID_TEST_", "IBID_HUNT_"];
    let warn = |(name, _): (std::ffi::OsString, _)| {
        let name = name.to_str()?;
        let known = env::VARIABLES.iter().min_by_key(|known| distance(name, known))?;
        let slips = distance(name, known);
        let is_ours =
            name.starts_with("IBID_") && !OF_TESTS.iter().any(|its| name.starts_with(its));
        let advice = match slips {
            0 => return None,
            1..=SLIPS_MAX => format!("is it {known}?"),
            _ if is_ours => "unset it; `ibid config` lists all that there are".to_owned(),
            _ => return None,
        };
        let found = format!("{name} is no setting of ibid's");
        Some(finding(Mark::Warn, "settings", found).advise(advice))
    };
    env::all_with_prefix("IBID").into_iter().filter_map(warn).collect()
}

fn binary() -> Finding {
    if cfg!(ibid_entry) {
        return finding(Mark::Ok, "binary", "static, with an entry of its own");
    }
    finding(Mark::Warn, "binary", "not static: hits take longer")
        .advise("build it in its own checkout, without RUSTFLAGS")
}

/// Where no observer works nothing is stored.
fn observers(store: &Store) -> Vec<Finding> {
    let tried = wrapper::observers(store);
    let is_hopeless = tried.iter().all(|tried| tried.works == Some(false));
    let mark = |works| match works {
        Some(true) => Mark::Ok,
        _ if is_hopeless => Mark::Fail,
        _ => Mark::Warn,
    };
    let line = |tried: &wrapper::Tried| {
        finding(mark(tried.works), "observer", format!("{}: {}", tried.observer, tried.said))
    };
    let known = Verdicts::read(store.directory());
    let known = known.current();
    let programs = known.iter().map(|(verdict, age_s)| program(verdict, *age_s));
    tried.iter().map(line).chain(programs).collect()
}

/// One that costs something is a warning, with how to be rid of it.
fn program(known: &Verdict, age_s: u64) -> Finding {
    const DAY_S: u64 = 24 * 60 * 60;
    let Verdict { image, trust, reason, scope, .. } = known;
    let of = if scope.part.is_empty() { "" } else { " (some commands)" };
    let found = format!("{}{of} by {}: {reason}", image.display(), trust.name());
    if !trust.is_slow() {
        return finding(Mark::Ok, "program", found);
    }
    let days = DISTRUST_S_MAX.saturating_sub(age_s).div_ceil(DAY_S);
    let days = plural(days, "day", "days");
    let advice = format!("its misses take longer for up to {days}; `ibid clear` ends that now");
    finding(Mark::Warn, "program", found).advise(advice)
}

fn file_times() -> Finding {
    if clock::kernel_has_fine_times() {
        return finding(Mark::Ok, "file times", "fine-grained");
    }
    let found =
        "change in ticks (Linux before 6.13): what is compiled right after an edit is not stored";
    finding(Mark::Note, "file times", found)
}

#[cfg(test)]
mod tests {
    use super::{Mark, details, finding, summary};

    #[test]
    fn details_begin_with_the_worst() {
        let findings = || {
            let cargo = finding(Mark::Note, "cargo", "no wrapper is set, so rustc is not cached");
            vec![
                finding(Mark::Ok, "settings", "no file, defaults and environment"),
                cargo.advise("export RUSTC_WRAPPER=ibid, or `ibid install --cargo`"),
                finding(Mark::Warn, "compiler", "none is on PATH"),
            ]
        };
        let printed = |is_terminal| {
            let mut out = Vec::new();
            details(findings(), is_terminal, &mut out).expect("a Vec");
            String::from_utf8(out).expect("text")
        };
        let on_a_terminal = "\
warn  compiler         none is on PATH
note  cargo            no wrapper is set, so rustc is not cached; export
                       RUSTC_WRAPPER=ibid, or `ibid install --cargo`
ok    settings         no file, defaults and environment
";
        assert_eq!(printed(true), on_a_terminal);
        assert_eq!(printed(false).lines().count(), 3);
    }

    #[test]
    fn a_page_is_never_more_than_a_terminal() {
        for count in 0..40 {
            let mark = |at| if at % 2 == 0 { Mark::Warn } else { Mark::Fail };
            let findings =
                (0..count).map(|at| finding(mark(at), "what", "found ".repeat(20)).advise("this"));
            let mut out = Vec::new();
            summary(findings.collect(), &mut out).expect("a Vec");
            let text = String::from_utf8(out).expect("text");
            assert!(text.lines().count() < 24, "{text}");
            assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
            assert!(count == 0 || text.contains("fail") || count == 1, "{text}");
        }
    }
}
