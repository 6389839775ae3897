//! The layer below the own cache (`IBID_READONLY_DIR`), on the way of a miss: looked in before a storage beyond this machine
//! is asked, and before the tool runs.
//!
//! It is looked in by content only: stats are of another machine, or of another mount. What is found is stored here, where it
//! is judged as anything else; where nothing is to be stored, or nothing can be, it is delivered from there. Read next: `store/layer.rs`.

use super::Invocation;
use super::content_lookup::{self, ByContent, Wanted};
use crate::store::Store;
use crate::store::layer::CopiedUp;

impl Invocation {
    /// The layer below `store`, if the user names one that can be used.
    pub(super) fn layer(&self, store: &Store) -> Option<Store> {
        let directory = self.config.readonly_dir.as_deref()?;
        let told = |error| self.log.line(format_args!("{}: {error}", directory.display()));
        store.open_layer(directory).map_err(told).ok()
    }

    /// The exit status of a record that is true by content, here, compressed here, or in the layer; nothing is delivered.
    pub(super) fn true_by_content(
        &self,
        store: &Store,
        wanted: &Wanted,
        arena: &mut [u8],
    ) -> Option<u8> {
        let is_restored = || self.may_store(store) && content_lookup::restore(store, wanted);
        content_lookup::is_true(store, wanted, arena)
            .or_else(|| is_restored().then(|| content_lookup::is_true(store, wanted, arena))?)
            .or_else(|| content_lookup::is_true_in(store, &self.layer(store)?, wanted, arena))
    }

    /// Looks a command up in the layer, if there is one; what is stored and what is counted is so in `store`.
    pub(super) fn look_in_layer(
        &self,
        store: &Store,
        wanted: &Wanted,
        arena: &mut [u8],
        keep: bool,
    ) -> ByContent {
        let Some(layer) = self.layer(store) else { return ByContent::Miss };
        if keep {
            let mut now = content_lookup::ResultKeys::new(store, wanted);
            match store.copy_up(&layer, &wanted.content_key, &mut |set| now.of(set)) {
                CopiedUp::Found => {
                    self.log.line("copied from the read-only cache");
                    return content_lookup::look(store, wanted, arena, keep);
                }
                CopiedUp::Nothing => return ByContent::Miss,
                CopiedUp::Failed => {
                    self.log
                        .line("a result of the read-only cache is damaged, or has no room here");
                }
            }
        }
        content_lookup::look_below(store, &layer, wanted, arena)
    }
}
