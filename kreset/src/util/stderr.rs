//! What the operator is told beside the events: on standard error, where a
//! service manager keeps it.

use std::{
    fmt,
    io::{self, Write as _},
};

/// Says one line. Say what changed, not what goes on: a sink that is down
/// for a night is one line, and its return another.
pub fn log(text: fmt::Arguments<'_>) {
    // Nobody is left to tell if this fails.
    let _unheard = writeln!(io::stderr(), "kreset-trace: {text}");
}
