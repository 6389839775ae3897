//! The man pages: one for ibid and one for each subcommand, from the one definition of what can be typed.

use std::fs;
use std::path::Path;

#[allow(dead_code, reason = "its `main` is for `.ci/release`")]
#[path = "../../examples/man.rs"]
mod pages;

fn text_of(page: &Path) -> String {
    fs::read_to_string(page).unwrap()
}

#[test]
fn a_page_for_each_subcommand() {
    let directory = tempfile::tempdir().unwrap();
    pages::write_pages(directory.path()).unwrap();
    let own = text_of(&directory.path().join("ibid.1"));
    assert!(own.contains(".TH ibid 1") && own.contains(env!("CARGO_PKG_VERSION")), "{own}");
    for command in ibid::cli::SUBCOMMANDS {
        let name = format!("ibid-{command}");
        let page = text_of(&directory.path().join(format!("{name}.1")));
        assert!(page.contains(&format!(".TH {name} 1")), "{page}");
        assert!(page.contains(".SH SYNOPSIS") && page.contains("ibid"), "{page}");
        // As roff writes it.
        let escaped = name.replace('-', "\\-");
        assert!(own.contains(&format!("{escaped}(1)")), "{name} is not in ibid.1: {own}");
    }
    let stats = text_of(&directory.path().join("ibid-stats.1"));
    assert!(stats.contains("\\-\\-json") && stats.contains("Print one JSON object"), "{stats}");
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), ibid::cli::SUBCOMMANDS.len() + 1);
}
