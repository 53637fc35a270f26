//! Every weight, in one table. Log-odds: +3 makes a class twenty times as
//! likely beside the others.
//!
//! Where a weight comes from is said with it: **physics** (what a Linux stack
//! can and cannot put on the wire), **devices** (how documented devices
//! behave), or **rate** (how often, seen in the labelled matrix of
//! `cargo xtask accuracy`).

/// A fact that decides alone: the kernel's own word, or a state that only one
/// class can be in.
pub const HARD: f64 = 14.0;

/// The other end is on this host, and its kernel sent the RST: more than all that this end
/// can show. Its own classes keep their shares. Physics.
pub const OTHER_END: f64 = 40.0;

/// Rules out a class that soft facts might otherwise favour.
pub const EXCLUDED: f64 = -9.0;

// --- before anything speaks -------------------------------------------------

/// A broker that ends is rarer than one that aborts a single connection. Rate.
pub const SHUTDOWN_ALONE: f64 = -1.5;
/// A RST in mid-use without any silence needs a device that misbehaves. Rate.
pub const NOT_IDLE_ALONE: f64 = -0.1;
/// A flow in use that reaches a host which never had it needs a failover or a balancer
/// that forgets. Rate.
pub const MOVED_ALONE: f64 = -1.0;
/// One that comes back changed after a pause: most devices that forget say so, or
/// nothing. Rate.
pub const REBOUND_ALONE: f64 = -2.5;
/// A host that dies in silence is rarer than a device that drops. Rate.
pub const HOST_DIED: f64 = -1.2;
/// A firewall that refuses what is in use is rarer than a host that is gone. Rate.
pub const REFUSED_IN_USE: f64 = -0.5;

// --- shape of the RST -------------------------------------------------------

/// The RST carried the negotiated timestamps: a live Linux socket sent it
/// (`tcp_send_active_reset`). Physics; a device could only by copying them.
pub const LIVE_SOCKET: f64 = 6.0;
/// Negotiated timestamps are missing: no live Linux socket sent it. Physics.
pub const NOT_A_LIVE_SOCKET: f64 = 5.0;
/// Timestamps were not negotiated, but flags and window are those of an active
/// reset (`RST,ACK`, window not 0). Physics of Linux, other stacks vary.
pub const ACTIVE_SHAPE: f64 = 3.5;
/// The same the other way: bare `R`, window 0. Physics of Linux.
pub const BARE_SHAPE: f64 = 2.0;
/// `RST,ACK` without timestamps drawn by a packet that carried ACK: Linux
/// answers such a packet with a bare `R` (`tcp_v4_send_reset`). Physics.
pub const ODD_SHAPE: f64 = 2.0;
/// The same during the first exchange, where only that is known. Physics.
pub const ODD_EARLY: f64 = 4.8;

// --- logs of brokers and clients --------------------------------------------

/// The broker wrote in its log why it closed a connection of this address at this time.
/// Physics of Kafka's code; less than what decides alone, as a line may be of another
/// connection of the same address.
pub const BROKER_WROTE: f64 = 5.5;
/// The client wrote why it lost a connection to this broker at this time.
///
/// Physics of the clients' code, and weak: a line has no port of the client, so that it may be
/// of another connection, and clients guess from the same bytes that the packets show.
pub const CLIENT_WROTE: f64 = 1.5;

// --- distance ---------------------------------------------------------------

/// The TTL is not the peer's: something between the ends sent it. Physics;
/// not certain, as a route may change in mid-connection. Rate.
pub const TTL_DIFFERS: f64 = 6.5;
/// The same where the peer's latest packets were let pass, as those of a busy connection
/// are: the route may have changed since. Rate.
pub const TTL_DIFFERS_SAMPLED: f64 = 5.0;
/// The same during the first exchange, where a proxy that answers handshakes for
/// the broker may have made the only packets to compare with. Rate.
pub const TTL_DIFFERS_EARLY: f64 = 4.8;
/// The RST came from farther away than the peer's packets: nothing between the ends
/// sent it. Physics; not certain, as the way back of a device may be a longer one.
pub const TTL_FARTHER: f64 = -5.0;
/// And new connections to the same address come from as far: it is another host's
/// now, which knows nothing of the old ones. Physics.
pub const TTL_MOVED: f64 = 2.0;
/// The TTL is the peer's: the peer, or a device that copies it. Devices: most
/// make packets of their own, so a copy is the exception.
pub const TTL_SAME: f64 = 2.0;
/// Both ends are on one host, which does not lose one of them alone; a container behind
/// an address of the host's may. Rate.
pub const SAME_FATE: f64 = -4.0;
/// The RST came sooner than the least round trip allows. Physics, but round
/// trips shrink too. Rate.
pub const NEARER_THAN_PEER: f64 = 3.0;

// --- trigger ----------------------------------------------------------------

/// Nothing of ours drew the RST; a stack without a socket only answers.
/// Physics.
pub const NEEDS_TRIGGER: f64 = -8.0;
/// A SYN on an established connection was the peer's latest packet, and this host's
/// challenge drew the RST: the peer lost the connection, or a device gave its ports to
/// another one. Rate.
pub const SYN_ON_CONNECTION: f64 = 1.0;
/// A late acknowledgement of ours may have drawn it, of a stack that lost the
/// connection just before. Rate.
pub const UNSEEN_TRIGGER: f64 = -2.0;
/// A bare ACK of ours went out just before, and may have drawn it or not. Rate.
pub const ACK_TRIGGER: f64 = -1.0;
/// That ACK may have questioned an abort that came out of order, after a lost segment:
/// makes up for what the second, bare RST lacks. Rate.
pub const ABORT_QUESTIONED: f64 = 3.0;
/// Nothing drew it, so no device that waits for the next packet did. Devices.
pub const SPONTANEOUS: f64 = 3.0;
/// Data or a probe drew it within a round trip or so: a timer that fires in
/// that very moment would be chance. Rate.
pub const TIMER_WHILE_PENDING: f64 = -4.0;

// --- silence ----------------------------------------------------------------

/// The connection was in use: no idle timer can have run out. Devices: the
/// shortest timers are tens of seconds.
pub const BUSY: f64 = -6.0;
/// Silent for less than a second. Devices: as above.
pub const BARELY_IDLE: f64 = -5.5;
/// Silent for some seconds.
pub const SOME_IDLE: f64 = 0.5;
/// Silent for tens of seconds.
pub const LONG_IDLE: f64 = 1.5;
/// Silent for minutes, as long as devices' timers run.
pub const VERY_LONG_IDLE: f64 = 2.2;
/// The path has come through a longer silence than this one. Devices: a timer
/// does not grow shorter.
pub const OUTLIVED: f64 = -5.0;
/// The silence is far longer than any that the path came through.
pub const UNTRIED_SILENCE: f64 = 0.7;
/// It fits a documented timer that behaves like this.
pub const KNOWN_TIMER: f64 = 1.0;
/// Earlier deaths of this path agree with this one: (survived, died] holds
/// them all, or they repeat one value.
pub const REPEATS: f64 = 2.5;

// --- concurrent endings -----------------------------------------------------

/// Several connections of one broker ended within a second after different silences:
/// no idle timer, but the broker or a device that failed. Rate.
pub const TOGETHER: f64 = 3.5;
/// The same, for an idle timer that they have in common. Devices: some sweep their
/// tables, and what is due falls at once.
pub const NOT_TOGETHER: f64 = -1.0;
/// Several ended at once, unprovoked, after silences that differ too much for one idle
/// timer: a device that fails over or changes its policy resets them all. Devices.
pub const SCATTERED: f64 = -7.0;
/// A device of the path reset several connections in use at once while this one was silent: what
/// it forgot then, it does not know now either. Devices.
pub const LOST_MEANWHILE: f64 = 4.0;
/// The same, for a timer: it explains nothing that is not explained already. Devices.
pub const NOT_ITS_SILENCE: f64 = -4.0;
/// A new connection to the broker was refused right after. Physics: no socket listens,
/// as after a broker's end.
pub const NOW_REFUSED: f64 = 4.0;
/// A new connection to the broker was established right after. Rate.
pub const NOW_ACCEPTED: f64 = 0.8;

// --- FIN first --------------------------------------------------------------

/// The silence before the broker's FIN is `connections.max.idle.ms`. Physics of the
/// broker, which closes then; by chance as long a silence is rare. Rate.
pub const FITS_BROKER_TIMER: f64 = 4.0;
/// It is not.
pub const MISSES_BROKER_TIMER: f64 = -2.5;
/// It is not, but a single connection was closed in a pause: as a proxy's timer
/// does, or a broker's that was not given. Rate.
pub const OTHER_TIMER: f64 = 0.5;
/// The same of several at once, after one silence: they share the timer. Devices.
pub const ONE_TIMER: f64 = 1.0;
/// The same, after a whole number of seconds: one pause in twenty is that by chance,
/// and nearly all timers are set to one. Rate.
pub const ROUND_TIMER: f64 = 2.5;
/// The silence is that of connections that were closed at other times: a timer,
/// whatever it is set to. Physics.
pub const CLOSED_ALIKE: f64 = 3.0;
/// No other connection of the broker ended about then: a broker that stops closes
/// all, but a proxy, a quota or an expired login ends a single one. Rate.
pub const CLOSED_ALONE: f64 = -1.0;
/// The broker goes on after it closed a connection in order: rarer than its end or its
/// timer, of which a client hears no more either. Rate.
pub const CLOSED_FOR_ITSELF: f64 = -0.5;
/// A socket listens on the broker's port after its FIN: what has ended is not the
/// broker, unless others were closed as well. Rate.
pub const STILL_LISTENS: f64 = -4.0;
/// An abort right after the FIN: the broker closed with data unread, as it does
/// for a request that is too large or a client that is throttled. Rate.
pub const UNREAD_AT_CLOSE: f64 = 3.5;
/// The kernel sent the FIN when it closed the sockets of an ending process. Kernel:
/// `PF_EXITING`.
pub const PROCESS_ENDED: f64 = 8.0;
/// The broker was asked to end (`SIGTERM`, `SIGINT`), and closed or reset the connection after
/// that: it may yet have other reasons. Rate.
pub const STOP_ASKED: f64 = 6.0;
/// The broker's process aborted a connection and goes on: it may yet be one of
/// many that it closes before it ends. Rate.
pub const PROCESS_LIVES: f64 = 4.0;

// --- handshake --------------------------------------------------------------

/// A broker that closes before any answer has no better reason than its limits
/// and its load, unless other evidence names one. Rate.
pub const HANDSHAKE: f64 = 3.0;
/// Connections in use ended with one that was in its first exchange, or no socket
/// listens since: a broker that turns a client away goes on. Rate.
pub const STOPPED: f64 = 6.0;
/// The accept queue was full when the listener answered for an unknown connection: a
/// handshake that was never taken on explains both. Rate.
pub const QUEUE_WAS_FULL: f64 = 3.0;
/// Clients use or close a connection within the broker's idle time: one that this host
/// lost before that is not heard of any more. Rate.
pub const LOST_LONG_AGO: f64 = -4.0;
/// An idle flow of a single client changes its way more often than one in use. Rate.
pub const STRANGER_ALONE: f64 = 1.6;
/// First bytes that only one cause explains. Physics of the protocols.
pub const FIRST_BYTES: f64 = 9.0;
/// A TLS hello after which the broker closed in order, at once and without a word: a
/// plaintext listener, unless it is a proxy or an ingress that knows no such name. Rate.
pub const HELLO_CLOSED: f64 = 4.1;
/// The same of a listener that has read the whole hello, which Kafka's plaintext listener
/// does not. Rate.
pub const HELLO_READ: f64 = 2.6;
/// A TLS hello that drew a RST without a FIN: a listener over its limits closes unread,
/// and Kafka's plaintext listener sends a FIN first. Rate.
pub const FIRST_BYTES_NO_FIN: f64 = 2.0;
/// First bytes of no protocol that is known here. Rate.
pub const FIRST_BYTES_OTHER: f64 = 5.5;
/// A fatal TLS alert in clear. Physics.
pub const TLS_ALERT: f64 = 12.0;
/// A TLS handshake that ended without one. Rate.
pub const TLS_UNFINISHED: f64 = 7.0;
/// The last request was part of SASL. Rate.
pub const SASL_UNFINISHED: f64 = 7.0;
/// The same where the credentials were not answered: a broker that rejects them says so, but for
/// old ones and proxies. Rate.
pub const SASL_UNANSWERED: f64 = 3.5;
/// TLS hides what was said on a connection that the broker closed at once, in order and
/// alone: far more clients fail to log in than lose a broker just then. Rate.
pub const HIDDEN_SASL: f64 = 2.0;
/// The same where others ended about then, as when the broker stops. Rate.
pub const HIDDEN_SASL_CONCURRENT: f64 = 0.5;
/// The client finished TLS and was answered, then closed upon: it was rejected, or the
/// listener wanted SASL. Rate.
pub const SASL_IN_TLS: f64 = 6.0;
/// The second request drew a close: a listener that wants SASL, or a request
/// that it does not know. Rate.
pub const SASL_EXPECTED: f64 = 4.4;

// --- what the table does not have --------------------------------------------

// Shares, not log-odds. Of 287 labels in situations that no rule had been made
// for, 28 were wrong at a confidence of 0.9 or more (21 of 216, then 7 of 71:
// docs/field.md): one in ten. Those were given on what anything may leave out as
// readily as on what was there, and of what was given at 0.7 to 0.9 only 7 of 18
// were right, so that the former keeps more.

/// Where this host's kernel or the bytes on the wire name the sender.
pub const UNKNOWN_NAMED: f64 = 0.005;
/// Where something was there that speaks for the class: so much that the
/// confidence stays below 0.9.
pub const UNKNOWN_SHOWN: f64 = 0.11;
/// Where only something missing speaks for it.
pub const UNKNOWN_ABSENCE: f64 = 0.15;

/// Where what a stranger cannot forge would not lead to the verdict by itself: whoever knows
/// both ends of a connection can send the rest.
pub const UNKNOWN_FORGEABLE: f64 = 0.2;

/// A verdict with less share than this is not given: of what is left to one
/// host between 0.6 and this, more than one in three would be wrong.
pub const BAR: f64 = 0.7;
