//! What an agent watched, from the `coverage` of its summaries: most of them say what the one
//! before said.

use std::{net::IpAddr, sync::Arc};

use foldhash::HashMap;
use smallvec::SmallVec;
use smol_str::SmolStr;

use super::{
    line::{Unreadable, Watched},
    quick::integer,
    scan::Members,
};
use crate::event::Coverage;

/// Lists of each kind that are known at most.
const KNOWN: usize = 4_096;
/// The longest text of a list that is kept, bytes.
const LONGEST: usize = 1_024;

/// Traced ports, first and last of each range.
pub(super) type Ports = Arc<[(u16, u16)]>;
/// Addresses of a host; `None` if they are not known.
pub(super) type Addresses = Option<Arc<[IpAddr]>>;

/// Lists that were read, by the bytes that they were read from.
#[derive(Debug, Default)]
pub(super) struct Lists {
    ports: HashMap<Box<[u8]>, Ports>,
    addresses: HashMap<Box<[u8]>, Addresses>,
}

impl Lists {
    /// As serde reads it, or `None` for what agents do not write.
    pub(super) fn watched(&mut self, coverage: &[u8], end: bool) -> Option<Watched> {
        let mut members = Members::of(coverage).ok()?;
        let (mut ports, mut addresses, mut watched, mut lost_by_sinks) = (None, None, None, None);
        let mut counts = [None; 6];
        while !members.is_at_end() {
            let (name, value) = members.compact()?;
            let count = match name {
                b"ports" => {
                    once(&mut ports, known(&mut self.ports, value, to_ports)?)?;
                    continue;
                }
                b"addresses" => {
                    once(
                        &mut addresses,
                        known(&mut self.addresses, value, to_addresses)?,
                    )?;
                    continue;
                }
                b"sinks" => {
                    once(&mut lost_by_sinks, lost_by(value)?)?;
                    continue;
                }
                b"watched" => {
                    once(&mut watched, is_watched(value)?)?;
                    continue;
                }
                b"kernel_lost" => 0,
                b"kernel_skipped" => 1,
                b"kernel_untracked" => 2,
                b"unobserved" => 3,
                b"unshown" => 4,
                b"forgotten" => 5,
                _ => return None,
            };
            once(&mut counts[count], integer(value)?)?;
        }
        let [lost, skipped, untracked, unobserved, unshown, forgotten] = counts;
        forgotten?;
        let all = [lost?, skipped?, untracked?, unobserved?, lost_by_sinks?];
        Some(Watched {
            end,
            ports: ports?,
            addresses: addresses?,
            lost: all.into_iter().try_fold(0, u64::checked_add)?,
            unshown: unshown?,
        })
    }
}

/// A member that is there twice is left to serde, which refuses it.
fn once<T>(place: &mut Option<T>, value: T) -> Option<()> {
    place.replace(value).is_none().then_some(())
}

/// What was read from the same bytes before, or is read from them now.
fn known<T: Clone>(
    lists: &mut HashMap<Box<[u8]>, T>,
    value: &[u8],
    read: impl Fn(&[u8]) -> Option<T>,
) -> Option<T> {
    if let Some(known) = lists.get(value) {
        return Some(known.clone());
    }
    let list = read(value)?;
    if lists.len() >= KNOWN {
        lists.clear();
    }
    if value.len() <= LONGEST {
        lists.insert(value.into(), list.clone());
    }
    Some(list)
}

fn to_ports(value: &[u8]) -> Option<Ports> {
    let ports: Vec<SmolStr> = serde_json::from_slice(value).ok()?;
    ports.iter().map(range).collect()
}

fn to_addresses(value: &[u8]) -> Option<Addresses> {
    let addresses: Option<Vec<IpAddr>> = serde_json::from_slice(value).ok()?;
    Some(addresses.map(Into::into))
}

/// A port, or a range of them.
fn range(text: &SmolStr) -> Option<(u16, u16)> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let port = |text: &str| text.trim().parse().ok();
    port(first).zip(port(last))
}

/// Events that sinks lost, in all.
fn lost_by(sinks: &[u8]) -> Option<u64> {
    let mut members = Members::of(sinks).ok()?;
    let mut names: SmallVec<[&[u8]; 4]> = SmallVec::new();
    let mut all = 0_u64;
    while !members.is_at_end() {
        let (name, value) = members.compact()?;
        let [_delivered, _waiting, lost] = integers(value, [b"delivered", b"waiting", b"lost"])?;
        // Of two sinks of one name serde takes the last.
        if names.len() == names.inline_size() || names.contains(&name) || !is_name(name) {
            return None;
        }
        names.push(name);
        all = all.checked_add(lost)?;
    }
    Some(all)
}

/// A name that is what it says, so that two that differ are two.
fn is_name(name: &[u8]) -> bool {
    name.iter()
        .all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'\\'))
}

/// `null`, or two counts, which say nothing about events.
fn is_watched(value: &[u8]) -> Option<()> {
    if value == b"null" {
        return Some(());
    }
    integers(value, [b"connections", b"brokers"]).map(|_counts| ())
}

/// The members of an object that has these alone, in any order.
fn integers<const N: usize>(object: &[u8], names: [&[u8]; N]) -> Option<[u64; N]> {
    let mut members = Members::of(object).ok()?;
    let mut found = [None; N];
    while !members.is_at_end() {
        let (name, value) = members.compact()?;
        let at = names.iter().position(|it| *it == name)?;
        once(&mut found[at], integer(value)?)?;
    }
    let mut all = [0; N];
    for (number, found) in all.iter_mut().zip(found) {
        *number = found?;
    }
    Some(all)
}

/// As serde read it.
pub(super) fn watched(coverage: Coverage, end: bool) -> Result<Watched, Unreadable> {
    let range = |text: &SmolStr| {
        range(text).ok_or_else(|| Unreadable::Event(format!("invalid port \"{text}\"")))
    };
    let sinks = coverage.sinks.values().map(|sink| sink.lost);
    Ok(Watched {
        end,
        ports: coverage.ports.iter().map(range).collect::<Result<_, _>>()?,
        addresses: coverage.addresses.map(Into::into),
        lost: [
            coverage.kernel_lost,
            coverage.kernel_skipped,
            coverage.kernel_untracked,
            coverage.unobserved,
        ]
        .into_iter()
        .chain(sinks)
        .fold(0, u64::saturating_add),
        unshown: coverage.unshown,
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;
    use crate::event::{SinkCoverage, Watched as Size};

    /// As serde reads it.
    fn read(text: &[u8]) -> Option<Watched> {
        watched(serde_json::from_slice(text).ok()?, false).ok()
    }

    prop_compose! {
        fn any_coverage()(
            ports in prop::collection::vec(prop_oneof!["[1-9][0-9]{0,3}", "9000-9[1-9]00"], 0..3),
            addresses in prop::option::of(prop::collection::vec(any::<IpAddr>(), 0..3)),
            sizes in prop::option::of((0..9_u64, 0..9_u64)),
            counts in prop::array::uniform6(0..1_000_u64),
            sinks in prop::collection::btree_map("[a-z\"é]{1,2}", prop::array::uniform3(0..9_u64), 0..5),
        ) -> Coverage {
            let sink = |(name, [delivered, waiting, lost]): (String, [u64; 3])| (name, SinkCoverage { delivered, waiting, lost });
            let [kernel_lost, kernel_skipped, kernel_untracked, unobserved, forgotten, unshown] = counts;
            Coverage {
                ports: ports.into_iter().map(Into::into).collect(),
                watched: sizes.map(|(connections, brokers)| Size { connections, brokers }),
                addresses,
                kernel_lost,
                kernel_skipped,
                kernel_untracked,
                unobserved,
                forgotten,
                unshown,
                sinks: sinks.into_iter().map(sink).collect::<BTreeMap<_, _>>(),
            }
        }
    }

    proptest! {
        #[test]
        fn it_is_read_as_the_parser_reads_it(
            all in prop::collection::vec((any_coverage(), any::<bool>()), 1..4),
        ) {
            let mut lists = Lists::default();
            for (coverage, is_sorted) in all {
                let text = if is_sorted {
                    serde_json::to_vec(&serde_json::to_value(&coverage).unwrap())
                } else {
                    serde_json::to_vec(&coverage)
                };
                let text = text.unwrap();
                let has_odd_sinks = coverage.sinks.len() > 4
                    || coverage.sinks.keys().any(|name| !is_name(name.as_bytes()));
                let quick = lists.watched(&text, false);
                prop_assert_eq!(quick.is_none(), has_odd_sinks);
                prop_assert!(quick.is_none_or(|quick| Some(quick) == read(&text)));
            }
        }

        /// Of whatever is cut out of it or doubled, what is read is what the parser reads.
        #[test]
        fn damage_is_left_to_the_parser(coverage in any_coverage(), at: prop::sample::Index, length in 0..40_usize, is_cut: bool) {
            let mut text = serde_json::to_vec(&coverage).unwrap();
            let first = at.index(text.len());
            let part = first..text.len().min(first + length);
            if is_cut {
                text.drain(part);
            } else {
                text.splice(first..first, text[part].to_vec());
            }
            if let Some(quick) = Lists::default().watched(&text, false) {
                prop_assert_eq!(Some(quick), read(&text));
            }
        }
    }

    #[test]
    fn what_is_no_json_is_left_to_the_parser() {
        let text = serde_json::to_string(&Coverage::default()).unwrap();
        assert!(Lists::default().watched(text.as_bytes(), false).is_some());
        for (part, other) in [
            (",\"kernel_lost", ",xkernel_lost"),
            (",\"kernel_lost", ",\u{c}\"kernel_lost"),
            ("\"kernel_lost\":0", "\"kernel_lost\":00"),
            ("\"kernel_lost\":0", "\"kernel_lost\":0,\"kernel_lost\":0"),
            ("\"sinks\":{}", "\"sinks\":{,}"),
            ("\"sinks\":{}", "\"sinks\":{},"),
        ] {
            let text = text.replacen(part, other, 1);
            assert_eq!(
                Lists::default().watched(text.as_bytes(), false),
                None,
                "{text}"
            );
            assert_eq!(read(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn not_all_lists_are_kept() {
        let mut lists = HashMap::default();
        for number in 0..2 * KNOWN {
            let list = format!("[\"{number}\"]");
            assert_eq!(
                known(&mut lists, list.as_bytes(), |_| Some(number)),
                Some(number)
            );
            assert_eq!(known(&mut lists, list.as_bytes(), |_| None), Some(number));
            assert!(lists.len() <= KNOWN);
        }
        let long = vec![b' '; LONGEST + 1];
        assert_eq!(known(&mut lists, &long, |_| Some(0)), Some(0));
        assert_eq!(known(&mut lists, &long, |_| None), None);
    }
}
