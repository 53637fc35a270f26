//! Writing whole lines to a descriptor.

use std::{
    fs::File,
    io::{self, Write as _},
    thread,
    time::Duration,
};

/// How long to wait before asking again for room in a pipe that does not
/// block.
const PIPE_PAUSE: Duration = Duration::from_millis(1);

/// Writes all of `bytes`, or says how many went out before which error.
pub(super) fn write_all(mut file: &File, bytes: &[u8]) -> Result<(), (usize, io::Error)> {
    let mut written = 0;
    while written < bytes.len() {
        match file.write(&bytes[written..]) {
            Ok(0) => return Err((written, io::ErrorKind::WriteZero.into())),
            Ok(count) => written += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            // Another process that shares the pipe or terminal made it
            // non-blocking; for us it is as slow as its reader.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => thread::sleep(PIPE_PAUSE),
            Err(error) => return Err((written, error)),
        }
    }
    Ok(())
}
