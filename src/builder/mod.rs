//! From what a run was seen to do to a record of it, or to the reason why there is none.
//!
//! It looks at the files as they are when the tool has ended, and refuses what a later look-up could not compare. It delivers
//! nothing and publishes nothing. Read next: `record_builder.rs`, `refusal.rs`, `inputs.rs`, `file_states.rs`, `path_walker.rs`,
//! `place.rs`, `mapped.rs`, `free_outputs.rs`, `lookahead.rs`, `admission.rs`.

pub mod admission;
mod compiled_files;
mod dates;
pub mod driver;
pub mod equal_contents;
pub mod failing;
pub mod file_states;
mod file_text;
pub mod findings;
mod free_outputs;
mod inputs;
pub mod joined;
pub mod library_answers;
pub mod likeness;
pub mod lookahead;
mod mapped;
mod mapped_crate;
pub mod path_walker;
pub mod place;
pub mod places;
pub mod project;
pub mod record_builder;
mod refusal;
pub mod root;
mod script_texts;
mod scripts;
pub mod search;
pub mod search_path;
mod temporaries;
