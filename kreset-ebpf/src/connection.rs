//! One entry for each traced connection, in its socket's storage.
//!
//! An entry is created when a connection to a traced port begins, or at start by
//! the seeding iterator. Children of a traced listener inherit a copy of its
//! entry (`BPF_F_CLONE`), including the process that listens. The kernel frees
//! the entry with the socket.

use core::{ffi::c_void, ptr};

use aya_ebpf::helpers::generated::bpf_sk_storage_get;
use aya_ebpf::{
    bindings::{
        BPF_ANY, BPF_F_CLONE, BPF_F_NO_PREALLOC, BPF_SK_STORAGE_GET_F_CREATE,
        bpf_map_type::BPF_MAP_TYPE_SK_STORAGE,
    },
    btf_maps::LruHashMap,
    helpers::{bpf_get_current_comm, bpf_get_current_pid_tgid, bpf_ktime_get_ns},
    macros::btf_map,
};
use kreset_common::{
    counter,
    record::{Connection, Packets, connection_flag as flag, packets_flag, role},
};

use crate::{
    filter,
    kernel::{Sock, Task, TcpSock, state},
    ring,
    settings::constant,
    snapshot::{local_port, remote_port},
};

/// One traced connection, or a listener whose children inherit it.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct Entry {
    pub(crate) connection: Connection,
    pub(crate) packets: Packets,
    /// The state that the last handled change led to; see
    /// `hooks::inet_sock_set_state`.
    pub(crate) handled_state: u32,
    /// The accepted RST was handled; see `hooks::tcp_receive_reset`.
    pub(crate) handled_reset: u32,
}

/// `BPF_MAP_TYPE_SK_STORAGE` whose entries children inherit. aya's own type
/// cannot set `BPF_F_CLONE`; the layout is that of its BTF maps.
#[repr(C)]
struct InheritedStorage<T> {
    r#type: *const [i32; BPF_MAP_TYPE_SK_STORAGE as usize],
    key: *const i32,
    value: *const T,
    max_entries: *const [i32; 0],
    map_flags: *const [i32; (BPF_F_NO_PREALLOC | BPF_F_CLONE) as usize],
}

// SAFETY: the pointers encode the definition in BTF and are never
// dereferenced.
unsafe impl<T> Sync for InheritedStorage<T> {}

#[btf_map(name = "CONNECTIONS")]
static CONNECTIONS: InheritedStorage<Entry> = InheritedStorage {
    r#type: ptr::null(),
    key: ptr::null(),
    value: ptr::null(),
    max_entries: ptr::null(),
    map_flags: ptr::null(),
};

/// Connections by socket address, for kernels whose tracing programs cannot use
/// socket storage (before 5.11). Children do not inherit.
#[btf_map(name = "CONNECTIONS_BY_ADDRESS")]
static CONNECTIONS_BY_ADDRESS: LruHashMap<u64, Entry, 1> = LruHashMap::new();

/// A socket as a map key: a `sock` of a tracing program, or the `bpf_sock` of a
/// packet program.
#[derive(Clone, Copy)]
pub(crate) struct Key(*mut c_void);

impl From<Sock> for Key {
    #[inline(always)]
    fn from(sock: Sock) -> Self {
        Self(sock.0.cast_mut())
    }
}

impl Key {
    /// The full socket of a packet program.
    #[inline(always)]
    pub(crate) const fn of_packet(socket: *mut c_void) -> Self {
        Self(socket)
    }

    /// A socket known only by its address: for the map by address.
    #[inline(always)]
    pub(crate) const fn of_address(address: *const c_void) -> Self {
        Self(address.cast_mut())
    }

    /// Identity of the socket while it exists: its address, bytes swapped. Old
    /// verifiers refuse pointers to `bpf_sock` in a key, but treat the result of
    /// an arithmetic operation as a number (5.10: `check_stack_boundary`,
    /// `check_alu_op`).
    #[inline(always)]
    pub(crate) fn address(self) -> u64 {
        (self.0 as u64).swap_bytes()
    }
}

/// The entry of a socket.
#[inline(always)]
pub(crate) fn get(key: Key) -> Option<&'static mut Entry> {
    let entry = if constant!(SETTINGS.hash_storage) == 0 {
        storage(key, 0)
    } else {
        CONNECTIONS_BY_ADDRESS
            .get_ptr_mut(key.address())
            .unwrap_or(ptr::null_mut())
    };
    // SAFETY: NULL, or an entry that the kernel keeps until the program ends
    // (RCU). Two programs may write one entry at once; each field is a word.
    unsafe { entry.as_mut() }
}

/// The entry of a socket, created (all zero) if there is none.
#[inline(always)]
pub(crate) fn get_or_create(key: Key) -> Option<&'static mut Entry> {
    let entry = if constant!(SETTINGS.hash_storage) == 0 {
        storage(key, BPF_SK_STORAGE_GET_F_CREATE.into())
    } else {
        get_or_create_raw(key.address())
    };
    // SAFETY: as in `get`.
    let entry = unsafe { entry.as_mut() };
    if entry.is_none() {
        ring::count(counter::UNTRACKED);
    }
    entry
}

/// The entry of a socket known only by its address.
#[inline(always)]
pub(crate) fn get_by_address(key: Key) -> Option<&'static mut Entry> {
    let entry = CONNECTIONS_BY_ADDRESS
        .get_ptr_mut(key.address())
        .unwrap_or(ptr::null_mut());
    // SAFETY: as in `get`.
    unsafe { entry.as_mut() }
}

/// The same, created if there is none.
#[inline(always)]
pub(crate) fn get_or_create_by_address(key: Key) -> Option<&'static mut Entry> {
    // SAFETY: as in `get`.
    unsafe { get_or_create_raw(key.address()).as_mut() }
}

/// Removes the entry of a socket that closes. Returns the entry if it is still
/// there: socket storage is freed with its socket.
#[inline(always)]
pub(crate) fn remove(key: Key, entry: &'static mut Entry) -> Option<&'static mut Entry> {
    if constant!(SETTINGS.hash_storage) == 0 {
        return Some(entry);
    }
    if CONNECTIONS_BY_ADDRESS.remove(key.address()).is_ok() {
        ring::count(counter::TABLE_FREED);
    }
    None
}

/// The entry of a traced socket; created here if seeding did not find the socket,
/// or if the kernel skipped the programs when the connection began.
#[inline(always)]
pub(crate) fn get_or_begin_late(sock: Sock, tcp: TcpSock) -> Option<&'static mut Entry> {
    let key = Key::from(sock);
    if let Some(entry) = get(key) {
        if !entry.is_listener() {
            return Some(entry);
        }
        if sock.state() == state::LISTEN {
            return None;
        }
        // A child whose start was not observed still has the inherited entry.
    }
    let role = filter::role(local_port(sock, Some(tcp)), remote_port(sock));
    if role == role::UNKNOWN || !filter::netns(sock.netns()) {
        return None;
    }
    let entry = get_or_create(key)?;
    entry.begin_late(sock.netns(), role);
    Some(entry)
}

#[inline(always)]
fn storage(key: Key, flags: u64) -> *mut Entry {
    // SAFETY: the helper checks the socket; kernel: bpf_sk_storage_get, in
    // tracing programs since 5.11.
    unsafe {
        bpf_sk_storage_get(
            (&raw const CONNECTIONS).cast_mut().cast(),
            key.0,
            ptr::null_mut(),
            flags,
        )
    }
    .cast()
}

#[inline(always)]
fn get_or_create_raw(address: u64) -> *mut Entry {
    if let Some(entry) = CONNECTIONS_BY_ADDRESS.get_ptr_mut(address) {
        return entry;
    }
    // The entry is too large for the stack, so its template is a map value.
    let Some(template) = TEMPLATE.get(0) else {
        return ptr::null_mut();
    };
    if CONNECTIONS_BY_ADDRESS
        .insert(address, template, BPF_ANY.into())
        .is_err()
    {
        return ptr::null_mut();
    }
    ring::count(counter::TABLE_MADE);
    CONNECTIONS_BY_ADDRESS
        .get_ptr_mut(address)
        .unwrap_or(ptr::null_mut())
}

/// One all-zero entry.
#[btf_map(name = "TEMPLATE")]
static TEMPLATE: aya_ebpf::btf_maps::Array<Entry, 1> = aya_ebpf::btf_maps::Array::new();

impl Entry {
    /// Begins a connection that this host is opening or accepting.
    #[inline(always)]
    pub(crate) fn begin(&mut self, sock: Sock, role: u8, flags: u32) {
        self.connection.first_seen_ns = now_ns();
        self.connection.established_ns = 0;
        self.connection.fin_ns = 0;
        self.connection.fin_silence = 0;
        self.connection.exit_signal = 0;
        self.connection.flags = flags;
        self.handled_reset = 0;
        self.connection.role = role;
        self.connection.netns = sock.netns();
        if constant!(SETTINGS.hash_storage) != 0 {
            // Another connection may have had this address before.
            self.packets = Packets::NONE;
        }
        if constant!(SETTINGS.packets) != 0 {
            self.packets.flags = packets_flag::FROM_START;
        }
    }

    /// Begins a connection whose start was not observed: it is older than the
    /// tracer, or the kernel skipped the programs.
    #[inline(always)]
    pub(crate) fn begin_late(&mut self, netns: u32, role: u8) {
        self.connection.first_seen_ns = now_ns();
        self.connection.flags = flag::SEEDED;
        self.connection.role = role;
        self.connection.netns = netns;
    }

    /// Begins a connection at a packet, after the kernel skipped the programs at
    /// its first state change. The namespace is left unchanged.
    #[inline(always)]
    pub(crate) fn begin_at_packet(&mut self, role: u8, from_start: bool) {
        self.handled_state = 0;
        self.connection.first_seen_ns = now_ns();
        self.connection.role = role;
        self.connection.flags = if from_start {
            self.packets.flags = packets_flag::FROM_START;
            if role == role::CLIENT {
                flag::ACTIVE
            } else {
                0
            }
        } else {
            flag::SEEDED
        };
    }

    /// Sets the flags of the FINs that `state` implies (RFC 9293, 3.3.2), in case
    /// they were not observed.
    #[inline(always)]
    pub(crate) const fn infer_fins(&mut self, state: u8) {
        self.set(match state {
            state::FIN_WAIT1 | state::FIN_WAIT2 => flag::FIN_SENT,
            state::CLOSING => flag::FIN_SENT | flag::FIN_RECEIVED,
            state::CLOSE_WAIT => flag::FIN_RECEIVED | flag::PEER_CLOSED_FIRST,
            state::LAST_ACK => flag::FIN_RECEIVED | flag::PEER_CLOSED_FIRST | flag::FIN_SENT,
            _ => 0,
        });
    }

    /// Records the running process as the owner: correct in the context of
    /// `connect()` and `listen()`.
    #[inline(always)]
    pub(crate) fn set_owner_to_current(&mut self) {
        self.connection.tgid = (bpf_get_current_pid_tgid() >> 32) as u32;
        if let Ok(comm) = bpf_get_current_comm() {
            self.connection.comm = comm;
        }
        self.connection.owner_start_ns = Task::current().leader().start_boottime();
    }

    /// The running process is known not to be the owner, such as a child that
    /// inherited the descriptor of an accepted connection.
    #[inline(always)]
    pub(crate) fn is_of_other_process(&self) -> bool {
        let owner = self.connection.tgid;
        owner != 0 && owner != (bpf_get_current_pid_tgid() >> 32) as u32
    }

    /// Records `task` as the owner.
    #[inline(always)]
    #[expect(
        clippy::cast_ptr_alignment,
        reason = "kreset-common asserts that the name is aligned to words"
    )]
    pub(crate) fn set_owner(&mut self, task: Task) {
        let owner = task.leader();
        self.connection.tgid = task.tgid();
        self.connection.owner_start_ns = owner.start_boottime();
        let [low, high] = owner.comm();
        let comm = (&raw mut self.connection.comm).cast::<u64>();
        // SAFETY: 16 bytes inside the entry, aligned to 8.
        unsafe {
            comm.write(low);
            comm.add(1).write(high);
        }
    }

    /// Whether all of these [`flag`] bits are set.
    #[inline(always)]
    pub(crate) const fn has(&self, bits: u32) -> bool {
        self.connection.flags & bits == bits
    }

    /// Sets these [`flag`] bits.
    #[inline(always)]
    pub(crate) const fn set(&mut self, bits: u32) {
        self.connection.flags |= bits;
    }

    /// This host called `connect()`. Where that was not observed, exactly one port is
    /// traced, and it is the one that listens.
    #[inline(always)]
    pub(crate) const fn is_active(&self) -> bool {
        self.has(flag::ACTIVE) || (self.has(flag::SEEDED) && self.connection.role == role::CLIENT)
    }

    /// The entry describes a listener, not a connection.
    #[inline(always)]
    pub(crate) const fn is_listener(&self) -> bool {
        self.has(flag::LISTENER)
    }
}

/// `CLOCK_MONOTONIC`, nanoseconds.
#[inline(always)]
pub(crate) fn now_ns() -> u64 {
    // SAFETY: no arguments.
    unsafe { bpf_ktime_get_ns() }
}
