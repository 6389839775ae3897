//! Libraries and programs that ask for the time without use of the answer, each with its reason.

use std::path::Path;

/// Libraries whose call of `time` cannot enter a result, each with its reason.
const LIBRARIES: &[(&str, &str)] = &[
    ("libtinfo.so", "notes when it last looked for its terminal databases"),
    ("libtinfow.so", "notes when it last looked for its terminal databases"),
    ("libncurses.so", "notes when it last looked for its terminal databases"),
    ("libncursesw.so", "notes when it last looked for its terminal databases"),
];

/// Programs whose call of `time` cannot enter a result.
const PROGRAMS: &[(&str, &str)] =
    &[("cargo", "sets its network library up, also where it uses none")];

/// Whether an object is one of these libraries.
pub fn is_idle_library(caller: &Path) -> bool {
    let name = caller.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    LIBRARIES.iter().any(|(library, _)| {
        name.strip_prefix(library).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    })
}

/// Whether an image is one of these programs.
pub fn is_idle_program(image: &Path) -> bool {
    image.file_name().is_some_and(|name| PROGRAMS.iter().any(|(known, _)| name == *known))
}
