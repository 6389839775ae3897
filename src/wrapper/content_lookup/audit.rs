//! The audit of results that come from another directory, or have other names: some of them also run the tool, and both must be the same.
//!
//! The first such hit of a class of commands is compared, and one in 64 after it. A difference ends the sharing between
//! directories for that class. Read next: `store/audits.rs`, `docs/places.md`.

use std::collections::BTreeSet;

use xxhash_rust::xxh3::{Xxh3, xxh3_64, xxh3_128};

use crate::probe::command::{Command, REMAP, TOOL, fields};
use crate::store::Store;
use crate::store::audits::{Audited, audited, note};
use crate::store::draft::Draft;

/// So many hits of a class, of which one was compared, have one more compared.
const HITS_PER_AUDIT: u64 = 64;

/// What is done with a result from another directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It is delivered.
    Serve,
    /// The tool runs, and what it makes is compared with it.
    Compare,
    /// It is not used: one of its class was not what the tool made.
    Refuse,
}

/// What is done with this record here; `may_compare` is false where a comparison cannot be noted, or says nothing.
pub fn standing(store: &Store, command: &Command, draft: &Draft, may_compare: bool) -> Standing {
    match audited(store.directory(), class(command)) {
        Audited::Differs => Standing::Refuse,
        _ if !may_compare => Standing::Serve,
        Audited::Never => Standing::Compare,
        Audited::Same if drawn(command, draft) => Standing::Compare,
        Audited::Same => Standing::Serve,
    }
}

/// The key by which processes wait for the first comparison of this command's class; `None` if one was made.
pub fn first_comparison(store: &Store, command: &Command) -> Option<[u8; 16]> {
    let class = class(command);
    let is_first = audited(store.directory(), class) == Audited::Never;
    is_first.then(|| xxh3_128(&class.to_le_bytes()).to_le_bytes())
}

/// Compares what the tool made with what another directory has; whether it is the same.
pub fn compare(store: &Store, command: &Command, elsewhere: &Draft, here: &Draft) -> bool {
    let is_same = gives(elsewhere).eq(gives(here)) && texts(elsewhere) == texts(here);
    // Failing costs a comparison more.
    let _ = note(store.directory(), class(command), is_same);
    is_same
}

fn gives(draft: &Draft) -> impl Iterator<Item = (&[u8], u32, [u8; 32], u64)> {
    draft.outputs.iter().map(|output| {
        (output.path.to_bytes(), output.mode, output.blob.digest, output.blob.len_bytes)
    })
}

fn texts(draft: &Draft) -> [Option<[u8; 32]>; 2] {
    [&draft.stdout, &draft.stderr].map(|text| text.as_ref().map(|blob| blob.digest))
}

/// Options that only say what things are called, where they are, or what the program's own code asks for.
const NAMING: [&[u8]; 8] = [
    b"--cap-lints",
    b"--cfg",
    b"--check-cfg",
    b"--crate-name",
    b"--edition",
    b"--extern",
    b"-L",
    b"-l",
];

/// Commands of one tool with the same options, in whatever order, whatever they compile: names, macros and warnings do not count. Of a
/// crate its type does.
fn class(command: &Command) -> u64 {
    let words: Vec<&[u8]> = fields(command.bytes()).skip(TOOL).collect();
    let is_name = |word: &[u8]| {
        let is_warning = word.starts_with(b"-W") && word.get(3) != Some(&b',');
        !word.starts_with(b"-")
            || is_warning
            || word.get(1).is_some_and(|letter| b"DUIoiM".contains(letter))
            || NAMING.iter().any(|option| word.starts_with(option))
    };
    let types = words.windows(2).filter(|pair| pair[0] == b"--crate-type").map(|pair| pair[1]);
    let options = words.iter().skip(1).copied().filter(|word| !is_name(word)).chain(types);
    let options: BTreeSet<&[u8]> = options.collect();
    let mut hasher = Xxh3::new();
    let is_mapped = fields(command.bytes()).nth(REMAP).unwrap_or_default();
    for word in words.first().into_iter().chain([&is_mapped]).chain(&options) {
        hasher.update(word);
        hasher.update(&[0]);
    }
    hasher.digest()
}

/// Whether this result is drawn, for this command.
fn drawn(command: &Command, draft: &Draft) -> bool {
    let of = [draft.result_key, command.direct_key()].concat();
    xxh3_64(&of).is_multiple_of(HITS_PER_AUDIT)
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;

    use super::*;
    use crate::probe::command::Call;
    use crate::probe::settings::Settings;
    use crate::shm::start::start_from;

    fn command(line: &str) -> Command<'static> {
        let words = line.split(' ').map(OsString::from);
        let start = start_from([OsString::from("ibid")].into_iter().chain(words), []);
        let call = Call::read(&start).expect("a tool is named");
        Command::kept(start, call, &Settings::default()).expect("a working directory")
    }

    #[test]
    fn classes() {
        let of = |line: &str| class(&command(line));
        assert_eq!(of("gcc -O2 -c a.c -o a.o"), of("gcc -O2 -DX -Ib -c b.c -o b.o"));
        assert_eq!(of("gcc -Wall -Werror=x -c a.c"), of("gcc -c a.c"));
        assert_ne!(of("gcc -Wl,-s -o a a.o"), of("gcc -o a a.o"));
        assert_ne!(of("gcc -O2 -c a.c"), of("gcc -O3 -c a.c"));
        assert_ne!(of("gcc -O2 -c a.c"), of("clang -O2 -c a.c"));
        assert_eq!(
            of("rustc --crate-name a --crate-type lib --cfg x --cfg y -L p -C opt-level=3"),
            of("rustc --crate-name b --crate-type lib -C opt-level=3 --extern a=b")
        );
        assert_ne!(of("rustc --crate-type lib a.rs"), of("rustc --crate-type bin a.rs"));
    }

    #[test]
    fn some_results_are_drawn() {
        let command = command("gcc -c a.c");
        let count = (0..6400u128)
            .filter(|number| {
                let result_key = number.to_le_bytes();
                drawn(&command, &Draft { result_key, ..Draft::default() })
            })
            .count();
        assert!((50..200).contains(&count), "{count} of 6400");
    }
}
