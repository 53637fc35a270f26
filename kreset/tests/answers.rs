//! What this host answers for connections that have no socket: beside the end
//! of the broker's process, and beside the RST of the socket that was there.

mod replay;

use kreset::{
    classify::{Config, Judgement},
    facts::{Facts, Kind, Trigger},
};
use replay::judging::{LOST, SHUTDOWN, only, reset, said, says};

const MILLISECOND_NS: u64 = 1_000_000;

/// A killed broker, as its own host recorded it, and where its process was first
/// seen to end.
fn killed() -> (Vec<Facts>, Facts) {
    let facts = replay::facts("broker_killed_busy.broker");
    let by_exit = |facts: &&Facts| facts.by_exit || facts.fin.is_some_and(|fin| fin.by_exit);
    let first = facts.iter().find(by_exit).cloned();
    (facts, first.expect("its process ended"))
}

/// No socket listens any more, and a packet of a connection without a socket arrived.
fn answer(like: &Facts, client_port: u16, at_ns: u64) -> Facts {
    let mut facts = reset("connection_lost_no_listener.broker");
    (facts.local, facts.remote, facts.netns) = (like.local, like.remote, like.netns);
    facts.remote.port = client_port;
    facts.at_ns = at_ns;
    assert!(facts.is_answer(), "{facts:?}");
    facts
}

fn judged(mut all: Vec<Facts>) -> Vec<(Facts, Judgement)> {
    all.sort_by_key(|facts| facts.at_ns);
    replay::judge(all, Config::default())
}

/// What is said of `answer` beside what was recorded.
fn judged_beside(recorded: &[Facts], answer: &Facts) -> Judgement {
    let mut all = recorded.to_vec();
    all.push(answer.clone());
    let events = judged(all);
    let its = events
        .into_iter()
        .find(|(facts, _)| (facts.local, facts.remote) == (answer.local, answer.remote));
    its.expect("an event").1
}

/// The facts are those of a real broker that was killed while a client connected:
/// its host answered 3 ms after the end of its process.
#[test]
fn a_handshake_that_a_killed_broker_left_ended_with_it() {
    let (recorded, end) = killed();
    for at_ns in [
        end.at_ns - 3 * MILLISECOND_NS,
        end.at_ns + 3 * MILLISECOND_NS,
        end.at_ns + 3_000 * MILLISECOND_NS,
    ] {
        let answer = answer(&end, 34_160, at_ns);
        let judgement = judged_beside(&recorded, &answer);
        assert_eq!(said(&judgement), SHUTDOWN, "{judgement:?}");
        says(&judgement, "listener", "none since its process ended");
        let alone = judged(vec![answer]);
        assert_eq!(said(&alone[0].1), LOST);
    }
    // By then no packet of such a handshake is under way.
    let later = answer(&end, 34_160, end.at_ns + 60_000 * MILLISECOND_NS);
    assert_eq!(said(&judged_beside(&recorded, &later)), LOST);
}

/// Another broker of the same host has nothing to do with it.
#[test]
fn the_end_of_another_broker_explains_no_answer() {
    let (recorded, end) = killed();
    let mut elsewhere = end.clone();
    elsewhere.local.port += 1;
    let answer = answer(&elsewhere, 34_160, end.at_ns + 3 * MILLISECOND_NS);
    assert_eq!(said(&judged_beside(&recorded, &answer)), LOST);
}

/// A socket is out of the kernel's table before its RST is sent: what comes in
/// between is answered as if there were no socket, and is reported first.
#[test]
fn an_answer_beside_the_sockets_own_reset_is_no_event_of_its_own() {
    let own = reset("broker_abort_unread.broker");
    assert!(own.id.is_some());
    for at_ns in [own.at_ns - 100_000, own.at_ns + 100_000] {
        let (event, _) = only(vec![answer(&own, own.remote.port, at_ns), own.clone()]);
        assert_eq!(event.id, own.id);
    }
}

/// What is no event itself takes none away, and one answer no other's.
#[test]
fn an_answer_beside_the_end_of_its_socket_is_reported() {
    let own = reset("broker_abort_unread.broker");
    let first = answer(&own, own.remote.port, own.at_ns);
    let closed = Facts {
        kind: Kind::Closed,
        at_ns: own.at_ns + MILLISECOND_NS,
        ..own
    };
    let mut again = first.clone();
    again.at_ns += 2 * MILLISECOND_NS;
    let (event, _) = only(vec![first.clone(), closed, again]);
    assert_eq!((event.id, event.at_ns), (None, first.at_ns));
}

/// A RST that came ended the connection, as did the kernel when it gave up: what
/// the peer sends then meets no socket.
#[test]
fn an_answer_after_the_end_is_no_event() {
    let came = reset("hop_reset_busy.broker");
    assert_eq!(came.kind, Kind::ResetReceived);
    let gave_up = Facts {
        kind: Kind::Timeout,
        ..came.clone()
    };
    for end in [came, gave_up] {
        let answer = answer(&end, end.remote.port, end.at_ns + 30 * MILLISECOND_NS);
        let events = judged(vec![end.clone(), answer]);
        let kinds: Vec<_> = events.iter().map(|(facts, _)| facts.kind).collect();
        assert_eq!(kinds, [end.kind]);
    }
}

/// It stands for a FIN that still waits to be judged.
#[test]
fn an_answer_after_a_fin_is_one_end() {
    let closed = reset("closed_by_broker.client");
    let mut fin = closed.clone();
    fin.kind = Kind::Fin;
    let mut answer = closed;
    (answer.kind, answer.id, answer.state) = (Kind::ResetSent, None, None);
    answer.at_ns += MILLISECOND_NS;
    assert!(answer.is_answer());
    let kinds: Vec<_> = judged(vec![fin, answer])
        .iter()
        .map(|(facts, _)| facts.kind)
        .collect();
    assert_eq!(kinds, [Kind::ResetSent]);
}

/// Each attempt to connect is an event, also where both ends are on this host
/// and it waits for the other one.
#[test]
fn a_refused_attempt_is_no_answer() {
    let own = reset("broker_abort_unread.broker");
    let mut refused = answer(&own, own.remote.port, own.at_ns - MILLISECOND_NS);
    refused.trigger = Some(Trigger {
        flags: 0x02,
        payload: 0,
    });
    assert!(!refused.is_answer());
    assert_eq!(judged(vec![refused.clone(), own]).len(), 2);
    refused.remote.address = refused.local.address;
    let mut again = refused.clone();
    again.at_ns += MILLISECOND_NS;
    assert_eq!(judged(vec![refused, again]).len(), 2);
}
