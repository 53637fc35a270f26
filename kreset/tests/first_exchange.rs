//! Ends in the first exchange that are not about the client: the broker's own
//! end, and a listener whose queue is full.

mod replay;

use kreset::{
    classify::context::Concurrent,
    facts::{Facts, FirstBytes, Trigger},
};
use replay::judging::{
    API_VERSIONS, AUTHENTICATION, CLOSED_BY_BROKER, LOST, SHUTDOWN, alone, handshake, judged,
    reset, said, with,
};

/// `tcp_abort_on_overflow`: the listener answers the end of a handshake.
#[test]
fn a_full_queue_is_no_lost_connection() {
    let mut facts = reset("connection_lost.broker");
    assert_eq!(said(&alone(&facts)), LOST);
    facts.kernel_reason = Some("INVALID_SYN".into());
    assert_eq!(said(&alone(&facts)), CLOSED_BY_BROKER);
    // A SYN for a handshake that is under way.
    facts.trigger = Some(Trigger {
        flags: 0x02,
        payload: 0,
    });
    assert_ne!(said(&alone(&facts)), CLOSED_BY_BROKER);
}

#[test]
fn the_end_of_its_process_is_no_brokers_way_to_turn_a_client_away() {
    for name in ["closed_by_broker.broker", "closed_by_broker_silent.broker"] {
        let mut facts = first_end(name);
        assert_eq!(said(&alone(&facts)), CLOSED_BY_BROKER, "{name}");
        facts.by_exit = true;
        assert_eq!(said(&alone(&facts)), SHUTDOWN, "{name}");
    }
}

/// The RST or the FIN with which the broker ended a connection.
fn first_end(name: &str) -> Facts {
    let ends = replay::replay(name);
    ends.into_iter().next().expect("it ended").0
}

/// One request was answered, the second drew the broker's close.
fn second_request() -> Facts {
    let mut facts = handshake(API_VERSIONS, b"\0\0\0\x22\0\0\0\0\0\0");
    let fin = reset("broker_killed_idle.client").fin;
    facts.fin = fin.map(|fin| kreset::facts::Fin {
        silence_ms: 200.0,
        ..fin
    });
    let packets = facts.packets.as_mut().expect("they were watched");
    assert_eq!(packets.client_speaks(), Some(FirstBytes::Kafka));
    (packets.requests, packets.turns) = (2, 3);
    packets.broker_spoke_last = false;
    packets.api_key = Some(3);
    facts
}

#[test]
fn a_broker_that_ends_with_others_has_turned_nobody_away() {
    let facts = second_request();
    let with = |concurrent| judged(&facts, &with(concurrent));
    assert_eq!(said(&with(Concurrent::default())), AUTHENTICATION);
    let refused_before = Concurrent {
        refused: true,
        ..Concurrent::default()
    };
    assert_eq!(
        said(&with(refused_before)),
        AUTHENTICATION,
        "it had started"
    );
    let refused_since = Concurrent {
        refused_since: true,
        ..refused_before
    };
    assert_eq!(said(&with(refused_since)), SHUTDOWN);
    let concurrent = |used| Concurrent {
        used,
        count: 3,
        ..Concurrent::default()
    };
    assert_eq!(said(&with(concurrent(3))), SHUTDOWN);
    assert_eq!(
        said(&with(concurrent(0))),
        AUTHENTICATION,
        "others were turned away"
    );
}

#[test]
fn a_refused_connection_is_no_news_of_the_others() {
    let mut facts = reset("connection_lost_no_listener.broker");
    let busy = with(Concurrent {
        refused: true,
        count: 3,
        mixed_idle: true,
        ..Concurrent::default()
    });
    let names = |facts: &Facts| {
        let evidence = judged(facts, &busy).evidence.into_iter();
        evidence
            .map(|observation| observation.name)
            .collect::<Vec<_>>()
    };
    assert!(names(&facts).contains(&"together"));
    assert!(names(&facts).contains(&"reconnect"));
    facts.trigger.as_mut().expect("a packet drew it").flags = 0x02;
    assert!(!names(&facts).contains(&"together"));
    assert!(!names(&facts).contains(&"reconnect"));
}
