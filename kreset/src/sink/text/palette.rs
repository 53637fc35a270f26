//! Colours, or none.

use anstyle::{AnsiColor, Style};

use crate::event::Culprit;

/// The styles of text output. A plain style writes nothing.
#[derive(Clone, Copy, Debug)]
pub(super) struct Palette {
    pub(super) bold: Style,
    pub(super) dim: Style,
    pub(super) warning: Style,
    pub(super) alarm: Style,
    pub(super) advice: Style,
    device: Style,
    broker: Style,
    handshake: Style,
    client: Style,
}

impl Palette {
    /// No style at all.
    pub(super) const PLAIN: Self = {
        let plain = Style::new();
        Self {
            bold: plain,
            dim: plain,
            warning: plain,
            alarm: plain,
            advice: plain,
            device: plain,
            broker: plain,
            handshake: plain,
            client: plain,
        }
    };

    /// The sixteen colours that every theme defines.
    pub(super) const COLORED: Self = Self {
        bold: Style::new().bold(),
        dim: Style::new().dimmed(),
        warning: AnsiColor::Yellow.on_default(),
        alarm: AnsiColor::Red.on_default().bold(),
        advice: AnsiColor::Green.on_default(),
        device: AnsiColor::Red.on_default().bold(),
        broker: AnsiColor::Yellow.on_default().bold(),
        handshake: AnsiColor::Cyan.on_default().bold(),
        client: AnsiColor::Blue.on_default().bold(),
    };

    /// One colour for each end, and one for what stands between.
    pub(super) const fn culprit(&self, culprit: Culprit) -> Style {
        match culprit {
            Culprit::Device => self.device,
            Culprit::Broker => self.broker,
            Culprit::Handshake => self.handshake,
            Culprit::Client => self.client,
            Culprit::Unsure => self.dim,
        }
    }
}
