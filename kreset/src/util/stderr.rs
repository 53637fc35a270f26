//! Messages to the operator on standard error, which a service manager logs.

use std::{
    fmt,
    io::{self, Write as _},
};

/// Logs one line. Log changes, not states: a sink that is down for hours is one
/// line, and its recovery another.
pub fn log(text: fmt::Arguments<'_>) {
    // A failure of standard error cannot be reported.
    let _ignored = writeln!(io::stderr(), "kreset-trace: {text}");
}
