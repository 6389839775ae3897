//! What a step is asked to do: the command, the environment, and the source if it comes by standard input.
//!
//! Read next: `os/input.rs`, `builder/record_builder.rs`.

use std::cell::OnceCell;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use xxhash_rust::xxh3::Xxh3;

use super::content_lookup::Wanted;
use crate::builder::file_states::FileStates;
use crate::builder::likeness::Likeness;
use crate::builder::path_walker::c_path;
use crate::builder::places::Places;
use crate::compilers::{Policy, ShowsDirectory, StandardInput};
use crate::config::{Config, ProjectFile, Remap, Share};
use crate::os::inherited;
use crate::os::input::Source;
use crate::probe::command::{Call, Command, KnownInput};
use crate::probe::judge::{Environment, standard_input};
use crate::probe::settings::Settings;
use crate::shm::raw::{self, FileState};
use crate::shm::start::Start;
use crate::store::Store;

/// The command and the environment, as keys and the judge need them.
pub struct Request {
    /// The command.
    pub command: Command<'static>,
    /// The environment that we were given.
    pub environment: Environment,
    /// What was read of standard input.
    pub source: Option<Source>,
    /// The places of which the tool is given maps.
    pub places: Places,
    /// The settings file of the project, if it has one.
    project: Option<ProjectFile>,
    content_key: OnceCell<[u8; 16]>,
}

impl Request {
    /// That of this process; `None` if it has no working directory.
    pub fn new(start: Start, call: Call, config: &Config) -> Option<Request> {
        let root = config.root.as_ref().map_or(&b""[..], |root| root.as_os_str().as_bytes());
        let settings = Settings {
            root,
            is_remapped: config.remap == Remap::Auto,
            is_shared: config.share == Share::Group,
        };
        let settings = settings.under(&Environment(start));
        let mut command = Command::kept(start, call, &settings)?;
        if inherited().closed[0] {
            command.input = KnownInput::Closed;
        }
        let content_key = OnceCell::new();
        let (environment, places) = (Environment(start), Places::default());
        let project = config.project.clone();
        Some(Request { command, environment, source: None, places, project, content_key })
    }

    /// Reads the source, if it comes by standard input, and makes it a part of the command; false if it cannot be read
    /// here. An error means that it was read and cannot be put back for the tool.
    pub fn read_source(&mut self, policy: &Policy) -> io::Result<bool> {
        if policy.standard_input != StandardInput::Source {
            return Ok(true);
        }
        // A closed one and `/dev/null` are conditions of the record.
        let Some(mut source) = Source::take() else {
            return Ok(standard_input(&self.command) != 0);
        };
        if !source.is_whole {
            source.give_back()?;
            return Ok(false);
        }
        let mut hasher = blake3::Hasher::new();
        // A file is not a pipe, and a compiler may warn of one that it has from the middle.
        hasher.update(&source.offset().map_or([0xff; 8], u64::to_le_bytes));
        hasher.update(&source.bytes);
        self.command = self.command.with_source(*hasher.finalize().as_bytes());
        self.source = Some(source);
        Ok(true)
    }

    /// The key under which the path sets of this command are found: a hash of the command (without its places and its outputs' names,
    /// where the result may serve others) and of what its sources, which `policy` names, contain when it is asked for first. It only finds
    /// candidates.
    pub fn content_key(&self, store: &Store, policy: &Policy) -> [u8; 16] {
        *self.content_key.get_or_init(|| {
            let mut hasher = Xxh3::new();
            hasher.update(b"ibid content");
            Likeness::of(self.command.bytes(), &self.places, policy).0.add_to(&mut hasher);
            if self.places.is_empty() && policy.shows_directory != ShowsDirectory::Never {
                hasher.update(self.command.place());
            }
            let mut files = FileStates::new(store.cache.access);
            for source in &policy.sources {
                hasher.update(&content_of(store, &mut files, source).unwrap_or_default());
            }
            hasher.digest128().to_le_bytes()
        })
    }

    /// Forgets the content key: the sources may be others by now.
    pub fn forget_content_key(&mut self) {
        self.content_key.take();
    }

    /// What the look-up by content looks for.
    pub fn wanted<'a>(&'a self, store: &Store, policy: &'a Policy) -> Wanted<'a> {
        let Request { command, environment, places, project, .. } = self;
        Wanted {
            command,
            environment,
            policy,
            places,
            project: project.as_ref().map(ProjectFile::stamped),
            content_key: self.content_key(store, policy),
            is_repeatable: policy.private_trees.is_empty(),
        }
    }

    /// Puts the source back where the tool finds it.
    pub fn give_source_back(&mut self) -> io::Result<()> {
        self.source.as_mut().map_or(Ok(()), Source::give_back)
    }
}

fn content_of(store: &Store, files: &mut FileStates, path: &Path) -> Option<[u8; 32]> {
    let path = c_path(path)?;
    let state = raw::stat(&path).ok().filter(FileState::is_regular)?;
    let is_reliable = files.is_reliable(&path, &state, files.taken_ns);
    store.digest_file(&path, &state, is_reliable)
}
