//! Constants of this run, injected by the loader before load.
//!
//! They are read with volatile loads, so the compiler does not fold the defaults.
//! The verifier does fold the injected values, because `.rodata` is frozen.

use kreset_common::{
    offsets::Offsets,
    settings::{PORT_RANGES, PortRange, Settings},
};

/// Replaced by the loader. As compiled, no field is resolved.
#[unsafe(no_mangle)]
pub(crate) static OFFSETS: Offsets = Offsets::UNRESOLVED;

/// Replaced by the loader.
#[unsafe(no_mangle)]
pub(crate) static SETTINGS: Settings = Settings {
    netns: 0,
    probe_read: 0,
    packets: 0,
    debug: 0,
    hash_storage: 0,
    silence_jiffies: 0,
    task_btf: 0,
    fentry: 0,
    busy_jiffies: 0,
    unanswered_jiffies: 0,
    max_connections: 0,
    port_range_count: 0,
    port_ranges: [PortRange { first: 0, more: 0 }; PORT_RANGES],
};

/// Reads the injected value of a constant.
#[inline(always)]
pub(crate) fn read<T: Copy>(constant: &'static T) -> T {
    // SAFETY: a reference is valid and aligned.
    unsafe { core::ptr::read_volatile(constant) }
}

/// Reads one injected constant.
macro_rules! constant {
    ($global:ident . $field:ident) => {
        $crate::settings::read(&$crate::settings::$global.$field)
    };
}

pub(crate) use constant;
