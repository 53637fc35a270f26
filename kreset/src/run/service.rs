//! Notifications to the service manager: the protocol of `sd_notify(3)`.
//!
//! A run has one socket, connected before system calls are filtered: the filter
//! of a run without network sinks has no socket(2), and the crate sd-notify
//! opens a socket for each message.

use std::{
    collections::VecDeque,
    env,
    ffi::OsStr,
    fmt,
    io::{self, ErrorKind},
    os::{
        linux::net::SocketAddrExt as _,
        unix::{ffi::OsStrExt as _, net::SocketAddr, net::UnixDatagram},
    },
    time::{Duration, Instant},
};

use rustix::time::{ClockId, clock_gettime};

use crate::util::stderr::log;

/// The service manager that started this process; does nothing without one.
///
/// Nothing here waits: a message that cannot be sent at once is sent with the next
/// one.
#[derive(Debug, Default)]
pub struct ServiceManager {
    socket: Option<UnixDatagram>,
    /// What is still to be sent, oldest first.
    unsent: VecDeque<String>,
    watchdog: Option<Watchdog>,
}

/// When to send the next watchdog message.
#[derive(Clone, Copy, Debug)]
struct Watchdog {
    every: Duration,
    due: Instant,
}

impl ServiceManager {
    /// The one that the environment names: `NOTIFY_SOCKET`, `WATCHDOG_USEC`
    /// and `WATCHDOG_PID`. One that cannot be reached is reported on standard
    /// error, and then ignored.
    #[must_use]
    pub fn from_env() -> Self {
        let Some(address) = env::var_os("NOTIFY_SOCKET") else {
            return Self::default();
        };
        let variable = |name| env::var(name).ok();
        let interval = watchdog_interval(
            variable("WATCHDOG_USEC").as_deref(),
            variable("WATCHDOG_PID").as_deref(),
        );
        match Self::connect(&address, interval) {
            Ok(manager) => manager,
            Err(error) => {
                unreachable(&error);
                Self::default()
            }
        }
    }

    /// Connects to `address`: a path, or `@` and a name of the abstract kind.
    fn connect(address: &OsStr, interval: Option<Duration>) -> io::Result<Self> {
        let socket = UnixDatagram::unbound()?;
        match address.as_bytes() {
            [b'@', name @ ..] => socket.connect_addr(&SocketAddr::from_abstract_name(name)?)?,
            _ => socket.connect(address)?,
        }
        socket.set_nonblocking(true)?;
        // The manager allows for one interval; half of it leaves room to be late.
        let watchdog = interval.map(|interval| Watchdog {
            every: interval / 2,
            due: Instant::now(),
        });
        Ok(Self {
            socket: Some(socket),
            unsent: VecDeque::new(),
            watchdog,
        })
    }

    /// Everything is attached, or a reload is done.
    pub fn ready(&mut self, status: impl fmt::Display) {
        self.notify(format!("READY=1\nSTATUS={status}"));
    }

    /// The configuration is being read again; [`ServiceManager::ready`] ends it.
    pub fn reloading(&mut self) {
        let now = clock_gettime(ClockId::Monotonic);
        let now_us = now.tv_sec * 1_000_000 + now.tv_nsec / 1_000;
        self.notify(format!("RELOADING=1\nMONOTONIC_USEC={now_us}"));
    }

    /// The run ends.
    pub fn stopping(&mut self, status: impl fmt::Display) {
        self.notify(format!("STOPPING=1\nSTATUS={status}"));
    }

    /// To be called regularly: feeds the watchdog when that is due, and sends what
    /// is unsent.
    pub fn alive(&mut self, now: Instant) {
        if let Some(watchdog) = &mut self.watchdog
            && now >= watchdog.due
        {
            watchdog.due = now + watchdog.every;
            // An unsent message would have the same effect.
            if self.unsent.is_empty() {
                self.unsent.push_back("WATCHDOG=1".to_owned());
            }
        }
        self.send();
    }

    /// When [`ServiceManager::alive`] is next expected, if ever.
    #[must_use]
    pub fn due(&self) -> Option<Instant> {
        self.watchdog.map(|watchdog| watchdog.due)
    }

    fn notify(&mut self, message: String) {
        if self.socket.is_some() {
            self.unsent.push_back(message);
            self.send();
        }
    }

    fn send(&mut self) {
        while let (Some(socket), Some(message)) = (&self.socket, self.unsent.front()) {
            match socket.send(message.as_bytes()) {
                Ok(_) => {
                    self.unsent.pop_front();
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => {
                    unreachable(&error);
                    *self = Self::default();
                }
            }
        }
    }
}

fn unreachable(error: &io::Error) {
    log(format_args!(
        "cannot notify the service manager (NOTIFY_SOCKET): {error}"
    ));
}

/// The watchdog's interval, if it watches this process.
fn watchdog_interval(microseconds: Option<&str>, pid: Option<&str>) -> Option<Duration> {
    let ours = pid.is_none_or(|pid| pid.parse() == Ok(std::process::id()));
    let interval = Duration::from_micros(microseconds?.parse().ok()?);
    (ours && !interval.is_zero()).then_some(interval)
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;

    const INTERVAL: Duration = Duration::from_secs(30);

    fn receive(socket: &UnixDatagram) -> String {
        let mut buffer = [0; 512];
        socket
            .set_read_timeout(Some(Duration::from_secs(20)))
            .unwrap();
        let length = socket.recv(&mut buffer).unwrap();
        String::from_utf8_lossy(&buffer[..length]).into_owned()
    }

    fn pair() -> (TempDir, UnixDatagram, ServiceManager) {
        let directory = TempDir::new().unwrap();
        let path = directory.path().join("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        let manager = ServiceManager::connect(path.as_os_str(), Some(INTERVAL)).unwrap();
        (directory, socket, manager)
    }

    #[test]
    fn a_run_is_reported_from_begin_to_end() {
        let (_directory, socket, mut manager) = pair();
        manager.ready("watching");
        assert_eq!(receive(&socket), "READY=1\nSTATUS=watching");
        manager.reloading();
        let reloading = receive(&socket);
        let time = reloading
            .strip_prefix("RELOADING=1\nMONOTONIC_USEC=")
            .unwrap();
        assert!(time.parse::<u64>().unwrap() > 0);
        manager.stopping("delivering");
        assert_eq!(receive(&socket), "STOPPING=1\nSTATUS=delivering");
    }

    #[test]
    fn the_watchdog_is_fed_twice_an_interval() {
        let (_directory, socket, mut manager) = pair();
        let now = Instant::now();
        manager.alive(now);
        assert_eq!(receive(&socket), "WATCHDOG=1");
        assert_eq!(manager.due(), Some(now + INTERVAL / 2));
        // Not due: the next message is another.
        manager.alive(now + INTERVAL / 3);
        manager.ready("watching");
        assert!(receive(&socket).starts_with("READY=1"));
        manager.alive(now + INTERVAL / 2);
        assert_eq!(receive(&socket), "WATCHDOG=1");
    }

    #[test]
    fn a_manager_that_does_not_read_is_not_waited_for() {
        let (_directory, socket, mut manager) = pair();
        // More than its socket takes.
        let messages = 5_000;
        for number in 0..messages {
            manager.ready(number);
        }
        assert!(!manager.unsent.is_empty());
        for number in 0..messages {
            manager.alive(Instant::now());
            assert_eq!(receive(&socket), format!("READY=1\nSTATUS={number}"));
        }
    }

    #[test]
    fn a_manager_that_went_away_is_ignored() {
        let (_directory, socket, mut manager) = pair();
        drop(socket);
        manager.ready("watching");
        assert!(manager.socket.is_none());
        assert_eq!(manager.due(), None);
        manager.alive(Instant::now());
        assert!(manager.unsent.is_empty());
    }

    #[test]
    fn abstract_names_are_reached() {
        let name = format!("kreset-notify-{}", std::process::id());
        let address = SocketAddr::from_abstract_name(&name).unwrap();
        let socket = UnixDatagram::bind_addr(&address).unwrap();
        let mut manager = ServiceManager::connect(OsStr::new(&format!("@{name}")), None).unwrap();
        manager.ready("watching");
        assert!(receive(&socket).starts_with("READY=1"));
        assert_eq!(manager.due(), None);
    }

    #[test]
    fn only_a_watchdog_of_this_process_is_fed() {
        let own = std::process::id().to_string();
        let interval = Some(Duration::from_millis(1_500));
        assert_eq!(watchdog_interval(Some("1500000"), None), interval);
        assert_eq!(watchdog_interval(Some("1500000"), Some(&own)), interval);
        assert_eq!(watchdog_interval(Some("1500000"), Some("1")), None);
        assert_eq!(watchdog_interval(Some("0"), None), None);
        assert_eq!(watchdog_interval(None, None), None);
    }
}
