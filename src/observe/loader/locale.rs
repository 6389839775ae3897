//! What libc reads when a program asks for a locale: its categories, message catalogues and character sets.
//!
//! Read next: `mod.rs`, which asks.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use super::look::{is_absent, read_if_there};
use crate::env;
use crate::observe::shim::log::{Event, What};
use crate::observe::trace::Trace;

const LOCALES: &str = "/usr/lib/locale";
const CATALOGUES: &str = "/usr/share/locale";
/// The variables that say which locale.
pub const VARIABLES: &[&str] = &[
    "LC_ALL",
    "LC_ADDRESS",
    "LC_COLLATE",
    "LC_CTYPE",
    "LC_IDENTIFICATION",
    "LC_MEASUREMENT",
    "LC_MESSAGES",
    "LC_MONETARY",
    "LC_NAME",
    "LC_NUMERIC",
    "LC_PAPER",
    "LC_TELEPHONE",
    "LC_TIME",
    "LANG",
];

/// What libc was asked for, and was found out then.
#[derive(Debug, Default)]
pub struct LocaleReads {
    names: BTreeSet<String>,
    catalogues: BTreeSet<(OsString, PathBuf)>,
}

/// The spellings under which libc looks for a locale: as given, with the codeset normalised, without it, the language.
fn spellings(name: &str) -> BTreeSet<String> {
    let (base, modifier) =
        name.split_once('@').map_or((name, ""), |(base, _)| (base, &name[base.len()..]));
    let (territory, codeset) = base.split_once('.').unwrap_or((base, ""));
    let language = territory.split('_').next().unwrap_or(territory);
    let normal: String = codeset.chars().filter(char::is_ascii_alphanumeric).collect();
    let mut all = BTreeSet::from([name.to_owned(), base.to_owned()]);
    for place in [territory, language] {
        all.insert(place.to_owned());
        all.insert(format!("{place}{modifier}"));
        if !codeset.is_empty() {
            all.insert(format!("{place}.{codeset}"));
            all.insert(format!("{place}.{}", normal.to_lowercase()));
            all.insert(format!("{place}.{}{modifier}", normal.to_lowercase()));
        }
    }
    all
}

impl LocaleReads {
    /// The variables and files by which libc finds a locale, if one was asked for.
    pub fn add_locale(&mut self, trace: &mut Trace, events: &[Event]) {
        let extra = ["LANGUAGE", "LOCPATH", "NLSPATH", "OUTPUT_CHARSET"];
        trace.seen.variables.extend(VARIABLES.iter().chain(&extra).map(OsString::from));
        let value = |name: &str| env::get_nonempty(name).and_then(|value| value.into_string().ok());
        let is_plain = |name: &String| matches!(name.as_str(), "C" | "POSIX");
        let set = events.iter().filter_map(|event| match &event.what {
            What::LocaleName { name } => name.to_str(),
            _ => None,
        });
        // One name, or `category=name` for each category.
        let set = set.flat_map(|names| names.split(';'));
        let set = set.map(|name| name.split_once('=').map_or(name, |(_, name)| name).to_owned());
        let names: BTreeSet<String> = VARIABLES
            .iter()
            .filter_map(|name| value(name))
            .chain(set)
            .filter(|name| !is_plain(name))
            .collect();
        if names.is_empty() {
            return;
        }
        if names != self.names {
            add_categories(trace, &names);
            *self = LocaleReads { names, ..LocaleReads::default() };
        }
        self.add_catalogues(trace, events);
        // A character set that is not ASCII is converted by tables beside libc.
        add_conversions(trace, events);
    }

    /// The message catalogues of every domain that was bound, and libc's own.
    fn add_catalogues(&mut self, trace: &mut Trace, events: &[Event]) {
        let mut domains = BTreeSet::from([(OsString::from("libc"), PathBuf::from(CATALOGUES))]);
        for Event { what, .. } in events {
            if let What::TextDomain { domain, directory } = what {
                domains.insert((domain.clone(), directory.clone()));
            }
        }
        domains.retain(|domain| self.catalogues.insert(domain.clone()));
        if domains.is_empty() {
            return;
        }
        let languages = env::get_nonempty("LANGUAGE")
            .and_then(|value| value.into_string().ok())
            .unwrap_or_default();
        let languages = languages.split(':').filter(|name| !name.is_empty()).map(str::to_owned);
        let wanted: BTreeSet<String> =
            self.names.iter().cloned().chain(languages).flat_map(|name| spellings(&name)).collect();
        for (domain, directory) in &domains {
            for language in &wanted {
                let mut name = domain.clone();
                name.push(".mo");
                read_if_there(trace, &directory.join(language).join("LC_MESSAGES").join(name));
            }
        }
    }
}

/// The files of every category.
fn add_categories(trace: &mut Trace, names: &BTreeSet<String>) {
    let own =
        env::get_nonempty("LOCPATH").map(|paths| std::env::split_paths(&paths).collect::<Vec<_>>());
    if own.is_none() {
        read_if_there(trace, &Path::new(LOCALES).join("locale-archive"));
    }
    let mut roots = own.unwrap_or_default();
    roots.push(LOCALES.into());
    for name in names.iter().flat_map(|name| spellings(name)) {
        for directory in roots.iter().map(|root| root.join(&name)) {
            if is_absent(trace, &directory) {
                continue;
            }
            for category in
                VARIABLES.iter().filter(|name| name.starts_with("LC_") && **name != "LC_ALL")
            {
                if *category == "LC_MESSAGES" {
                    trace.look(&directory.join(category), 0);
                    read_if_there(trace, &directory.join("LC_MESSAGES/SYS_LC_MESSAGES"));
                } else {
                    read_if_there(trace, &directory.join(category));
                }
            }
        }
    }
    read_if_there(trace, &Path::new(CATALOGUES).join("locale.alias"));
}

/// The table of character set conversions lies beside libc, below `/usr`; where `GCONV_PATH` is set, or there is no table,
/// libc reads what it was made from instead.
pub fn add_conversions(trace: &mut Trace, events: &[Event]) {
    trace.seen.variables.insert("GCONV_PATH".into());
    let own = env::get("GCONV_PATH");
    let own_directories: Vec<PathBuf> = own.iter().flat_map(std::env::split_paths).collect();
    let mut has_table = true;
    let mut directories: BTreeSet<PathBuf> =
        own_directories.into_iter().filter(|path| !path.as_os_str().is_empty()).collect();
    for Event { what, .. } in events {
        if let What::Object { path, .. } = what
            && path.file_name().is_some_and(|name| name.as_bytes().starts_with(b"libc.so"))
            && let Some(directory) = path.parent()
        {
            let directory =
                Path::new("/usr").join(directory.strip_prefix("/").unwrap_or(directory));
            let directory = directory
                .strip_prefix("/usr/usr")
                .map_or(directory.clone(), |rest| Path::new("/usr").join(rest));
            let directory = directory.join("gconv");
            has_table &=
                own.is_none() && read_if_there(trace, &directory.join("gconv-modules.cache"));
            directories.insert(directory);
        }
    }
    if has_table {
        return;
    }
    for directory in directories {
        read_if_there(trace, &directory.join("gconv-modules"));
        let more = directory.join("gconv-modules.d");
        let Ok(entries) = fs::read_dir(&more) else {
            read_if_there(trace, &more);
            continue;
        };
        trace.list(&more);
        let files = entries.flatten().map(|entry| entry.path());
        for file in files.filter(|path| path.extension().is_some_and(|it| it == "conf")) {
            read_if_there(trace, &file);
        }
    }
}
