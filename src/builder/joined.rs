//! One record of several that were made one after the other: those of a call whose sources were looked up each by itself.
//!
//! What each of them depended on is what the whole depends on, so the whole is true wherever all of them are. It is judged by
//! stamps alone: of what has changed since, the parts are looked up again. Read next: `wrapper/several.rs`.

use std::ffi::CString;
use std::hash::Hash;

use rustc_hash::FxHashMap;
use xxhash_rust::xxh3::xxh3_128;

use super::project;
use crate::probe::command::Command;
use crate::record;
use crate::store::draft::{Draft, DraftDirectory, DraftInput, DraftOutput, DraftVariable};

/// Flags of parts that hold for the whole.
const KEPT: u32 = record::HAS_TEXT
    | record::MERGED
    | record::OUT_TERMINAL
    | record::ERR_TERMINAL
    | record::NEEDS_CPU
    | record::INPUT_CLOSED
    | record::INPUT_NULL
    | record::ASKS_STREAMS;
/// Flags of variables that may differ between parts: the stricter one holds.
const OF_VARIABLES: u32 = record::TEXT_ONLY | record::BY_VALUE | record::VALUE_NAMES_PLACES;

/// The record of `command`, without its text, of what its parts say; `None` if they do not agree on what was there, or one of them
/// is no success.
pub fn joined(command: &Command, parts: impl IntoIterator<Item = Draft>) -> Option<Draft> {
    let direct_key = command.direct_key();
    let draft = Draft {
        flags: record::STAMPS_ONLY,
        places: c"several sources".into(),
        command: command.bytes().to_vec(),
        direct_key,
        // Nobody looks for it by content.
        result_key: xxh3_128(&[b"ibid several sources ", &direct_key[..]].concat()).to_le_bytes(),
        ..Draft::default()
    };
    let mut whole = Whole { draft, ..Whole::default() };
    parts.into_iter().try_for_each(|part| whole.add(part))?;
    Some(whole.draft)
}

/// The whole so far, and where its entries stand.
#[derive(Default)]
struct Whole {
    draft: Draft,
    variables: FxHashMap<CString, usize>,
    inputs: FxHashMap<(CString, u32), usize>,
    directories: FxHashMap<CString, usize>,
    absences: FxHashMap<CString, usize>,
    searches: FxHashMap<CString, usize>,
    outputs: FxHashMap<CString, usize>,
    groups: u32,
}

impl Whole {
    fn add(&mut self, mut part: Draft) -> Option<()> {
        project::leave_out(&mut part);
        let whole = &mut self.draft;
        let is_other_cpu =
            whole.flags & part.flags & record::NEEDS_CPU != 0 && whole.cpu != part.cpu;
        if part.flags & record::FAILS != 0 || is_other_cpu {
            return None;
        }
        whole.flags |= part.flags & KEPT;
        whole.cpu |= part.cpu;
        whole.columns = whole.columns.max(part.columns);
        whole.tool_us += part.tool_us;
        let groups = self.groups;
        for input in &mut part.inputs {
            input.group += groups;
            self.groups = self.groups.max(input.group + 1);
        }
        let of = |it: &DraftVariable| it.name.clone();
        join(&mut whole.variables, &mut self.variables, part.variables, of, join_variables)?;
        let of = |it: &DraftInput| (it.path.clone(), it.kind);
        join(&mut whole.inputs, &mut self.inputs, part.inputs, of, join_inputs)?;
        let of = |it: &DraftDirectory| it.path.clone();
        join(
            &mut whole.directories,
            &mut self.directories,
            part.directories,
            of,
            join_directories,
        )?;
        join(&mut whole.absences, &mut self.absences, part.absences, |it| it.0.clone(), are_equal)?;
        join(&mut whole.searches, &mut self.searches, part.searches, |it| it.0.clone(), are_equal)?;
        // Which of two stands in the end is not asked.
        let (of, never) = (|it: &DraftOutput| it.path.clone(), |_: &mut DraftOutput, _: &_| None);
        join(&mut whole.outputs, &mut self.outputs, part.outputs, of, never)
    }
}

/// Adds entries, or lets `agree` take each into the one of its key that is there.
fn join<K: Eq + Hash, T>(
    all: &mut Vec<T>,
    places: &mut FxHashMap<K, usize>,
    entries: Vec<T>,
    key_of: impl Fn(&T) -> K,
    agree: impl Fn(&mut T, &T) -> Option<()>,
) -> Option<()> {
    for entry in entries {
        let key = key_of(&entry);
        if let Some(at) = places.get(&key) {
            agree(&mut all[*at], &entry)?;
        } else {
            places.insert(key, all.len());
            all.push(entry);
        }
    }
    Some(())
}

fn are_equal<T: PartialEq>(known: &mut T, other: &T) -> Option<()> {
    (*known == *other).then_some(())
}

fn join_variables(known: &mut DraftVariable, other: &DraftVariable) -> Option<()> {
    let is_same = known.value == other.value && (known.flags ^ other.flags) & !OF_VARIABLES == 0;
    let text_only = known.flags & other.flags & record::TEXT_ONLY;
    known.flags = (known.flags | other.flags) & !record::TEXT_ONLY | text_only;
    is_same.then_some(())
}

fn join_inputs(known: &mut DraftInput, other: &DraftInput) -> Option<()> {
    let is_by_mode = matches!(known.kind, record::EXISTS | record::LEADS);
    (known.mode == other.mode && (is_by_mode || known.stamp == other.stamp)).then_some(())
}

fn join_directories(known: &mut DraftDirectory, other: &DraftDirectory) -> Option<()> {
    (known.stamp == other.stamp).then_some(())?;
    let new: Vec<_> =
        other.names.iter().filter(|name| !known.names.contains(name)).cloned().collect();
    known.names.extend(new);
    Some(())
}

#[cfg(test)]
mod tests {
    use bytemuck::Zeroable;

    use super::*;
    use crate::record::BlobRef;
    use crate::shm::stat::Stamp;

    fn input(path: &str, kind: u32, stamp: u8) -> DraftInput {
        let path = CString::new(path).expect("no NUL");
        let stamp = Stamp([stamp; 16]);
        DraftInput { path, kind, mode: 0o644, stamp, digest: [0; 32], group: 0, times: 0 }
    }

    fn output(path: &str) -> DraftOutput {
        let path = CString::new(path).expect("no NUL");
        DraftOutput { path, create_mode: 0o666, mode: 0o644, flags: 0, blob: BlobRef::zeroed() }
    }

    /// What one source came to: `h` is the stamp of the header.
    fn part(name: &str, h: u8) -> Draft {
        let variable = |flags| DraftVariable { name: c"LANG".into(), value: None, flags };
        Draft {
            tool_us: 5,
            variables: vec![variable(if name == "a" { record::TEXT_ONLY } else { 0 })],
            inputs: vec![
                input(&format!("{name}.c"), record::CONTENT, 1),
                input("h.h", record::CONTENT, h),
                input("include", record::EXISTS, h),
            ],
            absences: vec![(c"no.h".into(), 2)],
            outputs: vec![output(&format!("{name}.o"))],
            ..Draft::default()
        }
    }

    fn whole_of(parts: impl IntoIterator<Item = Draft>) -> Option<Draft> {
        let mut whole = Whole::default();
        parts.into_iter().try_for_each(|part| whole.add(part))?;
        Some(whole.draft)
    }

    #[test]
    fn what_parts_share_is_asked_once() {
        let whole = whole_of([part("a", 7), part("b", 7)]).expect("they agree");
        let inputs: Vec<_> =
            whole.inputs.iter().map(|it| it.path.to_str().expect("ASCII")).collect();
        assert_eq!(inputs, ["a.c", "h.h", "include", "b.c"]);
        assert_eq!((whole.absences.len(), whole.outputs.len(), whole.tool_us), (1, 2, 10));
        let [variable] = whole.variables.as_slice() else { panic!("one variable") };
        assert_eq!(variable.flags & record::TEXT_ONLY, 0, "the stricter one");
        assert_eq!(whole.inputs.iter().map(|it| it.group).collect::<Vec<_>>(), [0, 0, 0, 1]);
    }

    #[test]
    fn parts_that_do_not_agree() {
        assert!(whole_of([part("a", 7), part("b", 8)]).is_none(), "another header");
        let differs = |change: fn(&mut Draft)| {
            let mut other = part("b", 7);
            change(&mut other);
            whole_of([part("a", 7), other]).is_none()
        };
        assert!(!differs(|_| ()));
        assert!(differs(|it| it.variables[0].value = Some([1; 16])));
        assert!(differs(|it| it.inputs[1].mode = 0o600));
        assert!(!differs(|it| it.inputs[2].stamp = Stamp([9; 16])), "of it only its mode counts");
        assert!(differs(|it| it.absences[0].1 = 20));
        assert!(differs(|it| it.outputs[0].path = c"a.o".into()));
        assert!(differs(|it| it.flags |= record::FAILS));
        assert!(differs(
            |it| it.searches = vec![(c"as".into(), c"x".into()), (c"as".into(), c"y".into())]
        ));
    }
}
