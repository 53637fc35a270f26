//! How much of what was sent over a stream the receiver has.

use std::{
    collections::VecDeque,
    io::{self, Read as _},
    net::{Shutdown, TcpStream},
    os::fd::AsRawFd,
    time::{Duration, Instant},
};

/// The sizes of the batches sent on one connection, in order.
#[derive(Debug)]
pub(super) struct Sent(VecDeque<u64>);

impl Sent {
    /// Nothing yet.
    pub(super) const fn new() -> Self {
        Self(VecDeque::new())
    }

    /// One more batch.
    pub(super) fn push(&mut self, bytes: u64) {
        self.0.push_back(bytes);
    }

    /// How many of the latest batches the receiver's kernel does not have as a
    /// whole, where it has acknowledged all but the last `unacknowledged` bytes.
    pub(super) fn outstanding(&mut self, mut unacknowledged: u64) -> usize {
        let mut count = 0;
        for bytes in self.0.iter().rev() {
            if unacknowledged == 0 {
                break;
            }
            unacknowledged = unacknowledged.saturating_sub(*bytes);
            count += 1;
        }
        self.0.drain(..self.0.len() - count);
        count
    }
}

/// Bytes that were written and that this host's kernel still holds, whether or
/// not they were sent. Over TCP: what the receiver's kernel has not acknowledged
/// (tcp(7), `SIOCOUTQ`). Over a Unix socket: what the receiver has not read, and
/// what keeping that takes (`unix_outq_len`, 6.18).
pub(crate) fn unacknowledged(stream: &impl AsRawFd) -> io::Result<u64> {
    let mut bytes: libc::c_int = 0;
    // SAFETY: the kernel writes one `int` (tcp_ioctl and unix_ioctl, 6.18).
    let outcome = unsafe { libc::ioctl(stream.as_raw_fd(), libc::TIOCOUTQ, &raw mut bytes) };
    if outcome == 0 {
        Ok(u64::try_from(bytes).unwrap_or_default())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// `TCP_CLOSE` (`include/net/tcp_states.h`).
const CLOSE: u8 = 7;

/// Ends `stream` in order; whether the receiver has read it to its end and
/// ended it too, within `longest`.
///
/// A receiver that ends a connection by itself has not read what crossed its
/// end on the way, so its end counts only as an answer to this one: then this
/// host's kernel has nothing left to wait for when it comes (`tcp_fin` in
/// `FIN_WAIT2`, 6.18), rather than an acknowledgement.
pub(super) fn is_read(stream: &TcpStream, longest: Duration) -> bool {
    ended(stream, longest).unwrap_or(false)
}

fn ended(stream: &TcpStream, longest: Duration) -> io::Result<bool> {
    let until = Instant::now() + longest;
    stream.set_nonblocking(true)?;
    let has_ended = matches!(stream.peek(&mut [0]), Ok(0));
    stream.set_nonblocking(false)?;
    if has_ended {
        return Ok(false);
    }
    stream.shutdown(Shutdown::Write)?;
    loop {
        let left = until.saturating_duration_since(Instant::now());
        stream.set_read_timeout(Some(left.max(Duration::from_millis(1))))?;
        if (&*stream).read(&mut [0; 64])? == 0 {
            return Ok(stream.take_error()?.is_none() && state(stream)? == CLOSE);
        }
        if left.is_zero() {
            return Ok(false);
        }
    }
}

/// The connection's state, as the kernel numbers it: tcp(7), `TCP_INFO`, whose
/// first byte it is.
fn state(stream: &TcpStream) -> io::Result<u8> {
    let mut state = 0_u8;
    let mut length: libc::socklen_t = 1;
    // SAFETY: the kernel writes at most `length` bytes, which is one.
    let outcome = unsafe {
        libc::getsockopt(
            stream.as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_INFO,
            (&raw mut state).cast(),
            &raw mut length,
        )
    };
    if outcome == 0 {
        Ok(state)
    } else {
        Err(io::Error::last_os_error())
    }
}

#[cfg(test)]
mod tests {
    use std::{io::Write as _, net::TcpListener, thread};

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(20);

    fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let sender = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (receiver, _) = listener.accept().unwrap();
        (sender, receiver)
    }

    #[test]
    fn a_batch_is_outstanding_until_its_last_byte_is_acknowledged() {
        let mut sent = Sent::new();
        assert_eq!(sent.outstanding(0), 0);
        for bytes in [10, 20, 30] {
            sent.push(bytes);
        }
        assert_eq!(sent.outstanding(51), 3);
        assert_eq!(sent.outstanding(50), 2);
        assert_eq!(sent.outstanding(1), 1);
        sent.push(5);
        assert_eq!(sent.outstanding(5), 1);
        assert_eq!(sent.outstanding(0), 0);
        assert_eq!(sent.0.len(), 0, "what has arrived is not kept");
    }

    #[test]
    fn what_finds_no_room_at_the_receiver_is_unacknowledged_until_it_reads() {
        let (mut sender, mut receiver) = pair();
        sender.set_nonblocking(true).unwrap();
        let mut written = 0;
        while let Ok(count) = sender.write(&[0; 16 << 10]) {
            written += count;
        }
        // The kernel took all this: much of it only to hold it.
        assert!(unacknowledged(&sender).unwrap() > 0);
        let reader = thread::spawn(move || {
            receiver.read_exact(&mut vec![0; written]).unwrap();
            receiver
        });
        let _receiver = reader.join().unwrap();
        let until = Instant::now() + PATIENCE;
        while unacknowledged(&sender).unwrap() > 0 {
            assert!(Instant::now() < until);
            thread::sleep(Duration::from_millis(1));
        }
    }

    #[test]
    fn a_receiver_that_reads_to_the_end_has_all() {
        let (mut sender, mut receiver) = pair();
        sender.write_all(b"event").unwrap();
        let reader = thread::spawn(move || {
            let mut all = Vec::new();
            receiver.read_to_end(&mut all).unwrap();
            all
        });
        assert!(is_read(&sender, PATIENCE));
        assert_eq!(reader.join().unwrap(), b"event");
    }

    #[test]
    fn one_that_ended_first_may_have_missed_something() {
        let (mut sender, mut receiver) = pair();
        sender.write_all(b"event").unwrap();
        receiver.read_exact(&mut [0; 5]).unwrap();
        drop(receiver);
        assert_eq!(sender.peek(&mut [0]).unwrap(), 0);
        assert!(!is_read(&sender, PATIENCE));
    }

    #[test]
    fn one_that_leaves_something_unread_has_not_all() {
        let (mut sender, receiver) = pair();
        sender.write_all(b"event").unwrap();
        receiver.peek(&mut [0]).unwrap();
        drop(receiver);
        assert!(!is_read(&sender, PATIENCE));
    }

    #[test]
    fn one_that_reads_nothing_is_not_waited_for() {
        let (mut sender, _receiver) = pair();
        sender.write_all(b"event").unwrap();
        assert!(!is_read(&sender, Duration::from_millis(20)));
    }
}
