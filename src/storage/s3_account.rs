//! Region, endpoint and credentials of S3, where Amazon's own programs find them: attributes, environment, profile files.
//!
//! The names of variables and keys are those of "AWS SDKs and Tools, settings reference". Read next: `s3.rs`.

use std::fs;
use std::path::PathBuf;

use rusty_s3::Credentials;

use super::settings::Settings;
use ibid::env;

/// Whose bucket it is and where. It has no `Debug`: it holds credentials.
pub struct Account {
    /// Such as `us-east-1`.
    pub region: String,
    /// The server, if it is not Amazon's.
    pub endpoint: Option<String>,
    credentials: Option<Credentials>,
}

impl Account {
    /// What attributes, environment and profile files say, in this order.
    pub fn find(settings: &Settings) -> Result<Account, String> {
        let profile = settings.get("profile").map(str::to_owned);
        let is_named = profile.is_some();
        let profile = profile.or_else(|| variable("AWS_PROFILE"));
        let profile = profile.unwrap_or_else(|| "default".to_owned());
        let secrets = file("AWS_SHARED_CREDENTIALS_FILE", "credentials");
        let config = file("AWS_CONFIG_FILE", "config");
        let in_files = |key: &str| {
            value_in(&secrets, &profile, key)
                .or_else(|| value_in(&config, &format!("profile {profile}"), key))
                .or_else(|| value_in(&config, &profile, key))
        };
        let setting = |attribute: &str, variables: &[&str], key: &str| {
            let attribute = settings.get(attribute).map(str::to_owned);
            let of_environment = || variables.iter().find_map(|name| variable(name));
            attribute.or_else(of_environment).or_else(|| in_files(key))
        };
        let keys = |id: Option<String>, secret: Option<String>, token: Option<String>| {
            let (id, secret) = id.zip(secret)?;
            Some(match token {
                Some(token) => Credentials::new_with_token(id, secret, token),
                None => Credentials::new(id, secret),
            })
        };
        let of_files = || {
            let [id, secret, token] =
                ["aws_access_key_id", "aws_secret_access_key", "aws_session_token"].map(in_files);
            keys(id, secret, token)
        };
        let of_environment = || {
            let [id, secret, token] =
                ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"].map(variable);
            keys(id, secret, token)
        };
        // A profile that is named is meant.
        let credentials = if is_named { of_files() } else { of_environment().or_else(of_files) };
        if is_named && credentials.is_none() {
            return Err(format!("the profile `{profile}` has no credentials"));
        }
        Ok(Account {
            region: setting("region", &["AWS_REGION", "AWS_DEFAULT_REGION"], "region")
                .unwrap_or_else(|| "us-east-1".to_owned()),
            endpoint: setting(
                "endpoint",
                &["AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"],
                "endpoint_url",
            ),
            credentials,
        })
    }

    /// What requests are signed with; without, they are anonymous.
    pub fn credentials(&self) -> Option<&Credentials> {
        self.credentials.as_ref()
    }
}

fn variable(name: &str) -> Option<String> {
    env::get_nonempty(name)?.into_string().ok()
}

/// The text of a file that a variable names, or that is below `~/.aws`.
fn file(name: &str, below: &str) -> String {
    let at_home = || Some(PathBuf::from(env::get_nonempty("HOME")?).join(".aws").join(below));
    let path = env::get_nonempty(name).map(PathBuf::from).or_else(at_home);
    path.and_then(|path| fs::read_to_string(path).ok()).unwrap_or_default()
}

/// The value of a key in a section.
fn value_in(text: &str, section: &str, key: &str) -> Option<String> {
    let mut is_in_section = false;
    for line in text.lines() {
        let line = line.trim_end();
        if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            is_in_section = name.split_whitespace().eq(section.split_whitespace());
        } else if is_in_section
            && !line.starts_with(['#', ';', ' ', '\t'])
            && let Some((name, value)) = line.split_once('=')
            && name.trim() == key
        {
            return Some(value.trim().to_owned()).filter(|value| !value.is_empty());
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::value_in;

    #[test]
    fn values_of_a_profile() {
        let text = "# key = no\n[default]\nkey = one\ns3 =\n  key = nested\n\n[profile  other]\n#key = no\nkey=two = 2\n\
                    empty =\n[last]\r\nkey = three\r\n";
        for (section, key, value) in [
            ("default", "key", Some("one")),
            ("profile other", "key", Some("two = 2")),
            ("last", "key", Some("three")),
            ("default", "s3", None),
            ("profile other", "empty", None),
            ("other", "key", None),
            ("default", "none", None),
        ] {
            assert_eq!(value_in(text, section, key).as_deref(), value, "{section} {key}");
        }
    }
}
