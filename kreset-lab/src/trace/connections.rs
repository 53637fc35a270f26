//! What every connection of a lab was used for, how long it was ever silent, and how it ended: for
//! people who wonder which of a client's connections go idle, and which never do.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    net::SocketAddr,
    time::Duration,
};

use crate::{
    Moment, Side,
    net::{message, packet::Flags},
    trace::{ending::unanswered, follow::Flow, wire::Sighting},
};

/// How many connections are shown; a client that is refused makes dozens.
const SHOWN: usize = 12;

/// One connection, as the router saw it on the client's leg.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// The client's address and port.
    pub client: SocketAddr,
    /// The broker's, or the proxy's.
    pub broker: SocketAddr,
    /// What the client asked for in clear, each once.
    pub requests: BTreeSet<&'static str>,
    /// The longest time without a packet while it lived.
    pub silence: Duration,
    /// How it ended.
    pub end: End,
    began: Moment,
    lived: Duration,
}

/// How a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// It had not ended.
    Open,
    /// It was refused.
    Refused,
    /// The client sent the same again and again, and gave up.
    Unanswered,
    /// This end closed first, in order.
    Closed(Side),
    /// This end's host reset it.
    Reset(Side),
    /// The device reset it, towards this end.
    ResetByDevice(Side),
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Open => f.write_str("still open"),
            Self::Refused => f.write_str("refused"),
            Self::Unanswered => f.write_str("never answered, given up"),
            Self::Closed(side) => write!(f, "closed by the {side}"),
            Self::Reset(side) => write!(f, "reset by the {side}'s host"),
            Self::ResetByDevice(side) => write!(f, "reset by the device, to the {side}"),
        }
    }
}

/// All connections of a lab.
#[derive(Clone, Debug, Default)]
pub struct Connections(pub Vec<Row>);

impl Connections {
    /// By everything that crossed the router.
    pub fn of(sightings: &[Sighting]) -> Self {
        let mut packets: BTreeMap<u16, Vec<&Sighting>> = BTreeMap::new();
        for seen in sightings {
            packets.entry(seen.client_port()).or_default().push(seen);
        }
        let mut rows: Vec<_> = packets.values().filter_map(|seen| Row::of(seen)).collect();
        rows.sort_by_key(|row| row.began);
        Self(rows)
    }

    /// Those that carried one of `requests`.
    pub fn with<'a>(&'a self, requests: &'a [&'a str]) -> impl Iterator<Item = &'a Row> {
        self.0
            .iter()
            .filter(|row| requests.iter().any(|name| row.requests.contains(name)))
    }
}

impl Row {
    fn of(packets: &[&Sighting]) -> Option<Self> {
        let near = |seen: &&&Sighting| seen.leg == Side::Client;
        let first = packets.iter().find(near)?;
        let Flow { client, broker, .. } = first.flow();
        let (end, ended) = end(packets);
        let mut times = Vec::new();
        for seen in packets.iter().filter(near) {
            times.push(seen.at);
            // The other end's last word arrives here a moment later.
            if ended.is_some_and(|ended| seen.at >= ended) {
                break;
            }
        }
        let silences = times.windows(2).map(|pair| pair[1].since(pair[0]));
        let requests = packets.iter().filter(near);
        let requests = requests.filter(|seen| seen.carries_data_from(Side::Client));
        Some(Self {
            client,
            broker,
            requests: requests
                .filter_map(|seen| message::request_name(seen.payload()))
                .collect(),
            silence: silences.max().unwrap_or_default(),
            end,
            began: first.at,
            lived: times.last()?.since(first.at),
        })
    }
}

/// How it ended, and when: a reset counts more than the FINs before it, unless the connection was
/// over by then.
fn end(packets: &[&Sighting]) -> (End, Option<Moment>) {
    let accepted = packets
        .iter()
        .any(|seen| seen.has(Flags::SYN) && seen.has(Flags::ACK));
    let fin = packets
        .iter()
        .find(|seen| !seen.leaving && seen.has(Flags::FIN));
    let reset = packets.iter().find(|seen| seen.has(Flags::RST));
    match (reset, fin) {
        // The side that closed has no such connection any more: the reset does no harm.
        (Some(reset), Some(fin)) if !reset.leaving && reset.from() == fin.leg => {
            (End::Closed(fin.leg), Some(fin.at))
        }
        (Some(reset), _) if !accepted => (End::Refused, Some(reset.at)),
        (Some(reset), _) if reset.leaving => (End::ResetByDevice(reset.leg), Some(reset.at)),
        (Some(reset), _) => (End::Reset(reset.from()), Some(reset.at)),
        (None, Some(fin)) => (End::Closed(fin.leg), Some(fin.at)),
        (None, None) => {
            let near = packets.iter().filter(|seen| seen.leg == Side::Client);
            let near: Vec<_> = near.map(|&seen| seen.clone()).collect();
            let end = match unanswered(&near) {
                Some(_) => End::Unanswered,
                None => End::Open,
            };
            (end, None)
        }
    }
}

impl fmt::Display for Connections {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return Ok(());
        }
        writeln!(
            f,
            "  {:<21}  {:>8}  {:>16}  {:<34}  requests",
            "connection", "lived", "silent for up to", "end"
        )?;
        for row in self.0.iter().take(SHOWN) {
            let requests: Vec<_> = row.requests.iter().copied().collect();
            let requests = match requests.as_slice() {
                [] => "-".to_owned(),
                all => all.join(", "),
            };
            writeln!(
                f,
                "  {:<21}  {:>6.2} s  {:>14.2} s  {:<34}  {requests}",
                row.client.to_string(),
                row.lived.as_secs_f64(),
                row.silence.as_secs_f64(),
                row.end.to_string(),
            )?;
        }
        match self.0.len().saturating_sub(SHOWN) {
            0 => Ok(()),
            more => writeln!(f, "  and {more} more connections"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        Side::{Broker, Client},
        net::packet::Segment,
    };

    fn seen(ms: u64, leg: Side, leaving: bool, from: Side, flags: &str) -> Sighting {
        Sighting::made_up(ms, leg, leaving, Segment::made_up(from, flags))
    }

    /// A connection that was accepted.
    fn accepted() -> Vec<Sighting> {
        vec![
            seen(0, Client, false, Client, "S"),
            seen(1, Client, true, Broker, "SA"),
            seen(2, Client, false, Client, "A"),
        ]
    }

    fn only_row(packets: &[Sighting]) -> Row {
        let Connections(mut rows) = Connections::of(packets);
        assert_eq!(rows.len(), 1);
        rows.remove(0)
    }

    #[test]
    fn a_reset_of_the_device_ends_it_and_its_silence() {
        let mut packets = accepted();
        packets.push(seen(3_500, Client, false, Client, "A"));
        packets.push(seen(3_501, Client, true, Broker, "R"));
        let row = only_row(&packets);
        assert_eq!(row.end, End::ResetByDevice(Client));
        assert_eq!(row.silence, Duration::from_millis(3_498));
    }

    #[test]
    fn who_closes_first_has_closed_it_whatever_comes_late() {
        let mut packets = accepted();
        for (ms, from, flags) in [(9, Client, "FA"), (10, Broker, "A"), (11, Client, "R")] {
            packets.push(seen(ms, from, false, from, flags));
        }
        assert_eq!(only_row(&packets).end, End::Closed(Client));
    }

    #[test]
    fn the_silence_before_the_brokers_fin_counts() {
        let mut packets = accepted();
        packets.push(seen(2_000, Broker, false, Broker, "F"));
        packets.push(seen(2_001, Client, true, Broker, "F"));
        packets.push(seen(9_000, Client, false, Client, "A"));
        let row = only_row(&packets);
        assert_eq!(row.end, End::Closed(Broker));
        assert_eq!(row.silence, Duration::from_millis(1_999));
    }

    #[test]
    fn an_attempt_without_an_answer_is_refused() {
        let packets = [
            seen(0, Client, false, Client, "S"),
            seen(1, Broker, false, Broker, "R"),
        ];
        assert_eq!(only_row(&packets).end, End::Refused);
    }
}
