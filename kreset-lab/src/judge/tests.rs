use super::*;

const CLIENT: &str = "10.77.1.2:40000";
const BROKER: &str = "10.77.2.2:9092";

fn truth() -> Truth {
    Truth {
        kind: "reset",
        direction: Some("received"),
        role: Side::Client,
        answers: vec![Answer::IDLE_ON_SEND],
        unsure: None,
        state: Some("ESTABLISHED"),
        provoked_by: Some("data"),
        idle: Some(Measured::Known(Duration::from_millis(3500))),
        wire_idle: Some(Measured::Known(Duration::from_millis(500))),
        reset: Some(Reset {
            sequence: Some(7),
            flags: Some("R".to_owned()),
            timestamps: Some(false),
            ttl: Some(64),
            handshake_ttl: Some(63),
            ip_id: Some(0),
            window: Some(0),
        }),
        age: Some(Age::Exact(Measured::Known(Duration::from_millis(3600)))),
        flow: Some("8db23265-b981f8e2".to_owned()),
        client: CLIENT.parse().expect("an address"),
        broker: BROKER.parse().expect("an address"),
    }
}

const RIGHT: &str = r#"{"schema":"kreset/1","type":"reset","direction":"received","role":"client",
    "community_id":"1:abc","verdict":"middlebox_idle_reset","cause":"reset_on_send",
    "confidence":0.97,"client":{"address":"10.77.1.2","port":40000},
    "broker":{"address":"10.77.2.2","port":9092},
    "connection":{"flow_id":"8db23265-b981f8e2","state":"ESTABLISHED","age_ms":3605,"age_kind":"exact","idle_ms":3508.5,
    "wire_idle_ms":508,"provoked_by":"data"},
    "reset":{"sequence":7,"flags":"R","ttl":64,"window":null}}"#;

fn event(line: &str) -> Event {
    Event::parse(line).expect("valid")
}

/// Between a start and a summary, as a real run.
fn said(lines: &[&str]) -> Said {
    let frame = |kind: &str| event(&format!(r#"{{"schema":"kreset/1","type":"{kind}"}}"#));
    let mut events = vec![frame("start")];
    events.extend(lines.iter().map(|line| event(line)));
    events.push(frame("summary"));
    Said {
        events,
        ..Said::default()
    }
}

fn one(truth: Truth) -> Claims {
    let claim = Claim {
        truths: vec![truth],
        required: true,
        most: 1,
    };
    vec![claim].into()
}

/// The differences when `from` is replaced by `to` in a right answer.
fn with(truth: Truth, from: &str, to: &str) -> Vec<String> {
    assert!(RIGHT.contains(from), "{from}");
    judge(&one(truth), &said(&[&RIGHT.replace(from, to)]))
}

#[test]
fn a_right_answer_has_no_differences() {
    assert_eq!(with(truth(), "x", "x"), [""; 0]);
    assert_eq!(judge(&Claims::default(), &said(&[])), [""; 0]);
}

#[test]
fn each_wrong_field_is_named() {
    for (from, to, difference) in [
        ("\"type\":\"reset\"", "\"type\":\"timeout\"", "type timeout"),
        ("received", "sent", "direction sent"),
        (":\"client\"", ":\"broker\"", "role broker"),
        ("ESTABLISHED", "CLOSE_WAIT", "state CLOSE_WAIT"),
        (
            "\"provoked_by\":\"data\"",
            "\"provoked_by\":null",
            "provoked_by null",
        ),
        ("40000", "40001", "of 10.77.1.2:40001, where nothing was"),
        (
            "10.77.2.2",
            "::ffff:10.77.2.2",
            "where nothing was to be reported",
        ),
        (
            "middlebox_idle_reset",
            "indeterminate",
            "said indeterminate/reset_on_send",
        ),
        (
            "reset_on_send",
            "reset_on_timer",
            "said middlebox_idle_reset/reset_on_timer",
        ),
        (
            "\"reset_on_send\"",
            "null",
            "said middlebox_idle_reset, expected",
        ),
        ("0.97", "1.2", "confidence 1.2"),
        ("0.97", "null", "confidence null"),
        ("3508.5", "3521", "idle 3521 ms, truth 3500 ms"),
        ("3508.5", "null", "idle null"),
        ("508,", "3508,", "wire idle 3508 ms, truth 500 ms"),
        ("\"ttl\":64", "\"ttl\":63", "TTL 63 of the reset, truth 64"),
        ("\"R\"", "\"RA\"", "flags RA of the reset, truth R"),
        (":7,", ":8,", "sequence 8 of the reset, truth 7"),
        ("b981f8e2", "b981f8e3", "flow_id 8db23265-b981f8e3"),
        ("\"8db23265-b981f8e2\"", "null", "flow_id null"),
        ("3605", "3545", "age 3545 ms"),
        ("exact", "at_least", "age_kind at_least"),
        ("kreset/1", "kreset/2", "schema \"kreset/2\""),
    ] {
        let differences = with(truth(), from, to);
        assert!(
            differences.iter().any(|it| it.contains(difference)),
            "{from} -> {to}: {differences:?}"
        );
    }
}

#[test]
fn events_are_counted() {
    let none = judge(&one(truth()), &said(&[]));
    assert_eq!(
        none,
        ["reset received of 10.77.1.2:40000: no event, expected \
             middlebox_idle_reset/reset_on_send"]
    );
    let two = judge(&one(truth()), &said(&[RIGHT, RIGHT]));
    assert!(
        two[0].contains("2 events, expected no more than 1"),
        "{two:?}"
    );
    let unasked = judge(&Claims::default(), &said(&[RIGHT]));
    assert_eq!(
        unasked,
        [
            "said reset middlebox_idle_reset/reset_on_send of 10.77.1.2:40000, where nothing was to \
             be reported"
        ]
    );
}

#[test]
fn losses_garbage_and_a_missing_summary_are_differences() {
    let mut said = said(&[r#"{"schema":"kreset/1","type":"loss","lost":3}"#]);
    said.events.pop();
    said.garbage.push("expected value: panicked".to_owned());
    let differences = judge(&Claims::default(), &said);
    for part in ["3 events lost", "not a summary", "panicked"] {
        assert!(
            differences.iter().any(|it| it.contains(part)),
            "{part}: {differences:?}"
        );
    }
}

#[test]
fn what_a_host_cannot_know_it_may_leave_open_but_not_make_up() {
    let truth = Truth {
        idle: Some(Measured::IfSaid(Duration::from_millis(3500))),
        age: Some(Age::Exact(Measured::IfSaid(Duration::from_millis(3600)))),
        ..truth()
    };
    assert_eq!(with(truth.clone(), "3508.5", "null"), [""; 0]);
    assert_eq!(with(truth.clone(), "3605", "null"), [""; 0]);
    assert_eq!(
        with(
            truth.clone(),
            r#""age_ms":3605,"age_kind":"exact""#,
            r#""age_ms":3000,"age_kind":"at_least""#
        ),
        [""; 0]
    );
    assert_eq!(with(truth.clone(), "3508.5", "0").len(), 1);
    assert_eq!(with(truth, "3605", "0").len(), 1);
}

#[test]
fn an_age_that_is_a_bound_lies_between_what_was_seen_and_the_truth() {
    let truth = Truth {
        age: Some(Age::AtLeast {
            seen: Duration::from_millis(3600),
            truth: Duration::from_millis(4600),
        }),
        ..truth()
    };
    let at_least = RIGHT.replace("exact", "at_least");
    for (age, right) in [
        ("3605", true),
        ("4640", true),
        ("3500", false),
        ("4700", false),
    ] {
        let line = at_least.replace("3605", age);
        let differences = judge(&one(truth.clone()), &said(&[&line]));
        assert_eq!(differences.is_empty(), right, "{age}: {differences:?}");
    }
}

#[test]
fn where_nobody_can_be_sure_abstaining_is_right_and_confidence_wrong() {
    let truth = Truth {
        answers: vec![Answer::IDLE_ON_SEND, Answer::INDETERMINATE],
        unsure: Some(0.9),
        ..truth()
    };
    let abstained = RIGHT
        .replace("middlebox_idle_reset", "indeterminate")
        .replace("\"reset_on_send\"", "null")
        .replace("0.97", "0.55");
    assert_eq!(judge(&one(truth.clone()), &said(&[&abstained])), [""; 0]);
    assert_eq!(with(truth.clone(), "0.97", "0.6"), [""; 0]);
    assert_eq!(with(truth, "0.97", "0.9").len(), 1);
}

#[test]
fn both_hosts_give_a_connection_the_same_id() {
    let here = event(RIGHT);
    let there = event(&RIGHT.replace("1:abc", "1:xyz"));
    assert_eq!(judge_together(&[&here], &[&here]), [""; 0]);
    assert_eq!(judge_together(&[&here], &[&there]).len(), 1);
    let unknown = event(&RIGHT.replace("\"1:abc\"", "null"));
    assert_eq!(judge_together(&[&unknown], &[&unknown]).len(), 1);
}

#[test]
fn right_answers_read_like_a_choice() {
    let truth = Truth {
        answers: vec![Answer::SHUTDOWN_OR_ABORTED, Answer::INDETERMINATE],
        ..truth()
    };
    assert_eq!(
        one(truth).to_string(),
        "broker_originated/shutdown|aborted or indeterminate"
    );
}
