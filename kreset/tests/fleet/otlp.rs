//! A small OTLP server that decodes what it is sent.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
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
use serde_json::Value;

use crate::{
    endure::{Receiver, endure, number_at},
    process::free_port,
};

/// A server that can be killed.
struct Server {
    port: u16,
    events: Arc<Mutex<Vec<(u64, String)>>>,
    alive: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    fn new() -> Self {
        Self {
            port: free_port(),
            events: Arc::default(),
            alive: Arc::default(),
            thread: None,
        }
    }
}

impl Receiver for Server {
    fn sink(&self) -> String {
        let port = self.port;
        format!("[[sink]]\ntype = \"otlp\"\nendpoint = \"http://127.0.0.1:{port}/v1/logs\"\n")
    }

    fn start(&mut self) {
        let listener = TcpListener::bind(("127.0.0.1", self.port)).unwrap();
        listener.set_nonblocking(true).unwrap();
        self.alive = Arc::new(AtomicBool::new(true));
        let (alive, events) = (Arc::clone(&self.alive), Arc::clone(&self.events));
        self.thread = Some(thread::spawn(move || {
            let mut connections = Vec::new();
            while alive.load(Relaxed) {
                if let Ok((stream, _)) = listener.accept() {
                    stream.set_nonblocking(false).unwrap();
                    let (alive, events) = (Arc::clone(&alive), Arc::clone(&events));
                    connections.push(thread::spawn(move || serve(&stream, &alive, &events)));
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

    fn kill(&mut self) {
        self.alive.store(false, Relaxed);
        self.thread.take().unwrap().join().unwrap();
    }

    fn events(&self) -> Vec<(u64, String)> {
        self.events.lock().unwrap().clone()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.alive.store(false, Relaxed);
    }
}

/// Answers requests until the server dies: then it has read a request and
/// neither keeps nor answers it.
fn serve(stream: &TcpStream, alive: &AtomicBool, events: &Mutex<Vec<(u64, String)>>) {
    stream
        .set_read_timeout(Some(Duration::from_millis(200)))
        .unwrap();
    let mut reader = BufReader::new(stream);
    while alive.load(Relaxed) {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            match reader.read_line(&mut head) {
                Ok(0) => return,
                Ok(_) => {}
                Err(_) if !alive.load(Relaxed) => return,
                Err(_) => {}
            }
        }
        let lower = head.to_lowercase();
        let length = lower
            .split("content-length: ")
            .nth(1)
            .unwrap()
            .lines()
            .next()
            .unwrap();
        let mut body = vec![0; length.trim().parse().unwrap()];
        reader.read_exact(&mut body).unwrap();
        if !alive.load(Relaxed) {
            return;
        }
        let request = ExportLogsServiceRequest::decode(body.as_slice()).unwrap();
        let records = request.resource_logs.iter().flat_map(|it| &it.scope_logs);
        let decoded = records.flat_map(|it| &it.log_records).map(read);
        events.lock().unwrap().extend(decoded);
        let answer =
            "HTTP/1.1 200 OK\r\nContent-Type: application/x-protobuf\r\nContent-Length: 0\r\n\r\n";
        drop((&*stream).write_all(answer.as_bytes()));
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
    let number = if record.event_name == "kreset.alert" {
        get("kreset.count").as_u64().unwrap()
    } else {
        number_at(&get("client.address"), &get("client.port"))
    };
    (number, id)
}

#[test]
fn an_otlp_receiver_gets_every_event() {
    endure(&mut Server::new());
}
