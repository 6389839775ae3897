//! What `ibid explain` says: would this command be a hit, and if not, what differs first? It runs and stores nothing.

use std::ffi::{CStr, OsStr, OsString};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::content_lookup::Unset;
use super::pasted::Pasted;
use super::sources::names_a_source;
use super::{ARENA_BYTES, Invocation, Request, content_lookup};
use crate::builder::search::search;
use crate::builder::search_path::is_program;
use crate::compilers::{Decision, Policy};
use crate::env;
use crate::outcome::{Cause, PassReason};
use crate::probe;
use crate::probe::command::{Call, Command, DIRECTORY, TOOL, has_source};
use crate::probe::judge::{By, Difference, Environment};
use crate::record::{self, Record};
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
    /// The name of the reason, if the command is not even looked up for one.
    pub reason: Option<&'static str>,
}

impl Explanation {
    fn hit(because: &str) -> Explanation {
        Explanation { is_hit: true, because: because.into(), reason: None }
    }

    fn miss(because: impl Into<String>) -> Explanation {
        Explanation { is_hit: false, because: because.into(), reason: None }
    }

    fn passes(reason: PassReason) -> Explanation {
        let because = "the command passes through".into();
        Explanation { is_hit: false, because, reason: Some(reason.name()) }
    }
}

/// Says whether a command would be a hit, and if not, what differs first from the nearest record. The words may be a line
/// as a build shows it: with variables and with ibid itself before the tool.
pub fn explain(words: Vec<OsString>) -> Explanation {
    let pasted = Pasted::of(words);
    let lacks_cargos = pasted.lacks_variables_of_cargo() && env::get("CARGO").is_none();
    let Pasted { directory, mut variables, words } = pasted;
    if let Some(directory) = directory {
        match enter(&directory) {
            Ok(entered) => variables.push(("PWD".into(), entered.into())),
            Err(_) => {
                return Explanation::miss(format!("there is no directory {}", directory.display()));
            }
        }
    }
    let is_set_again = |name: &OsString| variables.iter().any(|(known, _)| known == name);
    let environment = env::all().filter(|(name, _)| !is_set_again(name));
    let environment: Vec<_> = environment.chain(variables.iter().cloned()).collect();
    let start = start_from([OsString::from("ibid")].into_iter().chain(words), environment);
    let Some(call) = Call::read(&start) else { return Explanation::miss("no tool is named") };
    let invocation = match Invocation::find(start, call) {
        Ok(invocation) => invocation,
        Err(name) => return Explanation::miss(format!("there is no {}", name.display())),
    };
    if invocation.config.disable {
        return Explanation::miss("`disable` is on (IBID_DISABLE): the tool just runs");
    }
    let store = match invocation.open_store() {
        Ok(store) => store,
        Err(error) => return Explanation::miss(format!("no cache: {error}")),
    };
    explain_in(&invocation, &store, lacks_cargos)
}

/// The same of an invocation in the cache that it uses.
fn explain_in(invocation: &Invocation, store: &Store, lacks_cargos: bool) -> Explanation {
    let policy = match invocation.decide() {
        Decision::Cache(policy) => policy,
        Decision::PassThrough(reason) => return Explanation::passes(reason),
    };
    if invocation.config.recache {
        return Explanation::miss("`recache` is on (IBID_RECACHE): the tool runs, found or not");
    }
    let Some(mut request) =
        Request::new(invocation.environment.0, invocation.call, &invocation.config)
    else {
        return Explanation::passes(PassReason::NoWorkingDirectory);
    };
    request.places = invocation.places(store, &policy, &request, false);
    if !request.read_source(&policy).is_ok_and(|is_known| is_known) {
        return Explanation::passes(PassReason::StandardInput);
    }
    let mut arena = vec![0; ARENA_BYTES];
    let Request { command, environment, .. } = &request;
    let told = probe::first_difference(&store.cache, command, environment, &mut arena, |verdict| {
        verdict.map_err(describe)
    });
    let is_from_elsewhere = told.is_none();
    if !invocation.single_calls(&policy).is_empty() && !matches!(told, Some(Ok(_))) {
        return of_each_source(invocation, store, &policy, lacks_cargos);
    }
    let found = match told {
        Some(Ok((by, status))) => Some((by, status)),
        _ => invocation
            .true_by_content(store, &request.wanted(store, &policy), &mut arena)
            .map(|status| (By::Content, status)),
    };
    if let Some((by, status)) = found {
        return Explanation::hit(hit_in_words(by, status, is_from_elsewhere));
    }
    // Of stamps the first that differs may be that of a file that was only touched.
    let unset = if lacks_cargos { Unset::AsRecorded } else { Unset::Counts };
    match (first_difference_by_content(store, command, environment, unset), told) {
        (Some(Ok(())), _) if lacks_cargos => Explanation::hit(
            "(if cargo sets the variables that it set then): every input has its recorded content",
        ),
        (Some(Err(difference)), _) | (_, Some(Err(difference))) => Explanation::miss(difference),
        _ => Explanation::miss(nearest(store, command, &mut arena)),
    }
}

/// What comes of a command with several sources, each of which is looked up by itself.
fn of_each_source(
    invocation: &Invocation,
    store: &Store,
    policy: &Policy,
    lacks_cargos: bool,
) -> Explanation {
    let each = policy.single_calls.iter().map(|call| {
        let part = invocation.part(call, false, false);
        explain_in(&part, store, lacks_cargos)
    });
    let misses = policy.sources.iter().zip(each).filter(|(_, it)| !it.is_hit);
    let misses: Vec<(&PathBuf, Explanation)> = misses.collect();
    let count = policy.sources.len();
    match misses.first() {
        None => Explanation::hit("(a content hit): each of its sources is found by itself"),
        Some((source, why)) => Explanation::miss(format!(
            "{} of {count} sources must be compiled; {}: {}",
            misses.len(),
            source.display(),
            why.because
        )),
    }
}

/// By what a record is true.
fn hit_in_words(by: By, status: u8, is_from_elsewhere: bool) -> &'static str {
    match (by, status) {
        (By::Stamps, 0) => "(a direct hit): every input has its recorded stamp",
        (By::Stamps, _) => "(a direct hit of a failing run): every input has its recorded stamp",
        (By::Content, 0) if is_from_elsewhere => {
            "(a content hit): made elsewhere, or under another name; every input has its recorded content"
        }
        (By::Content, 0) => {
            "(a content hit): every input has its recorded content; stamps, PATH or PWD differ"
        }
        (By::Content, _) => {
            "(a content hit of a failing run): every input has its recorded content"
        }
    }
}

/// Goes into a directory; its path from the root on.
fn enter(directory: &Path) -> io::Result<PathBuf> {
    let directory = std::path::absolute(directory)?;
    std::env::set_current_dir(&directory)?;
    Ok(directory)
}

/// What differs by contents from the newest record of the very same command; `None` if there is none.
fn first_difference_by_content(
    store: &Store,
    command: &Command,
    environment: &Environment,
    unset: Unset,
) -> Option<Result<(), String>> {
    let describe = |judged: Result<By, Difference<'_>>| {
        judged.map(|_| ()).map_err(|difference| match difference {
            Difference::Variable(name) if name == c"PATH" => {
                found_elsewhere(store, command, environment).unwrap_or_else(|| describe(difference))
            }
            _ => describe(difference),
        })
    };
    content_lookup::first_difference(store, command, environment, unset, describe)
}

/// The first program that today's `PATH` does not find where the newest record of the very same command has it.
fn found_elsewhere(store: &Store, command: &Command, environment: &Environment) -> Option<String> {
    let key = command.direct_key();
    let (_, entry) = store.cache.records(&key).next()?;
    let searches = store.draft_of(&entry)?.searches;
    let mut programs = searches.iter().filter(|(name, _)| is_program(name));
    programs.find_map(|(name, then)| {
        let now = search(environment, OsStr::from_bytes(name.to_bytes()));
        let [name, then, now] = [name, then, &now].map(|text| text.to_string_lossy());
        match (&*then, &*now) {
            _ if then == now => None,
            ("", now) => Some(format!("`PATH` now finds `{name}`: {now}")),
            (then, "") => Some(format!("`PATH` no longer finds `{name}`, it was {then}")),
            (then, now) => Some(format!("`PATH` now finds another `{name}`: {now}, it was {then}")),
        }
    })
}

/// A difference in plain words.
fn describe(difference: Difference<'_>) -> String {
    let show = |path: &CStr| OsStr::from_bytes(path.to_bytes()).display().to_string();
    match difference {
        Difference::Damaged => "the record is damaged".into(),
        Difference::Command => "the command is another one".into(),
        Difference::Variable(name) if name.is_empty() => "the environment differs".into(),
        Difference::Variable(name) => format!("variable {} has another value", show(name)),
        Difference::Input(path) => format!("{} has changed", show(path)),
        Difference::Link(path) => format!("the target of symlink {} has changed", show(path)),
        Difference::Existence(path) => format!("{} is gone or of another kind", show(path)),
        Difference::Listing(path) => format!("directory {} may have another listing", show(path)),
        Difference::Appeared(path) => format!("{} is new: it was looked for in vain", show(path)),
        Difference::NameIn(directory, name) => {
            // That of a project's settings begins with a slash.
            let shown = show(name);
            let directory = Path::new(OsStr::from_bytes(directory.to_bytes()));
            let path = directory.join(shown.trim_start_matches('/'));
            if name.to_bytes().ends_with(b"/") {
                format!("{} is gone or of another kind", path.display())
            } else {
                format!("{} is new: it was looked for in vain", path.display())
            }
        }
        Difference::Terminal => "the text would go to another kind of terminal or file".into(),
        Difference::Cpu => "this is another CPU".into(),
        Difference::StandardInput => {
            "the tool may read standard input, which is another one".into()
        }
    }
}

/// The words of a command, as a record has them.
pub struct PastedWords<'a> {
    /// Root, remap, directory, tool.
    head: Vec<&'a [u8]>,
    args: Vec<&'a [u8]>,
    /// The digest of a source from standard input.
    source: Option<&'a [u8]>,
}

/// How many fields stand before the arguments.
const HEAD: usize = TOOL + 1;

impl<'a> PastedWords<'a> {
    /// Those in a record's command.
    pub fn of(bytes: &'a [u8]) -> PastedWords<'a> {
        let mut fields: Vec<&[u8]> = probe::command::fields(bytes).collect();
        let source = if has_source(bytes) { fields.pop() } else { None };
        let args = fields.split_off(fields.len().min(HEAD));
        PastedWords { head: fields, args, source }
    }

    /// How many words are in one of the two only; a record of another source is far away.
    pub fn distance(&self, other: &PastedWords) -> usize {
        let (new, gone) = self.differences(other);
        let heads = self.head.iter().zip(&other.head).filter(|(one, other)| one != other).count();
        let is_other = self.source_name() != other.source_name();
        new.len() + gone.len() + heads + if is_other { 1 << 20 } else { 0 }
    }

    fn source_name(&self) -> Option<&&'a [u8]> {
        self.args.iter().find(|word| names_a_source(word))
    }

    /// Whether both name the same source, in the same directory.
    fn has_source_of(&self, other: &PastedWords) -> bool {
        let is_here = self.head.get(DIRECTORY) == other.head.get(DIRECTORY);
        is_here && self.source_name().is_some() && self.source_name() == other.source_name()
    }

    /// The arguments that only these have, and those that only the others have.
    fn differences(&self, other: &PastedWords<'a>) -> (Vec<&'a [u8]>, Vec<&'a [u8]>) {
        let mut gone = other.args.clone();
        let is_new = |word: &&&'a [u8]| {
            let at = gone.iter().position(|known| known == *word);
            at.map(|at| gone.remove(at)).is_none()
        };
        let new = self.args.iter().filter(is_new).copied().collect();
        (new, gone)
    }

    /// What differs first from the `recorded` ones, as a cause and in words.
    pub fn first_difference(&self, recorded: &PastedWords) -> (Cause, String) {
        let show = |word: &[u8]| OsStr::from_bytes(word).display().to_string();
        let shown = |word: Option<&&[u8]>| match word {
            None | Some([]) => "not set".to_owned(),
            Some(word) => show(word),
        };
        let names = ["`root`", "`remap`", "the working directory", "the tool"];
        for (at, name) in names.into_iter().enumerate() {
            let (now, then) = (self.head.get(at), recorded.head.get(at));
            if now != then {
                let cause =
                    if at == DIRECTORY { Cause::OtherDirectory } else { Cause::OtherSetting };
                return (cause, format!("{name} is {}, it was {}", shown(now), shown(then)));
            }
        }
        let (new, gone) = self.differences(recorded);
        let words = match (new.first(), gone.first()) {
            (Some(new), _) if names_a_source(new) => {
                let words = format!("no such compile of {} is stored", show(new));
                return (Cause::NewSource, words);
            }
            (Some(new), Some(gone)) if is_same_option(new, gone) => {
                format!("`{}` is new, it was `{}`", show(new), show(gone))
            }
            (Some(new), _) => format!("`{}` is new", show(new)),
            (None, Some(gone)) => format!("`{}` is gone", show(gone)),
            (None, None) if self.args != recorded.args => {
                "the arguments are in another order".into()
            }
            (None, None) if self.source != recorded.source => {
                return (Cause::InputStream, "standard input differs".into());
            }
            (None, None) => {
                let words = "the umask differs, or the way in which ibid was called";
                return (Cause::OtherSetting, words.into());
            }
        };
        (Cause::NewArgument, words)
    }
}

/// Whether two words are one option with two values (`-O2` and `-O3`, `-DA=1` and `-DA=2`), or two values of one.
fn is_same_option(one: &[u8], other: &[u8]) -> bool {
    let name = |word: &[u8]| match word {
        [b'-', b'D' | b'U', ..] => word.split(|byte| *byte == b'=').next().unwrap_or(word).to_vec(),
        [b'-', b'O' | b'g', ..] => word[..2].to_vec(),
        [b'-', ..] if word.contains(&b'=') => {
            word.split(|byte| *byte == b'=').next().unwrap_or(word).to_vec()
        }
        [b'-', ..] => word.to_vec(),
        _ => Vec::new(),
    };
    name(one) == name(other)
}

/// What binds a record to its place, as the end of a sentence; empty if nothing does.
fn bound(record: &Record) -> String {
    let why = record.string(record.head.places).filter(|why| !why.is_empty());
    let is_free = record.has(record::ANYWHERE);
    why.filter(|_| !is_free).map_or_else(String::new, |why| {
        format!("; that result serves its own place only: {}", why.to_string_lossy())
    })
}

/// Compares with the nearest of all records of the tool, the newest of equals; without any, with one of the same source.
fn nearest(store: &Store, command: &Command, arena: &mut [u8]) -> String {
    /// How much farther away another tool is than another source.
    const OTHER_TOOL: usize = 1 << 30;
    let ours = PastedWords::of(command.bytes());
    let mut best: Option<(usize, String)> = None;
    store.each_entry(|entry| {
        if entry.header.kind() != Some(Kind::Record) {
            return;
        }
        let Some((record, _)) = probe::hot_part(&store.cache.segments, entry, arena) else {
            return;
        };
        let recorded = PastedWords::of(record.command().unwrap_or(&[]));
        let is_same_tool = recorded.head.get(TOOL) == ours.head.get(TOOL);
        if !is_same_tool && !ours.has_source_of(&recorded) {
            return;
        }
        let distance = ours.distance(&recorded) + if is_same_tool { 0 } else { OTHER_TOOL };
        if best.as_ref().is_none_or(|(least, _)| distance <= *least) {
            let mut difference = ours.first_difference(&recorded).1;
            if recorded.head.get(DIRECTORY) != ours.head.get(DIRECTORY) {
                difference += &bound(&record);
            }
            best = Some((distance, difference));
        }
    });
    best.map_or_else(|| "nothing is stored for this tool".into(), |(_, difference)| difference)
}

#[cfg(test)]
mod tests {
    use super::PastedWords;

    fn words<'a>(line: &'a str, source: Option<&'a [u8]>) -> PastedWords<'a> {
        let mut words = line.split(' ').map(str::as_bytes);
        let head =
            vec![&b""[..], b"", words.next().unwrap_or_default(), words.next().unwrap_or_default()];
        PastedWords { head, args: words.collect(), source }
    }

    #[test]
    fn the_first_difference_in_words() {
        for (now, then, expected) in [
            ("/p gcc -DNDEBUG -c a.c", "/p gcc -c a.c", "`-DNDEBUG` is new"),
            ("/p gcc -c a.c", "/p gcc -DNDEBUG -c a.c", "`-DNDEBUG` is gone"),
            ("/p gcc -O3 -c a.c", "/p gcc -O2 -c a.c", "`-O3` is new, it was `-O2`"),
            ("/p gcc -DA=2 -c a.c", "/p gcc -DA=1 -c a.c", "`-DA=2` is new, it was `-DA=1`"),
            ("/p gcc -Wall -c a.c", "/p gcc -g -c a.c", "`-Wall` is new"),
            ("/p gcc -c a.c -o b.o", "/p gcc -c a.c -o a.o", "`b.o` is new, it was `a.o`"),
            ("/p gcc a.c -c", "/p gcc -c a.c", "the arguments are in another order"),
            ("/p gcc -c b.c", "/p gcc -c a.c", "no such compile of b.c is stored"),
            ("/q gcc -c a.c", "/p gcc -c a.c", "the working directory is /q, it was /p"),
        ] {
            let (_, said) = words(now, None).first_difference(&words(then, None));
            assert_eq!(said, expected);
        }
        let (now, then) = (words("/p gcc -c -", Some(b"1")), words("/p gcc -c -", Some(b"2")));
        assert_eq!(now.first_difference(&then).1, "standard input differs");
    }

    #[test]
    fn the_nearest_is_of_the_same_source() {
        let now = words("/p gcc -DNDEBUG -O2 -Wall -c a.c -o a.o", None);
        let same = words("/p gcc -O2 -c a.c -o x.o", None);
        let other = words("/p gcc -DNDEBUG -O2 -Wall -c b.c -o a.o", None);
        assert!(now.distance(&same) < now.distance(&other));
    }
}
