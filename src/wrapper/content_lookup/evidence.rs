//! The evidence that reads files: what the judge is told where a stamp or a variable is another one.
//!
//! It is the most that may be accepted; the evidence before libc (`probe/content.rs`) accepts less.

use std::ffi::{CStr, CString, OsStr};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustc_hash::{FxHashMap, FxHashSet};

use super::file_contents::FileContents;
use crate::builder::equal_contents::EqualTimes;
use crate::builder::file_states::{is_shared_object, names_directory};
use crate::builder::library_answers::asked;
use crate::builder::search_path::{Searched, is_program};
use crate::probe::judge::{By, Difference, Evidence};
use crate::record::{self, Cold, Input, Record, Variable};
use crate::shm::raw::{Errno, FileState};
use crate::shm::stat::Stamp;
use crate::store::draft::{self, Draft, is_searched};

/// What is known of one record's files.
pub struct Reading<'n, 's, 'r, 'a> {
    now: &'n mut FileContents<'s>,
    /// The record's owned form.
    draft: &'r Draft,
    cold: Cold<'a>,
    searched: Searched<'r>,
    /// Programs are searched in other directories than then: `PATH` has another value, or is read in another place, or some
    /// cannot be reached.
    must_search: bool,
    /// What a variable is that is not set.
    pub unset: Unset,
}

/// What it means that a recorded variable is not set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unset {
    /// It differs.
    Counts,
    /// It is taken to be as it was: `explain` of a line that was pasted without what cargo sets.
    AsRecorded,
}

impl<'n, 's, 'r, 'a> Reading<'n, 's, 'r, 'a> {
    /// `is_moved` says whether the record comes from another directory.
    pub fn new(
        now: &'n mut FileContents<'s>,
        draft: &'r Draft,
        cold: Cold<'a>,
        is_moved: bool,
    ) -> Self {
        let searched = Searched::of(&draft.searches);
        Reading { now, draft, cold, searched, must_search: is_moved, unset: Unset::Counts }
    }

    /// Whether all that was searched by name is found where it was. What it was searched in may be as it was: then so is
    /// what is found, since the inputs and absences on the way are judged before.
    fn judge_searches(&mut self) -> Result<(), Difference<'static>> {
        let searches = &self.draft.searches;
        let libraries = || searches.iter().filter(|(name, _)| asked(name).is_some());
        let programs = searches.iter().filter(|(name, _)| is_program(name));
        let has_path =
            self.draft.variables.iter().any(|variable| variable.name.as_c_str() == c"PATH");
        if self.must_search || !has_path {
            for (name, found) in programs {
                if self.now.search(name) != found.as_c_str() {
                    return Err(Difference::Variable(c"PATH"));
                }
            }
        }
        let cache = self.draft.inputs.iter().find(|input| input.kind == record::ANSWERS);
        if libraries().next().is_none()
            || cache.is_some_and(|cache| self.is_as_stamped(&cache.path, cache.stamp))
        {
            return Ok(());
        }
        let names = libraries().filter_map(|(name, _)| asked(name));
        let answers = self.now.libraries().and_then(|now| now.answers(names));
        let agrees = answers.is_some_and(|now| now.iter().eq(libraries()));
        if agrees { Ok(()) } else { Err(Difference::Input(c"/etc/ld.so.cache")) }
    }

    /// Whether what `path` leads to is the file that it was, unchanged: a look-up by stamps asks no more.
    fn is_as_stamped(&mut self, path: &CStr, stamp: Stamp) -> bool {
        self.now.state(path, false).is_ok_and(|state| state.stat.stamp() == stamp)
    }

    fn is_link(&mut self, path: &CStr) -> bool {
        self.now.state(path, true).is_ok_and(|state| state.is_symlink())
    }

    /// A path that is a symlink now and was none.
    fn new_link(&mut self) -> Option<&'r CStr> {
        let draft = self.draft;
        let is_link = |input: &&draft::DraftInput| input.kind == record::LINK;
        let links: FxHashSet<_> =
            draft.inputs.iter().filter(is_link).map(|input| &input.path).collect();
        // Of the loader's libraries no link was noted, see `builder/record_builder.rs`.
        let is_library =
            |path: &CString| is_shared_object(Path::new(OsStr::from_bytes(path.to_bytes())));
        let inputs = draft.inputs.iter().filter(|input| input.kind != record::LEADS);
        let inputs = inputs.map(|input| (&input.path, input.stamp));
        inputs
            .chain(draft.directories.iter().map(|it| (&it.path, it.stamp)))
            .filter(|(path, _)| !links.contains(path) && !is_library(path))
            .find(|(path, stamp)| !self.is_as_stamped(path, *stamp) && self.is_link(path))
            .map(|(path, _)| path.as_c_str())
    }

    /// The first file that is not the one that it was among the others.
    fn other_file(&mut self) -> Option<&'r CStr> {
        let mut same = FileIdentities::default();
        let mut agrees = |input: &draft::DraftInput| {
            let state = self.now.state_of_input(&input.path, input.kind);
            state.map_or(input.kind == record::EXISTS, |state| same.agrees(input, &state))
        };
        let draft = self.draft;
        draft.inputs.iter().find(|input| !agrees(input)).map(|input| input.path.as_c_str())
    }
}

impl<'a> Evidence<'a> for Reading<'_, '_, '_, 'a> {
    fn stat(&mut self, path: &CStr) -> Result<FileState, Errno> {
        self.now.state(path, false)
    }

    fn lstat(&mut self, path: &CStr) -> Result<FileState, Errno> {
        self.now.state(path, true)
    }

    /// `PATH` may differ, since its searches are repeated; so may a `PWD` that did not name the working directory then and does
    /// not now: who only searches makes nothing of such a one. Scripts may.
    fn is_same_variable(&mut self, record: &Record<'a>, variable: &Variable) -> bool {
        let name = record.string(variable.name).unwrap_or_default();
        if self.unset == Unset::AsRecorded {
            let is_sum = variable.flags & (record::WHOLE_ENVIRONMENT | record::LOADER) != 0;
            let is_missing = variable.flags & record::IS_SET != 0
                && self.now.environment.value(name.to_bytes()).is_none();
            // rustup puts a directory before what `PATH` was when cargo was called.
            let is_rustups = name == c"PATH" && variable.flags & record::BY_VALUE != 0;
            self.must_search |= is_rustups;
            if is_sum || is_missing || is_rustups {
                return true;
            }
        }
        let counts = variable.flags & record::BY_VALUE != 0 || !is_searched(name.to_bytes());
        if record.has(record::STAMPS_ONLY) || counts {
            return false;
        }
        let directory = self.now.command.directory();
        let value = self.now.environment.value(name.to_bytes());
        let walked =
            || record.variables().flatten().any(|it| it.flags & record::WHOLE_ENVIRONMENT != 0);
        self.must_search |= name == c"PATH";
        name == c"PATH"
            || variable.flags & record::NAMES_DIRECTORY == 0
                && !value.is_some_and(|value| names_directory(value, directory))
                && !walked()
    }

    fn is_same_input(&mut self, record: &Record<'a>, at: usize, input: &Input) -> bool {
        if record::is_of_project(input.kind) {
            return true;
        }
        if input.kind == record::EXISTS {
            return record.string(input.path).is_some_and(|path| self.is_only_searched(path));
        }
        // The loader's cache counts by its answers, which `verdict` compares.
        if input.kind == record::ANSWERS {
            return self.now.libraries().is_some();
        }
        let Some(path) = record.string(input.path) else { return false };
        let Some(then) = self.draft.inputs.get(at) else { return false };
        !record.has(record::STAMPS_ONLY) && self.now.digest(path, input.kind) == Some(then.digest)
    }

    fn heeds_project(&self) -> bool {
        false
    }

    fn is_only_searched(&mut self, path: &CStr) -> bool {
        let is_of_no_account = self.searched.includes(path.to_bytes()) && self.now.is_missing(path);
        self.must_search |= is_of_no_account;
        is_of_no_account
    }

    fn cold(&mut self) -> Option<Cold<'a>> {
        Some(self.cold)
    }

    fn verdict(&mut self, record: &Record<'a>) -> Result<By, Difference<'a>> {
        self.judge_searches()?;
        let named = |path: &CStr| {
            let strings = record.inputs().flatten().map(|input| input.path);
            let strings = strings.chain(record.directories().flatten().map(|d| d.path));
            strings.filter_map(|span| record.string(span)).find(|string| *string == path)
        };
        if let Some(path) = self.new_link() {
            return Err(named(path).map_or(Difference::Damaged, Difference::Link));
        }
        if let Some(path) = self.other_file() {
            return Err(named(path).map_or(Difference::Damaged, Difference::Input));
        }
        Ok(By::Content)
    }
}

/// Files that were one and the same still are, and others still are others (`#pragma once`); and so it is with the times of
/// those whose times count.
#[derive(Default)]
pub struct FileIdentities {
    files: FxHashMap<u32, (u64, u64)>,
    groups: FxHashMap<(u64, u64), u32>,
    times: EqualTimes,
}

impl FileIdentities {
    pub fn agrees(&mut self, input: &draft::DraftInput, state: &FileState) -> bool {
        let file = (state.stat.dev, state.stat.ino);
        *self.files.entry(input.group).or_insert(file) == file
            && *self.groups.entry(file).or_insert(input.group) == input.group
            && self.times.agree(input, state.stat.mtime_ns)
    }

    /// The number of a file that is noted only now.
    pub fn group_of(&mut self, file: (u64, u64)) -> u32 {
        let next = self.files.keys().max().map_or(0, |last| last + 1);
        let group = *self.groups.entry(file).or_insert(next);
        self.files.entry(group).or_insert(file);
        group
    }
}
