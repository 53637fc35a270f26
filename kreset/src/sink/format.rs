//! The formats of events.

use serde::Deserialize;

use super::{
    Ecs, Json, Text,
    text::{Layout, Size, TextOptions, Update},
    view::{View, is_terminal},
};
use crate::{
    delivery::{Encoder, SinkError},
    event::Message,
};

/// Output format.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Format {
    /// For people: blocks on a terminal, elsewhere one line an event.
    #[default]
    Text,
    /// One JSON object per line.
    Json,
    /// One document of the Elastic Common Schema per line.
    Ecs,
}

impl Format {
    /// The default of a configured sink, which is read by a program.
    pub(super) const fn of_a_sink() -> Self {
        Self::Json
    }

    /// Writes events to standard output, as this process's environment and `view` ask for.
    #[must_use]
    pub fn encoder_of_stdout(self, view: View) -> Box<dyn Encoder> {
        match self {
            Self::Text => Box::new(view.text(view.layout())),
            other => other.encoder(false),
        }
    }

    /// Writes events to a file in this format: text says why if `verbose`.
    pub(super) fn encoder(self, verbose: bool) -> Box<dyn Encoder> {
        match self {
            Self::Json => Box::new(Json),
            Self::Ecs => Box::new(Ecs),
            Self::Text => {
                let options = TextOptions {
                    verbosity: u8::from(verbose),
                    ..TextOptions::default()
                };
                Box::new(Text::new(options, Box::new(|| Size::UNBOUNDED)))
            }
        }
    }
}

impl View {
    /// Where standard output is a terminal: blocks, updated in place if it can.
    fn layout(self) -> Layout {
        match (is_terminal(), self.is_updated_in_place()) {
            (true, true) => Layout::Blocks(Update::InPlace),
            (true, false) => Layout::Blocks(Update::EachMinute),
            (false, _) => Layout::Lines,
        }
    }

    /// Text of stored events: as live ones, but each block with its last count.
    #[must_use]
    pub fn stored(self) -> Text {
        self.text(match self.layout() {
            Layout::Blocks(_) => Layout::Blocks(Update::AtEnd),
            Layout::Lines => Layout::Lines,
        })
    }

    fn text(self, layout: Layout) -> Text {
        let options = TextOptions {
            verbosity: self.verbosity,
            color: self.takes_color(),
            every_event: self.every_event,
            quiet: self.quiet,
            layout,
        };
        Text::new(options, Self::size())
    }
}

/// The JSON in a message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Body {
    /// The native contract.
    #[default]
    Json,
    /// A document of the Elastic Common Schema.
    Ecs,
}

impl Body {
    /// Appends `message` without a newline at its end.
    pub(super) fn encode(self, message: &Message, out: &mut Vec<u8>) -> Result<(), SinkError> {
        match self {
            Self::Json => Json.encode(message, out)?,
            Self::Ecs => Ecs.encode(message, out)?,
        }
        out.pop_if(|byte| *byte == b'\n');
        Ok(())
    }
}
