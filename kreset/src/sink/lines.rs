//! Writes to a descriptor.

use std::{
    fs::File,
    io::{self, Write as _},
    thread,
    time::Duration,
};

/// How long to wait before retrying a full non-blocking pipe.
const PIPE_PAUSE: Duration = Duration::from_millis(1);

/// Writes all of `bytes`; otherwise returns how many were written and the error.
pub(super) fn write_all(mut file: &File, bytes: &[u8]) -> Result<(), (usize, io::Error)> {
    let mut written = 0;
    while written < bytes.len() {
        match file.write(&bytes[written..]) {
            Ok(0) => return Err((written, io::ErrorKind::WriteZero.into())),
            Ok(count) => written += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            // Another process that shares the pipe or terminal has made it
            // non-blocking: wait for its reader.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => thread::sleep(PIPE_PAUSE),
            Err(error) => return Err((written, error)),
        }
    }
    Ok(())
}
