//! Starts ibid once more, beside a build that goes on and does not wait for it. Read next: `os/detached.rs`.

use std::io;

use super::Store;
use crate::config::Config;
use crate::env;
use crate::os::detached::{Detached, spawn};

impl Store {
    /// Starts ibid with these arguments, for this cache. It runs in the root directory: what names the cache and the settings
    /// does not depend on ours.
    pub fn start_beside(&self, config: &Config, args: &[&str]) -> io::Result<()> {
        let mut env = vec![(env::IBID_DIR.to_owned(), self.outer().as_os_str().to_owned())];
        if let Some(path) = &config.config_path {
            env.push((env::IBID_CONFIG.to_owned(), path.clone().into_os_string()));
        }
        if let Some(path) = &config.remote_key {
            env.push((env::IBID_REMOTE_KEY.to_owned(), path.clone().into_os_string()));
        }
        spawn(&Detached {
            program: &std::env::current_exe()?,
            // A copy of us that is named like a compiler is one.
            name: "ibid".as_ref(),
            args,
            env: &env,
            env_prefix: None,
            stderr: None,
        })
    }
}
