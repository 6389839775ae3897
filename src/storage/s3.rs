//! `ccache-storage-s3`: values in a bucket of S3, or of a server that speaks as it does.
//!
//! Read next: `s3_account.rs` (region and credentials), `web.rs`, `server.rs`.

#[path = "s3_account.rs"]
mod account;
mod names;
mod server;
mod settings;
mod web;

use std::process::ExitCode;
use std::time::Duration;

use rusty_s3::{Bucket, S3Action, UrlStyle};
use ureq::http::{Method, Request, Response, StatusCode};
use ureq::{Agent, Body};
use url::Url;

use account::Account;
use names::{has_folders, name_of};
use server::{Storage, serve};
use settings::Settings;

/// How long a signed request may be used.
const SIGNED_FOR: Duration = Duration::from_mins(5);

fn main() -> ExitCode {
    serve("ccache-storage-s3", Store::open)
}

struct Store {
    agent: Agent,
    bucket: Bucket,
    account: Account,
    /// It is empty, or ends in a slash.
    prefix: String,
    has_folders: bool,
}

impl Store {
    fn open(settings: &Settings) -> Result<Store, String> {
        let known = ["region", "endpoint", "profile", "path-style", "layout"];
        settings.only(&[&known[..], &web::ATTRIBUTES].concat())?;
        let account = Account::find(settings)?;
        let name = settings.url.host_str().ok_or("write `s3://BUCKET/PREFIX`")?;
        let aws = || format!("https://s3.{}.amazonaws.com", account.region);
        let endpoint = account.endpoint.clone().unwrap_or_else(aws);
        let endpoint =
            Url::parse(&endpoint).map_err(|error| format!("endpoint: not a URL: {error}"))?;
        // Servers of one's own have no host for each bucket, and a name with dots is in no certificate.
        let is_usual = account.endpoint.is_some() || name.contains('.');
        let is_path = match settings.get("path-style") {
            Some("true") => true,
            Some("false") => false,
            None => is_usual,
            Some(other) => return Err(format!("path-style: `{other}` is not true or false")),
        };
        let style = if is_path { UrlStyle::Path } else { UrlStyle::VirtualHost };
        let bucket = Bucket::new(endpoint, style, name.to_owned(), account.region.clone());
        let bucket = bucket.map_err(|error| format!("the bucket's address is wrong: {error}"))?;
        let prefix = settings.url.path().trim_matches('/');
        Ok(Store {
            agent: web::agent(settings)?,
            bucket,
            prefix: if prefix.is_empty() { String::new() } else { format!("{prefix}/") },
            has_folders: has_folders(settings)?,
            account,
        })
    }

    fn name(&self, key: &[u8]) -> String {
        format!("{}{}", self.prefix, name_of(key, self.has_folders))
    }

    fn send(
        &self,
        method: Method,
        signed: &Url,
        condition: Option<&'static str>,
        value: &[u8],
    ) -> Result<Response<Body>, String> {
        let mut request = Request::builder().method(method).uri(signed.as_str());
        if let Some(name) = condition {
            request = request.header(name, "*");
        }
        let request = request.body(value).map_err(|_| "the address is wrong")?;
        web::send(&self.agent, request)
    }
}

impl Storage for Store {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, String> {
        let name = self.name(key);
        let url = self.bucket.get_object(self.account.credentials(), &name).sign(SIGNED_FOR);
        let response = self.send(Method::GET, &url, None, &[])?;
        match response.status() {
            StatusCode::OK => web::body(response).map(Some),
            StatusCode::NOT_FOUND => not_found(response).map(|()| None),
            _ => Err(web::refused(response)),
        }
    }

    fn put(&self, key: &[u8], value: &[u8], overwrite: bool) -> Result<bool, String> {
        let name = self.name(key);
        let mut action = self.bucket.put_object(self.account.credentials(), &name);
        let condition = (!overwrite).then_some("if-none-match");
        if let Some(name) = condition {
            action.headers_mut().insert(name, "*");
        }
        let url = action.sign(SIGNED_FOR);
        let response = self.send(Method::PUT, &url, condition, value)?;
        web::is_done(response, &[StatusCode::PRECONDITION_FAILED])
    }

    fn remove(&self, key: &[u8]) -> Result<bool, String> {
        if !self.exists(key)? {
            return Ok(false);
        }
        let name = self.name(key);
        let url = self.bucket.delete_object(self.account.credentials(), &name).sign(SIGNED_FOR);
        let response = self.send(Method::DELETE, &url, None, &[])?;
        web::is_done(response, &[])
    }

    fn exists(&self, key: &[u8]) -> Result<bool, String> {
        let name = self.name(key);
        let url = self.bucket.head_object(self.account.credentials(), &name).sign(SIGNED_FOR);
        let response = self.send(Method::HEAD, &url, None, &[])?;
        match response.status() {
            StatusCode::OK => Ok(true),
            StatusCode::NOT_FOUND => Ok(false),
            _ => Err(web::refused(response)),
        }
    }
}

/// Tells a key that is not there from a bucket that is not.
fn not_found(response: Response<Body>) -> Result<(), String> {
    let text = web::body(response)?;
    let is_bucket = String::from_utf8_lossy(&text).contains("NoSuchBucket");
    if is_bucket { Err("there is no such bucket".into()) } else { Ok(()) }
}
