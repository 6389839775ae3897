//! Precompiled headers and modules: what a compiler keeps in them of the times of other files.
//!
//! gcc's hold none. clang's hold size and time of each file that they were made from, and are an error where one of these
//! has another; they are compared only for files that they name, not for themselves, unless one was made from another.

use std::path::Path;

use super::{Family, Policy, is_crate};

/// Of which files the times may enter a result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Times {
    /// Of none, but for those that are told otherwise.
    Ignored,
    /// Of all that are read or asked about, but not of precompiled headers and modules.
    AllButPrecompiled,
    /// Of all.
    All,
}

/// Whether a file has the name of a precompiled header or module.
pub fn is_precompiled(path: &Path) -> bool {
    has_extension(path, &["gch", "gcm", "pch", "pcm"])
}

/// Whether a file has the name of one from which other results are made, and which each rebuild makes anew.
pub fn is_remade(path: &Path) -> bool {
    is_precompiled(path) || is_crate(path)
}

impl Policy {
    /// Of which files the times may enter the result, after a run of these `images` that read these `inputs`.
    pub fn times<'p>(
        &self,
        images: &[impl AsRef<Path>],
        inputs: impl Iterator<Item = &'p Path>,
    ) -> Times {
        if self.family == Family::Gcc && is_gnu(images) {
            return Times::Ignored;
        }
        let precompiled: Vec<&Path> = inputs.filter(|path| is_precompiled(path)).collect();
        let is_known = matches!(self.family, Family::Gcc | Family::Clang);
        // A header that was made from another one holds that one's time; a module does not.
        let headers = precompiled.iter().filter(|path| !has_extension(path, &["pcm"])).count();
        if self.reads_metadata {
            Times::All
        } else if !self.uses_precompiled && precompiled.is_empty() {
            Times::Ignored
        } else if is_known && headers <= 1 {
            Times::AllButPrecompiled
        } else {
            Times::All
        }
    }
}

/// Whether it was GNU's compiler that ran: clang goes by the names of `gcc` and `cc`, too.
fn is_gnu(images: &[impl AsRef<Path>]) -> bool {
    let name = |image: &dyn AsRef<Path>| {
        image.as_ref().file_name().unwrap_or_default().to_string_lossy().into_owned()
    };
    let names: Vec<String> = images.iter().map(|image| name(image)).collect();
    names.iter().any(|name| matches!(&**name, "cc1" | "cc1plus" | "cc1obj" | "cc1objplus"))
        && !names.iter().any(|name| name.contains("clang"))
}

fn has_extension(path: &Path, extensions: &[&str]) -> bool {
    let extension = path.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
    extensions.contains(&extension)
}
