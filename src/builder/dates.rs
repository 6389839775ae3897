//! Whether the time of the run may be in a result, where the policy says by which words that shows.
//!
//! An analyser knows the time in case a source names it. Read next: `compilers/generators.rs`, `refusal.rs`.

use std::path::Path;

use memchr::memmem;

use super::file_text::FileText;
use super::record_builder::RecordBuilder;
use crate::os::elf;

/// A longer file is taken for one that holds any word.
const FILE_BYTES_MAX: u64 = 16 << 20;

/// The text of a file that is no program or library.
fn text_of(path: &Path) -> FileText {
    FileText::of(path, &[elf::MAGIC], FILE_BYTES_MAX)
}

impl RecordBuilder<'_> {
    /// Whether one of the policy's words is in the command, an input, an output or a text.
    pub(super) fn shows_date(&self) -> bool {
        let words = self.policy.dates;
        if words.is_empty() {
            return false;
        }
        let has =
            |text: &[u8]| words.iter().any(|word| memmem::find(text, word.as_bytes()).is_some());
        let read = self.observation.inputs.iter().map(|input| &*input.path);
        let written = self.observation.outputs.iter().map(|output| &*output.path);
        has(self.command.bytes())
            || self.ended.texts().any(|text| has(text))
            || read.chain(written).any(|path| text_of(path).may_have(has))
    }
}
