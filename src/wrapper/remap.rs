//! `IBID_REMAP=auto`: gives the tool maps of the names of its places, so that its result can serve others.
//!
//! Only where the tool is known to take them, which is tried once for each image, and where they may matter: a command that names
//! no place and writes none serves others without. The user's own maps stand alone. Read next:
//! `builder/root.rs` (which places), `builder/mapped.rs` (whether a result is free of them), `docs/places.md`.

use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use xxhash_rust::xxh3::xxh3_64;

use super::Invocation;
use super::request::Request;
use super::step::Step;
use crate::builder::path_walker::c_path;
use crate::builder::places::{Places, holds_holder};
use crate::builder::root::{drawn_name, is_downloaded, places, places_of_crate};
use crate::compilers::{Policy, SEARCH_PATHS, ShowsDirectory};
use crate::config::Remap;
use crate::os::run::is_silent;
use crate::probe::command::{ROOT, TOOL, fields};
use crate::shm::raw;
use crate::store::{Store, audits};

impl Invocation {
    /// The places of a request of which the tool is to be given maps; none if it is to run as it was called. A crate that cargo has
    /// downloaded is given none unless the settings say so: its places are told, and must not have reached its result. Whether the tool
    /// takes maps is tried out only if it `may_try`.
    pub(super) fn places(
        &self,
        store: &Store,
        policy: &Policy,
        request: &Request,
        may_try: bool,
    ) -> Places {
        let wanted = || {
            let source = policy.first_input().filter(|_| policy.takes_maps)?;
            let command = request.command.bytes();
            let root = fields(command).nth(ROOT)?;
            (!fields(command).skip(ROOT + 1).any(holds_holder)).then_some(())?;
            let directory = request.command.directory();
            (self.config.remap == Remap::Auto || is_downloaded(directory, source)).then_some(())?;
            let found = match &policy.output_directory {
                Some(output) => places_of_crate(root, directory, source, output),
                None => places(root, directory, source),
            }?;
            let found = match drawn_name(command) {
                Some(name) => found.with_drawn(name),
                None => found,
            };
            let leads_there = |name: &&[u8]| {
                request.environment.value(name).is_some_and(|value| found.occur_in(value))
            };
            let counts = policy.shows_directory != ShowsDirectory::Never
                || fields(command).skip(TOOL + 1).any(|arg| found.occur_in(arg))
                || SEARCH_PATHS.iter().any(leads_there);
            (counts && takes_maps(store, &self.program, policy, may_try)).then_some(found)
        };
        let may_serve_others = self.config.remap == Remap::Auto || policy.loads_macros();
        may_serve_others.then(wanted).flatten().unwrap_or_default()
    }

    /// The arguments with which the tool runs.
    pub(super) fn args_of(&self, step: &Step) -> Vec<OsString> {
        let Request { places, command, .. } = &step.request;
        if self.config.remap != Remap::Auto {
            return self.args.clone();
        }
        let maps = step.policy.maps(places.directories(), command.directory());
        step.policy.with_maps(maps, &self.args)
    }
}

/// Whether this image takes maps without a word: tried out when it is not known, if that may be.
fn takes_maps(store: &Store, program: &Path, policy: &Policy, may_try: bool) -> bool {
    let Some(trial) = policy.trial_of_maps() else { return true };
    let Some(state) = c_path(program).and_then(|path| raw::stat(&path).ok()) else { return false };
    let image = xxh3_64(&[program.as_os_str().as_bytes(), &state.stat.stamp().0].concat());
    if let Some(takes) = audits::takes_maps(store.directory(), image) {
        return takes;
    }
    if !may_try {
        return false;
    }
    let place = b"/ibid/no/such/place";
    let maps = policy.maps(std::iter::once(&place[..]), place);
    let args: Vec<OsString> = maps.into_iter().chain(trial.map(OsString::from)).collect();
    let takes = is_silent(program, &args).unwrap_or(false);
    // Failing costs the next one a trial more.
    let _ = audits::note_maps(store.directory(), image, takes);
    takes
}
