//! Which connections were opened, and when: by that list, what other hosts report of
//! them is recognised afterwards.

use std::{cell::RefCell, net::SocketAddr, rc::Rc};

use jiff::Timestamp;

/// A connection, or an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Opened {
    /// This end.
    pub local: SocketAddr,
    /// When it was asked for.
    pub opened: Timestamp,
    /// When this end closed it or let go of it; `None` while it is open.
    pub ended: Option<Timestamp>,
}

/// All connections of a measurement.
#[derive(Clone, Debug, Default)]
pub(super) struct Log(Rc<RefCell<Vec<Opened>>>);

/// Notes the end of a connection when it is dropped.
#[derive(Debug)]
pub(super) struct Entry {
    log: Log,
    at: usize,
}

impl Log {
    /// Notes a connection that begins now.
    pub(super) fn opened(&self, local: SocketAddr) -> Entry {
        let mut all = self.0.borrow_mut();
        all.push(Opened {
            local,
            opened: Timestamp::now(),
            ended: None,
        });
        Entry {
            log: self.clone(),
            at: all.len() - 1,
        }
    }

    /// Those that were noted so far, in the order in which they began.
    pub(super) fn all(&self) -> Vec<Opened> {
        self.0.borrow().clone()
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        if let Some(it) = self.log.0.borrow_mut().get_mut(self.at) {
            it.ended = Some(Timestamp::now());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_is_noted_when_the_connection_is_let_go() {
        let log = Log::default();
        let local = SocketAddr::from(([127, 0, 0, 1], 50_000));
        let (first, second) = (log.opened(local), log.opened(local));
        drop(first);
        let [ended, open] = log.all()[..] else {
            panic!("{log:?}");
        };
        assert!(ended.ended.is_some_and(|at| at >= ended.opened));
        assert_eq!((open.local, open.ended), (local, None));
        drop(second);
        assert!(log.all().iter().all(|it| it.ended.is_some()));
    }
}
