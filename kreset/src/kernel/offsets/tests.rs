use kreset_common::offsets::ABSENT;
use zerocopy::{FromBytes as _, IntoBytes as _};

use super::{
    synthetic::{Edit, Ty, add_kernel},
    *,
};
use crate::kernel::btf::{Bits, synthetic::Builder};

/// World-readable on every kernel built with BTF. Where it is missing, kreset
/// cannot run either: these tests then fail rather than pass unseen.
fn running_kernel() -> Vec<u8> {
    std::fs::read("/sys/kernel/btf/vmlinux").expect("this kernel describes its types (BTF)")
}

fn kernel(edits: &[Edit]) -> Result<Resolved, OffsetError> {
    let mut builder = Builder::new();
    add_kernel(&mut builder, edits);
    resolve(&Btf::parse(&builder.finish()).unwrap())
}

fn words(offsets: &Offsets) -> &[u32] {
    <[u32]>::ref_from_bytes(offsets.as_bytes()).unwrap()
}

#[test]
fn each_field_has_one_line_in_the_table() {
    let mut places = BTreeSet::new();
    for line in TABLE.iter().flat_map(|(_, lines)| *lines) {
        let field = Field {
            offset: 1,
            size: 1,
            shape: Shape::Integer,
            bits: Some(Bits { shift: 1, width: 1 }),
        };
        let mut offsets = Offsets::UNRESOLVED;
        line.slot.set(&mut offsets, &field);
        for (place, word) in words(&offsets).iter().enumerate() {
            assert!(*word == ABSENT || places.insert(place), "{}", line.path);
        }
    }
    assert_eq!(places.len(), words(&Offsets::UNRESOLVED).len());
}

#[test]
fn a_kernel_with_everything_misses_nothing() {
    let resolved = kernel(&[]).unwrap();
    assert_eq!(resolved.missing, []);
    assert!(words(&resolved.offsets).iter().all(|word| *word != ABSENT));
    let offsets = resolved.offsets;
    // Laid out by hand: skc_family is the fifth member of 8 bytes.
    assert_eq!((offsets.sk_daddr, offsets.sk_family), (0, 32));
    assert_eq!((offsets.saw_tstamp_shift, offsets.tstamp_ok_shift), (3, 3));
    assert_eq!(offsets.tstamp_ok, offsets.saw_tstamp + 8);
}

#[test]
fn an_optional_field_takes_its_feature_alone() {
    for (member, feature) in [
        ("sock.sk_err", Feature::Timeouts),
        ("sock.sk_socket", Feature::Owner),
        ("sock_cgroup_data.cgroup", Feature::Cgroup),
        ("cgroup.kn", Feature::Cgroup),
        ("kernfs_node.id", Feature::Cgroup),
        ("inet_connection_sock.icsk_probes_out", Feature::Keepalive),
        (
            "inet_connection_sock.icsk_retransmits",
            Feature::Retransmits,
        ),
        ("tcp_sock.total_retrans", Feature::Retransmits),
        ("tcp_sock.tcp_mstamp", Feature::Idle),
        ("tcp_sock.first_tx_mstamp", Feature::Idle),
        ("tcp_sock.srtt_us", Feature::Rtt),
        ("minmax_sample.v", Feature::Rtt),
        ("tcp_sock.bytes_sent", Feature::Bytes),
        ("tcp_sock.bytes_retrans", Feature::Bytes),
        ("tcp_sock.data_segs_out", Feature::Bytes),
        ("tcp_options_received.saw_tstamp", Feature::ResetTimestamps),
        ("tcp_options_received.tstamp_ok", Feature::ResetTimestamps),
        ("tcp_options_received.rcv_tsecr", Feature::ResetTimestamps),
        ("tcp_options_received.num_sacks", Feature::Bytes),
        ("tcp_options_received.mss_clamp", Feature::Bytes),
        ("tcp_sock.copied_seq", Feature::Bytes),
        ("tcp_sock.rcv_wnd", Feature::AcceptedPackets),
        ("tcp_sock.write_seq", Feature::AcceptedPackets),
        ("tcp_sock.snd_wnd", Feature::Load),
        ("sock.sk_drops", Feature::Load),
        ("sk_buff.head", Feature::Socketless),
        ("sk_buff.dev", Feature::Socketless),
        ("net_device.nd_net", Feature::Socketless),
        ("task_struct.flags", Feature::ProcessExit),
        ("task_struct.exit_code", Feature::ProcessExit),
        ("task_struct.start_boottime", Feature::Owner),
        ("task_struct.signal", Feature::ProcessEnd),
        ("signal_struct.live", Feature::ProcessEnd),
        ("signal_struct.group_exit_code", Feature::ProcessEnd),
        ("socket.sk", Feature::Seeding),
    ] {
        let whole = kernel(&[]).unwrap().offsets;
        let resolved = kernel(&[Edit::Without(member)]).unwrap();
        let features: Vec<_> = resolved
            .missing
            .iter()
            .map(|missing| missing.feature)
            .collect();
        assert_eq!(features, [feature], "{member}");
        let absent = words(&resolved.offsets)
            .iter()
            .filter(|word| **word == ABSENT);
        let bits = usize::from(member.ends_with("saw_tstamp") || member.ends_with("tstamp_ok"));
        assert_eq!(absent.count(), 1 + bits, "{member}");
        assert_ne!(whole, resolved.offsets, "{member}");
    }
}

#[test]
fn without_a_needed_field_the_kernel_is_refused() {
    for member in [
        "sock_common.skc_daddr",
        "sock_common.skc_v6_rcv_saddr",
        "sock_common.skc_num",
        "sock_common.skc_state",
        "possible_net.net",
        "ns_common.inum",
        "sock.sk_shutdown",
        "inet_sock.inet_sport",
        "icsk_ack.lrcvtime",
        "tcp_sock.lsndtime",
        "tcp_sock.rcv_tstamp",
        "tcp_sock.packets_out",
        "tcp_sock.snd_una",
        "tcp_sock.snd_nxt",
    ] {
        let answer = kernel(&[Edit::Without(member)]);
        let (_, leaf) = member.split_once('.').unwrap();
        assert!(
            matches!(
                &answer,
                Err(OffsetError::Needed {
                    path,
                    why: Unusable::Btf(BtfError::NoSuchMember { .. }),
                    ..
                }) if path.ends_with(leaf)
            ),
            "{member}: {answer:?}"
        );
    }
}

#[test]
fn a_field_of_another_width_is_not_read() {
    for (member, other) in [
        ("tcp_sock.lsndtime", Ty::Int(8)),
        ("tcp_sock.lsndtime", Ty::Bytes(4)),
        ("tcp_sock.lsndtime", Ty::Ptr),
        ("sock.sk_shutdown", Ty::Bit),
        ("possible_net.net", Ty::Int(8)),
        ("sock_common.skc_v6_daddr", Ty::Bytes(8)),
        ("sock_common.skc_v6_daddr", Ty::Int(16)),
    ] {
        let answer = kernel(&[Edit::With(member, other)]);
        assert!(
            matches!(
                answer,
                Err(OffsetError::Needed {
                    why: Unusable::Width { .. },
                    ..
                })
            ),
            "{member}: {answer:?}"
        );
    }
    for (member, other) in [
        ("tcp_options_received.saw_tstamp", Ty::Int(1)),
        ("tcp_sock.bytes_sent", Ty::Int(4)),
        ("sock_cgroup_data.cgroup", Ty::Int(8)),
    ] {
        let resolved = kernel(&[Edit::With(member, other)]).unwrap();
        assert!(
            matches!(
                resolved.missing[..],
                [Missing {
                    why: Unusable::Width { .. },
                    ..
                }]
            ),
            "{member}: {:?}",
            resolved.missing
        );
    }
}

#[test]
fn sockets_must_begin_with_what_they_are_read_as() {
    for (outer, inner) in [
        ("tcp_sock", "inet_connection_sock"),
        ("inet_connection_sock", "inet_sock"),
        ("inet_sock", "sock"),
        ("sock", "sock_common"),
        ("inet_timewait_sock", "sock_common"),
        ("request_sock", "sock_common"),
    ] {
        let answer = kernel(&[Edit::Shifted(outer)]);
        assert_eq!(answer, Err(OffsetError::Embedding { outer, inner }));
    }
    let answer = kernel(&[Edit::With("inet_sock.sk", Ty::Struct("sock_common"))]);
    assert!(matches!(
        answer,
        Err(OffsetError::Embedding {
            outer: "inet_sock",
            ..
        })
    ));
}

#[test]
fn the_running_kernel_has_every_field() {
    let bytes = running_kernel();
    let resolved = resolve(&Btf::parse(&bytes).unwrap()).unwrap();
    assert_eq!(resolved.missing, []);
    assert!(
        words(&resolved.offsets).iter().all(|word| *word != ABSENT),
        "{resolved:?}"
    );
}

/// What holds on every kernel looked at (5.10.262, 6.1.192, 6.12.117, 6.18.15,
/// 6.18.44, 7.3.4), where hardly an offset is the same on two.
#[test]
fn the_running_kernel_is_laid_out_like_a_kernel() {
    let bytes = running_kernel();
    let o = resolve(&Btf::parse(&bytes).unwrap()).unwrap().offsets;
    // Pairs that the kernel compares as one word: INET_ADDR_COOKIE,
    // INET_COMBINED_PORTS of include/net/inet_hashtables.h.
    assert_eq!(o.sk_rcv_saddr, o.sk_daddr + 4);
    assert_eq!(o.sk_num, o.sk_dport + 2);
    assert_eq!(o.sk_v6_rcv_saddr, o.sk_v6_daddr + 16);
    // sock_common < rest of sock < inet_sock < inet_connection_sock < tcp_sock.
    let sock_common = [o.sk_family, o.sk_state, o.sk_net, o.sk_v6_rcv_saddr];
    let sock = [o.sk_err, o.sk_shutdown, o.sk_socket, o.sk_cgroup];
    let inet_sock = [o.inet_sport];
    let connection = [o.lrcvtime, o.probes_out, o.retransmits];
    let tcp = [o.lsndtime, o.rcv_tstamp, o.snd_una, o.snd_nxt, o.min_rtt_us];
    let nested: [&[u32]; 5] = [&sock_common, &sock, &inet_sock, &connection, &tcp];
    for (inner, outer) in nested.iter().zip(&nested[1..]) {
        assert!(inner.iter().max() < outer.iter().min(), "{o:?}");
    }
    // One byte of flags in struct tcp_options_received.
    assert_eq!(o.saw_tstamp, o.tstamp_ok);
    assert_ne!(o.saw_tstamp_shift, o.tstamp_ok_shift);
    // Natural alignment.
    assert_eq!(
        [o.tcp_mstamp, o.first_tx_mstamp, o.bytes_sent].map(|o| o % 8),
        [0; 3]
    );
    assert_eq!(
        [o.lrcvtime, o.lsndtime, o.rcv_tstamp].map(|o| o % 4),
        [0; 3]
    );
}
