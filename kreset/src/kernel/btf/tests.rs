use super::{synthetic::Builder, *};

/// Offset, size and shape of an ordinary member.
fn at(offset: u32, size: u32, shape: Shape) -> Field {
    Field {
        offset,
        size,
        shape,
        bits: None,
    }
}

fn no_member<T>(path: &str) -> Result<T, BtfError> {
    Err(BtfError::NoSuchMember {
        path: path.to_owned(),
    })
}

#[test]
fn members_are_found_through_anonymous_structs_and_unions() {
    let mut b = Builder::new();
    let (u16, u32) = (b.int(2), b.int(4));
    let pair = b.structure("", 8, &[("daddr", u32, 0, 0), ("saddr", u32, 32, 0)]);
    let addresses = b.union("", 8, &[("both", u32, 0, 0), ("", pair, 0, 0)]);
    b.structure(
        "common",
        12,
        &[("family", u16, 0, 0), ("", addresses, 32, 0)],
    );
    let blob = b.finish();

    let btf = Btf::parse(&blob).unwrap();
    let common = btf.structure("common").unwrap();
    assert_eq!(common.field("family"), Ok(at(0, 2, Shape::Integer)));
    assert_eq!(common.field("daddr"), Ok(at(4, 4, Shape::Integer)));
    assert_eq!(common.field("saddr"), Ok(at(8, 4, Shape::Integer)));
    assert_eq!(common.field("sadd"), no_member("sadd"));
    assert_eq!(common.field("saddrs"), no_member("saddrs"));
}

#[test]
fn paths_go_through_nested_structs_typedefs_and_qualifiers() {
    let mut b = Builder::new();
    let byte = b.int(1);
    let state = b.volatile(byte);
    let net = b.structure("net", 1, &[]);
    let net_pointer = b.pointer(net);
    let possible_net = b.structure("", 8, &[("net", net_pointer, 0, 0)]);
    let possible_net_t = b.typedef("possible_net_t", possible_net);
    let constant = b.constant(possible_net_t);
    let common = b.structure(
        "common",
        24,
        &[("state", state, 0, 0), ("net", constant, 64, 0)],
    );
    b.structure("sock", 32, &[("common", common, 64, 0)]);
    let blob = b.finish();

    let btf = Btf::parse(&blob).unwrap();
    let sock = btf.structure("sock").unwrap();
    assert_eq!(sock.field("common.state"), Ok(at(8, 1, Shape::Integer)));
    assert_eq!(sock.field("common.net.net"), Ok(at(16, 8, Shape::Pointer)));
    assert_eq!(sock.field("common.net"), Ok(at(16, 8, Shape::Aggregate)));
    assert_eq!(sock.field("common.state.x"), no_member("common.state.x"));
    // A pointer is no way into what it points to.
    assert_eq!(
        sock.field("common.net.net.x"),
        no_member("common.net.net.x")
    );
    assert_eq!(sock.is_struct("common", "common"), Ok(true));
    assert_eq!(sock.is_struct("common", "commo"), Ok(false));
    assert_eq!(sock.is_struct("common.state", "int"), Ok(false));
}

#[test]
fn array_elements_have_offsets_up_to_the_last() {
    let mut b = Builder::new();
    let u32 = b.int(4);
    let sample = b.structure("sample", 8, &[("t", u32, 0, 0), ("v", u32, 32, 0)]);
    let samples = b.array(sample, 3);
    let rows = b.array(samples, 2);
    b.structure(
        "minmax",
        76,
        &[("n", u32, 0, 0), ("s", samples, 32, 0), ("r", rows, 224, 0)],
    );
    let blob = b.finish();

    let btf = Btf::parse(&blob).unwrap();
    let minmax = btf.structure("minmax").unwrap();
    assert_eq!(minmax.field("s[0].v"), Ok(at(8, 4, Shape::Integer)));
    assert_eq!(minmax.field("s[2].v"), Ok(at(24, 4, Shape::Integer)));
    assert_eq!(minmax.field("s"), Ok(at(4, 24, Shape::Aggregate)));
    assert_eq!(minmax.field("r[1]"), Ok(at(52, 24, Shape::Aggregate)));
    assert_eq!(minmax.field("s[3].v"), no_member("s[3].v"));
    assert_eq!(minmax.field("n[0]"), no_member("n[0]"));
    for path in [
        "", ".", "n.", "s[", "s[]", "s[0", "s[x]", "s[-1]", "s[0][0]",
    ] {
        let answer = minmax.field(path);
        assert!(
            matches!(
                answer,
                Err(BtfError::BadPath { .. } | BtfError::NoSuchMember { .. })
            ),
            "{path}: {answer:?}"
        );
    }
}

#[test]
fn bit_fields_are_a_byte_and_a_shift() {
    let bit = |offset, shift, width| {
        Ok(Field {
            offset,
            size: 2,
            shape: Shape::Integer,
            bits: Some(Bits { shift, width }),
        })
    };
    let members = |b: &mut Builder| {
        let u16 = b.int(2);
        b.structure(
            "options",
            4,
            &[
                ("whole", u16, 0, 0),
                ("saw", u16, 16, 1),
                ("ok", u16, 17, 1),
                ("scale", u16, 18, 4),
                ("wide", u16, 22, 4),
            ],
        );
    };

    let mut b = Builder::new();
    members(&mut b);
    let blob = b.finish();
    let btf = Btf::parse(&blob).unwrap();
    let options = btf.structure("options").unwrap();
    assert_eq!(options.field("whole"), Ok(at(0, 2, Shape::Integer)));
    assert_eq!(options.field("saw"), bit(2, 0, 1));
    assert_eq!(options.field("ok"), bit(2, 1, 1));
    assert_eq!(options.field("scale"), bit(2, 2, 4));
    let spans_bytes = Err(BtfError::Misplaced {
        path: "wide".to_owned(),
    });
    assert_eq!(options.field("wide"), spans_bytes);
}

#[test]
fn bit_fields_encoded_in_their_integer_type_are_bit_fields_too() {
    let mut b = Builder::new();
    let narrow = b.int_with_bits(4, 3, 1);
    b.structure("old", 8, &[("flag", narrow, 32, 0)]);
    let blob = b.finish();
    let btf = Btf::parse(&blob).unwrap();
    let flag = btf.structure("old").unwrap().field("flag").unwrap();
    assert_eq!(
        (flag.offset, flag.bits),
        (4, Some(Bits { shift: 3, width: 1 }))
    );
}

#[test]
fn a_member_outside_its_structure_or_off_its_bytes_is_refused() {
    let mut b = Builder::new();
    let u32 = b.int(4);
    b.structure(
        "s",
        8,
        &[
            ("out", u32, 40, 0),
            ("off", u32, 4, 0),
            ("last", u32, 32, 0),
        ],
    );
    let blob = b.finish();
    let btf = Btf::parse(&blob).unwrap();
    let s = btf.structure("s").unwrap();
    for path in ["out", "off"] {
        assert_eq!(
            s.field(path),
            Err(BtfError::Misplaced {
                path: path.to_owned()
            })
        );
    }
    assert_eq!(s.field("last"), Ok(at(4, 4, Shape::Integer)));
}

#[test]
fn namesakes_must_agree() {
    let mut b = Builder::new();
    let u32 = b.int(4);
    b.structure(
        "twin",
        8,
        &[
            ("same", u32, 0, 0),
            ("moved", u32, 32, 0),
            ("one", u32, 32, 0),
        ],
    );
    b.structure("twin", 12, &[("same", u32, 0, 0), ("moved", u32, 64, 0)]);
    b.enumeration("reason", false, &[("A", 1)]);
    b.enumeration("reason", false, &[("A", 2)]);
    let blob = b.finish();

    let btf = Btf::parse(&blob).unwrap();
    let twin = btf.structure("twin").unwrap();
    assert_eq!(twin.field("same"), Ok(at(0, 4, Shape::Integer)));
    assert_eq!(twin.field("none"), no_member("none"));
    for path in ["moved", "one"] {
        assert_eq!(
            twin.field(path),
            Err(BtfError::Ambiguous {
                name: "twin".to_owned()
            }),
            "{path}"
        );
    }
    assert!(matches!(
        btf.enumerators("reason"),
        Err(BtfError::Ambiguous { .. })
    ));
}

#[test]
fn enumerations_have_their_values_at_every_width_and_sign() {
    let mut b = Builder::new();
    b.enumeration("plain", false, &[("ZERO", 0), ("ALL", -1)]);
    b.enumeration("signed", true, &[("MINUS", -1)]);
    b.enumeration64("wide", &[("BIG", 1 << 40), ("SMALL", 7)]);
    let blob = b.finish();
    let btf = Btf::parse(&blob).unwrap();
    assert_eq!(
        btf.enumerators("plain"),
        Ok(vec![("ZERO", 0), ("ALL", 0xffff_ffff)])
    );
    assert_eq!(btf.enumerators("signed"), Ok(vec![("MINUS", -1)]));
    assert_eq!(
        btf.enumerators("wide"),
        Ok(vec![("BIG", 1 << 40), ("SMALL", 7)])
    );
    assert!(matches!(
        btf.enumerators("none"),
        Err(BtfError::NoSuchType { kind: "enum", .. })
    ));
}

#[test]
fn a_name_that_is_no_identifier_is_not_handed_out() {
    let mut b = Builder::new();
    b.enumeration("reason", false, &[("A\u{1b}[31m", 1)]);
    let blob = b.finish();
    let answer = Btf::parse(&blob).unwrap().enumerators("reason");
    assert!(
        matches!(answer, Err(BtfError::BadName { .. })),
        "{answer:?}"
    );
}

#[test]
fn functions_and_tracepoints_have_their_arity() {
    let mut b = Builder::new();
    let prototype = b.prototype(&[0, 0]);
    b.function("tcp_reset", prototype);
    b.tracepoint("tcp_send_reset", 3);
    b.typedef("btf_trace_odd", 0);
    let blob = b.finish();

    let btf = Btf::parse(&blob).unwrap();
    assert_eq!(btf.function_arity("tcp_reset"), Ok(2));
    assert_eq!(btf.has_function("tcp_reset"), Ok(true));
    assert_eq!(btf.has_function("tcp_rese"), Ok(false));
    assert_eq!(btf.tracepoint_arity("tcp_send_reset"), Ok(3));
    for tracepoint in ["odd", "none"] {
        let answer = btf.tracepoint_arity(tracepoint);
        assert!(
            matches!(answer, Err(BtfError::NoSuchType { .. })),
            "{answer:?}"
        );
    }
}

#[test]
fn kinds_of_the_future_are_skipped_where_the_blob_describes_them() {
    let blob = |described: bool| {
        let mut b = Builder::new();
        if described {
            b.describe_kinds(25, 8);
        }
        b.any(25, 2, &[0; 4]);
        let u32 = b.int(4);
        b.structure("after", 4, &[("x", u32, 0, 0)]);
        b.finish()
    };
    let described = blob(true);
    let btf = Btf::parse(&described).unwrap();
    assert_eq!(btf.len(), 3);
    let after = btf.structure("after").unwrap();
    assert_eq!(after.field("x"), Ok(at(0, 4, Shape::Integer)));
    assert_eq!(
        Btf::parse(&blob(false)).err(),
        Some(BtfError::UnknownKind { id: 1, kind: 25 })
    );
}

/// What the next tests keep of a kernel.
fn wanted() -> Wanted<'static> {
    Wanted {
        structures: [("root", ["a[0]", "bit", "deep.list[1].x", "none"].into())].into(),
        enumerations: ["numbers", "wide"].into(),
        functions: ["work", "absent"].into(),
        tracepoints: ["event"].into(),
    }
}

#[test]
fn an_extract_answers_what_was_wanted_of_it() {
    let mut b = Builder::new();
    let u32 = b.int(4);
    let array = b.array(u32, 4);
    let inner = b.union(
        "",
        16,
        &[("a", array, 0, 0), ("bit", u32, 5, 1), ("b", u32, 0, 0)],
    );
    let point = b.structure("point", 8, &[("x", u32, 0, 0), ("y", u32, 32, 0)]);
    let points = b.array(point, 3);
    let list = b.volatile(points);
    let deep = b.structure("deep", 32, &[("list", list, 64, 0), ("tail", u32, 0, 0)]);
    let unread = b.structure("unread", 4, &[("z", u32, 0, 0)]);
    let pointer = b.pointer(unread);
    let members = [
        ("", inner, 0, 0),
        ("p", pointer, 128, 0),
        ("deep", deep, 192, 0),
        ("q", pointer, 448, 0),
    ];
    b.structure("root", 64, &members);
    // A namesake without any of the members.
    b.structure("root", 64, &[("p", pointer, 128, 0)]);
    b.enumeration("numbers", true, &[("ONE", -1), ("TWO", 2)]);
    b.enumeration64("wide", &[("MANY", 1 << 33)]);
    b.enumeration("unread", false, &[("NONE", 0)]);
    let prototype = b.prototype(&[u32, pointer]);
    b.function("work", prototype);
    b.function("unread", prototype);
    b.tracepoint("event", 2);
    b.tracepoint("unread", 2);
    let blob = b.finish();
    let whole = Btf::parse(&blob).unwrap();

    let extract = whole.extract(&wanted()).unwrap();
    let btf = Btf::parse(&extract).unwrap();
    let root = btf.structure("root").unwrap();
    for path in ["a[0]", "bit", "deep.list[1].x"] {
        let ambiguous = Err(BtfError::Ambiguous {
            name: "root".to_owned(),
        });
        assert_eq!(root.field(path), ambiguous, "{path}");
    }
    let first = path::resolve(&btf.raw, &root.candidates[0], "deep.list[1].x");
    assert_eq!(first, Ok(at(40, 4, Shape::Integer)));
    let first = path::resolve(&btf.raw, &root.candidates[0], "bit").unwrap();
    assert_eq!(first.bits, Some(Bits { shift: 5, width: 1 }));
    assert_eq!(btf.enumerators("numbers"), whole.enumerators("numbers"));
    assert_eq!(btf.enumerators("wide"), whole.enumerators("wide"));
    assert_eq!(btf.function_arity("work"), Ok(2));
    assert_eq!(btf.tracepoint_arity("event"), Ok(2));

    // And nothing else, but for what makes up the sizes of members.
    for path in ["b", "p", "q", "deep.tail", "deep.list[1].y", "none"] {
        let answer = path::resolve(&btf.raw, &root.candidates[0], path);
        assert_eq!(answer, no_member(path), "{path}");
    }
    assert_eq!(btf.has_function("unread"), Ok(false));
    assert_eq!(btf.has_function("absent"), Ok(false));
    for absent in [
        btf.structure("unread").err(),
        btf.enumerators("unread").err(),
        btf.tracepoint_arity("unread").err(),
    ] {
        assert!(
            matches!(absent, Some(BtfError::NoSuchType { .. })),
            "{absent:?}"
        );
    }
    assert_eq!(btf.extract(&wanted()), Ok(extract.clone()));
}

/// Loops and graphs that no compiler writes must end, and soon.
mod endless {
    use super::*;

    /// No member is found. What becomes of an extract.
    fn complex(blob: &[u8], path: &str) -> Result<Vec<u8>, BtfError> {
        let btf = Btf::parse(blob).unwrap();
        let answer = btf.structure("root").unwrap().field(path);
        assert_eq!(answer, Err(BtfError::TooComplex));
        let wanted = Wanted {
            structures: [("root", [path].into())].into(),
            ..Wanted::default()
        };
        btf.extract(&wanted)
    }

    #[test]
    fn a_typedef_of_itself() {
        let mut b = Builder::new();
        let own = b.next_id();
        b.typedef("ouroboros", own);
        b.structure("root", 8, &[("x", own, 0, 0)]);
        assert_eq!(complex(&b.finish(), "x"), Err(BtfError::TooComplex));
    }

    #[test]
    fn an_array_of_itself() {
        let mut b = Builder::new();
        let own = b.next_id();
        b.array(own, 1);
        b.structure("root", 8, &[("x", own, 0, 0)]);
        assert_eq!(complex(&b.finish(), "x"), Err(BtfError::TooComplex));
    }

    #[test]
    fn an_anonymous_struct_inside_itself() {
        let mut b = Builder::new();
        let own = b.next_id();
        b.structure("root", 8, &[("", own, 0, 0)]);
        assert_eq!(complex(&b.finish(), "x"), Err(BtfError::TooComplex));
    }

    #[test]
    fn anonymous_structs_that_double_at_each_level() {
        let mut b = Builder::new();
        let mut inner = b.structure("", 8, &[]);
        for _ in 0..60 {
            inner = b.structure("", 8, &[("", inner, 0, 0), ("", inner, 0, 0)]);
        }
        b.structure("root", 8, &[("", inner, 0, 0)]);
        assert_eq!(complex(&b.finish(), "x"), Err(BtfError::TooComplex));
    }

    #[test]
    fn an_array_larger_than_any_memory() {
        let mut b = Builder::new();
        let mut huge = b.int(4);
        for _ in 0..4 {
            huge = b.array(huge, u32::MAX);
        }
        b.structure("root", 8, &[("x", huge, 0, 0)]);
        let extract = complex(&b.finish(), "x").unwrap();
        assert_eq!(Btf::parse(&extract).unwrap().len(), 6, "it is only copied");
    }

    #[test]
    fn a_crowd_of_namesakes() {
        let mut b = Builder::new();
        for _ in 0..=MAX_NAMESAKES {
            b.structure("root", 8, &[]);
        }
        let blob = b.finish();
        let answer = Btf::parse(&blob).unwrap().structure("root").err();
        assert!(matches!(answer, Some(BtfError::Ambiguous { .. })));
    }
}

mod corrupt {
    use proptest::prelude::*;

    use super::*;

    /// A blob with one type of each kind that queries walk.
    fn valid() -> Vec<u8> {
        let mut b = Builder::new();
        let u32 = b.int(4);
        let constant = b.constant(u32);
        let alias = b.typedef("alias", constant);
        let array = b.array(alias, 4);
        let inner = b.union("", 16, &[("a", array, 0, 0), ("bit", u32, 5, 1)]);
        let pointer = b.pointer(inner);
        b.structure("root", 32, &[("", inner, 0, 0), ("p", pointer, 128, 0)]);
        b.enumeration("numbers", false, &[("ONE", 1), ("TWO", 2)]);
        b.enumeration64("wide", &[("MANY", 1 << 33)]);
        let prototype = b.prototype(&[u32, pointer]);
        b.function("work", prototype);
        b.tracepoint("event", 2);
        b.finish()
    }

    /// Asks everything, and counts the answers; what matters is that it
    /// returns.
    fn interrogate(blob: &[u8]) -> Result<usize, BtfError> {
        let btf = Btf::parse(blob)?;
        let root = btf.structure("root")?;
        let mut answers = vec![
            btf.enumerators("numbers").is_ok(),
            btf.enumerators("wide").is_ok(),
            btf.function_arity("work").is_ok(),
            btf.tracepoint_arity("event").is_ok(),
        ];
        for path in ["a", "a[0]", "a[3]", "bit", "p", "none"] {
            answers.push(root.field(path).is_ok());
            answers.push(root.is_struct(path, "root").is_ok());
        }
        if let Ok(extract) = btf.extract(&wanted()) {
            Btf::parse(&extract)?;
        }
        Ok(answers.into_iter().filter(|answered| *answered).count())
    }

    #[test]
    fn the_blob_under_attack_is_valid() {
        let blob = valid();
        assert_eq!(interrogate(&blob), Ok(14));
        let btf = Btf::parse(&blob).unwrap();
        let root = btf.structure("root").unwrap();
        assert_eq!(root.field("a[3]"), Ok(at(12, 4, Shape::Integer)));
        assert_eq!(root.field("p"), Ok(at(16, 8, Shape::Pointer)));
        assert_eq!(btf.tracepoint_arity("event"), Ok(2));
    }

    #[test]
    fn every_truncation_is_an_error() {
        let blob = valid();
        for len in 0..blob.len() {
            assert!(Btf::parse(&blob[..len]).is_err(), "{len} bytes");
        }
    }

    #[test]
    fn what_is_no_btf_is_called_so() {
        assert_eq!(
            Btf::parse(b"\x7fELF").err(),
            Some(BtfError::NotBtf { found: 0x457f })
        );
        let mut blob = valid();
        blob[2] = 9;
        assert_eq!(
            Btf::parse(&blob).err(),
            Some(BtfError::Version { found: 9 })
        );
    }

    proptest! {
        #[test]
        fn random_bytes_never_panic(bytes: Vec<u8>) {
            let _answers = interrogate(&bytes);
        }

        #[test]
        fn random_types_never_panic(words: Vec<u32>) {
            let mut b = Builder::new();
            b.structure("root", 64, &[("a", 2, 0, 0), ("", 3, 0, 0)]);
            b.any(2, 0, &words);
            let _answers = interrogate(&b.finish());
        }

        #[test]
        fn mutated_blobs_never_panic(
            changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
            cut in any::<prop::sample::Index>(),
        ) {
            let mut blob = valid();
            for (index, byte) in changes {
                let len = blob.len();
                blob[index.index(len)] = byte;
            }
            let _answers = interrogate(&blob);
            blob.truncate(cut.index(blob.len()));
            let _answers = interrogate(&blob);
        }
    }
}
