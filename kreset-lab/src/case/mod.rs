//! One catalogue of what can happen to a connection, and what each host should say of it.
//!
//! A case is an act (what happens on the wire, and what each host alone can know of it) and the
//! parameters that it is played with. It is one row of a file of causes:
//!
//! ```text
//! row("idle_on_send.{shape}.{timer}", on_send)
//!     .named("idle_reset_on_send", "a device forgets the silent connection and ...")
//! ```
//!
//! `accuracy` plays a row with every value of what is in braces, in every family, and draws the
//! rest from a seed; `run` plays a row that has a name, at its first values and with the least of
//! what is drawn; `soak` plays the rows at random. To add a case, add a row, and an act if no other
//! row has it.

mod broker;
mod client;
mod context;
mod device;
mod distances;
pub(crate) mod draw;
mod drop;
mod environment;
mod forged;
mod group;
mod handshake;
mod hop;
mod idle;
mod kafka;
mod keep;
mod noise;
mod pair;
mod parameters;
mod play;
mod prelude;
mod refusal;
mod row;
mod scenario;
mod session;
mod settled;
mod shell;
mod shutdown;
mod socket;
mod stranger;
mod table;
pub(crate) mod testbed;
mod traffic;
mod unknowable;

pub(crate) use device::{Device, give_addresses};
pub(crate) use distances::Distances;
pub use draw::USED;
pub use environment::Environment;
pub use play::Case;
#[cfg(feature = "full")]
pub(crate) use play::play_one;
pub(crate) use play::{Played, check_wire, play, resets};
pub use scenario::{Group, Scenario};
pub use session::Settings;
pub(crate) use session::{HostOutcome, Outcome, Session, Watch, attach};
pub(crate) use testbed::Testbed;

use row::Row;

/// All rows, one file of causes after the other.
fn rows() -> Vec<Row> {
    [
        idle::rows(),
        broker::rows(),
        shutdown::rows(),
        handshake::rows(),
        client::rows(),
        hop::rows(),
        forged::rows(),
        unknowable::rows(),
        drop::rows(),
        group::rows(),
        noise::rows(),
        socket::rows(),
        stranger::rows(),
        refusal::rows(),
        settled::rows(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// The cases of the accuracy matrix: every row in every variant and family.
pub fn matrix() -> Vec<Case> {
    rows().iter().flat_map(Row::cases).collect()
}

/// What can be run by name, in the order in which it is shown.
pub fn scenarios() -> Vec<Scenario> {
    let rows = rows();
    let mut all: Vec<_> = rows.iter().flat_map(Row::scenarios).collect();
    all.extend(kafka::scenarios());
    all
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn names_are_unique_and_fit_a_directory() {
        let all = scenarios();
        let names: BTreeSet<_> = all.iter().map(Scenario::name).collect();
        assert_eq!(names.len(), all.len());
        for name in names {
            let fits = |letter: char| letter.is_ascii_alphanumeric() || "_-.".contains(letter);
            assert!(name.chars().all(fits), "{name}");
        }
    }

    #[test]
    fn the_matrix_has_every_case_once_and_no_value_is_left_in_braces() {
        let all = matrix();
        let ids: BTreeSet<_> = all.iter().map(|case| &case.id).collect();
        assert_eq!(ids.len(), all.len());
        assert!(ids.iter().all(|id| !id.contains('{')), "{ids:?}");
    }

    /// Draws hang on the names of cases: one that is called otherwise is another case. New cases
    /// change the figures, and no other case.
    #[test]
    fn the_matrix_keeps_its_names() {
        let all = matrix();
        let sum = all
            .iter()
            .fold(0_u64, |sum, case| sum.wrapping_add(draw::hash(&case.id)));
        assert_eq!((all.len(), sum), (1935, 0x5a06_59ac_357c_4454));
    }

    /// The last column of the list of endings names what acts a row out.
    #[test]
    fn every_case_that_the_list_of_endings_names_is_in_the_catalogue() {
        const LIST: &str = include_str!("../../../docs/endings.md");
        let scenarios = scenarios();
        let matrix = matrix();
        let names: Vec<_> = matrix
            .iter()
            .map(|case| &*case.id)
            .chain(scenarios.iter().map(Scenario::name))
            .map(|name| name.split('.').collect::<Vec<_>>())
            .collect();
        let is_there = |name: &str| {
            let wanted: Vec<_> = name.split('.').collect();
            names.iter().any(|parts| {
                parts.len() >= wanted.len()
                    && parts.iter().zip(&wanted).all(|(a, b)| a == b || *b == "*")
            })
        };
        let rows = LIST.lines().filter(|line| {
            ["| K", "| N", "| D"]
                .iter()
                .any(|start| line.starts_with(start))
        });
        let mut seen = 0;
        for row in rows {
            let cell = row.trim_end_matches(" |").rsplit(" | ").next();
            let quoted = cell.unwrap_or_default().split('`').skip(1).step_by(2);
            let is_name = |text: &&str| {
                let mut letters = text.chars();
                letters.all(|letter| letter.is_ascii_alphanumeric() || "_-.*".contains(letter))
            };
            for name in quoted.filter(is_name) {
                assert!(is_there(name), "{name} in {row}");
                seen += 1;
            }
        }
        assert!(seen > 70, "{seen} names");
    }

    #[test]
    fn a_name_before_the_dot_means_all_of_them() {
        let count = |name| scenarios().iter().filter(|it| it.is_called(name)).count();
        assert_eq!(count("idle_reset_on_send"), 3);
        assert_eq!(count("idle_reset_on_send.ipv6"), 1);
        assert_eq!(count("idle"), 0);
    }
}
