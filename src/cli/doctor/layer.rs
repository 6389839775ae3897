//! The read-only cache below the own one: whether it is used, and what keeps it from that.
//!
//! Read next: `store/layer.rs`, `docs/security.md`.

use super::{Finding, Mark, finding};
use crate::config::Config;
use crate::store::Store;
use crate::store::layer::LayerError;

/// One finding, if there is such a cache.
pub fn layer(config: &Config, own: &Store) -> Option<Finding> {
    let directory = config.readonly_dir.as_deref()?;
    let shown = directory.display();
    let unused = |error: LayerError| {
        let found = format!("{shown} is not looked in: {error}");
        let found = finding(Mark::Warn, "read-only cache", found);
        match error {
            LayerError::Unsafe(..) => {
                found.advise("see docs/security.md; all of it must be one user's: chmod -R go-w")
            }
            _ if !directory.exists() => found.advise("make it, or unset IBID_READONLY_DIR"),
            LayerError::Io(..) => found.advise(format!("let its owner run chmod -R a+rX {shown}")),
            LayerError::OtherLayout(_) | LayerError::Damaged(_) => {
                found.advise("fill it again with this ibid")
            }
            LayerError::Own => found.advise("unset IBID_READONLY_DIR, or set IBID_DIR"),
        }
    };
    Some(match own.open_layer(directory) {
        Err(error) => unused(error),
        Ok(layer) => {
            let (unusable, all) = layer.segments_unusable();
            if unusable > 0 {
                let found = format!("{shown}: {unusable} of its {all} segments are damaged");
                let found = finding(Mark::Warn, "read-only cache", found);
                return Some(found.advise("fill it again"));
            }
            let found = format!("{shown}, whose owner is trusted; {all} segments");
            finding(Mark::Ok, "read-only cache", found)
        }
    })
}
