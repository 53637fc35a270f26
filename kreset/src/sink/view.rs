//! What text output shows, and what the terminal can.

use std::io::{self, IsTerminal as _};

use rustix::termios::tcgetwinsize;

use super::text::Size;

/// When to use colour.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum ColorChoice {
    /// On a terminal, unless `NO_COLOR`, `CLICOLOR=0` or `TERM=dumb` is set; elsewhere
    /// if `FORCE_COLOR` or `CLICOLOR_FORCE` is.
    #[default]
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// What text on standard output shows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct View {
    /// 1 says why and why not, 2 adds all weights and facts, 3 and more the log of the
    /// BPF programs.
    pub verbosity: u8,
    /// When to use colour.
    pub color: ColorChoice,
    /// Whether repeats are shown one by one.
    pub every_event: bool,
    /// Whether to show findings, alerts and losses only.
    pub quiet: bool,
}

/// Whether standard output is a terminal.
pub(super) fn is_terminal() -> bool {
    io::stdout().is_terminal()
}

impl View {
    /// Whether text is updated in place: on a terminal that can, unless nothing is folded.
    #[must_use]
    pub fn is_updated_in_place(self) -> bool {
        is_terminal() && anstyle_query::term_supports_ansi_color()
    }

    /// Whether to use colour.
    #[must_use]
    pub fn takes_color(self) -> bool {
        let forced = std::env::var_os("FORCE_COLOR").is_some_and(|it| !it.is_empty() && it != "0");
        takes_color(
            self.color,
            &Environment {
                is_terminal: is_terminal(),
                is_forced: forced || anstyle_query::clicolor_force(),
                is_refused: anstyle_query::no_color() || anstyle_query::clicolor() == Some(false),
                is_able: anstyle_query::term_supports_ansi_color(),
            },
        )
    }

    /// Columns of standard output: of the terminal, or 80.
    #[must_use]
    pub fn width(self) -> usize {
        if is_terminal() {
            Self::size()().columns
        } else {
            Size::DEFAULT.columns
        }
    }

    /// The size of the terminal, asked for anew each time.
    pub(super) fn size() -> Box<dyn Fn() -> Size + Send> {
        if !is_terminal() {
            return Box::new(|| Size::UNBOUNDED);
        }
        Box::new(|| {
            let size = tcgetwinsize(io::stdout()).ok();
            size.filter(|it| it.ws_col > 0)
                .map_or(Size::DEFAULT, |it| Size {
                    columns: it.ws_col.into(),
                    rows: it.ws_row.into(),
                })
        })
    }
}

struct Environment {
    is_terminal: bool,
    is_forced: bool,
    is_refused: bool,
    is_able: bool,
}

/// `NO_COLOR` is stronger than what forces colour, as its users mean it.
const fn takes_color(choice: ColorChoice, environment: &Environment) -> bool {
    match choice {
        ColorChoice::Always => true,
        ColorChoice::Never => false,
        ColorChoice::Auto => {
            !environment.is_refused
                && (environment.is_forced || (environment.is_terminal && environment.is_able))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_flag_is_stronger_than_the_environment_and_no_color_than_force() {
        use ColorChoice::{Always, Auto, Never};
        for (choice, terminal, forced, refused, able, expected) in [
            (Auto, true, false, false, true, true),
            (Auto, false, false, false, true, false),
            (Auto, true, false, false, false, false),
            (Auto, false, true, false, false, true),
            (Auto, true, false, true, true, false),
            (Auto, true, true, true, true, false),
            (Always, false, false, true, false, true),
            (Never, true, true, false, true, false),
        ] {
            let environment = Environment {
                is_terminal: terminal,
                is_forced: forced,
                is_refused: refused,
                is_able: able,
            };
            assert_eq!(takes_color(choice, &environment), expected, "{choice:?}");
        }
    }
}
