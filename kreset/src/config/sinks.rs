//! The `[[sink]]` tables.

use std::{collections::BTreeMap, net::SocketAddr, path::PathBuf, time::Duration};

use super::Format;
use super::table::{Table, Wrong};
use crate::{
    event::{Kind, Verdict, filter::SinkFilter},
    util::duration,
};

/// Keys of every sink.
const COMMON: [&str; 5] = ["type", "name", "events", "verdicts", "min-confidence"];
/// What a request may take.
const TIMEOUT: Duration = Duration::from_secs(10);

/// One sink: its name, what it gets, and where it goes.
#[derive(Clone, Debug, PartialEq)]
pub struct SinkConfig {
    /// Unique among the sinks of a run.
    pub name: String,
    /// What it gets.
    pub filter: SinkFilter,
    /// Where it goes.
    pub target: Target,
}

/// Where events go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// Standard output.
    Stdout {
        /// Form of the output.
        format: Format,
        /// Whether text tells what each verdict rests on.
        verbose: bool,
    },
    /// Appended to a file.
    File {
        /// The file.
        path: PathBuf,
        /// Form of the output.
        format: Format,
        /// Whether text tells what each verdict rests on.
        verbose: bool,
    },
    /// Syslog messages.
    Syslog(SyslogConfig),
    /// OpenTelemetry logs over HTTP.
    Otlp(OtlpConfig),
    /// Records of a Kafka topic.
    Kafka(KafkaConfig),
    /// Counted for Prometheus to scrape.
    Prometheus {
        /// Where `/metrics` and `/healthz` are answered.
        listen: SocketAddr,
    },
}

impl Target {
    /// The `type` of such a sink.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Stdout { .. } => "stdout",
            Self::File { .. } => "file",
            Self::Syslog(_) => "syslog",
            Self::Otlp(_) => "otlp",
            Self::Kafka(_) => "kafka",
            Self::Prometheus { .. } => "prometheus",
        }
    }
}

/// The JSON that a message carries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Body {
    /// The native contract.
    #[default]
    Json,
    /// A document of the Elastic Common Schema.
    Ecs,
}

/// Where syslog messages go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SyslogConfig {
    /// The receiver.
    pub address: SyslogAddress,
    /// What a message carries.
    pub body: Body,
    /// The facility of every message.
    pub facility: Facility,
}

/// A syslog receiver.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SyslogAddress {
    /// TCP to `host:port`.
    Tcp(String),
    /// A stream socket in the file system.
    Unix(PathBuf),
}

/// A facility of RFC 5424.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Facility(pub u8);

/// Where OpenTelemetry logs go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OtlpConfig {
    /// The URL of the logs, such as `https://collector:4318/v1/logs`.
    pub endpoint: String,
    /// Headers of every request.
    pub headers: BTreeMap<String, String>,
    /// PEM file of the authorities to trust instead of the usual ones.
    pub ca: Option<PathBuf>,
    /// PEM files of this client's certificate and its key.
    pub identity: Option<(PathBuf, PathBuf)>,
    /// What a request may take.
    pub timeout: Duration,
}

/// Where Kafka records go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KafkaConfig {
    /// The first brokers to ask, `host:port,...`.
    pub brokers: String,
    /// The topic.
    pub topic: String,
    /// What a record's value is.
    pub body: Body,
    /// Settings handed to librdkafka, such as those of TLS and SASL.
    pub properties: BTreeMap<String, String>,
    /// What a batch may take.
    pub timeout: Duration,
}

/// Reads one table.
pub(super) fn read(table: Table<'_, '_>) -> Result<SinkConfig, Wrong> {
    let kind = table.required("type", "\"file\"", |text| Ok(text.to_owned()))?;
    let only = |own: &[&str]| {
        let known: Vec<_> = COMMON.iter().chain(own).copied().collect();
        table.only(&known)
    };
    let target = match kind.as_str() {
        "stdout" => {
            only(&["format", "verbose"])?;
            Target::Stdout {
                format: format(table)?,
                verbose: table.flag("verbose")?,
            }
        }
        "file" => {
            only(&["path", "format", "verbose"])?;
            let path = table.required("path", "\"/var/log/kreset/events.json\"", path)?;
            Target::File {
                path,
                format: format(table)?,
                verbose: table.flag("verbose")?,
            }
        }
        "syslog" => {
            only(&["address", "format", "facility"])?;
            let facility = table.optional("facility", facility)?;
            Target::Syslog(SyslogConfig {
                address: table.required("address", "\"tcp://siem.example:601\"", address)?,
                body: body(table)?,
                facility: facility.unwrap_or(Facility(3)),
            })
        }
        "otlp" => {
            only(&["endpoint", "headers", "ca", "cert", "key", "timeout"])?;
            otlp(table)?
        }
        "kafka" => {
            only(&["brokers", "topic", "format", "properties", "timeout"])?;
            let text = |text: &str| Ok(text.to_owned());
            Target::Kafka(KafkaConfig {
                brokers: table.required("brokers", "\"kafka.example:9092\"", text)?,
                topic: table.required("topic", "\"kreset\"", text)?,
                body: body(table)?,
                properties: table.texts("properties")?,
                timeout: timeout(table)?,
            })
        }
        "prometheus" => {
            table.only(&["type", "name", "listen"])?;
            let listen = |text: &str| {
                text.parse()
                    .ok()
                    .ok_or_else(|| format!("{text} is no address and port, such as 127.0.0.1:9464"))
            };
            Target::Prometheus {
                listen: table.required("listen", "\"127.0.0.1:9464\"", listen)?,
            }
        }
        other => {
            let kinds = "stdout, file, syslog, otlp, kafka, prometheus";
            return Err(table.wrong(format!(
                "there is no sink of type {other}; there are {kinds}"
            )));
        }
    };
    available(&target).map_err(|sentence| table.wrong(sentence))?;
    let name = table.optional("name", name)?.unwrap_or(kind);
    Ok(SinkConfig {
        name,
        filter: filter(table)?,
        target,
    })
}

/// Refuses what this build was made without.
fn available(target: &Target) -> Result<(), String> {
    let there = match target {
        Target::Otlp(_) => cfg!(feature = "otlp"),
        Target::Kafka(_) => cfg!(feature = "kafka"),
        Target::Prometheus { .. } => cfg!(feature = "metrics"),
        Target::Stdout { .. } | Target::File { .. } | Target::Syslog(_) => true,
    };
    let (kind, feature) = (
        target.kind(),
        if matches!(target, Target::Prometheus { .. }) {
            "metrics"
        } else {
            target.kind()
        },
    );
    if there {
        Ok(())
    } else {
        Err(format!(
            "this build has no {kind} sink: build it with the feature {feature}"
        ))
    }
}

fn filter(table: Table<'_, '_>) -> Result<SinkFilter, Wrong> {
    let share = |text: &str| {
        let share = text
            .parse()
            .ok()
            .filter(|share| (0.0..=1.0).contains(share));
        share.ok_or_else(|| format!("{text} is no confidence: those are 0 to 1"))
    };
    Ok(SinkFilter {
        events: table.list("events", |text| one_of(text, "type of event", Kind::ALL))?,
        verdicts: table.list("verdicts", |text| one_of(text, "verdict", Verdict::ALL))?,
        min_confidence: table.optional("min-confidence", share)?.unwrap_or(0.0),
    })
}

fn otlp(table: Table<'_, '_>) -> Result<Target, Wrong> {
    let url = |text: &str| {
        let known = ["http://", "https://"]
            .iter()
            .any(|scheme| text.starts_with(scheme));
        if known {
            Ok(text.to_owned())
        } else {
            Err(format!("{text} is no http:// or https:// URL"))
        }
    };
    let cert = table.optional("cert", path)?;
    let key = table.optional("key", path)?;
    let identity = match (cert, key) {
        (Some(cert), Some(key)) => Some((cert, key)),
        (None, None) => None,
        _ => return Err(table.wrong("a client's certificate takes both keys, cert and key")),
    };
    Ok(Target::Otlp(OtlpConfig {
        endpoint: table.required(
            "endpoint",
            "\"https://collector.example:4318/v1/logs\"",
            url,
        )?,
        headers: table.texts("headers")?,
        ca: table.optional("ca", path)?,
        identity,
        timeout: timeout(table)?,
    }))
}

fn timeout(table: Table<'_, '_>) -> Result<Duration, Wrong> {
    let parse = |text: &str| duration::parse(text).map_err(|error| error.to_string());
    Ok(table.optional("timeout", parse)?.unwrap_or(TIMEOUT))
}

/// A sink's name is also that of its directory.
fn name(text: &str) -> Result<String, String> {
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    if !text.is_empty() && text.len() <= 64 && text.chars().all(plain) {
        Ok(text.to_owned())
    } else {
        Err(format!(
            "{text:?} is no name: those are letters, digits, - and _"
        ))
    }
}

#[expect(clippy::unnecessary_wraps, reason = "has the shape of its siblings")]
fn path(text: &str) -> Result<PathBuf, String> {
    Ok(text.into())
}

fn format(table: Table<'_, '_>) -> Result<Format, Wrong> {
    let parse = |text: &str| {
        <Format as clap::ValueEnum>::from_str(text, false)
            .ok()
            .ok_or_else(|| format!("there is no format {text}; there are text, json, ecs"))
    };
    Ok(table.optional("format", parse)?.unwrap_or(Format::Json))
}

fn body(table: Table<'_, '_>) -> Result<Body, Wrong> {
    let parse = |text: &str| match text {
        "json" => Ok(Body::Json),
        "ecs" => Ok(Body::Ecs),
        other => Err(format!(
            "there is no format {other} here; there are json, ecs"
        )),
    };
    Ok(table.optional("format", parse)?.unwrap_or_default())
}

fn address(text: &str) -> Result<SyslogAddress, String> {
    if let Some(authority) = text.strip_prefix("tcp://") {
        let has_port = authority.rsplit_once(':').is_some_and(|(host, port)| {
            !host.is_empty() && port.parse::<u16>().is_ok_and(|port| port > 0)
        });
        if has_port {
            return Ok(SyslogAddress::Tcp(authority.to_owned()));
        }
    }
    match text.strip_prefix("unix://") {
        Some(path) if path.starts_with('/') => Ok(SyslogAddress::Unix(path.into())),
        _ => Err(format!(
            "{text} is no receiver: write tcp://host:port or unix:///path"
        )),
    }
}

fn facility(text: &str) -> Result<Facility, String> {
    const NAMES: [&str; 24] = [
        "kern", "user", "mail", "daemon", "auth", "syslog", "lpr", "news", "uucp", "cron",
        "authpriv", "ftp", "ntp", "security", "console", "clock", "local0", "local1", "local2",
        "local3", "local4", "local5", "local6", "local7",
    ];
    let at = NAMES.iter().position(|name| *name == text);
    let number = at.and_then(|at| u8::try_from(at).ok());
    number.map(Facility).ok_or_else(|| {
        format!(
            "there is no facility {text}; there are {}",
            NAMES.join(", ")
        )
    })
}

/// The one of `all` that is written `text`.
fn one_of<T: Copy + ToString>(text: &str, what: &str, all: &[T]) -> Result<T, String> {
    all.iter()
        .copied()
        .find(|it| it.to_string() == text)
        .ok_or_else(|| {
            let names: Vec<_> = all.iter().map(ToString::to_string).collect();
            format!("there is no {what} {text}; there are {}", names.join(", "))
        })
}
