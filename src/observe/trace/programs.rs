//! Which programs the tool tree ran, and whether each of them reported in when it began and when it ended.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::observe::shim::log::{Event, What};

/// Which programs were run, and whether each of them reported in and out.
pub struct Programs {
    /// Their images, in the order of their starts.
    pub images: Vec<PathBuf>,
    /// How often each was started.
    pub starts: BTreeMap<PathBuf, usize>,
    /// The first that did not report, in words.
    pub missing: Option<String>,
    /// The first that reported in and did not report its end: a signal killed it.
    pub killed: Option<PathBuf>,
}

#[derive(Default)]
struct Process<'a> {
    parent: u32,
    starts: usize,
    /// Programs that this process was to become, by exec or as a spawned child.
    expected: Vec<&'a Path>,
    /// Shells that libc started as its children.
    shells: usize,
    image: Option<&'a Path>,
    ended: bool,
}

impl Programs {
    /// Those of a log.
    pub fn of(events: &[Event]) -> Programs {
        let mut processes: BTreeMap<u32, Process> = BTreeMap::new();
        let mut images: Vec<PathBuf> = Vec::new();
        let mut starts: BTreeMap<PathBuf, usize> = BTreeMap::new();
        for Event { pid, what } in events {
            let process = processes.entry(*pid).or_default();
            match what {
                What::Start { image, parent, .. } => {
                    process.starts += 1;
                    process.parent = *parent;
                    process.image = Some(image);
                    process.ended = false;
                    *starts.entry(image.clone()).or_default() += 1;
                    if !images.contains(image) {
                        images.push(image.clone());
                    }
                }
                What::Exec { path } => {
                    process.expected.push(path);
                    process.ended = true;
                }
                What::ExecFailed { .. } => {
                    process.expected.pop();
                    process.ended = false;
                }
                What::Exit => process.ended = true,
                What::Shell { .. } => process.shells += 1,
                What::Spawn { path, child } => {
                    processes.entry(*child).or_default().expected.push(path);
                }
                _ => {}
            }
        }
        let is_killed = |process: &&Process| process.image.is_some() && !process.ended;
        let killed = processes.values().find(is_killed).and_then(|process| process.image);
        let killed = killed.map(Path::to_path_buf);
        Programs { missing: missing(events, &processes), images, starts, killed }
    }
}

fn missing(events: &[Event], processes: &BTreeMap<u32, Process>) -> Option<String> {
    if !events.iter().any(|event| matches!(event.what, What::Start { .. })) {
        return Some("the tool did not report in".to_owned());
    }
    for (pid, process) in processes {
        if process.starts < process.expected.len() {
            let path = process.expected.last().map_or(Path::new("?"), |path| *path);
            return Some(format!("program {} did not report in", path.display()));
        }
        let is_child =
            |child: &&Process| child.parent == *pid && child.starts > child.expected.len();
        if process.shells > processes.values().filter(is_child).count() {
            return Some("program /bin/sh did not report in".to_owned());
        }
        if let (Some(image), false) = (process.image, process.ended) {
            return Some(format!("program {} did not report its end", image.display()));
        }
    }
    None
}
