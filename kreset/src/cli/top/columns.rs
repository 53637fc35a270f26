//! The columns of the rows: which there are and how wide each is on a screen of a given width.
//! Pure.

use ratatui::{
    layout::Constraint,
    style::Style,
    text::{Line, Span},
};

use super::{
    screen::style_of,
    state::State,
    table::{Group, Row},
};
use crate::{
    event::{Finding, is_unclear},
    util::{
        escape::Escaped,
        units::{percent, precise},
    },
};

/// From this width on, rate and latest time have room, too.
const WIDE: u16 = 100;
/// From this width on, what was done is said in words rather than by the name of its cause.
const WIDER: u16 = 120;
/// Widths of the broker's address and port: of most in IPv4, and of the longest.
const BROKER: (u16, u16) = (18, 47);

/// A column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Column {
    Who,
    Why,
    Count,
    Rate,
    Idle,
    Sure,
    Client,
    Broker,
    Last,
}

impl Column {
    const fn title(self) -> &'static str {
        match self {
            Self::Who => "WHO",
            Self::Why => "WHY",
            Self::Count => "COUNT",
            Self::Rate => "/MIN",
            Self::Idle => "IDLE",
            Self::Sure => "SURE",
            Self::Client => "CLIENT",
            Self::Broker => "BROKER",
            Self::Last => "LAST",
        }
    }

    /// Width; client and broker share what the others leave.
    const fn width(self, is_wordy: bool) -> u16 {
        match self {
            Self::Who => 9,
            Self::Why if is_wordy => 34,
            Self::Why => 16,
            Self::Count | Self::Rate => 5,
            Self::Idle => 7,
            Self::Sure => 4,
            Self::Client | Self::Broker => 0,
            Self::Last => 8,
        }
    }

    const fn is_number(self) -> bool {
        matches!(self, Self::Count | Self::Rate | Self::Idle | Self::Sure)
    }
}

/// The columns of one screen.
#[derive(Clone, Debug)]
pub(super) struct Columns {
    all: &'static [Column],
    is_wordy: bool,
    client: u16,
    broker: u16,
}

impl Columns {
    /// Those of a screen of `width` columns.
    pub(super) fn of(width: u16) -> Self {
        use Column::{Broker, Client, Count, Idle, Last, Rate, Sure, Who, Why};
        let all: &[Column] = if width < WIDE {
            &[Who, Why, Count, Idle, Sure, Client, Broker]
        } else {
            &[Who, Why, Count, Rate, Idle, Sure, Client, Broker, Last]
        };
        let is_wordy = width >= WIDER;
        let others: u16 = all.iter().map(|column| column.width(is_wordy) + 1).sum();
        let rest = (width + 1).saturating_sub(others);
        let broker = (rest / 2).clamp(BROKER.0, BROKER.1).min(rest);
        Self {
            all,
            is_wordy,
            client: rest - broker,
            broker,
        }
    }

    /// Their widths.
    pub(super) fn widths(&self) -> impl Iterator<Item = Constraint> {
        self.all
            .iter()
            .map(|column| Constraint::Length(self.width(*column)))
    }

    const fn width(&self, column: Column) -> u16 {
        match column {
            Column::Client => self.client,
            Column::Broker => self.broker,
            _ => column.width(self.is_wordy),
        }
    }

    /// Their titles.
    pub(super) fn titles(&self) -> impl Iterator<Item = Line<'static>> {
        self.all.iter().map(|column| {
            let title = Line::from(column.title());
            if column.is_number() {
                title.right_aligned()
            } else {
                title
            }
        })
    }

    /// The cells of a row.
    pub(super) fn cells(&self, row: &Row, state: &State) -> Vec<Line<'static>> {
        let cell = |column: &Column| {
            let text = cut(
                &self.text(*column, row, state.table.group()),
                self.width(*column),
            );
            match column {
                Column::Who => {
                    let style = style_of(row.latest.culprit(), state.color);
                    Line::from(Span::styled(text, style))
                }
                column if column.is_number() => Line::from(text).right_aligned(),
                _ => Line::from(Span::styled(text, Style::new())),
            }
        };
        self.all.iter().map(cell).collect()
    }

    fn text(&self, column: Column, row: &Row, group: Group) -> String {
        let finding = &row.latest;
        let of_each = group == Group::Each;
        match column {
            // What the findings of a row do not have in common.
            Column::Who | Column::Why if !of_each => "-".to_owned(),
            Column::Client if group == Group::Broker => "-".to_owned(),
            Column::Broker if group == Group::Client => "-".to_owned(),
            Column::Who => finding.culprit().as_str().to_owned(),
            Column::Why if self.is_wordy => finding.deed().to_owned(),
            Column::Why => why(finding).to_owned(),
            Column::Count => row.count.to_string(),
            Column::Rate => format!("{:.0}", row.rate()),
            Column::Idle => row.median_ms().map_or_else(|| "-".to_owned(), precise),
            Column::Sure => percent(finding.confidence),
            Column::Client => client(finding, self.client),
            Column::Broker => {
                std::net::SocketAddr::new(finding.broker.address, finding.broker.port).to_string()
            }
            Column::Last => clock(finding),
        }
    }
}

/// The cause by its name, with which `explain` says more.
fn why(finding: &Finding) -> &'static str {
    if is_unclear(finding.verdict, finding.confidence) {
        return "cause unclear";
    }
    finding.cause.map_or("unknown", |cause| cause.as_str())
}

/// Its name, and where there is room its address; the address alone where it has no name.
fn client(finding: &Finding, width: u16) -> String {
    let address = finding.client.address.to_string();
    let Some(name) = finding.client_name().map(|name| Escaped(name).to_string()) else {
        return address;
    };
    let both = format!("{address} {name}");
    if both.chars().count() <= usize::from(width) {
        both
    } else {
        name
    }
}

/// Cut to `width` columns, visibly.
fn cut(text: &str, width: u16) -> String {
    let width = usize::from(width);
    if text.chars().count() <= width {
        return text.to_owned();
    }
    let mut short: String = text.chars().take(width.saturating_sub(1)).collect();
    if width > 0 {
        short.push('…');
    }
    short
}

fn clock(finding: &Finding) -> String {
    let zone = jiff::tz::TimeZone::system();
    let local = zone.to_datetime(finding.time.0);
    format!(
        "{:02}:{:02}:{:02}",
        local.hour(),
        local.minute(),
        local.second()
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Cause, Culprit, Verdict, deed};

    #[test]
    fn no_word_of_why_is_cut() {
        for cause in Cause::ALL {
            assert!(cause.as_str().len() <= usize::from(Column::Why.width(false)));
            for verdict in Verdict::ALL {
                let words = deed(*verdict, Some(*cause));
                assert!(
                    words.len() <= usize::from(Column::Why.width(true)),
                    "{words}"
                );
            }
        }
        for culprit in Culprit::ALL {
            assert!(culprit.as_str().len() <= usize::from(Column::Who.width(false)));
        }
    }

    #[test]
    fn what_does_not_fit_is_cut_visibly() {
        assert_eq!(cut("10.77.2.2:9092", 14), "10.77.2.2:9092");
        assert_eq!(cut("[2001:db8::9]:9094", 14), "[2001:db8::9]…");
        assert_eq!(cut("ab", 0), "");
    }
}
