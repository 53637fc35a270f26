//! One entry for each traced connection, in its socket's storage.
//!
//! An entry is created when a connection to a traced port begins, or at start by
//! the seeding iterator. Children of a traced listener inherit a copy of its
//! entry (`BPF_F_CLONE`), including the process that listens. The kernel frees
//! the entry with the socket.

use core::{ffi::c_void, ptr};

use aya_ebpf::helpers::generated::{bpf_sk_storage_delete, bpf_sk_storage_get};
use aya_ebpf::{
    bindings::{
        BPF_ANY, BPF_F_CLONE, BPF_F_NO_PREALLOC, BPF_SK_STORAGE_GET_F_CREATE,
        bpf_map_type::BPF_MAP_TYPE_SK_STORAGE,
    },
    btf_maps::{Array, LruHashMap},
    helpers::{bpf_get_current_comm, bpf_get_current_pid_tgid, bpf_ktime_get_ns},
    macros::btf_map,
};
use kreset_common::{
    counter,
    record::{connection_flag as flag, packets_flag, role},
};
use kreset_ebpf::shared::{Shared, SharedConnection, SharedPackets, set_array};

use crate::{
    filter,
    kernel::{Sock, Task, TcpSock, state},
    ring,
    settings::constant,
    snapshot::{local_port, remote_port},
};

/// One traced connection, or a listener whose children inherit it.
///
/// Programs on several CPUs have one entry at once: a packet comes in, another one leaves,
/// and the state changes. All of it is [`Shared`].
#[repr(C)]
pub(crate) struct Entry {
    pub(crate) connection: SharedConnection,
    pub(crate) packets: SharedPackets,
    /// The state that the last handled change led to; see
    /// `hooks::inet_sock_set_state`.
    pub(crate) handled_state: Shared<u32>,
    /// The accepted RST was handled; see `hooks::tcp_receive_reset`.
    pub(crate) handled_reset: Shared<u32>,
    /// [`Key::address`] of the socket for which the entry is in [`TRACKED`]; 0 if it is not. An
    /// inherited entry has that of the listener.
    pub(crate) counted_for: Shared<u64>,
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

/// Sockets that have an entry in their storage, as long as that is counted: each costs
/// memory, which is charged to the tracer. The table is bounded by its size.
///
/// A freed socket for which the kernel skipped the program stays counted. That takes a socket
/// that is freed while its CPU frees another one, and the kernel frees them with bottom halves
/// off (`__tcp_close`, `inet_csk_listen_stop`, 5.10 to 7.3).
#[btf_map(name = "TRACKED")]
static TRACKED: Array<Shared<u64>, 1> = Array::new();

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
pub(crate) fn get(key: Key) -> Option<&'static Entry> {
    shared(if constant!(SETTINGS.hash_storage) == 0 {
        storage(key, 0)
    } else {
        by_address(key.address())
    })
}

/// An entry for a socket that has none, all zero, if there is room for one.
#[inline(always)]
pub(crate) fn create(key: Key) -> Option<&'static Entry> {
    if constant!(SETTINGS.hash_storage) != 0 {
        return shared(get_or_create_raw(key.address()));
    }
    if !has_room() {
        return None;
    }
    let entry = shared(storage(key, BPF_SK_STORAGE_GET_F_CREATE.into()))?;
    count_in(key, entry);
    Some(entry)
}

/// The same at a change of state that begins a connection or a listener: one that gets no entry
/// is counted.
#[inline(always)]
pub(crate) fn create_first(key: Key) -> Option<&'static Entry> {
    let entry = create(key);
    if entry.is_none() {
        ring::count(counter::UNTRACKED);
    }
    entry
}

/// The entry that an accepted connection has inherited from its listener. Where there is no
/// room for it, it is freed again, and the connection is counted as not tracked.
#[inline(always)]
pub(crate) fn keep_inherited(key: Key, entry: &'static Entry) -> Option<&'static Entry> {
    if constant!(SETTINGS.hash_storage) != 0 || has_room() {
        count_in(key, entry);
        return Some(entry);
    }
    // SAFETY: the helper checks the socket; kernel: bpf_sk_storage_delete, in tracing
    // programs since 5.11.
    unsafe {
        bpf_sk_storage_delete((&raw const CONNECTIONS).cast_mut().cast(), key.0);
    }
    ring::count(counter::UNTRACKED);
    None
}

/// Fewer sockets have an entry than may. Others may ask at the same time: each CPU can exceed the
/// limit by one.
#[inline(always)]
fn has_room() -> bool {
    let limit = u64::from(constant!(SETTINGS.max_connections));
    TRACKED.get(0).is_some_and(|tracked| tracked.get() < limit)
}

/// Counts the entry of a socket, unless it is.
#[inline(always)]
fn count_in(key: Key, entry: &Entry) {
    if constant!(SETTINGS.hash_storage) != 0 {
        return;
    }
    let counts = entry.counted_for.get() != key.address();
    entry.counted_for.set(key.address());
    if let Some(tracked) = TRACKED.get(0) {
        tracked.add_at_once(counts.into());
    }
}

/// The socket is freed, and its storage with it.
#[inline(always)]
pub(crate) fn count_out(key: Key, entry: &Entry) {
    if constant!(SETTINGS.hash_storage) != 0 {
        return;
    }
    let counts = entry.counted_for.get() == key.address();
    entry.counted_for.set(0);
    if let Some(tracked) = TRACKED.get(0) {
        tracked.add_at_once(u64::from(counts).wrapping_neg());
    }
}

/// The entry of a socket known only by its address.
#[inline(always)]
pub(crate) fn get_by_address(key: Key) -> Option<&'static Entry> {
    shared(by_address(key.address()))
}

/// The same, created if there is none.
#[inline(always)]
pub(crate) fn get_or_create_by_address(key: Key) -> Option<&'static Entry> {
    shared(get_or_create_raw(key.address()))
}

/// The entry at an address that one of the maps returned.
#[inline(always)]
const fn shared(entry: *const Entry) -> Option<&'static Entry> {
    // SAFETY: NULL, or an entry inside a map: zeroed or written as an entry before, aligned to
    // 8 bytes, and kept until the program ends (RCU), which no reference outlives. Others write
    // it meanwhile, and a table may give it to another connection; an `Entry` consists of
    // `Shared`, which allows all of that.
    unsafe { entry.as_ref() }
}

/// Removes the entry of a socket that closes. Returns the entry if it is still
/// there: socket storage is freed with its socket.
#[inline(always)]
pub(crate) fn remove(key: Key, entry: &'static Entry) -> Option<&'static Entry> {
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
pub(crate) fn get_or_begin_late(sock: Sock, tcp: TcpSock) -> Option<&'static Entry> {
    let key = Key::from(sock);
    let inherited = get(key);
    if let Some(entry) = inherited {
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
    let entry = match inherited {
        Some(entry) => entry,
        None => create(key)?,
    };
    entry.begin_late(sock.netns(), role);
    Some(entry)
}

#[inline(always)]
fn storage(key: Key, flags: u64) -> *const Entry {
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
    .cast_const()
    .cast()
}

#[inline(always)]
fn by_address(address: u64) -> *const Entry {
    CONNECTIONS_BY_ADDRESS
        .get_ptr(address)
        .unwrap_or(ptr::null())
}

#[inline(always)]
fn get_or_create_raw(address: u64) -> *const Entry {
    if let Some(entry) = CONNECTIONS_BY_ADDRESS.get_ptr(address) {
        return entry;
    }
    // The entry is too large for the stack, so its template is a map value.
    let Some(template) = TEMPLATE.get(0) else {
        return ptr::null();
    };
    if CONNECTIONS_BY_ADDRESS
        .insert(address, template, BPF_ANY.into())
        .is_err()
    {
        return ptr::null();
    }
    ring::count(counter::TABLE_MADE);
    by_address(address)
}

/// One all-zero entry.
#[btf_map(name = "TEMPLATE")]
static TEMPLATE: Array<Entry, 1> = Array::new();

impl Entry {
    /// Begins a connection that this host is opening or accepting.
    #[inline(always)]
    pub(crate) fn begin(&self, sock: Sock, role: u8, flags: u32) {
        self.connection.first_seen_ns.set(now_ns());
        self.connection.established_ns.set(0);
        self.connection.fin_ns.set(0);
        self.connection.fin_silence.set(0);
        self.connection.exit_signal.set(0);
        self.connection.flags.set(flags);
        self.handled_reset.set(0);
        self.connection.role.set(role);
        self.connection.netns.set(sock.netns());
        if constant!(SETTINGS.hash_storage) != 0 || self.packets.last_out.get() != 0 {
            // Another connection may have had this address before, or this socket was connected
            // before (connect(2), `AF_UNSPEC`).
            // SAFETY: inside an entry, aligned to 8 bytes, and cells.
            unsafe { ring::clear((&raw const self.packets).cast_mut()) }
        }
        if constant!(SETTINGS.packets) != 0 {
            self.packets.flags.set(packets_flag::FROM_START);
        }
    }

    /// Begins a connection whose start was not observed: it is older than the
    /// tracer, or the kernel skipped the programs.
    #[inline(always)]
    pub(crate) fn begin_late(&self, netns: u32, role: u8) {
        self.connection.first_seen_ns.set(now_ns());
        self.connection.flags.set(flag::SEEDED);
        self.connection.role.set(role);
        self.connection.netns.set(netns);
    }

    /// Begins a connection at a packet, after the kernel skipped the programs at
    /// its first state change. The namespace is left unchanged.
    #[inline(always)]
    pub(crate) fn begin_at_packet(&self, role: u8, from_start: bool) {
        self.handled_state.set(0);
        self.connection.first_seen_ns.set(now_ns());
        self.connection.role.set(role);
        self.connection.flags.set(if from_start {
            self.packets.flags.set(packets_flag::FROM_START);
            if role == role::CLIENT {
                flag::ACTIVE
            } else {
                0
            }
        } else {
            flag::SEEDED
        });
    }

    /// Sets the flags of the FINs that `state` implies (RFC 9293, 3.3.2), in case
    /// they were not observed.
    #[inline(always)]
    pub(crate) fn infer_fins(&self, state: u8) {
        self.set(match state {
            state::FIN_WAIT1 | state::FIN_WAIT2 => flag::FIN_SENT,
            state::CLOSING => flag::FIN_SENT | flag::FIN_RECEIVED,
            state::CLOSE_WAIT => flag::FIN_RECEIVED | flag::PEER_CLOSED_FIRST,
            state::LAST_ACK => flag::FIN_RECEIVED | flag::PEER_CLOSED_FIRST | flag::FIN_SENT,
            _ => return,
        });
    }

    /// Records the running process as the owner: correct in the context of
    /// `connect()` and `listen()`.
    #[inline(always)]
    pub(crate) fn set_owner_to_current(&self) {
        self.connection
            .tgid
            .set((bpf_get_current_pid_tgid() >> 32) as u32);
        if let Ok(comm) = bpf_get_current_comm() {
            // Two words, in the order of a little-endian machine.
            let comm = u128::from_le_bytes(comm);
            set_array(&self.connection.comm, [comm as u64, (comm >> 64) as u64]);
        }
        self.connection
            .owner_start_ns
            .set(Task::current().leader().start_boottime());
    }

    /// The running process is known not to be the owner, such as a child that
    /// inherited the descriptor of an accepted connection.
    #[inline(always)]
    pub(crate) fn is_of_other_process(&self) -> bool {
        let owner = self.connection.tgid.get();
        owner != 0 && owner != (bpf_get_current_pid_tgid() >> 32) as u32
    }

    /// Records `task` as the owner.
    #[inline(always)]
    pub(crate) fn set_owner(&self, task: Task) {
        let owner = task.leader();
        self.connection.tgid.set(task.tgid());
        self.connection.owner_start_ns.set(owner.start_boottime());
        set_array(&self.connection.comm, owner.comm());
    }

    /// Whether all of these [`flag`] bits are set.
    #[inline(always)]
    pub(crate) fn has(&self, bits: u32) -> bool {
        self.connection.flags.has(bits)
    }

    /// Sets these [`flag`] bits.
    #[inline(always)]
    pub(crate) fn set(&self, bits: u32) {
        self.connection.flags.add(bits);
    }

    /// This host called `connect()`. Where that was not observed, exactly one port is
    /// traced, and it is the one that listens.
    #[inline(always)]
    pub(crate) fn is_active(&self) -> bool {
        self.has(flag::ACTIVE)
            || (self.has(flag::SEEDED) && self.connection.role.get() == role::CLIENT)
    }

    /// The entry describes a listener, not a connection.
    #[inline(always)]
    pub(crate) fn is_listener(&self) -> bool {
        self.has(flag::LISTENER)
    }
}

/// `CLOCK_MONOTONIC`, nanoseconds.
#[inline(always)]
pub(crate) fn now_ns() -> u64 {
    // SAFETY: no arguments.
    unsafe { bpf_ktime_get_ns() }
}
