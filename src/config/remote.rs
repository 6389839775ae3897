//! The storages that `IBID_REMOTE` names: addresses, attributes, and what of them may be shown.
//!
//! Nothing is connected to here. What is shown or said of a storage holds no credentials. Read next: `remote/mod.rs`,
//! `docs/remote.md`.

use std::ffi::OsStr;
use std::fmt::Write as _;
use std::path::PathBuf;
use std::time::Duration;

use super::values::{absolute, parse_size};

/// What a build may lose at most to a storage, if nobody says otherwise.
const LOSS_MAX: Duration = Duration::from_secs(1);

/// A storage beyond this machine.
#[derive(Clone, PartialEq, Eq)]
pub struct Remote {
    /// Its address, which may hold credentials.
    pub url: String,
    /// What its helper is told besides.
    pub attributes: Vec<(String, String)>,
    /// Whether nothing is stored there.
    pub is_read_only: bool,
    /// The program that speaks to it, if it is not to be looked for.
    pub helper: Option<PathBuf>,
    /// What keeps its keys apart from those of others.
    pub namespace: String,
    /// What a build may lose at most to waiting for it.
    pub loss_max: Duration,
    /// How many bytes a second may be sent, if that is limited.
    pub upload_bytes_per_s: Option<u64>,
}

/// It shows no credentials.
impl std::fmt::Debug for Remote {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.shown())
    }
}

/// Attributes whose values are no secrets.
const HARMLESS: [&str; 11] = [
    "ca-file",
    "connect-timeout",
    "db",
    "endpoint",
    "expire",
    "layout",
    "operation-timeout",
    "path-style",
    "prefix",
    "profile",
    "region",
];

impl Remote {
    /// The storages of a setting, in its order: `URL [read-only] [KEY=VALUE]… ; URL …`.
    pub fn parse_all(text: &str) -> Result<Vec<Remote>, String> {
        let parts = text.split(';').map(str::trim).filter(|part| !part.is_empty());
        let parse = |(at, part): (usize, &str)| {
            Remote::parse(part).map_err(|why| format!("storage {}: {why}", at + 1))
        };
        parts.enumerate().map(parse).collect()
    }

    fn parse(text: &str) -> Result<Remote, String> {
        let mut words = text.split_whitespace();
        let mut remote = Remote {
            url: words.next().unwrap_or_default().to_owned(),
            attributes: Vec::new(),
            is_read_only: false,
            helper: None,
            namespace: String::new(),
            loss_max: LOSS_MAX,
            upload_bytes_per_s: None,
        };
        let is_letter = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.');
        let scheme = remote.scheme();
        if !scheme.starts_with(|c: char| c.is_ascii_alphabetic()) || !scheme.chars().all(is_letter)
        {
            return Err("no address, such as `s3://BUCKET/PREFIX`".into());
        }
        for word in words {
            remote.apply(word.strip_prefix('@').unwrap_or(word))?;
        }
        Ok(remote)
    }

    fn apply(&mut self, word: &str) -> Result<(), String> {
        if word == "read-only" {
            self.is_read_only = true;
            return Ok(());
        }
        // A word without a `=` may be a part of a secret.
        let (key, value) =
            word.split_once('=').ok_or("a word is neither `read-only` nor KEY=VALUE")?;
        match key {
            "helper" => self.helper = Some(absolute(OsStr::new(value))?),
            "namespace" => value.clone_into(&mut self.namespace),
            "max-loss" => {
                let ms = value.parse().map_err(|_| "max-loss: write a number of milliseconds")?;
                self.loss_max = Duration::from_millis(ms);
            }
            "max-upload-rate" => self.upload_bytes_per_s = Some(parse_size(value)?),
            _ => self.attributes.push((key.to_owned(), value.to_owned())),
        }
        Ok(())
    }

    /// What stands before the colon of the address.
    pub fn scheme(&self) -> &str {
        self.url.split_once(':').map_or("", |(scheme, _)| scheme)
    }

    /// The address without user, password and query.
    pub fn shown_url(&self) -> String {
        let (before, query) =
            self.url.split_once('?').map_or((&*self.url, ""), |(url, _)| (url, "?***"));
        let Some((scheme, rest)) = before.split_once("://") else {
            return before.to_owned() + query;
        };
        let (host, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let host = match host.rsplit_once('@') {
            Some((_, host)) => format!("***@{host}"),
            None => host.to_owned(),
        };
        format!("{scheme}://{host}{path}{query}")
    }

    /// The whole, as the setting says it, but for what is secret.
    pub fn shown(&self) -> String {
        let mut text = self.shown_url();
        if self.is_read_only {
            text += " read-only";
        }
        if let Some(helper) = &self.helper {
            let _ = write!(text, " helper={}", helper.display());
        }
        if !self.namespace.is_empty() {
            let _ = write!(text, " namespace={}", self.namespace);
        }
        if self.loss_max != LOSS_MAX {
            let _ = write!(text, " max-loss={}", self.loss_max.as_millis());
        }
        if let Some(rate) = self.upload_bytes_per_s {
            let _ = write!(text, " max-upload-rate={rate}B");
        }
        for (key, value) in &self.attributes {
            let value = if HARMLESS.contains(&&**key) { value } else { "***" };
            let _ = write!(text, " {key}={value}");
        }
        text
    }

    /// A text of somebody else's without what is secret here.
    pub fn without_secrets(&self, text: &str) -> String {
        let user = self.url.split_once("://").and_then(|(_, rest)| {
            let (host, _) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
            host.rsplit_once('@').map(|(user, _)| user)
        });
        let query = self.url.split_once('?').map(|(_, query)| query);
        let in_query = query.into_iter().flat_map(|query| query.split('&'));
        let in_query = in_query.filter_map(|pair| pair.split_once('=').map(|(_, value)| value));
        let secret = self.attributes.iter().filter(|(key, _)| !HARMLESS.contains(&&**key));
        let secrets = user
            .into_iter()
            .flat_map(|user| [user].into_iter().chain(user.splitn(2, ':').skip(1)))
            .chain(in_query)
            .chain(secret.map(|(_, value)| &**value));
        let secrets = secrets.filter(|secret| secret.len() > 2);
        secrets.fold(text.to_owned(), |text, secret| text.replace(secret, "***"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(text: &str) -> Remote {
        let mut all = Remote::parse_all(text).expect(text);
        assert_eq!(all.len(), 1, "{text}");
        all.remove(0)
    }

    #[test]
    fn what_a_setting_says() {
        let all = Remote::parse_all("s3://b/p region=x read-only ; file:///d @layout=flat;");
        let all = all.expect("right");
        assert_eq!(all.len(), 2);
        assert!(all[0].is_read_only && all[0].attributes == [("region".into(), "x".into())]);
        assert_eq!(all[1].attributes, [("layout".into(), "flat".into())]);
        assert_eq!((all[0].scheme(), all[1].scheme()), ("s3", "file"));
        assert_eq!(one("redis+unix:///s").scheme(), "redis+unix");
        assert_eq!(one("crsh:/run/x helper=/h namespace=n").namespace, "n");
        assert_eq!(one("file:///d max-upload-rate=5M").upload_bytes_per_s, Some(5_000_000));
        assert_eq!(Remote::parse_all(" ; ").expect("none"), []);
        for text in
            ["host", "://x", "1s://x", "/dir", "s3://b word", "s3://b max-loss=x", "x y://z"]
        {
            assert!(Remote::parse_all(text).is_err(), "{text}");
        }
    }

    #[test]
    fn secrets_are_not_shown() {
        let text = "https://me:p4ss%40w@host:8/p@th?token=t0k bearer-token=s3cret layout=flat header=A=hdr";
        let remote = one(text);
        for shown in [remote.shown(), remote.shown_url(), format!("{remote:?}")] {
            for secret in ["me:", "p4ss", "t0k", "s3cret", "hdr"] {
                assert!(!shown.contains(secret), "{shown}");
            }
        }
        let shown = "https://***@host:8/p@th?*** layout=flat".split(' ');
        assert!(shown.into_iter().all(|part| remote.shown().contains(part)), "{}", remote.shown());
        // What is shown can be set again.
        assert_eq!(one(&remote.shown()).shown(), remote.shown());
        let said = remote.without_secrets("user me:p4ss%40w or p4ss%40w, t0k, s3cret, A=hdr");
        assert_eq!(said, "user *** or ***, ***, ***, ***");
        let wrong = Remote::parse_all("s3://b pass word").expect_err("wrong");
        assert!(!wrong.contains("pass"), "{wrong}");
    }
}
