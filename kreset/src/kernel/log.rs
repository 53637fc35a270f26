//! What the kernel side logs of its own decisions, with `-vv`.
//!
//! Without it the log statements are dead code: the verifier removes them.

use aya::Ebpf;
use aya_log::EbpfLogger;
use log::{Log, Metadata, Record};

use crate::util::stderr::log;

/// Writes log records to standard error, one a line.
struct Stderr;

impl Log for Stderr {
    fn enabled(&self, _metadata: &Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &Record<'_>) {
        log(format_args!("kernel: {}", record.args()));
    }

    fn flush(&self) {}
}

/// Reads the log of the kernel side.
pub(super) struct KernelLog(EbpfLogger<Stderr>);

impl KernelLog {
    /// `None` where the object has no log statement.
    pub(super) fn new(ebpf: &mut Ebpf) -> Option<Self> {
        EbpfLogger::init_with_logger(ebpf, Stderr).ok().map(Self)
    }

    /// Writes what has been logged since the last time.
    pub(super) fn flush(&mut self) {
        self.0.flush();
    }
}
