//! Whether a receiver has read all that it was sent over TCP, at the end.

use std::{
    io::{self, Read as _},
    net::{Shutdown, TcpStream},
    os::fd::AsRawFd as _,
    time::{Duration, Instant},
};

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
