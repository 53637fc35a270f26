//! The formats of events.

use serde::Deserialize;

use super::{Ecs, Json, Stdout, Text};
use crate::{
    delivery::{Encoder, SinkError},
    event::Message,
};

/// Output format.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Format {
    /// For people: aligned columns.
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

    /// Writes events to standard output, in colour where that is wanted.
    #[must_use]
    pub fn encoder_of_stdout(self, verbose: bool) -> Box<dyn Encoder> {
        let color = Stdout::open().is_ok_and(|stdout| stdout.takes_color());
        self.encoder(verbose, color)
    }

    /// Writes events in this format: text with the evidence if `verbose`.
    pub(super) fn encoder(self, verbose: bool, color: bool) -> Box<dyn Encoder> {
        match self {
            Self::Json => Box::new(Json),
            Self::Ecs => Box::new(Ecs),
            Self::Text => Box::new(Text::new(verbose, color)),
        }
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
