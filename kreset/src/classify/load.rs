//! What of a load says something: as a fact, and as advice.

use smol_str::{SmolStr, format_smolstr};

use crate::{
    event::{self, AcceptQueue, OpenFiles, Pressure, Role},
    facts::{Facts, PacketFacts},
    util::units::bytes,
};

/// Tasks of a broker that waited for a processor in so much of the last ten seconds: its
/// network threads are late.
const CPU_PERCENT: f64 = 20.0;
/// For memory or a disk: brokers write all the time, and wait little for it.
const STALL_PERCENT: f64 = 10.0;

/// A load that says something.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Telling {
    /// The accept queue has no room.
    FullQueue(AcceptQueue),
    /// The process can open no more files, and so accept no connections.
    NoFiles(OpenFiles),
    /// So many bytes of the client's lay unread.
    Unread(u64),
    /// The broker's host had no room for what this end wanted to send.
    ClosedWindow,
    /// Tasks waited for this resource: name, percent, and the control group.
    Pressure(&'static str, f64, Option<SmolStr>),
}

/// What says something of the broker.
pub(super) fn telling(facts: &Facts) -> Vec<Telling> {
    let ends = std::iter::once(facts).chain(facts.other_end.as_deref());
    let mut telling = Vec::new();
    for end in ends {
        match end.role {
            Role::Broker => of_broker(end, &mut telling),
            Role::Client => {
                if end.load.peer_window == Some(0) && end.established {
                    telling.push(Telling::ClosedWindow);
                }
            }
        }
    }
    telling
}

fn of_broker(facts: &Facts, telling: &mut Vec<Telling>) {
    let load = &facts.load;
    if let Some(queue) = load.accept_queue.filter(|queue| queue.is_full()) {
        telling.push(Telling::FullQueue(queue));
    }
    let host = load.host.as_ref();
    if let Some(files) = host.and_then(|it| it.files).filter(|it| it.are_used_up()) {
        telling.push(Telling::NoFiles(files));
    }
    let unread = facts.counters.and_then(|counters| counters.unread);
    if let Some(unread) = unread.filter(|unread| *unread > 0) {
        telling.push(Telling::Unread(unread));
    }
    let Some(Pressure {
        of,
        cpu,
        memory,
        io,
    }) = host.and_then(|it| it.pressure.as_ref())
    else {
        return;
    };
    for (resource, share, least) in [
        ("processor", cpu, CPU_PERCENT),
        ("memory", memory, STALL_PERCENT),
        ("disk", io, STALL_PERCENT),
    ] {
        if let Some(share) = share.filter(|share| *share >= least) {
            telling.push(Telling::Pressure(resource, share, of.clone()));
        }
    }
}

impl Telling {
    /// In a few words.
    pub(super) fn fact(&self) -> String {
        match self {
            Self::FullQueue(AcceptQueue {
                length,
                limit,
                drops,
            }) => {
                let dropped = match drops {
                    Some(drops @ 1..) => format!(", {drops} dropped"),
                    _ => String::new(),
                };
                format!("accept queue full ({length} of {limit}{dropped})")
            }
            Self::NoFiles(OpenFiles { open, limit }) => format!("{open} of {limit} files open"),
            Self::Unread(unread) => format!("{} unread by the broker", bytes(*unread)),
            Self::ClosedWindow => "the broker's window was closed".to_owned(),
            Self::Pressure(resource, share, of) => {
                let of = of.as_deref().unwrap_or("the host");
                format!("{resource} pressure {share:.0}% in {of}")
            }
        }
    }
}

/// What to look at beside the advice itself; `None` where the load says nothing. `names_queue`
/// if that advice is about the accept queue already.
pub(super) fn advice(facts: &Facts, names_queue: bool) -> Option<SmolStr> {
    let telling = telling(facts);
    let has = |is: fn(&Telling) -> bool| telling.iter().find(|it| is(it));
    if let Some(Telling::NoFiles(OpenFiles { open, limit })) =
        has(|it| matches!(it, Telling::NoFiles(_)))
    {
        return Some(format_smolstr!(
            "The broker had {open} of {limit} files open and can accept no more connections: \
             raise its limit (LimitNOFILE of its unit, ulimit -n), or find what keeps connections \
             open."
        ));
    }
    if let Some(full) = has(|it| matches!(it, Telling::FullQueue(_)))
        && !names_queue
    {
        return Some(format_smolstr!(
            "The listener's {}: raise net.core.somaxconn and socket.listen.backlog.size, and look \
             at what keeps the broker from accepting.",
            full.fact()
        ));
    }
    if has(|it| matches!(it, Telling::ClosedWindow)).is_some() {
        return Some(SmolStr::new_static(
            "The broker had stopped reading (its window was closed): look at its load, long \
             pauses and quotas.",
        ));
    }
    let waits = telling.iter().find_map(|it| match it {
        Telling::Pressure(..) => Some(it.fact()),
        _ => None,
    })?;
    has(|it| matches!(it, Telling::Unread(_)))?;
    Some(format_smolstr!(
        "The broker may be overloaded: it had left data of this client unread, under {waits}."
    ))
}

/// As the event has it; `None` where nothing is known.
pub(super) fn of_event(facts: &Facts) -> Option<event::Load> {
    let load = &facts.load;
    let mut ends = std::iter::once(facts).chain(facts.other_end.as_deref());
    let broker = ends.find(|end| end.role == Role::Broker).map(|it| &it.load);
    let host = broker.and_then(|it| it.host.as_ref());
    let in_full = |packets: &PacketFacts| {
        (!packets.sampled).then_some(packets.requests > 0 && !packets.broker_spoke_last)
    };
    let all = event::Load {
        unread_bytes: facts.counters.and_then(|counters| counters.unread),
        receive_window_bytes: load.receive_window,
        peer_window_bytes: load.peer_window,
        unanswered: facts.packets.as_ref().and_then(in_full),
        accept_queue: broker.and_then(|it| it.accept_queue),
        open_files: host.and_then(|it| it.files),
        pressure: host.and_then(|it| it.pressure.clone()),
    };
    (all != event::Load::default()).then_some(all)
}
