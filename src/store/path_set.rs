//! Path sets: the names whose contents tell apart the results of one command.
//!
//! A command that was run before is found in two steps. Its content key (hash of the command and of the contents of its
//! sources) leads to the path sets that its runs have left: what each read, and the variables that it asked for. A path set with what
//! its names contain now gives a result key, under which the record stands. So there is no limit to the states of a file
//! that are told apart. A key only finds candidates; the judge compares the record itself.
//! Read next: `docs/content-lookup.md`, `wrapper/content_lookup/mod.rs`.

use std::ffi::{CStr, CString};

use xxhash_rust::xxh3::{Xxh3, xxh3_128};

use super::append::{NewEntry, now_s};
use super::compressed::unpacked;
use super::draft::{Draft, DraftInput, DraftVariable, is_searched};
use super::walk::body_of;
use super::{Kind, Store};
use crate::error::StoreError;
use crate::index::{ENTRIES_PER_KEY, candidates};
use crate::record;
use crate::shm::segments::{Entry, Place};

/// How many groups of [`ENTRIES_PER_KEY`] path sets one content key may have.
const GROUPS_MAX: u32 = 16;

/// The names that a run read, and the variables that it asked for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PathSet {
    /// Files, links and listings, each with its kind ([`record::CONTENT`] and its kin).
    pub inputs: Vec<(u32, CString)>,
    /// Variables, each with its flags in a record.
    pub variables: Vec<(CString, u32)>,
    /// XXH3-128 of its bytes.
    own_key: [u8; 16],
}

/// Whether an input's content can be told by looking at it: the digest that a record holds is that of its content.
fn has_content(input: &DraftInput) -> bool {
    matches!(input.kind, record::CONTENT | record::REMADE | record::LINK | record::LISTING)
}

/// Whether the value of a variable belongs to the result key: not if it may differ.
fn has_value(name: &CStr, flags: u32) -> bool {
    flags & record::TEXT_ONLY == 0 && !is_searched(name.to_bytes())
}

impl PathSet {
    /// That of a record, and what its names contained; `value` says what counts for a variable.
    pub fn of(
        draft: &Draft,
        value: impl Fn(&DraftVariable) -> Option<[u8; 16]>,
    ) -> (PathSet, Vec<[u8; 32]>) {
        let inputs = draft.inputs.iter().filter(|input| has_content(input));
        let variables = draft.variables.iter().filter(|v| has_value(&v.name, v.flags));
        let mut set = PathSet {
            own_key: [0; 16],
            inputs: inputs.clone().map(|input| (input.kind, input.path.clone())).collect(),
            variables: variables
                .clone()
                .map(|v| (v.name.clone(), v.flags & !record::NAMES_DIRECTORY))
                .collect(),
        };
        set.own_key = key_of(&set.encode());
        let contents = inputs.map(|input| input.digest);
        (set, contents.chain(variables.map(|v| of_value(value(v)))).collect())
    }

    /// The same with other names for its inputs; `None` if these do not lead back to the old ones.
    pub fn renamed(
        mut self,
        name: impl Fn(&CStr) -> CString,
        back: impl Fn(&CStr) -> CString,
    ) -> Option<PathSet> {
        for (_, path) in &mut self.inputs {
            let renamed = name(path);
            if back(&renamed) != *path {
                return None;
            }
            *path = renamed;
        }
        self.own_key = key_of(&self.encode());
        Some(self)
    }

    /// The key of the result that comes of these contents: one for each input, then one for each variable. `place` is empty if
    /// the result serves every place.
    pub fn result_key(
        &self,
        content_key: &[u8; 16],
        place: &[u8],
        contents: &[[u8; 32]],
    ) -> [u8; 16] {
        let mut hasher = Xxh3::new();
        hasher.update(b"ibid result");
        hasher.update(content_key);
        hasher.update(&self.own_key);
        hasher.update(&(place.len() as u64).to_le_bytes());
        hasher.update(place);
        hasher.update(contents.as_flattened());
        hasher.digest128().to_le_bytes()
    }

    /// XXH3-128 of its bytes.
    pub(super) fn own_key(&self) -> &[u8; 16] {
        &self.own_key
    }

    /// The set of an entry; `None` if that is damaged, or is something else.
    pub fn read(entry: &Entry<'_>) -> Option<PathSet> {
        let bytes = match entry.header.kind()? {
            Kind::PathSet => body_of(entry)?,
            Kind::CompressedSet => unpacked(entry)?,
            _ => return None,
        };
        PathSet::decode(&bytes).filter(|set| set.own_key == entry.header.key[16..])
    }

    /// The number of inputs, then inputs and variables: a number (32 bits, little-endian) and a name that ends in a NUL.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = u32::try_from(self.inputs.len()).unwrap_or(u32::MAX).to_le_bytes().to_vec();
        let variables = self.variables.iter().map(|(name, flags)| (*flags, name));
        for (number, name) in self.inputs.iter().map(|(kind, path)| (*kind, path)).chain(variables)
        {
            bytes.extend(number.to_le_bytes());
            bytes.extend(name.to_bytes_with_nul());
        }
        bytes
    }

    /// The set of these bytes; `None` if they are no set.
    pub fn decode(bytes: &[u8]) -> Option<PathSet> {
        let (count, mut rest) = bytes.split_first_chunk()?;
        let count = u32::from_le_bytes(*count) as usize;
        let mut set = PathSet { own_key: key_of(bytes), ..PathSet::default() };
        while !rest.is_empty() {
            let (number, after) = rest.split_first_chunk()?;
            let (number, name) =
                (u32::from_le_bytes(*number), CStr::from_bytes_until_nul(after).ok()?);
            rest = after.get(name.to_bytes_with_nul().len()..)?;
            if set.inputs.len() < count {
                set.inputs.push((number, name.to_owned()));
            } else {
                set.variables.push((name.to_owned(), number));
            }
        }
        (set.inputs.len() == count).then_some(set)
    }
}

fn key_of(bytes: &[u8]) -> [u8; 16] {
    xxh3_128(bytes).to_le_bytes()
}

/// What a result key is made of in the place of a variable's content.
pub fn of_value(value: Option<[u8; 16]>) -> [u8; 32] {
    let mut content = [0; 32];
    if let Some(value) = value {
        content[0] = 1;
        content[16..].copy_from_slice(&value);
    }
    content
}

/// The key of one of the groups of path sets that belong to a content key.
fn group_key(content_key: &[u8; 16], group: u32) -> [u8; 16] {
    let mut hasher = Xxh3::new();
    hasher.update(b"ibid path sets");
    hasher.update(content_key);
    hasher.update(&group.to_le_bytes());
    hasher.digest128().to_le_bytes()
}

impl Store {
    /// The path sets that runs of a command have left.
    pub fn path_sets(&self, content_key: &[u8; 16]) -> Vec<PathSet> {
        let mut sets = Vec::new();
        for group in 0..GROUPS_MAX {
            let found = self.group(&group_key(content_key, group));
            sets.extend(found.iter().filter_map(|place| self.path_set(*place)));
            if found.len() < ENTRIES_PER_KEY {
                break;
            }
        }
        sets
    }

    /// Makes `set` one of a content key's, if it is none yet: in the first group that is not full, or in place of the oldest
    /// of the last one. `result_key` is that of the record that it leads to.
    pub fn put_path_set(
        &self,
        content_key: &[u8; 16],
        set: &PathSet,
        result_key: &[u8; 16],
    ) -> Result<(), StoreError> {
        let mut key = [0; 32];
        key[16..].copy_from_slice(&set.own_key);
        let is_it = |place: &Place| {
            let entry = self.cache.segments.entry(*place);
            entry.is_some_and(|entry| entry.header.key[16..] == set.own_key)
        };
        for group in 0..GROUPS_MAX {
            let group_key = group_key(content_key, group);
            let found = self.group(&group_key);
            if found.iter().any(is_it) {
                return Ok(());
            }
            key[..16].copy_from_slice(&group_key);
            if found.len() < ENTRIES_PER_KEY {
                break;
            }
        }
        let body = set.encode();
        let place = self.append(&NewEntry {
            kind: Kind::PathSet,
            key,
            hot_bytes: 0,
            stored_s: now_s(),
            sum: set.own_key,
            identity: *result_key,
            circumstances: 0,
            body: &[&body],
        })?;
        let group_key = std::array::from_fn(|at| key[at]);
        self.publish(&group_key, place, |_| false)
    }

    /// Where the path sets of a group stand, newest first.
    fn group(&self, key: &[u8; 16]) -> Vec<Place> {
        let is_of_it = |place: &Place| {
            self.cache.segments.entry(*place).is_some_and(|entry| {
                let is_set =
                    matches!(entry.header.kind(), Some(Kind::PathSet | Kind::CompressedSet));
                is_set && entry.header.key[..16] == *key
            })
        };
        let index = &self.cache.index;
        candidates(&index.words(), key, index.window()).iter().filter(is_of_it).collect()
    }

    fn path_set(&self, place: Place) -> Option<PathSet> {
        PathSet::read(&self.cache.segments.entry(place)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(number: u32) -> PathSet {
        let name = |text: String| CString::new(text).expect("no NUL");
        let mut set = PathSet {
            own_key: [0; 16],
            inputs: vec![
                (record::CONTENT, name("a.c".into())),
                (record::LINK, name(format!("{number}"))),
            ],
            variables: vec![(name("CPATH".into()), 0)],
        };
        set.own_key = key_of(&set.encode());
        set
    }

    #[test]
    fn what_is_written_is_read() {
        assert_eq!(PathSet::decode(&set(1).encode()), Some(set(1)));
        let (none, _) = PathSet::of(&Draft::default(), |variable| variable.value);
        assert_eq!(PathSet::decode(&none.encode()), Some(none));
        let bytes = set(1).encode();
        for len in 0..bytes.len() {
            assert_ne!(PathSet::decode(&bytes[..len]), Some(set(1)), "{len} bytes");
        }
        assert_eq!(PathSet::decode(&[9, 0, 0, 0]), None);
    }

    #[test]
    fn a_key_has_more_sets_than_a_bucket_holds() {
        let directory = tempfile::tempdir().expect("a directory");
        let store = Store::open(directory.path(), 1 << 30).expect("the store opens");
        let key = [7; 16];
        for number in 0..40 {
            store.put_path_set(&key, &set(number), &[0; 16]).expect("stored");
            store.put_path_set(&key, &set(number), &[0; 16]).expect("stored");
        }
        let sets = store.path_sets(&key);
        assert_eq!(sets.len(), 40);
        for number in 0..40 {
            assert!(sets.contains(&set(number)), "{number}");
        }
        assert!(store.path_sets(&[8; 16]).is_empty());
    }

    #[test]
    fn each_content_and_each_name_counts() {
        let (one, two) = (set(1), set(2));
        let contents = [[1; 32], [2; 32], of_value(None)];
        let key = one.result_key(&[0; 16], b"", &contents);
        assert_ne!(key, one.result_key(&[1; 16], b"", &contents));
        assert_ne!(key, one.result_key(&[0; 16], b"/", &contents));
        assert_ne!(key, two.result_key(&[0; 16], b"", &contents));
        assert_ne!(key, one.result_key(&[0; 16], b"", &[[1; 32], [3; 32], of_value(None)]));
        let is_set = [[1; 32], [2; 32], of_value(Some([0; 16]))];
        assert_ne!(key, one.result_key(&[0; 16], b"", &is_set));
    }
}
