//! A real rsyslog.

use std::{fs, net::TcpStream, path::PathBuf, process::Command, time::Duration};

use serde_json::Value;
use tempfile::TempDir;

use crate::{
    contrib,
    endure::{Receiver, endure, number_and_id, write_config},
    process::{Agent, Program, free_port, soon},
};

/// How an rsyslog receives.
pub(crate) enum Input {
    /// TCP on a port of loopback, with the configuration that is shipped.
    Tcp(u16),
    /// A stream socket in the file system.
    Stream,
    /// A datagram socket in the file system.
    Datagram,
}

/// An rsyslog that writes what it receives to a file per life.
pub(crate) struct Rsyslog {
    directory: TempDir,
    input: Input,
    lives: u32,
    running: Option<Program>,
}

impl Rsyslog {
    pub(crate) fn new(input: Input) -> Self {
        Self {
            directory: TempDir::new().unwrap(),
            input,
            lives: 0,
            running: None,
        }
    }

    fn socket(&self) -> PathBuf {
        self.directory.path().join("log")
    }

    fn output(&self, life: u32) -> PathBuf {
        self.directory.path().join(format!("received-{life}"))
    }

    fn config(&self) -> String {
        let socket = self.socket();
        let socket = socket.display();
        let output = self.output(self.lives);
        let directory = self.directory.path().display();
        let directory = format!("global(workDirectory=\"{directory}\")\n");
        let input = match self.input {
            Input::Tcp(port) => {
                let shipped = contrib::changed(
                    "rsyslog/10-kreset.conf",
                    &[
                        (
                            "port=\"601\"",
                            &format!("port=\"{port}\" address=\"127.0.0.1\""),
                        ),
                        (
                            "/var/log/kreset/received.json",
                            &output.display().to_string(),
                        ),
                    ],
                );
                return format!("{directory}{shipped}");
            }
            Input::Stream => {
                format!("module(load=\"imptcp\")\ninput(type=\"imptcp\" path=\"{socket}\")")
            }
            Input::Datagram => format!(
                "module(load=\"imuxsock\" sysSock.use=\"off\")\n\
                 input(type=\"imuxsock\" socket=\"{socket}\" useSpecialParser=\"off\" \
                 parseHostname=\"on\" rateLimit.interval=\"0\")"
            ),
        };
        format!(
            "global(maxMessageSize=\"256k\")\n{directory}{input}\n\
             template(name=\"body\" type=\"string\" string=\"%hostname% %app-name% %msgid%%msg%\\n\")\n\
             action(type=\"omfile\" file=\"{}\" template=\"body\")\n",
            output.display(),
        )
    }
}

impl Receiver for Rsyslog {
    fn sink(&self) -> String {
        let address = match self.input {
            Input::Tcp(port) => format!("tcp://127.0.0.1:{port}"),
            Input::Stream | Input::Datagram => format!("unix://{}", self.socket().display()),
        };
        format!("[[sink]]\ntype = \"syslog\"\naddress = \"{address}\"\n")
    }

    fn start(&mut self) {
        self.lives += 1;
        let config = self.directory.path().join("rsyslog.conf");
        fs::write(&config, self.config()).unwrap();
        drop(fs::remove_file(self.socket()));
        let pid = self.directory.path().join(format!("pid-{}", self.lives));
        let mut command = Command::new("rsyslogd");
        command
            .arg("-n")
            .arg("-C")
            .arg("-f")
            .arg(&config)
            .arg("-i")
            .arg(&pid);
        self.running = Some(Program::start(&mut command));
        soon("rsyslog receives", Duration::from_secs(20), || {
            match self.input {
                Input::Tcp(port) => TcpStream::connect(("127.0.0.1", port)).is_ok(),
                Input::Stream | Input::Datagram => self.socket().exists(),
            }
        });
    }

    fn kill(&mut self) {
        self.running.take().unwrap().kill();
    }

    fn events(&self) -> Vec<(u64, String)> {
        self.events_where(|_| true)
    }
}

impl Rsyslog {
    /// The events that `wanted` wants.
    pub(crate) fn events_where(&self, wanted: impl Fn(&Value) -> bool) -> Vec<(u64, String)> {
        let mut events = Vec::new();
        for life in 1..=self.lives {
            let text = fs::read_to_string(self.output(life)).unwrap_or_default();
            // The last line of a life that was cut short is rsyslog's loss.
            let whole = text.rfind('\n').map_or("", |end| &text[..=end]);
            for line in whole.lines() {
                // `HOST kreset-trace TYPE {...}`, or the event alone.
                let (head, body) = line.split_once('{').unwrap_or_else(|| panic!("{line}"));
                let body: Value = serde_json::from_str(&format!("{{{body}"))
                    .unwrap_or_else(|error| panic!("{error}: {line}"));
                if matches!(self.input, Input::Tcp(_)) {
                    assert_eq!(head, "");
                } else {
                    assert!(head.contains(" kreset-trace "), "{line}");
                    let kind = body["type"].as_str().unwrap();
                    assert!(head.trim_end().ends_with(kind), "{line}");
                }
                if wanted(&body) {
                    events.push(number_and_id(&body));
                }
            }
        }
        events
    }
}

#[test]
fn rsyslog_over_tcp_gets_every_event() {
    endure(&mut Rsyslog::new(Input::Tcp(free_port())));
}

#[test]
fn rsyslog_over_a_unix_stream_gets_every_event() {
    endure(&mut Rsyslog::new(Input::Stream));
}

#[test]
fn rsyslog_over_datagrams_gets_every_event() {
    const COUNT: u64 = 2_000;
    let mut rsyslog = Rsyslog::new(Input::Datagram);
    let directory = TempDir::new().unwrap();
    let config = write_config(directory.path(), &rsyslog.sink());
    rsyslog.start();
    Agent::start(&config, 0, COUNT, 0).finish();
    soon("all are written", Duration::from_secs(20), || {
        let numbers: std::collections::BTreeSet<_> = rsyslog
            .events()
            .into_iter()
            .map(|(number, _)| number)
            .collect();
        numbers == (0..COUNT).collect()
    });
}
