//! OpenTelemetry logs over HTTP, as protobuf.
//!
//! The messages are the project's own generated ones; the protocol is one
//! POST, which is done here: an SDK would bring a second queue that drops.

mod record;

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
};

use opentelemetry_proto::tonic::{
    collector::logs::v1::{ExportLogsServiceRequest, ExportLogsServiceResponse},
    common::v1::InstrumentationScope,
    logs::v1::{LogRecord, ResourceLogs, ScopeLogs},
    resource::v1::Resource,
};
use prost::Message as _;
pub use record::OtlpEncoder;
use rustix::system::uname;
use ureq::{
    Agent,
    tls::{Certificate, ClientCert, PemItem, PrivateKey, RootCerts, TlsConfig, parse_pem},
};

use self::record::text;
use crate::{
    config::OtlpConfig,
    delivery::{Handed, Remote, RemoteError, SinkError, spool::Entry},
};

/// What is read of a receiver's answer.
const ANSWER: u64 = 64 * 1024;

/// A receiver of OTLP logs.
#[derive(Debug)]
pub struct Otlp {
    agent: Agent,
    endpoint: String,
    headers: BTreeMap<String, String>,
    ca: Option<PathBuf>,
    resource: Resource,
}

impl Otlp {
    /// One that is connected to when there is something to send.
    ///
    /// # Errors
    ///
    /// When a certificate or key cannot be read.
    pub fn new(config: &OtlpConfig) -> Result<Self, SinkError> {
        let agent = Agent::config_builder()
            .timeout_global(Some(config.timeout))
            .http_status_as_error(false)
            .max_redirects(0)
            .user_agent(concat!("kreset-trace/", env!("CARGO_PKG_VERSION")))
            .tls_config(tls(config)?)
            .build()
            .new_agent();
        let host = uname().nodename().to_string_lossy().into_owned();
        let attributes = vec![
            text("service.name", "kreset-trace"),
            text("service.version", env!("CARGO_PKG_VERSION")),
            text("host.name", &host),
            text("os.type", "linux"),
        ];
        Ok(Self {
            agent,
            endpoint: config.endpoint.clone(),
            headers: config.headers.clone(),
            ca: config.ca.clone(),
            resource: Resource {
                attributes,
                ..Resource::default()
            },
        })
    }

    fn request(&self, batch: &[Entry]) -> Result<Vec<u8>, RemoteError> {
        let decoded: Result<Vec<_>, _> = batch
            .iter()
            .map(|entry| LogRecord::decode(entry.payload.as_slice()))
            .collect();
        let log_records = decoded.map_err(|error| RemoteError::Refused(error.to_string()))?;
        let scope = InstrumentationScope {
            name: "kreset".to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            ..InstrumentationScope::default()
        };
        let scope_logs = ScopeLogs {
            scope: Some(scope),
            log_records,
            ..ScopeLogs::default()
        };
        let resource_logs = ResourceLogs {
            resource: Some(self.resource.clone()),
            scope_logs: vec![scope_logs],
            ..ResourceLogs::default()
        };
        Ok(ExportLogsServiceRequest {
            resource_logs: vec![resource_logs],
        }
        .encode_to_vec())
    }
}

impl Otlp {
    /// Why there was no answer, with what to change where that is known.
    fn why(&self, error: &ureq::Error) -> String {
        let error = error.to_string();
        if !error.contains("UnknownIssuer") {
            return format!("does not answer: {error}");
        }
        let authorities = match &self.ca {
            Some(path) => format!("in ca = {}", path.display()),
            None => "among the well-known ones: name its own with ca".to_owned(),
        };
        format!("is not trusted: its certificate is signed by no authority {authorities}")
    }
}

impl Remote for Otlp {
    fn send(&mut self, batch: &[Entry]) -> Result<Handed, RemoteError> {
        let body = self.request(batch)?;
        let mut request = self.agent.post(&self.endpoint);
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        let answer = request
            .header("Content-Type", "application/x-protobuf")
            .send(body.as_slice());
        let unavailable = |what: String| {
            RemoteError::Unavailable(format!("the OTLP receiver {} {what}", self.endpoint))
        };
        let mut answer = answer.map_err(|error| unavailable(self.why(&error)))?;
        let status = answer.status().as_u16();
        let body = answer.body_mut().with_config().limit(ANSWER).read_to_vec();
        match status {
            200..=299 => {
                // An answer that was cut is an answer: they were taken.
                let body = body.unwrap_or_default();
                partial(&body, batch.len()).map(|()| Handed::Confirmed)
            }
            // What is wrong with these requests is in them.
            400 | 413 | 422 => Err(RemoteError::Refused(format!("HTTP {status}"))),
            // Everything else is a receiver that is busy, or a setting (a
            // token, a path) that somebody can put right.
            _ => Err(unavailable(format!("answers HTTP {status}"))),
        }
    }
}

/// A receiver may take part of a batch; sent alone, a refused event shows.
fn partial(body: &[u8], sent: usize) -> Result<(), RemoteError> {
    let response = ExportLogsServiceResponse::decode(body).unwrap_or_default();
    match response.partial_success {
        Some(it) if it.rejected_log_records > 0 => {
            let rejected = it.rejected_log_records;
            Err(RemoteError::Refused(format!(
                "{rejected} of {sent} rejected: {}",
                it.error_message
            )))
        }
        _ => Ok(()),
    }
}

fn tls(config: &OtlpConfig) -> Result<TlsConfig, SinkError> {
    let mut tls = TlsConfig::builder();
    if let Some(path) = &config.ca {
        let authorities = pem(path, |item| match item {
            PemItem::Certificate(certificate) => Some(certificate),
            _ => None,
        })?;
        tls = tls.root_certs(RootCerts::new_with_certs(&authorities));
    }
    if let Some((certificate, key)) = &config.identity {
        let chain: Vec<Certificate<'static>> = pem(certificate, |item| match item {
            PemItem::Certificate(certificate) => Some(certificate),
            _ => None,
        })?;
        let mut keys: Vec<PrivateKey<'static>> = pem(key, |item| match item {
            PemItem::PrivateKey(key) => Some(key),
            _ => None,
        })?;
        tls = tls.client_cert(Some(ClientCert::new_with_certs(
            &chain,
            keys.swap_remove(0),
        )));
    }
    Ok(tls.build())
}

/// What `wanted` finds in a PEM file: at least one.
fn pem<T>(
    path: &Path,
    wanted: impl Fn(PemItem<'static>) -> Option<T>,
) -> Result<Vec<T>, SinkError> {
    let failed = |source| SinkError::Settings {
        path: path.to_owned(),
        source,
    };
    let text = fs::read(path).map_err(failed)?;
    let items: Vec<_> = parse_pem(&text)
        .filter_map(Result::ok)
        .filter_map(wanted)
        .collect();
    if items.is_empty() {
        return Err(failed(io::Error::new(
            io::ErrorKind::InvalidData,
            "no such thing stands in it as PEM",
        )));
    }
    Ok(items)
}

#[cfg(test)]
mod tests;
