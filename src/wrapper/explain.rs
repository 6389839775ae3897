//! What `ibid explain` says: would this command be a hit, and if not, what differs first? It runs and stores nothing.

use std::ffi::{CStr, OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use super::{ARENA_BYTES, Invocation, Request, content_lookup};
use crate::compilers::Decision;
use crate::env;
use crate::outcome::PassReason;
use crate::probe;
use crate::probe::command::{Call, Command, has_source};
use crate::probe::judge::{By, Difference};
use crate::shm::layout::Kind;
use crate::shm::start::start_from;
use crate::store::Store;

/// What `ibid explain` has to say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explanation {
    /// Whether the command would be a hit.
    pub is_hit: bool,
    /// Why, in one line.
    pub because: String,
}

/// Says whether a command would be a hit, and if not, what differs first from the nearest record.
pub fn explain(words: Vec<OsString>) -> Explanation {
    let miss = |because: String| Explanation { is_hit: false, because };
    let start = start_from([OsString::from("ibid")].into_iter().chain(words), env::all());
    let Some(call) = Call::read(&start) else { return miss("no tool is named".into()) };
    let invocation = match Invocation::find(start, call) {
        Ok(invocation) => invocation,
        Err(name) => return miss(format!("there is no {}", name.display())),
    };
    let passes =
        |reason: PassReason| miss(format!("this command passes through: {}", reason.name()));
    let policy = match invocation.decide() {
        Decision::Cache(policy) => policy,
        Decision::PassThrough(reason) => return passes(reason),
    };
    let store = match invocation.open_store() {
        Ok(store) => store,
        Err(error) => return miss(format!("no cache: {error}")),
    };
    let Some(mut request) = Request::new(start, call, &invocation.config) else {
        return miss("no working directory".into());
    };
    if !request.read_source(&policy).is_ok_and(|is_known| is_known) {
        return passes(PassReason::StandardInput);
    }
    let mut arena = vec![0; ARENA_BYTES];
    let Request { command, environment, .. } = &request;
    let told = probe::first_difference(&store.cache, command, environment, &mut arena, |verdict| {
        verdict.map_err(describe)
    });
    if told == Some(Ok(By::Stamps)) {
        return Explanation { is_hit: true, because: "every input has its recorded stamp".into() };
    }
    let key = request.content_key(&store, &policy);
    if told == Some(Ok(By::Content))
        || content_lookup::is_true(&store, command, environment, &key, &mut arena)
    {
        let because = "every input has its recorded content; stamps, PATH or PWD differ".into();
        return Explanation { is_hit: true, because };
    }
    match told {
        Some(Err(difference)) => miss(difference),
        _ => miss(nearest(&store, command, &mut arena)),
    }
}

/// A difference in plain words.
fn describe(difference: Difference<'_>) -> String {
    let show = |path: &CStr| OsStr::from_bytes(path.to_bytes()).display().to_string();
    match difference {
        Difference::Damaged => "the record is damaged".into(),
        Difference::Command => "another command".into(),
        Difference::Variable(name) if name.is_empty() => "the environment differs".into(),
        Difference::Variable(name) => format!("variable {} differs", show(name)),
        Difference::Input(path) => format!("file {} differs", show(path)),
        Difference::Link(path) => format!("symlink {} differs", show(path)),
        Difference::Existence(path) => format!("{} is gone or of another kind", show(path)),
        Difference::Listing(path) => format!("directory {} may have another listing", show(path)),
        Difference::Appeared(path) => format!("absence {} is no more", show(path)),
        Difference::NameIn(directory, name) => {
            let path = Path::new(OsStr::from_bytes(directory.to_bytes())).join(show(name));
            if name.to_bytes().ends_with(b"/") {
                format!("{} is gone or of another kind", path.display())
            } else {
                format!("absence {} is no more", path.display())
            }
        }
        Difference::Terminal => "the text would go to another kind of terminal or file".into(),
        Difference::Cpu => "another CPU".into(),
        Difference::StandardInput => {
            "the tool may read standard input, which is another one".into()
        }
    }
}

/// Compares with the stored command that shares the most fields.
fn nearest(store: &Store, command: &Command, arena: &mut [u8]) -> String {
    let ours: Vec<&[u8]> = probe::command::fields(command.bytes()).collect();
    let mut best: Option<(usize, String)> = None;
    store.each_entry(|entry| {
        if entry.header.kind() != Some(Kind::Record) {
            return;
        }
        let Some((record, _)) = probe::hot_part(entry, arena) else { return };
        let recorded = record.command().unwrap_or(&[]);
        let theirs: Vec<&[u8]> = probe::command::fields(recorded).collect();
        let shared = theirs.iter().filter(|field| ours.contains(field)).count();
        if best.as_ref().is_some_and(|(most, _)| *most >= shared) || theirs.get(3) != ours.get(3) {
            return;
        }
        let source = |bytes, fields: &[&[u8]]| has_source(bytes).then(|| fields.len() - 1);
        let source_at = source(command.bytes(), &ours).or_else(|| source(recorded, &theirs));
        best = Some((shared, first_other_field(&ours, &theirs, source_at)));
    });
    best.map_or_else(|| "nothing is stored for this tool".into(), |(_, difference)| difference)
}

fn first_other_field(ours: &[&[u8]], theirs: &[&[u8]], source_at: Option<usize>) -> String {
    let show = |field: Option<&&[u8]>| {
        field.map_or("nothing".into(), |field| OsStr::from_bytes(field).display().to_string())
    };
    let at = (0..ours.len().max(theirs.len())).find(|at| ours.get(*at) != theirs.get(*at));
    let what = match at {
        None => return "the umask differs".into(),
        Some(0) => "IBID_ROOT",
        Some(1) => "IBID_REMAP",
        Some(2) => "working directory",
        Some(at) if source_at.is_some_and(|source| at >= source) => {
            return "standard input differs".into();
        }
        Some(_) => "argument",
    };
    let at = at.unwrap_or(0);
    format!("{what} {} was {}", show(ours.get(at)), show(theirs.get(at)))
}
