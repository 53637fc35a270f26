//! Devices with other, shorter timers than the one that is looked for.

use std::time::Duration;

use kreset_lab::{Result, net::chain::Chain};

use super::{
    DROPS, RESETS, TIMER, behavior_of,
    broker::{Broker, Manners},
    probe, side_by_side,
};

/// Timers of a device for what is not established yet, seconds.
pub(crate) const UNANSWERED: [(&str, &str); 2] = [
    ("netfilter/nf_conntrack_tcp_timeout_syn_sent", "1"),
    ("netfilter/nf_conntrack_tcp_timeout_syn_recv", "1"),
];

/// Its timers for what one end or both have closed, seconds.
pub(crate) const HALF_CLOSED: [(&str, &str); 4] = [
    ("netfilter/nf_conntrack_tcp_timeout_fin_wait", "1"),
    ("netfilter/nf_conntrack_tcp_timeout_close_wait", "1"),
    ("netfilter/nf_conntrack_tcp_timeout_last_ack", "1"),
    ("netfilter/nf_conntrack_tcp_timeout_time_wait", "1"),
];

/// Loses the last packet of one handshake in 24, of a connection that is to be silent for a short
/// time (the longest silence is opened first): a device behind sees a SYN,ACK that nobody
/// answers.
const UNCONFIRMED: &str = "table inet counted {
    counter lost { }
    chain passing {
        type filter hook forward priority 10;
        tcp flags & (syn|ack|rst) == ack ct direction original ct original packets 2 \
            numgen inc mod 24 == 20 counter name lost drop
    }
}
";

/// Loses what a broker repeats because of that.
const NOT_REPEATED: &str = "table inet counted {
    chain passing {
        type filter hook forward priority 10;
        tcp flags & (syn|ack) == syn|ack ct direction reply ct reply packets > 1 drop
    }
}
";

/// Counts the ends of brokers that a device has no connection for.
const LATE: &str = "table inet counted {
    counter late { }
    chain passing {
        type filter hook forward priority -10;
        tcp sport 9092 tcp flags & fin == fin ct state invalid,new counter name late
    }
}
";

#[test]
fn a_shorter_timer_for_unanswered_syns_does_not_confuse_it() -> Result<()> {
    side_by_side(&[DROPS, RESETS], |&what_then| {
        let chain = Chain::new(4, false)?;
        chain.device(2, TIMER, what_then)?;
        chain.sysctl(2, &UNANSWERED)?;
        for (router, rules) in [(1, UNCONFIRMED), (3, NOT_REPEATED)] {
            chain.sysctl(router, &[("netfilter/nf_conntrack_acct", "1")])?;
            chain.rules(router, rules)?;
        }
        let _broker = Broker::start(&chain, None)?;
        let said = probe(chain.client(), chain.broker_address(false), &[])?;
        let lost = chain.counted(1, "lost")?;
        println!(
            "unanswered SYNs, {what_then}: {:?}, hop {:?}, {lost} handshakes forgotten, {:.1} s",
            said.interval(),
            said.hop(),
            said.took.as_secs_f64()
        );
        assert!(lost > 0, "{said:#?}");
        // Such a connection was dead before it was silent for as long as the timer.
        let rungs = said.event["rungs"].as_array().expect("a list");
        let early = rungs.iter().filter(|rung| {
            rung["outcome"] != "alive" && rung["silent_ms"].as_f64() < Some(5_000.0)
        });
        assert!(early.count() > 0, "{said:#?}");
        assert_eq!(said.exit, Some(4), "{said:#?}");
        said.holds(TIMER.into());
        assert_eq!(said.text("/behavior"), behavior_of(what_then), "{said:#?}");
        assert_eq!(said.hop(), Some(2), "{said:#?}");
        Ok(())
    })
}

#[test]
fn a_shorter_timer_for_half_closed_flows_does_not_confuse_it() -> Result<()> {
    side_by_side(&[DROPS, RESETS], |&what_then| {
        let chain = Chain::new(4, false)?;
        chain.device(2, TIMER, what_then)?;
        chain.sysctl(2, &HALF_CLOSED)?;
        chain.rules(2, LATE)?;
        let broker = Broker::start_with(
            &chain,
            Manners {
                lingers: Duration::from_secs(2),
                ..Manners::default()
            },
        )?;
        let said = probe(chain.client(), chain.broker_address(false), &[])?;
        let late = chain.counted(2, "late")?;
        println!(
            "half-closed flows, {what_then}: {:?}, hop {:?}, {late} ends of the broker too late, \
             {:.1} s",
            said.interval(),
            said.hop(),
            said.took.as_secs_f64()
        );
        assert!(late >= 8, "{late}, {:?}: {said:#?}", broker.served());
        assert_eq!(said.exit, Some(4), "{said:#?}");
        said.holds(TIMER.into());
        assert_eq!(said.text("/behavior"), behavior_of(what_then), "{said:#?}");
        assert_eq!(said.hop(), Some(2), "{said:#?}");
        Ok(())
    })
}
