//! The ring buffer and the counters.

use core::ptr;

use aya_ebpf::{
    btf_maps::{PerCpuArray, RingBuf},
    macros::btf_map,
};
use kreset_common::{counter, record::Record};

/// 4 MiB: 6,000 full records, or 40,000 without a socket.
#[btf_map(name = "RECORDS")]
static RECORDS: RingBuf<Record, { 4 << 20 }> = RingBuf::new();

#[btf_map(name = "COUNTERS")]
static COUNTERS: PerCpuArray<u64, { counter::COUNT as usize }> = PerCpuArray::new();

/// Adds one to a per-CPU counter.
#[inline(always)]
pub(crate) fn count(counter: u32) {
    if let Some(value) = COUNTERS.get_ptr_mut(counter) {
        // SAFETY: this CPU's own slot of the array. An increment by a program that
        // interrupts this one between load and store is lost: Rust has no atomic
        // addition for BPF (`atomic_cas` of the target). A count above 0 still shows.
        unsafe {
            *value += 1;
        }
    }
}

/// Reserves room for a `T`, lets `fill` write all of it, and submits it; counts
/// a lost record if the ring buffer is full.
#[inline(always)]
pub(crate) fn emit<T: 'static>(fill: impl FnOnce(*mut T)) {
    let Some(mut entry) = RECORDS.reserve_untyped::<T>(0) else {
        count(counter::LOST);
        return;
    };
    fill(entry.as_mut_ptr());
    entry.submit(0);
}

/// Copies a `T` made of 8-byte words, word by word: `memcpy` copies byte by byte. The
/// original may be shared: no number of a record crosses two words, so each is
/// copied as it was at some moment.
///
/// # Safety
///
/// Both pointers are valid for a `T` and aligned to 8 bytes; `S` has its layout.
#[inline(always)]
pub(crate) unsafe fn copy<S, T>(from: *const S, to: *mut T) {
    const { assert!(size_of::<S>() == size_of::<T>()) }
    let (from, to) = (from.cast::<u64>(), to.cast::<u64>());
    let mut word = 0;
    while word < size_of::<T>() / 8 {
        // SAFETY: inside the `T`, by the caller's contract. What others may write meanwhile is
        // the kernel's memory, of which one instruction reads a word.
        unsafe {
            ptr::write_volatile(to.add(word), ptr::read_volatile(from.add(word)));
        }
        word += 1;
    }
}

/// Zeroes a `T` made of 8-byte words.
///
/// # Safety
///
/// `into` is valid for writes of a `T` and aligned to 8 bytes.
#[inline(always)]
pub(crate) unsafe fn clear<T>(into: *mut T) {
    let into = into.cast::<u64>();
    let mut word = 0;
    while word < size_of::<T>() / 8 {
        // SAFETY: inside the `T`, by the caller's contract.
        unsafe {
            ptr::write_volatile(into.add(word), 0);
        }
        word += 1;
    }
}
