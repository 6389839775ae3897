//! HTTP requests as the helpers make them: time limits, short errors, no credentials in them.
//!
//! Read next: `http.rs`, `s3.rs`.

use std::fs;

use ibid::remote::protocol::VALUE_BYTES_MAX;
use ureq::http::{Request, Response, StatusCode};
use ureq::tls::{PemItem, RootCerts, TlsConfig, parse_pem};
use ureq::{Agent, Body, Error};

use super::settings::Settings;

/// The attributes that [`agent`] reads.
pub const ATTRIBUTES: [&str; 3] = ["ca-file", "connect-timeout", "operation-timeout"];

/// What makes requests, and keeps connections for the next.
pub fn agent(settings: &Settings) -> Result<Agent, String> {
    let roots = settings.get("ca-file").map_or(Ok(RootCerts::WebPki), roots)?;
    Ok(Agent::config_builder()
        .tls_config(TlsConfig::builder().root_certs(roots).build())
        .http_status_as_error(false)
        .allow_non_standard_methods(true)
        .user_agent(concat!("ibid/", env!("CARGO_PKG_VERSION")))
        .max_idle_connections_per_host(16)
        .timeout_connect(Some(settings.time("connect-timeout", 2_000)?))
        .timeout_global(Some(settings.time("operation-timeout", 30_000)?))
        .build()
        .into())
}

/// The certificates of a file, which servers must have theirs from.
fn roots(path: &str) -> Result<RootCerts, String> {
    let pem = fs::read(path).map_err(|error| format!("ca-file: {path}: {error}"))?;
    let certificates = parse_pem(&pem).filter_map(|item| match item {
        Ok(PemItem::Certificate(certificate)) => Some(certificate),
        _ => None,
    });
    let certificates: Vec<_> = certificates.collect();
    if certificates.is_empty() {
        return Err(format!("ca-file: {path} holds no certificate"));
    }
    Ok(RootCerts::new_with_certs(&certificates))
}

/// Sends a request; its status and answer.
pub fn send(agent: &Agent, request: Request<&[u8]>) -> Result<Response<Body>, String> {
    agent.run(request).map_err(|error| short(&error))
}

/// What the answer holds.
pub fn body(mut response: Response<Body>) -> Result<Vec<u8>, String> {
    let announced = response.body().content_length();
    let read = response.body_mut().with_config().limit(VALUE_BYTES_MAX).read_to_vec();
    let value = read.map_err(|error| short(&error))?;
    match announced {
        Some(len) if len != value.len() as u64 => Err("the answer was cut".into()),
        _ => Ok(value),
    }
}

/// Lets the connection be used again: a short answer is read to its end.
pub fn discard(mut response: Response<Body>) {
    let _ = response.body_mut().with_config().limit(64 << 10).read_to_vec();
}

/// Whether it was done: a status of success says yes, these say no, and any other is an error.
pub fn is_done(response: Response<Body>, refusals: &[StatusCode]) -> Result<bool, String> {
    let status = response.status();
    let is_success = status.is_success();
    if !is_success && !refusals.contains(&status) {
        return Err(refused(response));
    }
    discard(response);
    Ok(is_success)
}

/// A status that is no answer to what was asked.
pub fn refused(response: Response<Body>) -> String {
    let status = response.status();
    discard(response);
    format!("HTTP status {}", status.as_u16())
}

/// An error without the address, which may hold credentials.
fn short(error: &Error) -> String {
    match error {
        Error::Timeout(which) => format!("timeout: {which}"),
        Error::Io(error) => error.to_string(),
        Error::HostNotFound => "the host is not found".into(),
        Error::ConnectionFailed => "cannot connect".into(),
        Error::BadUri(_) => "the URL is wrong".into(),
        other => other.to_string().lines().next().unwrap_or_default().to_owned(),
    }
}
