//! Colours, or none.

use anstyle::{AnsiColor, Style};

use crate::event::{Finding, Verdict};

/// The styles of text output. A plain style writes nothing.
#[derive(Clone, Copy, Debug)]
pub(super) struct Palette {
    pub(super) bold: Style,
    pub(super) dim: Style,
    pub(super) warning: Style,
    pub(super) alarm: Style,
    pub(super) advice: Style,
    middlebox: Style,
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
            middlebox: plain,
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
        middlebox: AnsiColor::Red.on_default(),
        broker: AnsiColor::Yellow.on_default(),
        handshake: AnsiColor::Cyan.on_default(),
        client: AnsiColor::Blue.on_default(),
    };

    /// One colour for each end, and one for what stands between.
    pub(super) fn verdict(&self, finding: &Finding) -> Style {
        if finding.is_noise() {
            return self.dim;
        }
        match finding.verdict {
            Verdict::MiddleboxIdleReset | Verdict::MiddleboxIdleDrop | Verdict::MiddleboxReset => {
                self.middlebox
            }
            Verdict::BrokerOriginated => self.broker,
            Verdict::HandshakePhase => self.handshake,
            Verdict::ClientOriginated => self.client,
            Verdict::Indeterminate => self.dim,
        }
    }
}
