//! A real rsyslog.

use std::{fs, net::TcpStream, path::PathBuf, process::Command, time::Duration};

use serde_json::Value;
use tempfile::TempDir;

use crate::{
    endure::{Receiver, endure, number_and_id, write_config},
    process::{Agent, Program, free_port, soon},
};

/// How an rsyslog receives.
enum Input {
    /// TCP on a port of loopback.
    Tcp(u16),
    /// A stream socket in the file system.
    Stream,
    /// A datagram socket in the file system.
    Datagram,
}

/// An rsyslog that writes what it receives to a file per life.
struct Rsyslog {
    directory: TempDir,
    input: Input,
    lives: u32,
    running: Option<Program>,
}

impl Rsyslog {
    fn new(input: Input) -> Self {
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
        let input = match self.input {
            Input::Tcp(port) => format!(
                "module(load=\"imtcp\")\ninput(type=\"imtcp\" port=\"{port}\" address=\"127.0.0.1\")"
            ),
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
            "global(workDirectory=\"{}\")\n{input}\n\
             template(name=\"body\" type=\"string\" string=\"%hostname% %app-name% %msgid%%msg%\\n\")\n\
             action(type=\"omfile\" file=\"{}\" template=\"body\")\n",
            self.directory.path().display(),
            self.output(self.lives).display(),
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
        let mut events = Vec::new();
        for life in 1..=self.lives {
            let text = fs::read_to_string(self.output(life)).unwrap_or_default();
            // The last line of a life that was cut short is rsyslog's loss.
            let whole = text.rfind('\n').map_or("", |end| &text[..=end]);
            for line in whole.lines() {
                // `HOST kreset-trace TYPE {...}`
                let (head, body) = line.split_once('{').unwrap_or_else(|| panic!("{line}"));
                assert!(head.contains(" kreset-trace "), "{line}");
                let body: Value = serde_json::from_str(&format!("{{{body}"))
                    .unwrap_or_else(|error| panic!("{error}: {line}"));
                assert!(
                    head.trim_end().ends_with(body["type"].as_str().unwrap()),
                    "{line}"
                );
                events.push(number_and_id(&body));
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
