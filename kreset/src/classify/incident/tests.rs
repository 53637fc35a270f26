use proptest::prelude::*;

use super::*;
use crate::{
    classify::class::Class,
    event::{Cause, Endpoint, Verdict},
};

const MS_NS: u64 = 1_000_000;
/// Times count from here: what is remembered is older than nothing.
const START_NS: u64 = 1_000 * SECOND_NS;

fn place(number: u8) -> Place {
    let broker = Endpoint {
        address: [10, 0, 2, number].into(),
        port: 9092,
    };
    Place::new(broker, 7)
}

/// The end of a connection of one client process to one broker.
fn end(at_ms: u64, broker: u8, client: u32, class: Option<Class>) -> End {
    End {
        at_ns: START_NS + at_ms * MS_NS,
        place: place(broker),
        role: Role::Client,
        client: Client {
            address: [10, 0, 1, 5].into(),
            name: Some("app".into()),
            pid: Some(client),
        },
        class,
        is_event: true,
        is_refusal: class == Some(Class::Refused),
        silence_ms: None,
        ended_by: None,
        is_unclear: false,
        exited: false,
        worker: false,
        listened: None,
        is_answer: false,
        is_fin: false,
        fin_silence_ms: None,
        age_ms: None,
        is_again: false,
        gave_up: None,
    }
}

/// The broker's FIN, which is no event.
fn fin(at_ms: u64, broker: u8, client: u32) -> End {
    End {
        is_event: false,
        is_fin: true,
        ..end(at_ms, broker, client, None)
    }
}

fn refusal(at_ms: u64, broker: u8, client: u32) -> End {
    end(at_ms, broker, client, Some(Class::Refused))
}

/// A host, and what it says of incidents.
#[derive(Default)]
struct Host(Incidents);

impl Host {
    fn take(&mut self, end: &End) -> Option<u64> {
        if end.is_refusal {
            self.0.outages.refused(end.place, end.at_ns, None);
        } else {
            self.0.outages.ended(end.place, end.at_ns);
        }
        self.0.take(end).incident
    }

    /// Three clients lose broker 1.
    fn loses_broker(&mut self, at_ms: u64) {
        for client in 0..3 {
            self.take(&end(at_ms, 1, client, Some(Class::BrokerShutdown)));
        }
    }

    fn accepted(&mut self, at_ms: u64, broker: u8, client: u32) {
        let at_ns = START_NS + at_ms * MS_NS;
        self.0.outages.accepted(place(broker), at_ns);
        let client = Client {
            address: [10, 0, 1, 5].into(),
            name: None,
            pid: Some(client),
        };
        self.0.connected(place(broker), &client, at_ns);
    }

    fn begun(&mut self) -> Vec<Snapshot> {
        self.0.take_begun()
    }

    /// One incident of this kind has begun.
    #[track_caller]
    fn began(&mut self, kind: IncidentKind) -> Vec<Snapshot> {
        let begun = self.begun();
        assert_eq!(kinds(&begun), [kind]);
        begun
    }

    /// One incident of this kind is over.
    #[track_caller]
    fn ended(&mut self, at_ms: u64, kind: IncidentKind) -> Vec<Snapshot> {
        let over = self.over(at_ms);
        assert_eq!(kinds(&over), [kind]);
        over
    }

    fn over(&mut self, at_ms: u64) -> Vec<Snapshot> {
        self.0.take_over(START_NS + at_ms * MS_NS)
    }
}

fn kinds(snapshots: &[Snapshot]) -> Vec<IncidentKind> {
    snapshots.iter().map(|it| it.kind).collect()
}

/// One of twenty clients each loses a broker, is refused until `down_ms` later, and comes back.
fn restart(host: &mut Host, at_ms: u64, broker: u8, down_ms: u64) {
    for client in 0..20 {
        let at_ms = at_ms + u64::from(client);
        let end = if client % 2 == 0 {
            fin(at_ms, broker, client)
        } else {
            end(at_ms, broker, client, Some(Class::BrokerShutdown))
        };
        host.take(&end);
    }
    for attempt in (100..down_ms).step_by(100) {
        for client in 0..20 {
            let at_ms = at_ms + attempt + u64::from(client);
            host.take(&refusal(at_ms, broker, client));
        }
    }
    for client in 0..20 {
        host.accepted(at_ms + down_ms + u64::from(client) * 10, broker, client);
    }
}

#[test]
fn the_third_end_makes_an_incident_and_the_first_two_are_of_it() {
    let mut host = Host::default();
    let shutdown = |at, client| end(at, 1, client, Some(Class::BrokerShutdown));
    assert_eq!(host.take(&shutdown(0, 1)), None);
    assert_eq!(host.take(&shutdown(5, 2)), None);
    assert_eq!(host.begun(), []);
    assert_eq!(host.take(&shutdown(9, 3)), Some(0));
    let begun = host.began(IncidentKind::BrokerEnded);
    let begun = &begun[0];
    assert_eq!((begun.connections, begun.clients), (3, 3));
    assert_eq!(begun.earlier, [0, 1, 2]);
    assert_eq!(begun.first_ns, START_NS);
    assert_eq!(begun.cause, Some(Cause::Shutdown));
    assert_eq!(host.begun(), [], "said once");
    assert_eq!(host.take(&shutdown(20, 4)), Some(0));
}

#[test]
fn a_restart_is_one_incident_with_how_long_it_refused_and_who_came_back() {
    let mut host = Host::default();
    restart(&mut host, 0, 1, 5_000);
    assert_eq!(kinds(&host.begun()), [IncidentKind::BrokerEnded]);
    assert_eq!(host.over(10_000), []);
    let over = host.over(20_000);
    let [end] = over.as_slice() else {
        panic!("{over:?}")
    };
    assert_eq!((end.connections, end.clients), (20, 20));
    assert_eq!(end.refusals, 49 * 20);
    let (since_ns, ns, exact) = end.refused.unwrap();
    assert_eq!(since_ns, START_NS + 19 * MS_NS);
    assert_eq!((ns, exact), ((5_000 - 19) * MS_NS, true));
    let (back, spread) = end.back.unwrap();
    assert_eq!(back, 20);
    assert_eq!(spread.unwrap().0, 5_000 * MS_NS);
    assert!(!end.still_open);
    assert_eq!(end.cause, Some(Cause::Shutdown), "not what followed");
    assert_eq!(host.over(100_000), []);
}

#[test]
fn who_does_not_come_back_is_named() {
    let mut host = Host::default();
    host.loses_broker(0);
    host.take(&refusal(100, 1, 0));
    host.accepted(900, 1, 0);
    host.accepted(950, 1, 1);
    let over = host.over(30_000);
    let who: Vec<_> = over[0]
        .who
        .iter()
        .map(|(it, back)| (it.pid, *back))
        .collect();
    assert_eq!(
        who,
        [
            (Some(0), Some(900 * MS_NS)),
            (Some(1), Some(950 * MS_NS)),
            (Some(2), None)
        ]
    );
}

#[test]
fn brokers_of_one_cluster_roll_and_those_of_another_do_not() {
    let mut host = Host::default();
    for (number, at_ms) in [(1, 0), (2, 60_000), (3, 120_000)] {
        restart(&mut host, at_ms, number, 3_000);
        let begun = host.begun();
        let roll = begun[0].roll.unwrap();
        assert_eq!((roll.first, roll.number), (0, u64::from(number)));
        let over = host.over(at_ms + 30_000);
        assert_eq!(over[0].roll, Some(roll));
    }
    // Other clients'.
    for client in 100..103 {
        host.take(&end(150_000, 9, client, Some(Class::BrokerShutdown)));
    }
    let roll = host.begun()[0].roll.unwrap();
    assert_eq!((roll.first, roll.number), (3, 1));
    host.over(300_000);
    // The same broker again is a restart of its own, and so is one after a long pause.
    restart(&mut host, 400_000, 1, 3_000);
    assert_eq!(host.begun()[0].roll.unwrap().number, 1);
    host.over(500_000);
    restart(&mut host, 2_400_000, 2, 3_000);
    assert_eq!(host.begun()[0].roll.unwrap().number, 1);
}

#[test]
fn fins_alone_are_no_incident_and_with_a_refusal_they_are() {
    let mut host = Host::default();
    for client in 0..40 {
        assert_eq!(host.take(&fin(u64::from(client), 1, client)), None);
    }
    // As of a broker's idle timer, whose clients come back at once.
    assert_eq!(host.take(&refusal(200, 1, 3)), Some(0));
    let begun = host.began(IncidentKind::BrokerEnded);
    assert_eq!(begun[0].connections, 40);
}

/// Clients that go to another broker meanwhile are not refused.
#[test]
fn connections_in_use_that_a_broker_closes_at_once_are_an_incident() {
    let close = |client: u32, silence_ms, age_ms| End {
        fin_silence_ms: Some(silence_ms),
        age_ms: Some(age_ms),
        ..fin(u64::from(client), 1, client)
    };
    let run = |silence: fn(u32) -> f64, age: fn(u32) -> f64| {
        let mut host = Host::default();
        for client in 0..6 {
            host.take(&close(client, silence(client), age(client)));
        }
        kinds(&host.begun())
    };
    let differs = |client: u32| f64::from(client).mul_add(10_000.0, 20_000.0);
    let busy = |client: u32| f64::from(client);
    assert_eq!(run(busy, differs), [IncidentKind::ListenerDrained]);
    assert_eq!(run(differs, differs), [IncidentKind::ListenerDrained]);
    // The broker's idle timer, and logins that expire.
    assert_eq!(run(|_| 600_000.0, differs), []);
    assert_eq!(run(busy, |_| 60_000.0), []);
    // Checks of the port that ask once.
    assert_eq!(run(busy, |client| f64::from(client).mul_add(50.0, 1.0)), []);
    // On the broker's host nothing listens any more.
    let mut host = Host::default();
    for client in 0..3 {
        let gone = End {
            listened: Some(false),
            role: Role::Broker,
            ..close(client, 600_000.0, 700_000.0)
        };
        host.take(&gone);
    }
    assert_eq!(kinds(&host.begun()), [IncidentKind::BrokerEnded]);
}

/// Brokers on several addresses of one host have one count of listeners.
#[test]
fn a_port_listens_again_when_one_more_socket_does() {
    let mut host = Host::default();
    let refused = |host: &mut Host, broker| {
        host.0.outages.refused(place(broker), START_NS, Some(7));
    };
    refused(&mut host, 1);
    for (listeners, again) in [(3, false), (2, false), (2, false), (3, true)] {
        assert_eq!(host.0.listens_since(place(1), 7, listeners), again);
    }
    // With two that refuse it may be either.
    refused(&mut host, 2);
    assert!(!host.0.listens_since(place(1), 7, 3));
    host.0.listens(place(2), START_NS + MS_NS);
    assert!(host.0.listens_since(place(1), 7, 3));
}

/// What is new when a broker ends is dropped before any answer.
#[test]
fn connections_that_a_broker_drops_as_it_ends_are_of_its_end() {
    for dropped_first in [true, false] {
        let mut host = Host::default();
        let mut all = Vec::new();
        for of_end in [!dropped_first, dropped_first] {
            for client in 0..3 {
                let class = if of_end {
                    Class::BrokerShutdown
                } else {
                    Class::ClosedByBroker
                };
                host.take(&end(u64::from(client), 1, client, Some(class)));
            }
            all.extend(host.begun());
        }
        let over = host.over(600_000);
        assert_eq!((all.len(), over.len()), (1, 1), "{all:?}");
        assert_eq!(kinds(&over), [IncidentKind::BrokerEnded]);
        assert_eq!(over[0].connections, 6);
    }
}

/// A broker's host does not see who connects, but what ended began.
#[test]
fn a_connection_that_began_since_shows_that_the_port_accepted() {
    let mut host = Host::default();
    host.loses_broker(0);
    host.take(&refusal(500, 1, 1));
    host.take(&refusal(2_000, 1, 1));
    let (outages, at) = (&mut host.0.outages, |ms: u64| START_NS + ms * MS_NS);
    outages.began(place(1), at(1_000));
    assert_eq!(
        outages.of(place(1)).unwrap().accepted_ns,
        None,
        "refused since"
    );
    outages.began(place(1), at(2_500));
    outages.ended(place(1), at(2_600));
    outages.accepted(place(1), at(2_550));
    outages.ended(place(1), at(9_000));
    let over = host.over(60_000);
    let last = over.last().unwrap();
    assert_eq!(last.refused, Some((START_NS, 2_500 * MS_NS, true)));
}

#[test]
fn a_process_that_exited_needs_no_other_sign() {
    let mut host = Host::default();
    for client in 0..3 {
        let exit = End {
            exited: true,
            role: Role::Broker,
            ..fin(0, 1, client)
        };
        host.take(&exit);
    }
    let begun = host.began(IncidentKind::BrokerEnded);
    assert_eq!(begun[0].back, None, "a broker's host does not see it");
}

#[test]
fn an_incident_says_what_ended_the_broker() {
    let mut host = Host::default();
    for client in 0..4 {
        host.take(&End {
            role: Role::Broker,
            ended_by: (client == 2).then(|| "SIGKILL by bash (pid 7)".into()),
            ..end(10, 2, client, Some(Class::BrokerShutdown))
        });
    }
    let begun = host.began(IncidentKind::BrokerEnded);
    assert_eq!(
        begun[0].ended_by.as_deref(),
        Some("SIGKILL by bash (pid 7)")
    );
}

#[test]
fn a_worker_that_ends_while_the_port_stays_open_is_a_drain() {
    let mut host = Host::default();
    for client in 0..3 {
        let worker = End {
            worker: true,
            listened: Some(true),
            ..end(0, 1, client, Some(Class::BrokerShutdown))
        };
        host.take(&worker);
    }
    assert_eq!(kinds(&host.begun()), [IncidentKind::ListenerDrained]);
    // Once the port refuses, it was more than that.
    host.take(&refusal(300, 1, 1));
    assert_eq!(kinds(&host.over(600_000)), [IncidentKind::BrokerEnded]);
}

#[test]
fn refusals_before_the_end_that_explains_them_turn_into_it() {
    let mut host = Host::default();
    for client in 0..3 {
        host.take(&refusal(500 + u64::from(client), 1, client));
    }
    assert_eq!(kinds(&host.begun()), [IncidentKind::Refusals]);
    host.take(&end(400, 1, 1, Some(Class::BrokerShutdown)));
    let over = host.ended(600_000, IncidentKind::BrokerEnded);
    assert_eq!(over[0].first_ns, START_NS + 400 * MS_NS);
    assert_eq!(over[0].roll.unwrap().number, 1);
}

#[test]
fn an_idle_timer_on_a_hundred_connections_is_one_incident() {
    let mut host = Host::default();
    let mut numbers = Vec::new();
    for connection in 0..100_u32 {
        let end = End {
            silence_ms: Some(350_000.0 + f64::from(connection)),
            ..end(
                u64::from(connection) * 20_000,
                u8::try_from(connection % 3).unwrap(),
                connection % 20,
                Some(Class::IdleOnSend),
            )
        };
        numbers.extend(host.take(&end));
        assert_eq!(host.over(u64::from(connection) * 20_000), []);
    }
    numbers.dedup();
    assert_eq!(numbers, [0]);
    assert_eq!(kinds(&host.begun()), [IncidentKind::DeviceIdleTimer]);
    let over = host.ended(99 * 20_000 + 61_000, IncidentKind::DeviceIdleTimer);
    assert_eq!(over[0].connections, 100);
    assert_eq!(over[0].silence_ms, Some((350_000.0, 350_099.0)));
    assert_eq!(over[0].places.len(), 3);
    assert_eq!(over[0].verdict, Verdict::MiddleboxIdleReset);
}

#[test]
fn a_restart_followed_by_a_failover_is_two() {
    let mut host = Host::default();
    restart(&mut host, 0, 1, 3_000);
    let mut all = host.begun();
    let mut over = host.over(30_000);
    for client in 0..20 {
        let class = match client % 4 {
            0 => Some(Class::IdleOnSend),
            1 => None,
            _ => Some(Class::NotIdle),
        };
        // The first are idle ones.
        host.take(&end(
            40_000 + u64::from(client),
            1 + (client % 3) as u8,
            client,
            class,
        ));
    }
    all.extend(host.begun());
    over.extend(host.over(100_000));
    assert_eq!(
        kinds(&all),
        [IncidentKind::BrokerEnded, IncidentKind::DeviceFailover]
    );
    assert_eq!(
        kinds(&over),
        [IncidentKind::BrokerEnded, IncidentKind::DeviceFailover]
    );
    assert!(over[1].connections >= 18, "{:?}", over[1]);
}

/// A device that forgets everything resets idle connections as well.
#[test]
fn idle_connections_of_a_failover_do_not_make_a_second_incident() {
    let mut host = Host::default();
    for client in 0..3 {
        host.take(&end(u64::from(client), 1, client, Some(Class::IdleOnSend)));
    }
    for client in 3..9 {
        host.take(&end(u64::from(client), 1, client, Some(Class::NotIdle)));
    }
    host.take(&end(10, 2, 9, Some(Class::Blackholed)));
    let begun = host.began(IncidentKind::DeviceFailover);
    assert_eq!(begun[0].connections, 10);
}

#[test]
fn logins_of_one_client_are_one_incident_and_many_clients_share_one() {
    let mut host = Host::default();
    for attempt in 0..100 {
        host.take(&end(attempt * 50, 1, 1, Some(Class::Authentication)));
    }
    let begun = host.began(IncidentKind::FailedLogins);
    assert_eq!((begun[0].connections, begun[0].clients), (100, 1));
    for client in 1_000..1_500 {
        for attempt in 0..3 {
            let at_ms = 6_000 + attempt;
            host.take(&end(at_ms, 1, client, Some(Class::Authentication)));
        }
    }
    let begun = host.begun();
    assert_eq!(begun.len(), OF_CLIENTS, "{begun:?}");
    let most = begun.iter().map(|it| it.clients).max().unwrap();
    assert_eq!(most, 500 - (OF_CLIENTS - 1));
}

#[test]
fn clients_that_a_broker_turns_away_are_one_incident() {
    let mut host = Host::default();
    for client in 0..50 {
        host.take(&end(
            u64::from(client),
            1,
            client,
            Some(Class::ClosedByBroker),
        ));
    }
    let begun = host.began(IncidentKind::TurnedAway);
    assert_eq!(begun[0].clients, 50);
}

/// A client that gives up waiting for an answer: no event.
fn gave_up(at_ms: u64, client: u8, shown: Shown) -> End {
    End {
        is_event: false,
        client: Client {
            address: [10, 0, 1, client].into(),
            name: Some("app".into()),
            pid: Some(client.into()),
        },
        gave_up: Some(shown),
        ..end(at_ms, 1, client.into(), None)
    }
}

fn at_the_broker(at_ms: u64, client: u8, shown: Shown) -> End {
    let end = gave_up(at_ms, client, shown);
    End {
        role: Role::Broker,
        client: Client {
            pid: None,
            ..end.client.clone()
        },
        ..end
    }
}

#[test]
fn clients_that_give_up_on_a_silent_broker_are_one_incident() {
    let mut host = Host::default();
    // A produce request that nobody answered shows nothing, and what came after it does.
    assert_eq!(host.take(&gave_up(0, 1, Shown::Nothing)), None);
    assert_eq!(host.take(&gave_up(30_050, 1, Shown::Unanswered)), None);
    assert_eq!(host.take(&gave_up(60_100, 1, Shown::Unanswered)), Some(0));
    let begun = host.began(IncidentKind::Unresponsive);
    assert_eq!((begun[0].connections, begun[0].clients), (3, 1));
    assert_eq!(begun[0].verdict, Verdict::BrokerOriginated);
    assert_eq!((begun[0].cause, begun[0].earlier.len()), (None, 0));
    assert_eq!(host.take(&gave_up(61_000, 2, Shown::Nothing)), Some(0));
    assert_eq!(host.over(100_000), []);
    let over = host.over(200_000);
    assert_eq!((over[0].connections, over[0].clients), (4, 2));
}

#[test]
fn the_host_of_a_suspended_broker_says_that_it_was() {
    let mut host = Host::default();
    for (at_ms, client) in [(0, 1), (10, 2), (20, 3)] {
        let end = at_the_broker(at_ms, client, Shown::Stopped);
        let ended_by = Some("SIGSTOP for 20 s so far by bash (pid 7)".into());
        host.take(&End { ended_by, ..end });
    }
    let begun = host.began(IncidentKind::Unresponsive);
    assert_eq!(
        begun[0].ended_by.as_deref(),
        Some("SIGSTOP for 20 s so far by bash (pid 7)")
    );
}

/// Consumers close in the middle of a long poll, members leave while they wait for the others,
/// and producers go that ask for no acknowledgement.
#[test]
fn closes_that_leave_everyday_requests_unanswered_are_no_incident() {
    let mut host = Host::default();
    for second in 0..3_600_u64 {
        for client in 1..20 {
            host.take(&gave_up(second * 1_000, client, Shown::Nothing));
            host.take(&at_the_broker(second * 1_000, client, Shown::Nothing));
        }
        // Each has an answer to wait for in vain now and then.
        if second % 61 == 0 {
            let broker = u8::try_from(second / 61).unwrap() + 10;
            let alone = gave_up(second * 1_000, 1, Shown::Unanswered);
            host.take(&End {
                place: place(broker),
                ..alone
            });
        }
    }
    assert_eq!(host.begun(), []);
}

#[test]
fn one_stranger_does_not_make_a_broker_look_silent() {
    let mut host = Host::default();
    for attempt in 0..50 {
        host.take(&at_the_broker(attempt * 100, 1, Shown::Unanswered));
    }
    assert_eq!(host.begun(), []);
    host.take(&at_the_broker(5_100, 2, Shown::Unanswered));
    assert_eq!(kinds(&host.begun()), [IncidentKind::Unresponsive]);
}

/// A quiet hour: the broker's idle timer and librdkafka's bootstrap connections, which clients
/// close; reauthentication that a broker ends; scans.
#[test]
fn everyday_teardown_is_no_incident() {
    let mut host = Host::default();
    for minute in 0..60_u64 {
        for client in 0..20 {
            let at_ms = minute * 60_000 + u64::from(client) * 13;
            host.take(&fin(at_ms, 1, client));
            host.take(&end(at_ms, 2, client, Some(Class::BrokerIdleClose)));
            host.take(&end(at_ms, 3, client, Some(Class::BrokerClosed)));
            host.take(&end(at_ms, 3, client, Some(Class::LateData)));
            host.take(&end(at_ms, 3, client, Some(Class::Probe)));
            host.take(&end(at_ms, 3, client, Some(Class::ClientAborted)));
        }
        assert_eq!(host.begun(), []);
        assert_eq!(host.over(minute * 60_000), []);
    }
    assert_eq!(host.0.finish(), []);
}

/// On a broker's host a refused client has not said its name.
#[test]
fn a_client_without_a_name_is_one_of_those_that_have_one() {
    for order in [[0, 1, 2, 3], [2, 3, 0, 1], [0, 2, 1, 3]] {
        let mut host = Host::default();
        for at in order {
            let of = |name: Option<&str>, is_refusal| {
                let class = if is_refusal {
                    Class::Refused
                } else {
                    Class::BrokerShutdown
                };
                let mut end = end(0, 1, 0, Some(class));
                (end.role, end.client.pid) = (Role::Broker, None);
                end.client.name = name.map(Into::into);
                end
            };
            host.take(&match at {
                0 => of(Some("orders"), false),
                1 => of(Some("billing"), false),
                _ => of(None, true),
            });
        }
        let begun = host.begun();
        assert_eq!((begun[0].clients, begun[0].who.len()), (2, 2), "{begun:?}");
    }
}

/// Anybody can have a host answer for a connection that it never had.
#[test]
fn answers_without_a_socket_make_no_incident() {
    let mut host = Host::default();
    for client in 0..50 {
        for class in [Class::Moved, Class::Rebound, Class::BrokerLost] {
            let answer = End {
                is_answer: true,
                role: Role::Broker,
                ..end(u64::from(client), 1, client, Some(class))
            };
            assert_eq!(host.take(&answer), None);
        }
    }
}

/// The end of a connection to which a host answered without a socket.
fn answer(at_ms: u64, broker: u8, client: u32, class: Option<Class>) -> End {
    End {
        is_answer: true,
        role: Role::Broker,
        ..end(at_ms, broker, client, class)
    }
}

/// A scan of a port where nothing listens: two SYNs, and an ACK that came from nowhere.
#[test]
fn refusals_and_an_answer_do_not_make_a_broker_that_ended() {
    let mut host = Host::default();
    host.take(&answer(0, 1, 1, None));
    host.take(&refusal(10, 1, 2));
    host.take(&refusal(20, 1, 3));
    assert_eq!(host.begun(), []);
    host.take(&refusal(30, 1, 4));
    assert_eq!(kinds(&host.begun()), [IncidentKind::Refusals]);
    host.take(&answer(40, 1, 5, None));
    assert_eq!(kinds(&host.over(120_000)), [IncidentKind::Refusals]);
}

#[test]
fn answers_to_strangers_push_out_nothing() {
    let mut host = Host::default();
    for attempt in 0..2 {
        host.take(&refusal(attempt * 2_000, 1, 1));
        for broker in 0..2_000_u32 {
            let place = Place::new(
                Endpoint {
                    address: broker.to_be_bytes().into(),
                    port: 9092,
                },
                7,
            );
            let stray = answer(attempt * 2_000 + 1, 1, 9, None);
            host.0.take(&End { place, ..stray });
        }
    }
    host.take(&refusal(4_000, 1, 1));
    assert_eq!(kinds(&host.begun()), [IncidentKind::Refusals]);
    assert_eq!(host.0.evicted(), 0);
}

/// Connections that were idle ended first, and were announced.
#[test]
fn what_turns_an_incident_into_another_is_part_of_it() {
    let mut host = Host::default();
    for client in 0..3 {
        host.take(&end(0, 1, client, Some(Class::IdleOnSend)));
    }
    assert_eq!(kinds(&host.begun()), [IncidentKind::DeviceIdleTimer]);
    assert_eq!(host.0.take_grown(), []);
    for client in 3..6 {
        host.take(&end(5_000, 1, client, Some(Class::NotIdle)));
    }
    assert_eq!(host.begun(), []);
    assert_eq!(host.0.take_grown(), [(0, vec![3, 4, 5])]);
    assert_eq!(host.0.take_grown(), []);
    assert_eq!(kinds(&host.over(60_000)), [IncidentKind::DeviceFailover]);
}

#[test]
fn the_run_ends_before_the_incident() {
    let mut host = Host::default();
    host.loses_broker(0);
    host.take(&refusal(700, 1, 1));
    let over = host.0.finish();
    // It was not said that it began.
    assert_eq!(
        over.iter().map(|it| it.is_end).collect::<Vec<_>>(),
        [false, true]
    );
    assert!(over[1].still_open);
    assert_eq!(over[1].refused, Some((START_NS, 700 * MS_NS, false)));
}

#[test]
fn an_outage_before_is_no_outage_of_this_one() {
    let mut host = Host::default();
    restart(&mut host, 0, 1, 3_000);
    host.begun();
    host.over(60_000);
    host.loses_broker(100_000);
    assert_eq!(host.begun()[0].refused, None);
}

#[test]
fn what_strangers_cause_is_bounded() {
    let mut host = Host::default();
    let mut begun = 0;
    for number in 0..20_000_u32 {
        let [_, a, b, c] = number.to_be_bytes();
        let mut end = refusal(u64::from(number), 1, number);
        end.place.broker.address = [10, a, b, c].into();
        for client in 0..3 {
            end.client.pid = Some(client);
            host.take(&end);
        }
        // Two ends make none, and are forgotten.
        end.place.broker.port = 1;
        host.take(&end);
        begun += host.begun().len();
    }
    assert_eq!(begun, 20_000);
    assert_eq!(host.0.open.len(), OPEN);
    assert!(host.0.recent.len() <= KEYS.get());
    assert!(host.0.evicted() > 0);
    // Each says that it is not over.
    let over = host.over(20_000);
    assert_eq!(over.len(), 20_000 - OPEN);
    assert!(over.iter().all(|it| it.still_open && it.is_end));
}

#[test]
fn clients_of_one_incident_are_bounded() {
    let mut host = Host::default();
    for client in 0..100_000_u32 {
        host.take(&end(
            u64::from(client) / 100,
            1,
            client,
            Some(Class::BrokerShutdown),
        ));
    }
    let begun = host.begun();
    assert_eq!(begun[0].connections, 100_000);
    assert_eq!((begun[0].clients, begun[0].who.len()), (DISTINCT, LISTED));
}

fn any_end() -> impl Strategy<Value = End> {
    let class = prop_oneof![
        Just(None),
        (0..Class::ALL.len()).prop_map(|at| Some(Class::ALL[at])),
    ];
    (
        0..4_000_000_u64,
        0..6_u8,
        0..30_u32,
        class,
        any::<[bool; 6]>(),
    )
        .prop_map(
            |(at_ms, broker, client, class, [event, exited, worker, listened, answer, fin])| End {
                is_event: event,
                exited,
                worker,
                listened: Some(listened),
                is_answer: answer,
                is_fin: fin,
                ..end(at_ms, broker, client, class)
            },
        )
}

proptest! {
    /// Whatever ends: each incident begins and ends once, in this order, and counts what was
    /// said to be of it.
    #[test]
    fn every_incident_begins_once_and_ends_once(mut ends in prop::collection::vec(any_end(), 0..400)) {
        ends.sort_by_key(|it| it.at_ns);
        let mut host = Host::default();
        let (mut begun, mut over, mut of) = (Vec::new(), Vec::new(), HashMap::<u64, u64>::new());
        for end in &ends {
            over.extend(host.0.take_over(end.at_ns));
            if let Some(number) = host.take(end) {
                *of.entry(number).or_default() += 1;
            }
            begun.extend(host.begun());
        }
        over.extend(host.0.finish());
        let numbers = |all: &[Snapshot]| {
            let mut numbers: Vec<_> = all.iter().map(|it| it.number).collect();
            numbers.sort_unstable();
            numbers
        };
        prop_assert_eq!(numbers(&begun), numbers(&over));
        for it in &over {
            prop_assert!(it.is_end);
            prop_assert!(it.first_ns <= it.last_ns);
            prop_assert!(it.clients >= 1 && it.clients <= 30);
            let taken = it.connections + it.refusals;
            // Those before it was recognised are counted, too.
            prop_assert!(taken >= of[&it.number] && taken >= ENDS as u64, "{:?}", it);
            prop_assert!(it.earlier.len() <= RECENT * 2);
        }
    }
}
