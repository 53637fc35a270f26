//! RSTs that this host sent: the local kernel knows why, and from 6.10 on it
//! says so (`enum sk_rst_reason`). Before, state and trigger show as much.

use smol_str::{SmolStr, format_smolstr};

use super::{Basis, Observation, had, listener::broker_is_gone, phase::HANDSHAKES};
use crate::{
    classify::{
        case::Case,
        class::{Class, round},
        context::Closing,
        weights::{HARD, PROCESS_ENDED, PROCESS_LIVES},
    },
    facts::{Had, State, Trigger},
};

/// Why this host sent a RST.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Why {
    /// The socket was closed with unread data, or aborted on purpose, or ran
    /// out of memory or keepalives.
    Aborted,
    /// Data came after this host had closed: the socket, its `TIME_WAIT` rest.
    AfterClose,
    /// Nothing here knows the connection.
    NoSocket,
    /// The listener turned the end of a handshake away: its accept queue is full.
    Overflow,
}

pub(super) fn rule(case: &Case<'_>) -> Option<Observation> {
    if !case.sent() {
        return None;
    }
    let why = why(case);
    let value = value(case, why);
    let observation = Observation::new("kernel_reason", value)
        .on(basis(case, why))
        .forgeable_if(why == Why::NoSocket && is_anyones(case));
    if case.gave_up() {
        // What it means that the peer is silent is for `timeout` to say.
        return Some(observation);
    }
    if case.phase.is_handshake() && (why == Why::Aborted || case.broker_closed_first()) {
        // The phase shows which side ended it, the first bytes why.
        return Some(observation);
    }
    let is_syn = drawn_by_syn(case);
    let is_stray = case.facts.trigger.is_some_and(Trigger::is_stray);
    let closed_in_handshake = case.context.closing.and_then(|it| it.in_handshake);
    if why != Why::Aborted
        && !is_syn
        && !case.is_client()
        && let Some((class, share)) = closed_in_handshake
    {
        return Some(as_sure_as_then(observation, class, share));
    }
    Some(match (why, case.is_client()) {
        (Why::Overflow, _) => observation.weigh(HARD, &[Class::ClosedByBroker]),
        (Why::NoSocket, false) if is_syn => observation.weigh(HARD, &[Class::Refused]),
        // Port scans, and answers to SYNs that others sent in this host's name.
        (Why::NoSocket, false) if is_stray => observation.weigh(HARD, &[Class::Probe]),
        (Why::NoSocket | Why::AfterClose, false) if case.context.closing.is_some() => {
            observation.weigh(HARD, CLOSED)
        }
        // The last packet of a connection that both ends had closed: nothing was lost.
        (Why::NoSocket, false) if case.facts.had == Had::InOrder => {
            observation.weigh(HARD, &[Class::LateData])
        }
        (Why::AfterClose, false) => observation.weigh(HARD, CLOSED),
        (Why::NoSocket, false) if broker_is_gone(case) => {
            observation.weigh(HARD, &[Class::BrokerLost, Class::BrokerShutdown])
        }
        (Why::NoSocket, false) if is_untaken(case) => observation.weigh(HARD, UNTAKEN),
        // For `had` to say.
        (Why::NoSocket, _) if had::speaks(case) => observation,
        (Why::NoSocket, false) => observation.weigh(HARD, &[Class::BrokerLost]),
        // This host asked, and gave up before the answer came.
        (Why::NoSocket, true) if case.drawn_by_synack() && case.facts.is_had() => {
            observation.weigh(HARD, &[Class::Probe])
        }
        // The answer to a SYN of another address, or of a scan: this host closed nothing.
        (Why::NoSocket, true) if case.drawn_by_synack() => {
            observation.weigh(HARD, &[Class::Moved, Class::Probe])
        }
        // A challenge ACK answered the SYN: the broker's host has a connection of these
        // ports, which this host lost, or which another host behind one NAT has.
        _ if case.is_client() && case.facts.state == Some(State::SynSent) => {
            observation.weigh(HARD, &[Class::ClientLost, Class::Rebound])
        }
        // Nothing of it ended here lately: it closed before the tracer began, or the packet
        // belongs to a flow that this host has under another address.
        (Why::NoSocket, true) if had::may_be_untranslated(case) => {
            observation.weigh(HARD, &[Class::LateData, Class::Moved])
        }
        (Why::NoSocket | Why::AfterClose, true) => observation.weigh(HARD, &[Class::LateData]),
        // The broker had closed: that this client then closed with that unread ended nothing.
        (Why::Aborted, true) if case.broker_closed_first() => observation.weigh(HARD, CLOSED),
        (Why::Aborted, true) => observation.weigh(HARD, &[Class::ClientAborted]),
        // It had closed in order, and the client's answer in TLS lay unread.
        (Why::Aborted, false) if case.aborted_on_close_notify() => observation.weigh(HARD, CLOSED),
        (Why::Aborted, false) => {
            let (class, weight) = own_abort(case);
            observation
                .weigh(HARD, &[Class::BrokerAborted, Class::BrokerShutdown])
                .weigh(weight, &[class])
        }
    })
}

/// What an abort by this host's own socket is above all, and how much more than the rest of
/// its kind.
pub(super) fn own_abort(case: &Case<'_>) -> (Class, f64) {
    if case.is_client() {
        (Class::ClientAborted, 0.0)
    } else if case.facts.by_exit || workers_end(case) {
        (Class::BrokerShutdown, PROCESS_ENDED)
    } else {
        (Class::BrokerAborted, PROCESS_LIVES)
    }
}

/// The kernel's word names the sender. Why a closed connection had been closed, it
/// does not say to the broker's host.
fn basis(case: &Case<'_>, why: Why) -> Basis {
    match why {
        Why::AfterClose if !case.is_client() => Basis::Shown,
        Why::Aborted if case.aborted_on_close_notify() => Basis::Shown,
        Why::NoSocket
            if had::speaks(case) || had::may_be_untranslated(case) || is_untaken(case) =>
        {
            Basis::Shown
        }
        _ => Basis::Named,
    }
}

/// Anybody can send a packet in another's name to where no socket is. A connection that
/// this host had it knows by itself, and that nothing listens is so whoever asks.
pub(super) fn is_anyones(case: &Case<'_>) -> bool {
    let is_unknown = matches!(case.facts.had, Had::NotWithin(_)) && case.context.closing.is_none();
    case.facts.is_answer() && is_unknown && !drawn_by_syn(case)
}

/// Ways in which a broker closes in order.
pub(super) const CLOSED: &[Class] = &[
    Class::BrokerIdleClose,
    Class::BrokerShutdown,
    Class::BrokerClosed,
];

/// What else than a full accept queue, for which the phase speaks, ends a connection whose
/// SYN this host answered and nothing more.
const UNTAKEN: &[Class] = &[Class::BrokerShutdown, Class::BrokerLost];

/// A capture shows that this host answered the SYN and nothing else; the accept queue it
/// does not show.
fn is_untaken(case: &Case<'_>) -> bool {
    case.facts.state == Some(State::NewSynRecv) && case.facts.is_had()
}

/// Workers of a broker ended with several of its connections: that is its end, while
/// one child's end is only that of its connection.
pub(super) fn workers_end(case: &Case<'_>) -> bool {
    let by_worker = |closing: Closing| closing.by_other_exit;
    let ended = case.facts.worker_exited() || case.context.closing.is_some_and(by_worker);
    ended && case.context.concurrent.workers > 0
}

/// A late packet adds nothing to what the broker's FIN showed: all causes of the
/// handshake phase stay as likely as they were.
fn as_sure_as_then(observation: Observation, class: Class, share: f64) -> Observation {
    const OTHERS: u8 = HANDSHAKES.len() as u8 - 1;
    let observation = observation.weigh(round(HARD + share.ln()), &[class]);
    let others = HANDSHAKES.iter().filter(|other| **other != class);
    let each = (1.0 - share) / f64::from(OTHERS);
    if each <= 0.0 {
        return observation;
    }
    let weight = round(HARD + each.ln());
    others.fold(observation, |observation, other| {
        observation.weigh(weight, &[*other])
    })
}

/// A request for a new connection drew it.
pub(super) fn drawn_by_syn(case: &Case<'_>) -> bool {
    let trigger = case.facts.trigger;
    trigger.is_some_and(Trigger::is_syn)
}

/// By the kernel's reason where there is one. `TCP_FLAGS` and the rest stand
/// for what the state says; names are from `include/net/rstreason.h`, 6.18.
fn why(case: &Case<'_>) -> Why {
    match case.facts.kernel_reason.as_deref() {
        Some("TCP_ABORT_ON_DATA" | "TCP_TIMEWAIT_SOCKET") => Why::AfterClose,
        Some(
            "TCP_ABORT_ON_CLOSE"
            | "TCP_ABORT_ON_LINGER"
            | "TCP_ABORT_ON_MEMORY"
            | "TCP_KEEPALIVE_TIMEOUT"
            | "TCP_DISCONNECT_WITH_DATA"
            | "TCP_STATE",
        ) => Why::Aborted,
        Some("NO_SOCKET") => Why::NoSocket,
        // Of a SYN in the midst of a handshake as well, which is no handshake's end.
        Some("INVALID_SYN") if !drawn_by_syn(case) => Why::Overflow,
        _ => by_state(case),
    }
}

const fn by_state(case: &Case<'_>) -> Why {
    match case.facts.state {
        None | Some(State::Listen | State::NewSynRecv) => Why::NoSocket,
        Some(State::TimeWait) => Why::AfterClose,
        Some(_) if case.facts.trigger.is_some() => Why::AfterClose,
        Some(_) => Why::Aborted,
    }
}

fn value(case: &Case<'_>, why: Why) -> SmolStr {
    let what = match (&case.facts.kernel_reason, why) {
        (Some(reason), _) => reason.clone(),
        (None, Why::Aborted) => SmolStr::new_static("aborted by this host's socket"),
        (None, Why::AfterClose) => SmolStr::new_static("data after this host's close"),
        (None, Why::NoSocket) if is_untaken(case) => {
            SmolStr::new_static("no socket had answered since the handshake")
        }
        (None, Why::NoSocket | Why::Overflow) => SmolStr::new_static("no socket on this host"),
    };
    match case.facts.exit_signal {
        _ if !case.facts.by_exit => what,
        Some(signal) if signal != 0 => {
            format_smolstr!("{what}, by the end of its process on signal {signal}")
        }
        _ => format_smolstr!("{what}, by the end of its process"),
    }
}
