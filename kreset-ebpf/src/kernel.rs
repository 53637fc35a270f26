//! Every raw read of kernel memory.
//!
//! Kernel objects are opaque `Copy` pointers; an accessor returns 0 if the
//! running kernel's BTF has no such field ([`has!`] distinguishes the two). An
//! `Option` is not possible: LLVM leaves the payload of a `None` undefined, and
//! the verifier rejects even a copy of an undefined register. Reads are plain
//! loads at a constant offset from a pointer whose BTF type the verifier knows, so
//! they need no `bpf_probe_read_kernel` (which lockdown in confidentiality mode
//! forbids); a fault reads as 0 (`ex_handler_bpf`, since 5.5). Memory that no typed
//! pointer leads to is read through the helper: packet headers, behind
//! `sk_buff.head`, and on 5.10 tasks and the sockets of files. Packet programs
//! read `__sk_buff` and `bpf_sock`, whose layout is stable.

use core::{ffi::c_void, mem::MaybeUninit, ptr};

use aya_ebpf::{
    bindings::{__sk_buff, bpf_sock},
    helpers::generated::{
        bpf_get_current_task, bpf_get_current_task_btf, bpf_probe_read_kernel, bpf_sk_fullsock,
        bpf_skb_load_bytes, bpf_skc_to_tcp_sock, bpf_sock_from_file,
    },
    programs::SkBuffContext,
};
use kreset_common::{offsets::ABSENT, record::KernelEvent, sequence::is_after};
use kreset_ebpf::{segment::Packet, shared::Shared, window::Window};

use crate::settings::constant;

/// `TCP_ESTABLISHED` and the other states; kernel: `include/net/tcp_states.h`.
pub(crate) mod state {
    pub(crate) const ESTABLISHED: u8 = 1;
    pub(crate) const SYN_SENT: u8 = 2;
    pub(crate) const SYN_RECV: u8 = 3;
    pub(crate) const FIN_WAIT1: u8 = 4;
    pub(crate) const FIN_WAIT2: u8 = 5;
    pub(crate) const TIME_WAIT: u8 = 6;
    pub(crate) const CLOSE: u8 = 7;
    pub(crate) const CLOSE_WAIT: u8 = 8;
    pub(crate) const LAST_ACK: u8 = 9;
    pub(crate) const LISTEN: u8 = 10;
    pub(crate) const CLOSING: u8 = 11;
    pub(crate) const NEW_SYN_RECV: u8 = 12;
}

/// `AF_INET`.
pub(crate) const AF_INET: u16 = 2;
/// `AF_INET6`.
pub(crate) const AF_INET6: u16 = 10;
/// `task_struct.flags` of a task in `do_exit`; kernel: `include/linux/sched.h`.
const PF_EXITING: u32 = 0x4;

/// The running kernel has the field.
macro_rules! has {
    ($field:ident) => {
        $crate::settings::constant!(OFFSETS.$field) != ::kreset_common::offsets::ABSENT
    };
}

pub(crate) use has;

/// Loads a `T` at `base + offset`, or returns `unknown`.
///
/// `base` must be a pointer whose BTF type the verifier tracks, and `offset` a
/// constant of `.rodata`.
#[inline(always)]
fn load<T: Copy>(base: *const c_void, offset: u32, unknown: T) -> T {
    if offset == ABSENT {
        return unknown;
    }
    // SAFETY: the verifier checks that the offset is a member of the BTF type
    // of `base`; a fault reads as zero.
    unsafe { ptr::read_volatile(base.byte_add(offset as usize).cast::<T>()) }
}

/// Loads 16 bytes, as two words: one wide load would become a `memcpy`.
#[inline(always)]
fn load_pair(base: *const c_void, offset: u32) -> [u64; 2] {
    if offset == ABSENT {
        return [0, 0];
    }
    [load(base, offset, 0), load(base, offset + 8, 0)]
}

/// Loads a pointer member; NULL if unknown.
#[inline(always)]
fn follow(base: *const c_void, offset: u32) -> *const c_void {
    load(base, offset, ptr::null())
}

macro_rules! accessors {
    ($($(#[$doc:meta])* $name:ident: $ty:ty = $offset:ident;)+) => {
        $($(#[$doc])*
        #[inline(always)]
        pub(crate) fn $name(self) -> $ty {
            load(self.0, constant!(OFFSETS.$offset), 0)
        })+
    };
}

/// A `struct sock`: a full one, or a `TIME_WAIT` or request mini-socket, of which
/// only the members of `sock_common` may be read.
#[derive(Clone, Copy)]
pub(crate) struct Sock(pub(crate) *const c_void);

impl Sock {
    accessors! {
        family: u16 = sk_family;
        state: u8 = sk_state;
        /// Local port, host order; 0 once `inet_put_port` released it.
        num: u16 = sk_num;
        /// Remote port, network order.
        dport: u16 = sk_dport;
        daddr: u32 = sk_daddr;
        rcv_saddr: u32 = sk_rcv_saddr;
    }

    #[inline(always)]
    pub(crate) fn v6_daddr(self) -> [u64; 2] {
        load_pair(self.0, constant!(OFFSETS.sk_v6_daddr))
    }

    #[inline(always)]
    pub(crate) fn v6_rcv_saddr(self) -> [u64; 2] {
        load_pair(self.0, constant!(OFFSETS.sk_v6_rcv_saddr))
    }

    /// Inode number of the network namespace.
    #[inline(always)]
    pub(crate) fn netns(self) -> u32 {
        let net = follow(self.0, constant!(OFFSETS.sk_net));
        if net.is_null() {
            return 0;
        }
        load(net, constant!(OFFSETS.net_inum), 0)
    }

    /// The socket as a `tcp_sock`: `None` for mini-sockets and other protocols.
    #[inline(always)]
    pub(crate) fn tcp(self) -> Option<TcpSock> {
        // SAFETY: the helper takes any socket and checks it (`sk_fullsock`,
        // protocol); kernel: bpf_skc_to_tcp_sock, since 5.9.
        let tcp = unsafe { bpf_skc_to_tcp_sock(self.0.cast_mut()) };
        if tcp.is_null() {
            None
        } else {
            Some(TcpSock(tcp.cast_const().cast()))
        }
    }
}

/// A full `struct tcp_sock`, including the `sock`, `inet_sock` and
/// `inet_connection_sock` at its start.
#[derive(Clone, Copy)]
pub(crate) struct TcpSock(*const c_void);

impl TcpSock {
    accessors! {
        /// Local port, network order; outlives [`Sock::num`].
        sport: u16 = inet_sport;
        error: u32 = sk_err;
        shutdown: u8 = sk_shutdown;
        ack_backlog: u32 = sk_ack_backlog;
        max_ack_backlog: u32 = sk_max_ack_backlog;
        drops: u32 = sk_drops;
        lrcvtime: u32 = lrcvtime;
        lsndtime: u32 = lsndtime;
        rcv_tstamp: u32 = rcv_tstamp;
        probes_out: u8 = probes_out;
        retransmits: u8 = retransmits;
        tcp_mstamp: u64 = tcp_mstamp;
        first_tx_mstamp: u64 = first_tx_mstamp;
        srtt_us: u32 = srtt_us;
        min_rtt_us: u32 = min_rtt_us;
        packets_out: u32 = packets_out;
        total_retrans: u32 = total_retrans;
        snd_una: u32 = snd_una;
        snd_nxt: u32 = snd_nxt;
        rcv_nxt: u32 = rcv_nxt;
        rcv_wup: u32 = rcv_wup;
        rcv_wnd: u32 = rcv_wnd;
        snd_wnd: u32 = snd_wnd;
        write_seq: u32 = write_seq;
        max_window: u32 = max_window;
        sack_end_0: u32 = sack_end_0;
        sack_end_1: u32 = sack_end_1;
        sack_end_2: u32 = sack_end_2;
        sack_end_3: u32 = sack_end_3;
        ts_recent: u32 = ts_recent;
        ts_recent_stamp: u32 = ts_recent_stamp;
        rcv_tsval: u32 = rcv_tsval;
        rcv_tsecr: u32 = rcv_tsecr;
        bytes_sent: u64 = bytes_sent;
        bytes_retrans: u64 = bytes_retrans;
        bytes_acked: u64 = bytes_acked;
        bytes_received: u64 = bytes_received;
        segs_in: u32 = segs_in;
        segs_out: u32 = segs_out;
        data_segs_in: u32 = data_segs_in;
        data_segs_out: u32 = data_segs_out;
        num_sacks: u8 = num_sacks;
        mss_clamp: u16 = mss_clamp;
        copied_seq: u32 = copied_seq;
    }

    /// The last segment received carried TCP timestamps: 1 or 0.
    #[inline(always)]
    pub(crate) fn saw_tstamp(self) -> u8 {
        let byte: u8 = load(self.0, constant!(OFFSETS.saw_tstamp), 0);
        (byte >> (constant!(OFFSETS.saw_tstamp_shift) & 7)) & 1
    }

    /// TCP timestamps were negotiated: 1 or 0.
    #[inline(always)]
    pub(crate) fn tstamp_ok(self) -> u8 {
        let byte: u8 = load(self.0, constant!(OFFSETS.tstamp_ok), 0);
        (byte >> (constant!(OFFSETS.tstamp_ok_shift) & 7)) & 1
    }

    /// The kernel has all fields of [`Self::window`].
    #[inline(always)]
    pub(crate) fn has_window() -> bool {
        has!(rcv_wup) && has!(rcv_wnd) && has!(write_seq) && has!(max_window)
    }

    /// What it expects of its peer.
    #[inline(always)]
    pub(crate) fn window(self) -> Window {
        Window {
            rcv_nxt: self.rcv_nxt(),
            rcv_wup: self.rcv_wup(),
            rcv_wnd: self.rcv_wnd(),
            snd_una: self.snd_una(),
            write_seq: self.write_seq(),
            max_window: self.max_window(),
        }
    }

    /// Highest end of what was received out of order; `rcv_nxt` if nothing was.
    #[inline(always)]
    pub(crate) fn sack_end(self) -> u32 {
        let count = self.num_sacks();
        if count == 0 || !has!(sack_end_3) {
            return self.rcv_nxt();
        }
        let mut highest = self.sack_end_0();
        if count > 1 && is_after(self.sack_end_1(), highest) {
            highest = self.sack_end_1();
        }
        if count > 2 && is_after(self.sack_end_2(), highest) {
            highest = self.sack_end_2();
        }
        if count > 3 && is_after(self.sack_end_3(), highest) {
            highest = self.sack_end_3();
        }
        highest
    }

    /// The socket belongs to no file: not yet accepted, or orphaned.
    #[inline(always)]
    pub(crate) fn without_file(self) -> bool {
        has!(sk_socket) && follow(self.0, constant!(OFFSETS.sk_socket)).is_null()
    }

    /// Cgroup v2 id; set when the socket is created, inherited by children.
    #[inline(always)]
    pub(crate) fn cgroup(self) -> u64 {
        let cgroup = follow(self.0, constant!(OFFSETS.sk_cgroup));
        if cgroup.is_null() {
            return 0;
        }
        let node = follow(cgroup, constant!(OFFSETS.cgroup_kn));
        if node.is_null() {
            return 0;
        }
        load(node, constant!(OFFSETS.kernfs_id), 0)
    }
}

/// A listener of which only the address is known. It may be gone: what is read of it counts
/// only if it [is there](Self::is_at) afterwards.
#[derive(Clone, Copy)]
pub(crate) struct Listener(*const c_void);

impl Listener {
    /// By what `connection::Key::address` gave.
    #[inline(always)]
    pub(crate) const fn of_address(address: u64) -> Self {
        Self(address.swap_bytes() as *const c_void)
    }

    /// It listens on this port of this network namespace.
    #[inline(always)]
    pub(crate) fn is_at(self, netns: u32, port: u16) -> bool {
        let net: *const c_void = probe(self.0, constant!(OFFSETS.sk_net), ptr::null());
        probe(self.0, constant!(OFFSETS.sk_state), state::CLOSE) == state::LISTEN
            && probe(self.0, constant!(OFFSETS.sk_num), 0) == port
            && probe(net, constant!(OFFSETS.net_inum), 0) == netns
    }

    #[inline(always)]
    pub(crate) fn ack_backlog(self) -> u32 {
        probe(self.0, constant!(OFFSETS.sk_ack_backlog), 0)
    }

    #[inline(always)]
    pub(crate) fn max_ack_backlog(self) -> u32 {
        probe(self.0, constant!(OFFSETS.sk_max_ack_backlog), 0)
    }

    #[inline(always)]
    pub(crate) fn drops(self) -> u32 {
        probe(self.0, constant!(OFFSETS.sk_drops), 0)
    }
}

/// A type that headers of a packet are copied into.
///
/// # Safety
///
/// Any bytes are a valid value, and the type has no padding.
pub(crate) unsafe trait Header: Copy {}

// SAFETY: bytes.
unsafe impl<const N: usize> Header for [u8; N] {}

/// A `struct sk_buff`.
#[derive(Clone, Copy)]
pub(crate) struct Skb(pub(crate) *const c_void);

impl Skb {
    /// Inode number of the network namespace of the packet's device.
    #[inline(always)]
    pub(crate) fn netns(self) -> u32 {
        let device = follow(self.0, constant!(OFFSETS.skb_dev));
        if device.is_null() {
            return 0;
        }
        let net = follow(device, constant!(OFFSETS.dev_net));
        if net.is_null() {
            return 0;
        }
        load(net, constant!(OFFSETS.net_inum), 0)
    }

    /// Copies the network header.
    #[inline(always)]
    pub(crate) fn network_header<T: Header>(self, into: &mut MaybeUninit<T>) -> Option<&T> {
        let offset: u16 = load(self.0, constant!(OFFSETS.skb_network_header), 0);
        self.read_packet(offset, into)
    }

    /// Copies the transport header.
    #[inline(always)]
    pub(crate) fn transport_header<T: Header>(self, into: &mut MaybeUninit<T>) -> Option<&T> {
        let offset: u16 = load(self.0, constant!(OFFSETS.skb_transport_header), 0);
        self.read_packet(offset, into)
    }

    /// Bytes between the two headers: the network header's length.
    #[inline(always)]
    pub(crate) fn network_header_len(self) -> u16 {
        let network: u16 = load(self.0, constant!(OFFSETS.skb_network_header), 0);
        let transport: u16 = load(self.0, constant!(OFFSETS.skb_transport_header), 0);
        transport.wrapping_sub(network)
    }

    #[inline(always)]
    fn read_packet<T: Header>(self, offset: u16, into: &mut MaybeUninit<T>) -> Option<&T> {
        if constant!(SETTINGS.probe_read) == 0
            || !has!(skb_head)
            || !has!(skb_network_header)
            || !has!(skb_transport_header)
        {
            return None;
        }
        let head: *const u8 = load(self.0, constant!(OFFSETS.skb_head), ptr::null());
        // SAFETY: the helper checks the source address; the destination has
        // room for a `T`, and where the helper succeeded all of its bytes.
        unsafe {
            let outcome = bpf_probe_read_kernel(
                into.as_mut_ptr().cast(),
                size_of::<T>() as u32,
                head.wrapping_add(offset as usize).cast(),
            );
            (outcome == 0).then(|| into.assume_init_ref())
        }
    }
}

/// A `struct task_struct`.
#[derive(Clone, Copy)]
pub(crate) struct Task {
    pointer: *const c_void,
    /// The verifier knows the type of the pointer.
    typed: bool,
}

impl Task {
    /// A task pointer whose type the verifier knows.
    #[inline(always)]
    pub(crate) const fn typed(pointer: *const c_void) -> Self {
        Self {
            pointer,
            typed: true,
        }
    }

    /// The running task.
    #[inline(always)]
    pub(crate) fn current() -> Self {
        if constant!(SETTINGS.task_btf) == 0 {
            // SAFETY: no arguments; kernel: bpf_get_current_task, since 4.8.
            let pointer = unsafe { bpf_get_current_task() };
            return Self {
                pointer: pointer as *const c_void,
                typed: false,
            };
        }
        // SAFETY: no arguments; kernel: bpf_get_current_task_btf, since 5.11.
        Self::typed(unsafe { bpf_get_current_task_btf() }.cast_const().cast())
    }

    #[inline(always)]
    fn load<T: Copy>(self, offset: u32, unknown: T) -> T {
        if self.typed {
            load(self.pointer, offset, unknown)
        } else {
            probe(self.pointer, offset, unknown)
        }
    }

    #[inline(always)]
    pub(crate) fn tgid(self) -> u32 {
        self.load(constant!(OFFSETS.task_tgid), 0)
    }

    #[inline(always)]
    pub(crate) fn exit_code(self) -> u32 {
        self.load(constant!(OFFSETS.task_exit_code), 0)
    }

    #[inline(always)]
    fn flags(self) -> u32 {
        self.load(constant!(OFFSETS.task_flags), 0)
    }

    /// Command name, NUL-padded.
    #[inline(always)]
    pub(crate) fn comm(self) -> [u64; 2] {
        let offset = constant!(OFFSETS.task_comm);
        if offset == ABSENT {
            return [0, 0];
        }
        [self.load(offset, 0), self.load(offset + 8, 0)]
    }

    /// The task is in `do_exit`: its sockets are closed by process teardown.
    #[inline(always)]
    pub(crate) fn exiting(self) -> bool {
        self.flags() & PF_EXITING != 0
    }

    /// The first thread of the process.
    #[inline(always)]
    pub(crate) fn leader(self) -> Self {
        let pointer: *const c_void = self.load(constant!(OFFSETS.task_group_leader), ptr::null());
        if pointer.is_null() {
            self
        } else {
            Self {
                pointer,
                typed: self.typed,
            }
        }
    }

    /// When the task started, nanoseconds since boot.
    #[inline(always)]
    pub(crate) fn start_boottime(self) -> u64 {
        self.load(constant!(OFFSETS.task_start_boottime), 0)
    }

    /// Of a task whose type the verifier knows: what the threads of its process share.
    #[inline(always)]
    pub(crate) fn shared(self) -> Option<Threads> {
        let threads = follow(self.pointer, constant!(OFFSETS.task_signal));
        (!threads.is_null()).then_some(Threads(threads))
    }
}

/// A `struct signal_struct`: what the threads of a process share.
#[derive(Clone, Copy)]
pub(crate) struct Threads(*const c_void);

impl Threads {
    accessors! {
        /// Threads that have not begun to exit (kernel: `do_exit`).
        live: u32 = signal_live;
        group_exit_code: u32 = signal_group_exit_code;
    }
}

/// Reads a `T` at `base + offset`, an address of no type that the verifier knows;
/// returns `unknown` if that is forbidden (lockdown) or fails.
#[inline(always)]
pub(crate) fn probe<T: Copy>(base: *const c_void, offset: u32, unknown: T) -> T {
    if constant!(SETTINGS.probe_read) == 0 || offset == ABSENT {
        return unknown;
    }
    let mut value = unknown;
    // SAFETY: the helper checks the source address; the destination is a whole
    // `T` of plain bytes.
    let outcome = unsafe {
        bpf_probe_read_kernel(
            (&raw mut value).cast(),
            size_of::<T>() as u32,
            base.wrapping_byte_add(offset as usize),
        )
    };
    if outcome == 0 { value } else { unknown }
}

/// The `struct socket` of an open file, by its inode's type, as an untyped
/// pointer; NULL for other files.
#[inline(always)]
pub(crate) fn socket_of_file(file: *const c_void) -> *const c_void {
    /// `S_IFMT` and `S_IFSOCK`.
    const FORMAT: u16 = 0xf000;
    const SOCKET: u16 = 0xc000;
    let inode = follow(file, constant!(OFFSETS.file_inode));
    if inode.is_null() {
        return ptr::null();
    }
    let mode: u16 = load(inode, constant!(OFFSETS.inode_mode), 0);
    if mode & FORMAT != SOCKET {
        return ptr::null();
    }
    follow(file, constant!(OFFSETS.file_private_data))
}

/// The `sock` of an open file, if it is a socket.
#[inline(always)]
pub(crate) fn sock_of_file(file: *const c_void) -> Option<Sock> {
    // SAFETY: `file` comes from the iterator's context; kernel:
    // bpf_sock_from_file, since 5.11.
    let socket = unsafe { bpf_sock_from_file(file.cast_mut().cast()) };
    if socket.is_null() {
        return None;
    }
    let sock = follow(socket.cast_const().cast(), constant!(OFFSETS.socket_sk));
    if sock.is_null() {
        None
    } else {
        Some(Sock(sock))
    }
}

/// `struct bpf_iter__task_file`; kernel: `kernel/bpf/task_iter.c`, since 5.8.
#[repr(C)]
pub(crate) struct TaskFile {
    meta: *const c_void,
    task: *const c_void,
    descriptor: u64,
    file: *const c_void,
}

impl TaskFile {
    /// The task and its file; `None` at the end of the iteration.
    ///
    /// # Safety
    ///
    /// `ctx` is the kernel's context.
    #[inline(always)]
    pub(crate) unsafe fn task_and_file(ctx: *const Self) -> Option<(Task, *const c_void)> {
        // SAFETY: by the caller's contract; volatile keeps the loads at their own
        // offsets, as the verifier requires.
        let (task, file) = unsafe {
            (
                ptr::read_volatile(&raw const (*ctx).task),
                ptr::read_volatile(&raw const (*ctx).file),
            )
        };
        (!task.is_null() && !file.is_null()).then_some((Task::typed(task), file))
    }
}

/// The context of a packet program: the packet from its network header on.
#[derive(Clone, Copy)]
pub(crate) struct SkbPacket(*mut __sk_buff);

impl SkbPacket {
    #[inline(always)]
    pub(crate) const fn new(ctx: &SkBuffContext) -> Self {
        Self(ctx.skb.skb)
    }

    /// The packet's socket, full or mini.
    #[inline(always)]
    pub(crate) fn socket(&self) -> Option<SkbSocket> {
        // SAFETY: the kernel passes a valid context.
        let socket = unsafe { (*self.0).__bindgen_anon_2.sk };
        (!socket.is_null()).then_some(SkbSocket(socket))
    }

    /// # Safety
    ///
    /// `into` is valid for writes of `len` bytes.
    #[inline(always)]
    unsafe fn read(&self, offset: u32, into: *mut u8, len: u32) -> bool {
        // SAFETY: by the caller's contract; the helper checks the packet's bounds.
        unsafe { bpf_skb_load_bytes(self.0.cast(), offset, into.cast(), len) == 0 }
    }
}

impl Packet for SkbPacket {
    #[inline(always)]
    fn in_place<const N: usize>(&self) -> Option<&[u8; N]> {
        // SAFETY: the kernel's context is valid; each field is a separate load.
        let (data, end) = unsafe {
            (
                ptr::read_volatile(&raw const (*self.0).data) as usize,
                ptr::read_volatile(&raw const (*self.0).data_end) as usize,
            )
        };
        // SAFETY: N bytes from the network header on are before the end of the linear
        // part (kernel: bpf_compute_data_pointers, for cgroup_skb since 4.20), and
        // stay while the program runs. Bytes need no alignment.
        (data + N <= end).then(|| unsafe { &*(data as *const [u8; N]) })
    }

    #[inline(always)]
    fn load<'a, const N: usize>(
        &self,
        offset: u32,
        into: &'a mut MaybeUninit<[u8; N]>,
    ) -> Option<&'a [u8; N]> {
        // SAFETY: the destination has room for N bytes, and all of them are written
        // if the helper succeeds.
        unsafe {
            self.read(offset, into.as_mut_ptr().cast(), N as u32)
                .then(|| into.assume_init_ref())
        }
    }

    #[inline(always)]
    fn load_over<const N: usize>(
        &self,
        offset: u32,
        len: u32,
        into: &[Shared<u8>; N],
    ) -> Option<u8> {
        // SAFETY: a local variable, reloaded so that the compiler knows no more about it
        // than the verifier. On 6.18 the verifier learns from a comparison with 0; on
        // 6.1 it does not, and does not see that a bounded value plus 1 is not 0.
        let rest = unsafe { ptr::read_volatile(&raw const len) }.wrapping_sub(1);
        let len = rest.min(N as u32 - 1) + 1;
        // SAFETY: the destination has room for N bytes, of which `len` are written. All of
        // them may be written through this pointer: they are cells.
        unsafe { self.read(offset, into.as_ptr().cast_mut().cast(), len) }.then_some(len as u8)
    }
}

/// A `struct bpf_sock`: the stable view of a socket in packet programs. The
/// kernel rewrites each access to it, so each field is a separate load.
#[derive(Clone, Copy)]
pub(crate) struct SkbSocket(*mut bpf_sock);

impl SkbSocket {
    /// The full socket; `None` for a mini-socket.
    #[inline(always)]
    pub(crate) fn full(self) -> Option<Self> {
        // SAFETY: checked for NULL when it was taken from the context.
        let socket = unsafe { bpf_sk_fullsock(self.0) };
        (!socket.is_null()).then_some(Self(socket))
    }

    /// The socket as the kernel knows it; `None` for a mini-socket.
    #[inline(always)]
    pub(crate) fn tcp(self) -> Option<TcpSock> {
        // SAFETY: the helper takes any socket and checks it; kernel: bpf_skc_to_tcp_sock,
        // in packet programs since 5.9.
        let tcp = unsafe { bpf_skc_to_tcp_sock(self.0.cast()) };
        if tcp.is_null() {
            None
        } else {
            Some(TcpSock(tcp.cast_const().cast()))
        }
    }

    /// The socket as a pointer, for maps.
    #[inline(always)]
    pub(crate) const fn as_ptr(self) -> *mut c_void {
        self.0.cast()
    }

    /// Local and remote port, host order.
    #[inline(always)]
    pub(crate) fn ports(self) -> (u16, u16) {
        // SAFETY: checked for NULL; each field is a separate load.
        unsafe {
            (
                ptr::read_volatile(&raw const (*self.0).src_port) as u16,
                u16::from_be(ptr::read_volatile(&raw const (*self.0).dst_port)),
            )
        }
    }

    /// `TCP_ESTABLISHED` or another state.
    #[inline(always)]
    pub(crate) fn state(self) -> u8 {
        // SAFETY: checked for NULL.
        (unsafe { ptr::read_volatile(&raw const (*self.0).state) }) as u8
    }

    /// Sets the addresses and ports of an event from a full socket.
    ///
    /// # Safety
    ///
    /// `event` is valid for writes.
    #[inline(always)]
    #[expect(
        clippy::cast_ptr_alignment,
        reason = "kreset-common asserts that addresses are aligned to words"
    )]
    pub(crate) unsafe fn set_addresses(self, event: *mut KernelEvent) {
        let socket = self.0;
        // SAFETY: by the caller's contract; each field is a separate load.
        unsafe {
            let family = ptr::read_volatile(&raw const (*socket).family);
            (*event).family = family as u16;
            (*event).local_port = ptr::read_volatile(&raw const (*socket).src_port) as u16;
            (*event).remote_port = u16::from_be(ptr::read_volatile(&raw const (*socket).dst_port));
            let local = (&raw mut (*event).local_address).cast::<u32>();
            let remote = (&raw mut (*event).remote_address).cast::<u32>();
            if family == u32::from(AF_INET6) {
                local.write(ptr::read_volatile(&raw const (*socket).src_ip6[0]));
                local
                    .add(1)
                    .write(ptr::read_volatile(&raw const (*socket).src_ip6[1]));
                local
                    .add(2)
                    .write(ptr::read_volatile(&raw const (*socket).src_ip6[2]));
                local
                    .add(3)
                    .write(ptr::read_volatile(&raw const (*socket).src_ip6[3]));
                remote.write(ptr::read_volatile(&raw const (*socket).dst_ip6[0]));
                remote
                    .add(1)
                    .write(ptr::read_volatile(&raw const (*socket).dst_ip6[1]));
                remote
                    .add(2)
                    .write(ptr::read_volatile(&raw const (*socket).dst_ip6[2]));
                remote
                    .add(3)
                    .write(ptr::read_volatile(&raw const (*socket).dst_ip6[3]));
            } else {
                local.write(ptr::read_volatile(&raw const (*socket).src_ip4));
                remote.write(ptr::read_volatile(&raw const (*socket).dst_ip4));
            }
        }
    }
}
