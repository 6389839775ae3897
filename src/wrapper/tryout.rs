//! Whether tools can be observed here, tried out on a program that does nothing: what `doctor` says of it.
//!
//! Read next: `mod.rs`, where observers are used in earnest.

use std::ffi::OsStr;
use std::path::Path;

use crate::env;
use crate::observe::preload::Preload;
use crate::observe::seccomp::Watch;
use crate::os::exec::EnvChange;
use crate::os::path::find_tool;
use crate::os::run::{Spawn, run as run_tool};
use crate::os::watch::{Filter, Privileges};
use crate::store::Store;

/// The program that does nothing.
const IDLE: &str = "true";

/// How an observer fares on this machine.
#[derive(Debug)]
pub struct Tried {
    /// Its name, as `IBID_OBSERVER` takes it.
    pub observer: &'static str,
    /// Whether it works; `None` if it could not be tried out.
    pub works: Option<bool>,
    /// What was seen, or what went wrong.
    pub said: String,
}

/// Tries every observer out. One that is added later adds a line here.
pub fn observers(store: &Store) -> Vec<Tried> {
    let path = env::get(env::PATH);
    let found = find_tool(OsStr::new(IDLE), path.as_deref(), &|_| false);
    let Some(program) = found.path else {
        let said = format!("not tried out: `{IDLE}` is not on PATH");
        return vec![Tried { observer: "preload", works: None, said }];
    };
    let tried = |observer, answer: Result<String, String>| {
        let works = Some(answer.is_ok());
        let said = answer.unwrap_or_else(|why| why);
        Tried { observer, works, said: format!("{}: {said}", program.display()) }
    };
    vec![tried("preload", preload(store, &program)), tried("seccomp", seccomp(&program))]
}

/// As for a compiler, which may be run without the privilege to become another user.
fn seccomp(program: &Path) -> Result<String, String> {
    let in_words = |error: std::io::Error| error.to_string();
    let cwd = std::env::current_dir().map_err(in_words)?;
    let begun = Watch::begin(Privileges::MayRenounce, cwd, Vec::new(), false);
    let (filter, watch) = begun.map_err(in_words)?;
    let ran = run_idle(program, &[], Some(&filter));
    drop(filter);
    let sight = watch.finish();
    ran.map_err(in_words)?;
    match sight.absent {
        None => Ok(format!("{} system calls were told of", sight.events.len())),
        Some(why) => Err(why),
    }
}

fn run_idle(program: &Path, env: &[EnvChange], filter: Option<&Filter>) -> std::io::Result<()> {
    let arg0 = OsStr::new(IDLE);
    let idle =
        Spawn { program, arg0, args: &[], env, filter, keep_max_bytes: 0, holds_text: false };
    run_tool(&idle, &mut || {}).map(drop)
}

fn preload(store: &Store, program: &Path) -> Result<String, String> {
    let in_words = |error: std::io::Error| error.to_string();
    let mut observer = Preload::prepare(store.directory()).map_err(in_words)?;
    observer.check(program);
    let environment = observer.environment();
    let env: Vec<_> = environment.into_iter().map(|(name, value)| (name, Some(value))).collect();
    run_idle(program, &env, None).map_err(in_words)?;
    let observation = observer.finish();
    match observation.incomplete {
        None => Ok(format!("was seen to read {} files", observation.inputs.len())),
        Some(why) => Err(why),
    }
}
