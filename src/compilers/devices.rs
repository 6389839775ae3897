//! Outputs that are no files: standard output, and devices.

use std::path::Path;

/// Where an output goes that nobody wants.
pub(super) const NULL_DEVICE: &str = "/dev/null";

/// Whether an output is a device that is not for nothing: what is written there, no record gives again.
pub(super) fn is_other_device(output: &Path) -> bool {
    is_no_file(output) && output != "-" && output != NULL_DEVICE
}

/// Whether an output is standard output, a device or the like: what cannot be delivered as a file.
pub fn is_no_file(output: &Path) -> bool {
    let is_device = output.starts_with("/dev") && !output.starts_with("/dev/shm");
    output == "-" || is_device || output.starts_with("/proc")
}
