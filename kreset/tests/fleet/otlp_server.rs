//! A small OTLP server.

use std::{
    io::{BufRead as _, BufReader, ErrorKind, Read, Write},
    net::{TcpListener, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use opentelemetry_proto::tonic::{
    collector::logs::v1::ExportLogsServiceRequest, common::v1::any_value::Value as Any,
    logs::v1::LogRecord,
};
use prost::Message as _;
use rustls::{
    RootCertStore, ServerConfig, ServerConnection, StreamOwned,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
    server::WebPkiClientVerifier,
};
use serde_json::Value;

use crate::{certificates::Certificates, endure::number_at};

/// The clients that a server with TLS accepts.
#[derive(Clone)]
pub(crate) struct Tls {
    config: Arc<ServerConfig>,
    authorization: String,
}

impl Tls {
    /// Clients with a certificate by the authority and this `Authorization`.
    pub(crate) fn new(certificates: &Certificates, authorization: &str) -> Self {
        let certificate = |name: &str| {
            CertificateDer::from_pem_slice(certificates.text(name).as_bytes()).unwrap()
        };
        let key = certificates.text("server.key");
        let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap();
        let mut roots = RootCertStore::empty();
        roots.add(certificate("ca.pem")).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let verifier =
            WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider));
        let config = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(rustls::ALL_VERSIONS)
            .unwrap()
            .with_client_cert_verifier(verifier.build().unwrap())
            .with_single_cert(vec![certificate("server.pem")], key)
            .unwrap();
        Self {
            config: Arc::new(config),
            authorization: authorization.to_owned(),
        }
    }
}

/// What all connections of a server share.
#[derive(Clone, Default)]
struct Shared {
    events: Arc<Mutex<Vec<(u64, String)>>>,
    alive: Arc<AtomicBool>,
    tls: Option<Tls>,
}

/// A server that can be killed.
pub(crate) struct Server {
    pub(crate) port: u16,
    shared: Shared,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    pub(crate) fn new(port: u16) -> Self {
        Self {
            port,
            shared: Shared::default(),
            thread: None,
        }
    }

    pub(crate) fn with_tls(mut self, tls: Tls) -> Self {
        self.shared.tls = Some(tls);
        self
    }

    pub(crate) fn listen(&mut self) {
        let listener = TcpListener::bind(("127.0.0.1", self.port)).unwrap();
        listener.set_nonblocking(true).unwrap();
        self.shared.alive = Arc::new(AtomicBool::new(true));
        let shared = self.shared.clone();
        self.thread = Some(thread::spawn(move || {
            let mut connections = Vec::new();
            while shared.alive.load(Relaxed) {
                if let Ok((stream, _)) = listener.accept() {
                    stream.set_nonblocking(false).unwrap();
                    let shared = shared.clone();
                    connections.push(thread::spawn(move || shared.converse(stream)));
                } else {
                    thread::sleep(Duration::from_millis(2));
                }
            }
            drop(listener);
            for connection in connections {
                connection.join().unwrap();
            }
        }));
    }

    pub(crate) fn end(&mut self) {
        self.shared.alive.store(false, Relaxed);
        self.thread.take().unwrap().join().unwrap();
    }

    pub(crate) fn received(&self) -> Vec<(u64, String)> {
        self.shared.events.lock().unwrap().clone()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.shared.alive.store(false, Relaxed);
    }
}

impl Shared {
    fn converse(&self, stream: TcpStream) {
        stream
            .set_read_timeout(Some(Duration::from_millis(200)))
            .unwrap();
        match &self.tls {
            None => self.serve(stream),
            Some(tls) => {
                let connection = ServerConnection::new(Arc::clone(&tls.config)).unwrap();
                self.serve(StreamOwned::new(connection, stream));
            }
        }
    }

    /// Answers requests until the server dies: then it has read a request and
    /// neither keeps nor answers it.
    fn serve(&self, stream: impl Read + Write) {
        let mut reader = BufReader::new(stream);
        while self.alive.load(Relaxed) {
            let mut head = String::new();
            while !head.ends_with("\r\n\r\n") {
                match reader.read_line(&mut head) {
                    Ok(0) => return,
                    Ok(_) => {}
                    Err(_) if !self.alive.load(Relaxed) => return,
                    Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                    // A handshake that failed, a connection that was reset.
                    Err(_) => return,
                }
            }
            let header = |name: &str| {
                let lines = head.lines().filter_map(|line| line.split_once(": "));
                let mut named = lines.filter(|(it, _)| it.eq_ignore_ascii_case(name));
                named.next().map(|(_, value)| value.to_owned())
            };
            let length = header("content-length").unwrap();
            let mut body = vec![0; length.parse().unwrap()];
            reader.read_exact(&mut body).unwrap();
            if !self.alive.load(Relaxed) {
                return;
            }
            let wanted = self.tls.as_ref().map(|tls| tls.authorization.clone());
            let status = if wanted.is_some() && header("authorization") != wanted {
                "401 Unauthorized"
            } else {
                self.keep(&body);
                "200 OK"
            };
            let answer = format!(
                "HTTP/1.1 {status}\r\nContent-Type: application/x-protobuf\r\nContent-Length: 0\r\n\r\n"
            );
            let stream = reader.get_mut();
            drop(
                stream
                    .write_all(answer.as_bytes())
                    .and_then(|()| stream.flush()),
            );
        }
    }

    fn keep(&self, body: &[u8]) {
        let request = ExportLogsServiceRequest::decode(body).unwrap();
        let records = request.resource_logs.iter().flat_map(|it| &it.scope_logs);
        let decoded = records.flat_map(|it| &it.log_records).map(read);
        self.events.lock().unwrap().extend(decoded);
    }
}

/// Number and id of a record.
fn read(record: &LogRecord) -> (u64, String) {
    let get = |name: &str| {
        let found = record.attributes.iter().find(|it| it.key == name);
        match found
            .and_then(|it| it.value.clone())
            .and_then(|it| it.value)
        {
            Some(Any::StringValue(text)) => Value::from(text),
            Some(Any::IntValue(number)) => Value::from(number),
            other => panic!("{name}: {other:?} in {record:?}"),
        }
    };
    let id = get("log.record.uid").as_str().unwrap().to_owned();
    (number(&record.event_name, get), id)
}

/// The number of the event whose attributes `get` gives.
pub(crate) fn number(event_name: &str, get: impl Fn(&str) -> Value) -> u64 {
    let count = |name| get(name).as_u64().unwrap();
    match event_name {
        "kreset.start" => count("kreset.seeded"),
        "kreset.loss" => count("kreset.total"),
        "kreset.summary" => count("kreset.duration_ms"),
        "kreset.alert" => count("kreset.count"),
        _ => number_at(&get("client.address"), &get("client.port")),
    }
}
