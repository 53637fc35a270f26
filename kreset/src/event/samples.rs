//! One event of each type, and the odd ones, for tests.

use super::*;

const TIME: &str = "2026-11-23T14:22:07.123456789Z";

/// A time of an event.
pub(crate) fn time(text: &str) -> Time {
    Time(text.parse().unwrap())
}

fn host_of(name: &str) -> Host {
    Host { name: name.into() }
}

fn host() -> Host {
    host_of("client-1")
}

pub(crate) fn endpoint(address: &str, port: u16) -> Endpoint {
    Endpoint {
        address: address.parse().unwrap(),
        port,
    }
}

/// What speaks for or against classes, and cannot be forged.
fn evidence(name: &str, value: &str, weights: &[(&'static str, f64)]) -> Evidence {
    Evidence {
        name: name.into(),
        value: value.into(),
        proof: Proof::Proven,
        weights: weights.iter().copied().collect(),
    }
}

fn candidates(shares: &[(Verdict, f64)]) -> Candidates {
    let candidate = |&(verdict, share)| Candidate { verdict, share };
    shares.iter().map(candidate).collect()
}

fn path() -> Path {
    Path {
        survived_idle_ms: Some(300_000.0),
        fatal_idle_ms: Some(350_214.5),
        samples: 12,
        pattern: Some("periodic".into()),
        devices: vec!["AWS NLB".into(), "AWS NAT gateway".into()],
    }
}

/// A reset of the main verdict, with everything known.
pub(crate) fn finding() -> Finding {
    Finding {
        time: time(TIME),
        host: host(),
        source: Source::Live,
        community_id: CommunityId::from("1:LQU9qZlK+B5F3KDmev6m5PMibrg=").unwrap(),
        sent_by: Some(SentBy::Device),
        summary: "A device reset an idle connection (10.0.1.5:43210 orders-api to broker \
                  10.0.2.7:9092, idle for 350.2 s); 97% sure"
            .into(),
        direction: Direction::Received,
        role: Role::Client,
        kreset_probe: None,
        incident_id: None,
        verdict: Verdict::MiddleboxIdleReset,
        cause: Some(Cause::ResetOnSend),
        confidence: 0.973,
        client: Client {
            id: Some("orders-api".into()),
            software: Some("apache-kafka-java".into()),
            version: Some("4.3.0".into()),
            ..endpoint("10.0.1.5", 43210).into()
        },
        broker: endpoint("10.0.2.7", 9092),
        host_names: None,
        connection: Connection {
            flow_id: Some(FlowId::from("8db23264-b981f8e2").unwrap()),
            state: Some("ESTABLISHED".into()),
            age_ms: Some(723_456.0),
            age_kind: Some(AgeKind::Exact),
            idle_ms: Some(350_214.5),
            wire_idle_ms: Some(350_214.5),
            reset_delay_us: Some(412),
            provoked_by: Some(ProvokedBy::Data),
            retransmits: Some(0),
            bytes_sent: Some(10_240),
            bytes_received: Some(2_048),
            srtt_us: Some(1_200),
            min_rtt_us: Some(900),
        },
        reset: Reset {
            sequence: Some(3_112_361_826),
            flags: Some("R".into()),
            timestamps: Some(false),
            ttl: Some(63),
            handshake_ttl: Some(62),
            ip_id: Some(0),
            window: Some(0),
            kernel_reason: None,
        },
        process: Process {
            pid: Some(4242),
            name: Some("kafka-producer-".into()),
            executable: Some("java".into()),
            start_time: Some(time("2026-11-23T08:00:00Z")),
            cgroup: Some("/system.slice/kafka-client.service".into()),
            systemd_unit: Some("kafka-client.service".into()),
            netns: Some(4_026_531_840),
            ..Process::default()
        },
        process_end: None,
        load: Some(Box::new(Load {
            unread_bytes: Some(0),
            receive_window_bytes: Some(65_536),
            peer_window_bytes: Some(64_128),
            unanswered: Some(true),
            ..Load::default()
        })),
        other_end: None,
        path: path(),
        evidence: vec![
            evidence(
                "state",
                "ESTABLISHED",
                &[("middlebox_idle_reset", 1.5), ("broker_originated", 0.5)],
            ),
            evidence(
                "ttl",
                "63, handshake 62",
                &[("middlebox_idle_reset", 3.0), ("broker_originated", -4.25)],
            ),
            evidence("ip_id", "0", &[]),
        ],
        candidates: candidates(&[
            (Verdict::MiddleboxIdleReset, 0.973),
            (Verdict::BrokerOriginated, 0.027),
        ]),
        advice:
            "A device forgets connections that are idle for about 350 s. On the broker's host: \
                 `sudo sysctl -w net.ipv4.tcp_keepalive_time=170 net.ipv4.tcp_keepalive_intvl=75`; \
                 or raise the device's idle timeout."
                .into(),
    }
}

/// A client on the broker's host that sent the RST.
pub(crate) fn other_end() -> OtherEnd {
    OtherEnd {
        time: time("2026-11-23T14:22:07.123450001Z"),
        role: Role::Client,
        direction: Direction::Sent,
        client: endpoint("10.0.1.5", 43210),
        broker: endpoint("10.0.2.7", 9092),
        state: Some("CLOSE".into()),
        idle_ms: Some(350_214.5),
        wire_idle_ms: Some(350_214.5),
        kernel_reason: Some("TCP_ABORT_ON_LINGER".into()),
        process: Process {
            pid: Some(77),
            name: Some("check".into()),
            executable: Some("healthcheck".into()),
            systemd_unit: Some("healthcheck.service".into()),
            netns: Some(4_026_532_711),
            ..Process::default()
        },
    }
}

/// A broker that an orchestrator ended, with everything that may be known.
pub(crate) fn process_end() -> ProcessEnd {
    let sender = |pid, name: &str, uid| SignalSender {
        pid,
        name: Some(name.into()),
        uid,
        cgroup: Some("/system.slice/containerd.service".into()),
        by_kernel: false,
    };
    ProcessEnd {
        what: Ended::Killed,
        summary: "SIGKILL by containerd-shim (pid 811), 30 s after SIGTERM".into(),
        pid: 9_001,
        name: Some("java".into()),
        ended_ms: Some(0.4),
        exit_code: Some(143),
        signal: Some("SIGKILL".into()),
        core_dumped: Some(false),
        by: Some(sender(811, "containerd-shim", 0)),
        asked: Some(Asked {
            signal: "SIGTERM".into(),
            by: sender(811, "containerd-shim", 0),
            ms: 30_020.0,
        }),
        suspended_ms: Some(20_000.0),
        memory: Some(MemoryEnd {
            of_cgroup: Some(true),
            cgroup: Some("kafka.service".into()),
            limit_bytes: Some(6 << 30),
        }),
    }
}

/// A finding with the summary of its other fields.
fn summarized(mut finding: Finding) -> Box<Finding> {
    finding.summary = finding.summarize();
    Box::new(finding)
}

/// A broker with a full queue.
fn load() -> Load {
    Load {
        unread_bytes: Some(1_024),
        receive_window_bytes: Some(0),
        peer_window_bytes: Some(64_128),
        unanswered: Some(true),
        accept_queue: Some(AcceptQueue {
            length: 51,
            limit: 50,
            drops: Some(7),
        }),
        open_files: Some(OpenFiles {
            open: 1_020,
            limit: 1_024,
        }),
        pressure: Some(Pressure {
            of: Some("kafka.service".into()),
            cpu: Some(63.25),
            memory: Some(0.0),
            io: Some(1.5),
        }),
    }
}

/// A finding of which nothing is known but its ends.
pub(crate) fn unknown() -> Finding {
    Finding {
        sent_by: Some(SentBy::Broker),
        summary: "Unsure who ended the connection ([2001:db8::17]:50000 to broker \
                  [2001:db8:0:1::9]:9094): middlebox_reset 48%, broker_originated 41%"
            .into(),
        role: Role::Broker,
        direction: Direction::Sent,
        verdict: Verdict::Indeterminate,
        cause: None,
        confidence: 0.48,
        client: endpoint("2001:db8::17", 50000).into(),
        broker: endpoint("2001:db8:0:1::9", 9094),
        connection: Connection::default(),
        reset: Reset::default(),
        process: Process::default(),
        load: None,
        path: Path::default(),
        evidence: Vec::new(),
        candidates: candidates(&[
            (Verdict::MiddleboxReset, 0.48),
            (Verdict::BrokerOriginated, 0.41),
        ]),
        advice: "Run kreset-trace on the other host too.".into(),
        ..finding()
    }
}

/// A measurement with everything in it.
pub(crate) fn probe() -> Probe {
    let setting = |client: &'static str, name: &'static str, value: &str| ProbeSetting {
        client: SmolStr::new_static(client),
        name: SmolStr::new_static(name),
        value: value.into(),
    };
    Probe {
        time: time(TIME),
        host: host(),
        target: "broker-3:9092".into(),
        broker: endpoint("10.0.9.5", 9092),
        trigger: ProbeTrigger::Keepalive,
        duration_ms: 712_345,
        complete: true,
        result: Some(ProbeResult::Device),
        reason: None,
        behavior: Some(Cause::ResetOnSend),
        survived_idle_ms: Some(349_620.5),
        fatal_idle_ms: Some(351_110.25),
        survivors: None,
        devices: vec!["AWS Network Load Balancer".into(), "AWS NAT Gateway".into()],
        rungs: vec![
            ProbeRung {
                round: 1,
                local_port: 43_210,
                silent_ms: 344_750.5,
                outcome: RungOutcome::Alive,
                answer_ms: Some(0.75),
                disturbed: false,
            },
            ProbeRung {
                round: 2,
                local_port: 43_240,
                silent_ms: 351_110.25,
                outcome: RungOutcome::ResetOnUse,
                answer_ms: None,
                disturbed: false,
            },
        ],
        connections: vec![ProbeConnection {
            community_id: CommunityId::from("1:LQU9qZlK+B5F3KDmev6m5PMibrg=").unwrap(),
            client: endpoint("10.0.1.5", 43_210),
            opened: time("2026-11-23T14:10:15.000000001Z"),
            ended: time(TIME),
        }],
        location: Some(ProbeLocation {
            hop: Some(3),
            hop_at_most: Some(4),
            resets: vec![ProbeReset { ttl: 4, flows: 4 }],
            hops: (1..9)
                .map(|ttl| ProbeHop {
                    ttl,
                    addresses: vec![IpAddr::from([10, 0, ttl, 1])],
                    name: (ttl == 3).then(|| "nat-a.example".into()),
                })
                .collect(),
            broker_ttl: Some(9),
            reset_ttl: Some(62),
            handshake_ttl: Some(56),
            reset_distance: Some(3),
        }),
        hold: Some(ProbeHold {
            like: Some("java".into()),
            keepalive_ms: Some(150_000),
            interval_ms: Some(75_000),
            max_idle_ms: None,
            span_ms: 440_000,
            holds: true,
            kept: vec![ProbeHeld {
                outcome: RungOutcome::Alive,
                after_ms: None,
            }],
            silent: vec![ProbeHeld {
                outcome: RungOutcome::ResetOnUse,
                after_ms: Some(440_001.5),
            }],
        }),
        settings: vec![
            setting("java", "net.ipv4.tcp_keepalive_time", "150"),
            setting("librdkafka", "socket.keepalive.enable", "true"),
            setting("librdkafka", "net.ipv4.tcp_keepalive_time", "150"),
            setting(
                "kafkajs",
                "socketFactory: socket.setKeepAlive",
                "true, 150000",
            ),
        ],
        advice: "For Java set net.ipv4.tcp_keepalive_time=150 on the client's host.".into(),
    }
}

/// A finding of two hosts with everything in it.
pub(crate) fn pair() -> PairFinding {
    let host = |name: &str, saw| PairHost {
        name: name.into(),
        saw,
        time: Some(time(TIME)),
        client: Some(endpoint("10.9.0.1", 2_044)),
        broker: Some(endpoint("10.0.2.7", 9092)),
        verdict: Some(Verdict::BrokerOriginated),
        cause: Some(Cause::ConnectionLost),
        confidence: Some(0.82),
        kernel_reason: Some("NO_SOCKET".into()),
        wrote: None,
        watched_from: Some(time("2026-11-23T14:22:00Z")),
        watched_until: Some(time("2026-11-23T14:22:10Z")),
    };
    PairFinding {
        time: time(TIME),
        host: host_of("client-1"),
        community_id: CommunityId::from("1:LQU9qZlK+B5F3KDmev6m5PMibrg=").unwrap(),
        flow_id: Some(FlowId::from("8db23264-b981f8e2").unwrap()),
        sent_by: Some(SentBy::Device),
        summary: "A device reset an idle connection after 350.2 s, proven (99% sure)".into(),
        kreset_probe: Some(KresetProbe::Listed),
        verdict: Verdict::MiddleboxIdleReset,
        cause: Some(Cause::ResetOnSend),
        confidence: 0.99,
        proof: PairProof::NobodySent,
        missing: vec![Missing::NoAgent],
        conflict: Some("both hosts sent a RST, and each names another cause".into()),
        client: endpoint("10.0.1.5", 43210),
        broker: endpoint("192.0.2.10", 9092),
        client_host: Some(host("client-1", Saw::Received)),
        broker_host: Some(host("broker-1", Saw::Nothing)),
        skew_ms: Some(-3.25),
        wire_idle_ms: Some(350_214.5),
        event_ids: vec![Id::from("6f9619ff8b86d011-1a2b3c4d-7").unwrap()],
        advice: "Set connections.max.idle.ms=270000 on the client (Java).".into(),
    }
}

/// Twenty clients lose a broker, the second of a roll.
pub(crate) fn incident() -> Incident {
    let client = |name: &str, pid, back_after_ms| IncidentClient {
        address: "10.0.1.5".parse().unwrap(),
        name: Some(name.into()),
        pid: Some(pid),
        back_after_ms,
    };
    let mut incident = Incident {
        time: time(TIME),
        host: host(),
        source: Source::Live,
        incident_id: Id::from("6f9619ff8b86d011-4c33ef15b84a-2c").unwrap(),
        phase: "begin".into(),
        incident: IncidentKind::BrokerEnded,
        verdict: Verdict::BrokerOriginated,
        cause: Some(Cause::Shutdown),
        summary: SmolStr::default(),
        role: Role::Client,
        brokers: vec![endpoint("10.0.2.7", 9092)],
        ended: 3,
        refusals: 0,
        clients: 2,
        first: time(TIME),
        last: time("2026-11-23T14:22:07.2Z"),
        idle_ms: None,
        refused: None,
        who: vec![
            client("orders-api", 4_242, None),
            client("billing", 4_243, None),
        ],
        named_hosts: Vec::new(),
        back: Some(0),
        back_ms: None,
        roll: Some(Roll {
            id: Id::from("6f9619ff8b86d011-4c33ef15b84a-11").unwrap(),
            number: 2,
        }),
        ended_by: None,
        earlier: vec![Id::from("6f9619ff8b86d011-4c33ef15b84a-2b").unwrap()],
        still_open: false,
        advice: IncidentKind::BrokerEnded.advice().into(),
    };
    incident.summary = incident.summarize();
    incident
}

/// The same, when it is over.
pub(crate) fn incident_end() -> Incident {
    let mut end = Incident {
        time: time("2026-11-23T14:22:30Z"),
        phase: "end".into(),
        ended: 37,
        refusals: 120,
        clients: 20,
        last: time("2026-11-23T14:22:12.9Z"),
        refused: Some(RefusedSpan {
            since: time("2026-11-23T14:22:07.2Z"),
            until: Some(time("2026-11-23T14:22:13Z")),
            ms: 5_800.0,
            ms_kind: AgeKind::Exact,
        }),
        back: Some(19),
        back_ms: Some(Spread {
            least: 5_800.0,
            most: 6_900.4,
        }),
        ..incident()
    };
    if let Some(first) = end.who.first_mut() {
        first.back_after_ms = Some(5_800.0);
    }
    end.summary = end.summarize();
    end
}

/// One event of each type, in the order of a run.
pub(crate) fn all() -> Vec<Event> {
    vec![
        Event::Start(Box::new(Start {
            time: time("2026-11-23T14:20:00.000000001Z"),
            host: host(),
            version: "0.1.0".into(),
            kernel: "6.18.5".to_owned(),
            ports: vec!["9092".into(), "9094-9096".into()],
            packet_evidence: "cgroup_skb".into(),
            seeded: 12,
            watched: Some(Watched {
                connections: 11,
                brokers: 3,
            }),
            attach_ms: 212.7,
            degraded: vec![Degraded {
                feature: "kernel_reason".into(),
                reason: "tcp_send_reset has no reason before Linux 6.10".to_owned(),
                remedy: "run a newer kernel".to_owned(),
            }],
        })),
        Event::Reset(Box::new(finding())),
        Event::Reset(Box::new(unknown())),
        Event::Reset(summarized(Finding {
            sent_by: Some(SentBy::Client),
            role: Role::Broker,
            verdict: Verdict::ClientOriginated,
            cause: Some(Cause::Probe),
            host_names: Some(Box::new(HostNames {
                client: Some("orders-1".into()),
                broker: Some("kafka-2".into()),
            })),
            process_end: Some(Box::new(process_end())),
            load: Some(Box::new(load())),
            other_end: Some(Box::new(other_end())),
            ..finding()
        })),
        Event::Close(summarized(Finding {
            sent_by: Some(SentBy::Broker),
            verdict: Verdict::HandshakePhase,
            cause: Some(Cause::Authentication),
            connection: Connection {
                state: Some("CLOSE_WAIT".into()),
                age_ms: Some(34.0),
                age_kind: Some(AgeKind::AtLeast),
                idle_ms: Some(2.25),
                ..Connection::default()
            },
            reset: Reset::default(),
            ..finding()
        })),
        Event::Timeout(summarized(Finding {
            sent_by: None,
            direction: Direction::Sent,
            verdict: Verdict::MiddleboxIdleDrop,
            cause: Some(Cause::Blackholed),
            reset: Reset::default(),
            ..finding()
        })),
        Event::Alert(Box::new(Alert {
            time: time(TIME),
            host: host(),
            phase: "begin".into(),
            broker: endpoint("10.0.2.7", 9092),
            verdict: Verdict::MiddleboxIdleReset,
            cause: Some(Cause::ResetOnSend),
            pattern: "periodic".into(),
            count: 42,
            path: path(),
            advice: "Set connections.max.idle.ms=270000 on the client (Java).".into(),
        })),
        Event::Incident(Box::new(incident())),
        Event::Incident(Box::new(incident_end())),
        Event::Correction(Box::new(Correction {
            corrects: Id::from("6f9619ff8b86d011-4c33ef15b84a-2a").unwrap(),
            was: Said {
                verdict: Verdict::BrokerOriginated,
                cause: Some(Cause::Aborted),
                confidence: 0.82,
            },
            finding: *summarized(Finding {
                sent_by: Some(SentBy::Broker),
                verdict: Verdict::BrokerOriginated,
                cause: Some(Cause::Shutdown),
                confidence: 0.84,
                ..finding()
            }),
        })),
        Event::Loss(Loss {
            time: time(TIME),
            host: host(),
            source: "limiter".to_owned(),
            lost: 3,
            total: 10,
            by_broker: vec![BrokerLoss {
                broker: endpoint("10.0.2.7", 9092),
                lost: 3,
            }],
        }),
        Event::Summary(Box::new(Summary {
            time: time("2026-11-24T00:00:00.5Z"),
            host: host(),
            duration_ms: 34_800_500,
            end: true,
            events: BTreeMap::from([
                ("indeterminate".to_owned(), 1),
                ("middlebox_idle_reset/reset_on_send".to_owned(), 43),
            ]),
            noise: BTreeMap::from([("late_data".to_owned(), 4), ("probe".to_owned(), 1200)]),
            lost: 10,
            coverage: Coverage {
                ports: vec!["9092".into(), "9094-9096".into()],
                watched: Some(Watched {
                    connections: 214,
                    brokers: 3,
                }),
                addresses: Some(vec![
                    "10.0.1.5".parse().unwrap(),
                    "2001:db8::17".parse().unwrap(),
                ]),
                kernel_lost: 7,
                kernel_skipped: 2,
                kernel_untracked: 1,
                unobserved: 1,
                forgotten: 12,
                unshown: 1_204,
                sinks: BTreeMap::from([(
                    "siem".to_owned(),
                    SinkCoverage {
                        delivered: 1_204,
                        waiting: 17,
                        lost: 3,
                    },
                )]),
            },
        })),
        Event::Probe(Box::new(probe())),
        Event::Finding(Box::new(pair())),
    ]
}

/// The verdicts and their causes; a test compares them with the classes.
pub(crate) const KINDS: &[(Verdict, &[Cause])] = &[
    (
        Verdict::MiddleboxIdleReset,
        &[Cause::ResetOnSend, Cause::ResetOnTimer, Cause::Rebound],
    ),
    (Verdict::MiddleboxIdleDrop, &[Cause::Blackholed]),
    (Verdict::MiddleboxReset, &[Cause::NotIdle, Cause::Moved]),
    (
        Verdict::BrokerOriginated,
        &[
            Cause::IdleClose,
            Cause::Shutdown,
            Cause::Closed,
            Cause::ConnectionLost,
            Cause::Aborted,
        ],
    ),
    (
        Verdict::HandshakePhase,
        &[
            Cause::Refused,
            Cause::PlaintextToTls,
            Cause::TlsToPlaintext,
            Cause::NotKafka,
            Cause::TlsAlert,
            Cause::Authentication,
            Cause::ClosedByBroker,
        ],
    ),
    (
        Verdict::ClientOriginated,
        &[
            Cause::Aborted,
            Cause::ConnectionLost,
            Cause::Probe,
            Cause::LateData,
        ],
    ),
];

/// Every kind of finding: each verdict with each of its causes, a cause that is unclear,
/// and none.
pub(crate) fn every_kind() -> Vec<Event> {
    let idle = [Cause::ResetOnSend, Cause::ResetOnTimer, Cause::Blackholed];
    let mut kinds: Vec<Event> = KINDS
        .iter()
        .flat_map(|(verdict, causes)| causes.iter().map(move |cause| (*verdict, *cause)))
        .map(|(verdict, cause)| {
            let mut finding = Finding {
                verdict,
                cause: Some(cause),
                ..finding()
            };
            if !idle.contains(&cause) {
                finding.path = Path::default();
                finding.connection.idle_ms = Some(12.5);
            }
            match verdict {
                Verdict::MiddleboxIdleDrop => Event::Timeout(summarized(finding)),
                Verdict::HandshakePhase => Event::Close(summarized(finding)),
                _ => Event::Reset(summarized(finding)),
            }
        })
        .collect();
    kinds.push(Event::Close(summarized(Finding {
        verdict: Verdict::HandshakePhase,
        cause: Some(Cause::ClosedByBroker),
        confidence: 0.31,
        broker: endpoint("2001:db8:0:1::9", 9094),
        client: endpoint("2001:db8::17", 50000).into(),
        ..finding()
    })));
    kinds.push(Event::Reset(summarized(unknown())));
    kinds
}

/// One event of each type with ids.
pub(crate) fn messages() -> Vec<Message> {
    all()
        .into_iter()
        .zip(0..)
        .map(|(event, number)| message(event, number))
        .collect()
}

/// One event with an id.
pub(crate) fn message(event: Event, number: u64) -> Message {
    Message {
        id: Id::from(&format!("6f9619ff8b86d011-1a2b3c4d-{number:x}")).unwrap(),
        event,
    }
}
