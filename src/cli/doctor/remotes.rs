//! The storages beyond this machine: whether each answers, and what keeps it from that.
//!
//! Read next: `cli/remote.rs`.

use super::{Finding, Mark, finding};
use crate::cli::remote::{Tried, try_out};
use crate::config::Config;

/// A finding for each storage.
pub fn all(config: &Config) -> Vec<Finding> {
    config
        .remotes
        .iter()
        .map(|remote| {
            let shown = remote.shown_url();
            let Tried { answer, .. } = try_out(remote);
            match answer {
                Ok(_) => finding(Mark::Ok, "remote", format!("{shown} answers")),
                Err(why) => finding(Mark::Warn, "remote", format!("{shown}: {why}"))
                    .advise("until then builds go on without it"),
            }
        })
        .collect()
}
