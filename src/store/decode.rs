//! From the bytes of a record to its owned form.
//!
//! Strings of a record never share bytes, as `draft.rs` writes them. Bytes that claim otherwise are damaged: a few of
//! them could ask for more memory than there is. Read next: `record/mod.rs`.

use std::ffi::{CStr, CString};

use xxhash_rust::xxh3::xxh3_128;

use super::draft::{Draft, DraftDirectory, DraftInput, DraftOutput, DraftVariable};
use crate::record::{self, BlobRef, Cold, Record, Span};
use crate::shm::layout::{EntryHeader, Kind};

impl Draft {
    /// The owned form of a record; `None` if it is damaged.
    pub fn decode(record: &Record<'_>, cold: &Cold<'_>, key: &[u8; 32]) -> Option<Draft> {
        let (direct_key, result_key) = key.split_at(16);
        let present = |blob: BlobRef| (blob.len_bytes > 0).then_some(blob);
        let mut strings = OwnedStrings { record, cold, left: record.bytes().len() + cold.0.len() };
        Some(Draft {
            flags: record.head.flags,
            columns: record.head.columns,
            cpu: record.head.cpu,
            tool_us: record.head.tool_us,
            places: strings.hot(record.head.places)?,
            command: record.command()?.to_vec(),
            direct_key: direct_key.try_into().ok()?,
            result_key: result_key.try_into().ok()?,
            variables: variables(record, &mut strings)?,
            inputs: inputs(record, cold, &mut strings)?,
            directories: directories(record, &mut strings)?,
            absences: record
                .absences()
                .map(|absence| Some((strings.hot(absence?.path)?, absence?.errno)))
                .collect::<Option<_>>()?,
            searches: cold
                .searches(record)
                .map(|search| Some((strings.cold(search?.name)?, strings.cold(search?.found)?)))
                .collect::<Option<_>>()?,
            outputs: outputs(record, &mut strings)?,
            stdout: present(record.head.stdout),
            stderr: present(record.head.stderr),
        })
    }
}

/// The strings of a record, together no longer than it is.
struct OwnedStrings<'r> {
    record: &'r Record<'r>,
    cold: &'r Cold<'r>,
    left: usize,
}

impl OwnedStrings<'_> {
    fn own(&mut self, string: &CStr) -> Option<CString> {
        self.left = self.left.checked_sub(string.to_bytes_with_nul().len())?;
        Some(string.to_owned())
    }

    fn hot(&mut self, span: Span) -> Option<CString> {
        self.own(self.record.string(span)?)
    }

    fn cold(&mut self, span: Span) -> Option<CString> {
        self.own(self.cold.string(span)?)
    }

    fn names(&mut self, span: Span) -> Option<Vec<CString>> {
        self.cold.names(span).map(|name| self.own(name?)).collect()
    }
}

fn variables(record: &Record<'_>, strings: &mut OwnedStrings<'_>) -> Option<Vec<DraftVariable>> {
    let variable = |variable: Option<record::Variable>| {
        let variable = variable?;
        Some(DraftVariable {
            name: strings.hot(variable.name)?,
            value: (variable.flags & record::IS_SET != 0).then_some(variable.value),
            flags: variable.flags & !record::IS_SET,
        })
    };
    record.variables().map(variable).collect()
}

fn inputs(
    record: &Record<'_>,
    cold: &Cold<'_>,
    strings: &mut OwnedStrings<'_>,
) -> Option<Vec<DraftInput>> {
    let mut proofs = cold.proofs(record);
    let input = |input: Option<record::Input>| {
        let (input, proof) = (input?, proofs.next()??);
        Some(DraftInput {
            path: strings.hot(input.path)?,
            kind: input.kind,
            mode: input.mode,
            stamp: input.stamp,
            digest: proof.digest,
            group: proof.group,
            times: proof.times,
        })
    };
    record.inputs().map(input).collect()
}

fn directories(record: &Record<'_>, strings: &mut OwnedStrings<'_>) -> Option<Vec<DraftDirectory>> {
    let directory = |directory: Option<record::Directory>| {
        let directory = directory?;
        Some(DraftDirectory {
            path: strings.hot(directory.path)?,
            stamp: directory.stamp,
            names: strings.names(directory.names)?,
        })
    };
    record.directories().map(directory).collect()
}

fn outputs(record: &Record<'_>, strings: &mut OwnedStrings<'_>) -> Option<Vec<DraftOutput>> {
    let output = |output: Option<record::Output>| {
        let output = output?;
        Some(DraftOutput {
            path: strings.hot(output.path)?,
            create_mode: output.create_mode,
            mode: output.mode,
            flags: output.flags,
            blob: output.blob,
        })
    };
    record.outputs().map(output).collect()
}

/// The record whose bytes are in `body`; `None` if they are damaged.
pub(super) fn decode_record(header: &EntryHeader, body: &[u8]) -> Option<Draft> {
    let (hot, cold) = body.split_at_checked(usize::try_from(header.hot_bytes).ok()?)?;
    if xxh3_128(hot).to_le_bytes() != header.sum {
        return None;
    }
    let record = Record::read(hot)?;
    if xxh3_128(cold).to_le_bytes() != record.head.cold_sum {
        return None;
    }
    Draft::decode(&record, &Cold(cold), &header.key)
}

/// Whether the bytes of an entry that is no blob are those that were written.
pub(super) fn is_whole(header: &EntryHeader, body: &[u8]) -> bool {
    if header.kind() == Some(Kind::Record) {
        return decode_record(header, body).is_some();
    }
    let hot_bytes = usize::try_from(header.hot_bytes).unwrap_or(usize::MAX);
    let summed = if hot_bytes == 0 { Some(body) } else { body.get(..hot_bytes) };
    summed.is_some_and(|summed| xxh3_128(summed).to_le_bytes() == header.sum)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Head;
    use crate::shm::stat::Stamp;

    fn decode(hot: &[u8], cold: &[u8]) -> Option<Draft> {
        Draft::decode(&Record::read(hot)?, &Cold(cold), &[0; 32])
    }

    /// Each of many directories claims the names of all: the owned form would be the square of the bytes.
    #[test]
    fn names_that_are_claimed_twice_are_damage() {
        let directory = |at: u8| DraftDirectory {
            path: CString::new([b'a' + at]).expect("no NUL"),
            stamp: Stamp([at; 16]),
            names: (1..=20).map(|name| CString::new([name]).expect("no NUL")).collect(),
        };
        let draft = Draft { directories: (0..9).map(directory).collect(), ..Draft::default() };
        let encoded = draft.encode();
        let back = decode(&encoded.hot, &encoded.cold).expect("whole");
        assert_eq!(format!("{back:?}"), format!("{draft:?}"));

        let mut claimed = encoded.hot.clone();
        let at = Record::read(&claimed).expect("a head").head.directories.at as usize;
        let size = size_of::<record::Directory>();
        for entry in claimed[at..][..9 * size].chunks_mut(size) {
            let mut directory: record::Directory = bytemuck::pod_read_unaligned(entry);
            directory.names = Span { at: 0, len: 9 * 20 };
            entry.copy_from_slice(bytemuck::bytes_of(&directory));
        }
        assert!(decode(&claimed, &encoded.cold).is_none());
    }

    #[test]
    fn a_string_that_many_claim_is_damage() {
        let long = CString::new(vec![b'x'; 4000]).expect("no NUL");
        let absences = (0..100).map(|_| (c"".to_owned(), 2)).chain([(long, 2)]).collect();
        let draft = Draft { absences, ..Draft::default() };
        let encoded = draft.encode();
        let mut hot = encoded.hot;
        assert!(decode(&hot, &encoded.cold).is_some());
        let head: Head = Record::read(&hot).expect("a head").head;
        let entries = &mut hot[head.absences.at as usize..][..101 * size_of::<record::Absence>()];
        let (others, last) = entries.split_at_mut(100 * size_of::<record::Absence>());
        for other in others.chunks_mut(size_of::<record::Absence>()) {
            other.copy_from_slice(last);
        }
        assert!(decode(&hot, &encoded.cold).is_none());
    }
}
