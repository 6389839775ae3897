//! What a storage helper is told when it is started: an address and attributes.
//!
//! An attribute that a helper does not know is an error: a misspelt one must not be silent. Read next: `server.rs`.

use std::fmt::Write as _;
use std::time::Duration;

use ibid::env;
use url::Url;

/// An address and its attributes. It has no `Debug`: both may hold credentials.
pub struct Settings {
    /// The address, without the query.
    pub url: Url,
    /// From the query of the address, and as the client's settings say them.
    attributes: Vec<(String, String)>,
}

impl Settings {
    /// Those of this process.
    pub fn read() -> Result<Settings, String> {
        let text = |name: &str| {
            let value = env::get_nonempty(name).ok_or_else(|| format!("{name} is not set"))?;
            value.into_string().map_err(|_| format!("{name} is not text"))
        };
        let count: usize = text("CRSH_NUM_ATTR").ok().and_then(|it| it.parse().ok()).unwrap_or(0);
        let attribute = |at: usize| {
            let value = env::get(&format!("CRSH_ATTR_VALUE_{at}")).unwrap_or_default();
            Ok((text(&format!("CRSH_ATTR_KEY_{at}"))?, value.to_string_lossy().into_owned()))
        };
        let attributes = (0..count.min(1000)).map(attribute).collect::<Result<_, String>>()?;
        Settings::of(&text("CRSH_URL")?, attributes)
    }

    /// Those of an address; what stands in its query are attributes, too.
    pub fn of(url: &str, mut attributes: Vec<(String, String)>) -> Result<Settings, String> {
        let mut url = Url::parse(url).map_err(|error| format!("the URL is wrong: {error}"))?;
        attributes.extend(url.query_pairs().into_owned());
        url.set_query(None);
        url.set_fragment(None);
        Ok(Settings { url, attributes })
    }

    /// Refuses attributes that are not among `known`.
    pub fn only(&self, known: &[&str]) -> Result<(), String> {
        match self.attributes.iter().find(|(key, _)| !known.contains(&key.as_str())) {
            Some((key, _)) => Err(format!("unknown attribute `{key}`")),
            None => Ok(()),
        }
    }

    /// The value of an attribute.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.all(key).next()
    }

    /// All values of an attribute.
    pub fn all<'s>(&'s self, key: &str) -> impl Iterator<Item = &'s str> {
        self.attributes.iter().filter(move |(known, _)| known == key).map(|(_, value)| &**value)
    }

    /// A time in milliseconds.
    #[allow(dead_code, reason = "one helper has no time limits")]
    pub fn time(&self, key: &str, default_ms: u64) -> Result<Duration, String> {
        let ms = self.get(key).map_or(Ok(default_ms), |text| {
            text.parse().map_err(|_| format!("{key}: `{text}` is no number of milliseconds"))
        })?;
        Ok(Duration::from_millis(ms))
    }
}

/// Bytes as hexadecimal digits.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
