//! What is kept of a connection, as programs on several CPUs use it at once: a packet comes
//! in while another one leaves, and a state changes meanwhile.
//!
//! Each number is read and written whole. An update is a read and a write: of two programs
//! that update one number at once, one may lose what it wrote (BPF has no atomic operations
//! but addition before 5.12, and Rust has none for BPF). Only `flags`, `last_data` and `turns`
//! of [`SharedPackets`] have writers in both directions; everything else has one, or one at a
//! time.

use core::{cell::UnsafeCell, mem::offset_of, ptr};

use kreset_common::record::{Connection, LATEST_HEAD, Packets, REQUEST_HEAD, RESPONSE_HEAD};
#[cfg(not(target_arch = "bpf"))]
use zerocopy::{FromBytes, IntoBytes};

/// A number that one instruction reads or writes.
pub trait Number: Copy {}

impl Number for u8 {}
impl Number for u16 {}
impl Number for u32 {}
impl Number for u64 {}

/// A number that programs on several CPUs read and write at once: an atomic with relaxed
/// ordering, of which Rust has only the widest for BPF (`min_atomic_width` of the target).
///
/// Elsewhere it is a cell, which only one thread can use.
#[repr(transparent)]
#[cfg_attr(not(target_arch = "bpf"), derive(FromBytes, IntoBytes))]
pub struct Shared<T: Number>(UnsafeCell<T>);

// SAFETY: it is read and written only by the methods below.
#[cfg(target_arch = "bpf")]
unsafe impl<T: Number> Sync for Shared<T> {}

impl<T: Number> Shared<T> {
    /// A number to begin with.
    #[inline(always)]
    pub const fn new(value: T) -> Self {
        Self(UnsafeCell::new(value))
    }

    /// Reads it.
    #[inline(always)]
    pub fn get(&self) -> T {
        // SAFETY: valid and aligned, as a reference is. What programs share is a value of a
        // map: memory of the kernel's, outside of all that Rust allocates, where a volatile
        // access is one instruction of the machine. An aligned number is read whole.
        unsafe { ptr::read_volatile(self.0.get()) }
    }

    /// Writes it.
    #[inline(always)]
    pub fn set(&self, value: T) {
        // SAFETY: as in `get`; no reference to the number itself ever exists.
        unsafe { ptr::write_volatile(self.0.get(), value) }
    }
}

#[cfg(target_arch = "bpf")]
impl Shared<u64> {
    /// Adds a number, which none of several CPUs that do so at once loses; a negative one in
    /// two's complement. Kernel: `BPF_XADD`, 5.10 to 7.3.
    #[inline(always)]
    pub fn add_at_once(&self, value: u64) {
        // SAFETY: valid and aligned, as a reference is; the instruction touches nothing else.
        unsafe {
            core::arch::asm!(
                "lock *(u64 *)({at} + 0) += {value}",
                at = in(reg) self.0.get(),
                value = in(reg) value,
                options(nostack),
            );
        }
    }
}

impl Shared<u32> {
    /// Whether all of `bits` are set.
    #[inline(always)]
    pub fn has(&self, bits: u32) -> bool {
        self.get() & bits == bits
    }

    /// Sets `bits`.
    #[inline(always)]
    pub fn add(&self, bits: u32) {
        self.set(self.get() | bits);
    }

    /// Clears `bits`.
    #[inline(always)]
    pub fn clear(&self, bits: u32) {
        self.set(self.get() & !bits);
    }
}

/// Reads an array, number by number.
#[inline(always)]
pub fn array<T: Number + Default, const N: usize>(from: &[Shared<T>; N]) -> [T; N] {
    let mut values = [T::default(); N];
    let mut at = 0;
    while at < N {
        values[at] = from[at].get();
        at += 1;
    }
    values
}

/// Writes an array, number by number.
#[inline(always)]
pub fn set_array<T: Number, const N: usize>(to: &[Shared<T>; N], values: [T; N]) {
    let mut at = 0;
    while at < N {
        to[at].set(values[at]);
        at += 1;
    }
}

/// Declares a type with the layout of a record's part.
macro_rules! shares {
    ($(#[$doc:meta])* $name:ident: $plain:ident { $($field:ident: $number:ty,)+ }) => {
        $(#[$doc])*
        #[repr(C)]
        #[cfg_attr(not(target_arch = "bpf"), derive(FromBytes, IntoBytes))]
        pub struct $name {$(
            #[doc = concat!("[`", stringify!($plain), "::", stringify!($field), "`].")]
            pub $field: $number,
        )+}

        // The loader reads it as the other.
        const _: () = {
            assert!(size_of::<$name>() == size_of::<$plain>());
            $(assert!(offset_of!($name, $field) == offset_of!($plain, $field));)+
        };
    };
}

shares! {
    /// A [`Connection`].
    SharedConnection: Connection {
        first_seen_ns: Shared<u64>,
        established_ns: Shared<u64>,
        fin_ns: Shared<u64>,
        owner_start_ns: Shared<u64>,
        tgid: Shared<u32>,
        flags: Shared<u32>,
        fin_silence: Shared<u32>,
        exit_signal: Shared<u32>,
        comm: [Shared<u64>; 2],
        netns: Shared<u32>,
        role: Shared<u8>,
        padding: [Shared<u8>; 3],
    }
}

shares! {
    /// A [`Packets`].
    SharedPackets: Packets {
        flags: Shared<u32>,
        last_in: Shared<u32>,
        last_out: Shared<u32>,
        last_data: Shared<u32>,
        silence: Shared<u32>,
        data_silence: Shared<u32>,
        data_in_seq: Shared<u32>,
        silence_in: Shared<u32>,
        data_silence_in: Shared<u32>,
        silence_max: Shared<u32>,
        reset_seq: Shared<u32>,
        data_in: Shared<u32>,
        data_out: Shared<u32>,
        latest_in_len: Shared<u32>,
        latest_out_len: Shared<u32>,
        reset_ip_id: Shared<u16>,
        reset_window: Shared<u16>,
        peer_ip_id: Shared<u16>,
        api_key: Shared<u16>,
        turns: Shared<u16>,
        alert_in: Shared<u16>,
        alert_out: Shared<u16>,
        handshake_ttl: Shared<u8>,
        peer_ttl: Shared<u8>,
        reset_ttl: Shared<u8>,
        reset_flags: Shared<u8>,
        reset_header: Shared<u8>,
        request_len: Shared<u8>,
        response_len: Shared<u8>,
        length_end: [Shared<u8>; 4],
        padding: [Shared<u8>; 3],
        request_head: [Shared<u8>; REQUEST_HEAD],
        response_head: [Shared<u8>; RESPONSE_HEAD],
        latest_in: Latest,
        latest_out: Latest,
    }
}

#[cfg(not(target_arch = "bpf"))]
impl SharedPackets {
    /// Packets that nobody else uses, as the kernel side takes them.
    pub fn of(packets: &mut Packets) -> &Self {
        let shared: &mut Self = zerocopy::transmute_mut!(packets);
        shared
    }
}

/// First bytes of the latest early segment in one direction. In little-endian order, as all
/// machines that kreset runs on.
#[repr(transparent)]
#[cfg_attr(not(target_arch = "bpf"), derive(FromBytes, IntoBytes))]
pub struct Latest([Shared<u32>; LATEST_HEAD / 4]);

impl Latest {
    /// Reads them.
    #[inline(always)]
    pub fn get(&self) -> [u8; LATEST_HEAD] {
        let [low, high] = &self.0;
        (u64::from(low.get()) | (u64::from(high.get()) << 32)).to_le_bytes()
    }

    /// Writes them.
    #[inline(always)]
    pub fn set(&self, head: [u8; LATEST_HEAD]) {
        let [low, high] = &self.0;
        let head = u64::from_le_bytes(head);
        low.set(head as u32);
        high.set((head >> 32) as u32);
    }
}
