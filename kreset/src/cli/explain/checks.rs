//! Commands that check a verdict, by class.

use std::net::SocketAddr;

use crate::{
    event::{Finding, Role},
    util::escape::Escaped,
};

/// What the commands are filled with.
#[derive(Clone, Debug)]
pub(super) struct Values {
    broker: String,
    address: String,
    client: String,
    since: String,
    until: String,
    unit: String,
}

impl Values {
    /// Those of a finding, or words in their place.
    pub(super) fn of(finding: Option<&Finding>) -> Self {
        let Some(finding) = finding else {
            return Self {
                broker: "BROKER:9092".to_owned(),
                address: "BROKER".to_owned(),
                client: "CLIENT".to_owned(),
                since: "-10min".to_owned(),
                until: "now".to_owned(),
                unit: "kafka".to_owned(),
            };
        };
        let at = finding.time.0;
        let around = |seconds: i64| {
            let moment = at.checked_add(jiff::SignedDuration::from_secs(seconds));
            format!("{:.0}", moment.unwrap_or(at))
                .replace('T', " ")
                .replace('Z', " UTC")
        };
        let broker = finding.process_of(Role::Broker);
        let unit = broker.and_then(|it| it.systemd_unit.as_deref());
        let unit = unit.unwrap_or("kafka");
        Self {
            broker: SocketAddr::new(finding.broker.address, finding.broker.port).to_string(),
            address: finding.broker.address.to_string(),
            client: finding.client.address.to_string(),
            since: around(-60),
            until: around(60),
            unit: Escaped(unit).to_string(),
        }
    }
}

/// What to look at, and the command.
pub(super) fn of(class: &str, values: &Values) -> Vec<(&'static str, String)> {
    let Values {
        broker,
        address,
        client,
        since,
        until,
        unit,
    } = values;
    let log = (
        "on the broker's host, its log at that time",
        format!("journalctl -u {unit} --since '{since}' --until '{until}'"),
    );
    let service = (
        "on the broker's host, when it was started, and how it ended before",
        format!("systemctl show {unit} -p ActiveEnterTimestamp,NRestarts,Result,ExecMainStatus"),
    );
    let killed = (
        "on the broker's host, whether the out-of-memory killer ended it",
        format!("journalctl -k --since '{since}' --until '{until}' | grep -i 'out of memory'"),
    );
    let listens = (
        "on the broker's host, whether it listens, and the queue of its listener",
        "ss -ltn 'sport = :9092'".to_owned(),
    );
    let timers = (
        "on the client's host, the keepalive timers of its connections",
        format!("ss -tno dst {address}"),
    );
    let sockets = (
        "on the client's host, silence (lastsnd, lastrcv) and retransmissions",
        format!("ss -tni dst {address}"),
    );
    let measure = (
        "the device's timer, measured on purpose",
        format!("kreset-trace probe {broker}"),
    );
    let both = (
        "the other end at the same time",
        format!("sudo kreset-trace --client {client}  # on the broker's host"),
    );
    let tls = (
        "what the listener speaks, and its certificate",
        format!("openssl s_client -connect {broker} -brief </dev/null"),
    );
    let limits = (
        "the broker's limits and idle timer",
        format!(
            "kafka-configs.sh --bootstrap-server {broker} --entity-type brokers --describe --all \
             | grep -E 'connections|reauth'"
        ),
    );
    let quota = (
        "the broker's metrics of connections and throttling",
        format!(
            "kafka-run-class.sh org.apache.kafka.tools.JmxTool --jmx-url \
             service:jmx:rmi:///jndi/rmi://{address}:9999/jmxrmi --one-time --object-name \
             'kafka.server:type=socket-server-metrics,*'"
        ),
    );
    let route = (
        "the hops on the way",
        format!("traceroute -T -p 9092 {address}"),
    );
    let (verdict, cause) = class.split_once('/').unwrap_or((class, ""));
    match (verdict, cause) {
        ("middlebox_idle_reset", "rebound") | ("middlebox_reset", "moved") => vec![both, route],
        ("middlebox_idle_reset" | "middlebox_idle_drop", _) => vec![measure, timers, sockets, both],
        ("middlebox_reset", _) => vec![both, route, sockets],
        ("broker_originated", "idle_close") => vec![limits, log, timers],
        ("broker_originated", "shutdown") => vec![service, log, killed],
        ("broker_originated", "closed") => vec![log, limits, quota],
        ("broker_originated", "connection_lost") => vec![
            service,
            (
                "on the broker's host, when it was started",
                "uptime --since".to_owned(),
            ),
            both,
        ],
        ("broker_originated", _) => vec![log, quota, limits],
        ("handshake_phase", "refused") => vec![listens, service, route],
        ("handshake_phase", "authentication") => vec![log, limits],
        ("handshake_phase", "closed_by_broker") => vec![listens, limits, log],
        ("handshake_phase", _) => vec![tls, log],
        ("client_originated", "aborted" | "connection_lost") => vec![
            (
                "on the client's host, what was logged at that time",
                format!("journalctl --since '{since}' --until '{until}'"),
            ),
            both,
        ],
        _ => Vec::new(),
    }
}
