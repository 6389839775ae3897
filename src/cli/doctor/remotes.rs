//! The storages beyond this machine: whether each answers, and what keeps it from that.
//!
//! Read next: `cli/remote.rs`.

use super::{Finding, Mark, finding};
use crate::cli::remote::{Tried, try_out};
use crate::config::Config;
use crate::remote::sign::Secret;
use crate::remote::upload;

/// A finding for each storage, and one for a key that is refused.
pub fn all(config: &Config) -> Vec<Finding> {
    let storages = config.remotes.iter().map(|remote| {
        let shown = remote.shown_url();
        let Tried { answer, health, .. } = try_out(remote);
        let untrusted = health.map_or(0, |health| health.untrusted);
        match answer {
            Ok(_) if untrusted > 0 => {
                let found =
                    format!("{shown} answers; {untrusted} answers were signed by no trusted key");
                finding(Mark::Warn, "remote", found)
                    .advise("see `ibid remote key`: who sends must sign, and be trusted here")
            }
            Ok(_) => finding(Mark::Ok, "remote", format!("{shown} answers")),
            Err(why) => finding(Mark::Warn, "remote", format!("{shown}: {why}"))
                .advise("until then builds go on without it"),
        }
    });
    let refused = Secret::of(config).err().filter(|_| upload::writable(config).next().is_some());
    let refused = refused
        .map(|why| finding(Mark::Warn, "remote", why.0).advise("until then nothing is sent"));
    storages.chain(refused).collect()
}
