//! The first line of a test run: how long it takes. The unit tests have it too; in both it is the first test by its name.

use std::io::Write;

/// On two cores: where nothing else runs, and where much does.
const UNIT: &str = "1 to 3 minutes of unit tests";
const INTEGRATION: &str = "20 to 40 minutes of integration tests";

#[test]
fn how_long_it_takes() {
    let is_unit = module_path!().starts_with("ibid::");
    let what = if is_unit { format!("{UNIT}, then {INTEGRATION}") } else { INTEGRATION.to_owned() };
    let line = format!(
        "ibid: {what}, on two cores. Each test is a line when it ends; one module: cargo test --test it NAME\n"
    );
    // Past the capture of the test harness.
    let _ = std::io::stderr().write_all(line.as_bytes());
}
