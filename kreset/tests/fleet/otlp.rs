//! OTLP over HTTP, to a small server that decodes what it is sent.

use std::{fs, time::Duration};

use tempfile::TempDir;

use crate::{
    certificates::Certificates,
    endure::{Receiver, distinct, endure, write_config},
    otlp_server::{Server, Tls},
    process::{Agent, free_port, soon},
};

impl Receiver for Server {
    fn sink(&self) -> String {
        let port = self.port;
        format!("[[sink]]\ntype = \"otlp\"\nendpoint = \"http://127.0.0.1:{port}/v1/logs\"\n")
    }

    fn start(&mut self) {
        self.listen();
    }

    fn kill(&mut self) {
        self.end();
    }

    fn events(&self) -> Vec<(u64, String)> {
        self.received()
    }
}

#[test]
fn an_otlp_receiver_gets_every_event() {
    endure(&mut Server::new(free_port()));
}

const COUNT: u64 = 500;

/// A sink with TLS that trusts `authority`.
fn sink(port: u16, certificates: &Certificates, authority: &str, token: &str) -> String {
    let file = |name: &str| certificates.file(name).display().to_string();
    format!(
        "[[sink]]\ntype = \"otlp\"\nendpoint = \"https://127.0.0.1:{port}/v1/logs\"\n\
         headers = {{ Authorization = \"Bearer {token}\" }}\n\
         ca = {:?}\ncert = {:?}\nkey = {:?}\n",
        file(authority),
        file("client.pem"),
        file("client.key")
    )
}

#[test]
fn an_otlp_receiver_with_tls_gets_every_event_of_who_knows_the_token() {
    let directory = TempDir::new().unwrap();
    let certificates = Certificates::make(directory.path());
    let tls = Tls::new(&certificates, "Bearer right");
    let mut server = Server::new(free_port()).with_tls(tls);
    server.listen();

    // A wrong token, then the right one: nothing is lost in between.
    let sink_with = |token| sink(server.port, &certificates, "ca.pem", token);
    let config = write_config(directory.path(), &sink_with("wrong"));
    let agent = Agent::start(&config, 0, COUNT, 0);
    soon("the answer is reported", Duration::from_secs(20), || {
        agent.complaints().contains("answered HTTP 401")
    });
    agent.await_kept(COUNT);
    agent.kill();
    assert!(server.received().is_empty());
    fs::write(
        &config,
        fs::read_to_string(&config)
            .unwrap()
            .replace("wrong", "right"),
    )
    .unwrap();
    Agent::start(&config, COUNT, COUNT + 1, 0).finish();
    assert_eq!(distinct(&server.received()).len() as u64, COUNT + 1);
}

#[test]
fn an_otlp_receiver_of_another_authority_is_refused_with_the_reason() {
    let directory = TempDir::new().unwrap();
    let certificates = Certificates::make(directory.path());
    let tls = Tls::new(&certificates, "Bearer right");
    let mut server = Server::new(free_port()).with_tls(tls);
    server.listen();
    let sink = sink(server.port, &certificates, "stranger.pem", "right");
    let config = write_config(directory.path(), &sink);
    let agent = Agent::start(&config, 0, COUNT, 0);
    let reason = "certificate is not signed by an authority in ca";
    soon("the reason is reported", Duration::from_secs(20), || {
        agent.complaints().contains(reason)
    });
    agent.await_kept(COUNT);
    assert!(server.received().is_empty());
}
