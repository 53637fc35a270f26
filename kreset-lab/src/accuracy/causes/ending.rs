//! How brokers end a connection that has not come to be in use, in the shapes that real ones give
//! it: what was read and what was not, and who ends first, decides what is on the wire.

use std::time::Duration;

use super::{
    handshake::{HTTP_TO_TLS, NOT_KAFKA, TLS_ALERT, TLS_TO_PLAINTEXT},
    ms,
};
use crate::{
    Conversation, Side,
    accuracy::{
        case::Label,
        stage::{Scene, Talk},
        traffic,
    },
    error::Result,
    judge::Answer,
};

/// How a broker ends a connection.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Ending {
    /// FIN, and the client answers in kind: no reset at all.
    Fin,
    /// FIN, and the client does nothing.
    FinAlone,
    /// FIN, and a while later the client writes.
    LateWrite,
    /// FIN, and after this time a close with data unread: RST,ACK.
    FinThenReset(Duration),
}

impl Ending {
    /// The last as after the delay of failed authentications.
    pub(super) const ALL: [Self; 5] = [
        Self::Fin,
        Self::FinAlone,
        Self::LateWrite,
        Self::FinThenReset(ms(0)),
        Self::FinThenReset(ms(105)),
    ];

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Fin => "fin",
            Self::FinAlone => "fin_alone",
            Self::LateWrite => "late_write",
            Self::FinThenReset(delay) if delay.is_zero() => "fin_rst",
            Self::FinThenReset(_) => "delayed_fin_rst",
        }
    }

    /// Ends a connection whose broker has not read the last `unread` bytes. Where the client says
    /// more, it goes on in the protocol that it speaks.
    pub(super) fn end(
        self,
        scene: &Scene<'_>,
        talk: Talk,
        unread: usize,
        right: Answer,
    ) -> Result<Label> {
        let more = &more(right);
        let Talk { ends, port } = talk;
        let Conversation {
            mut client,
            mut broker,
        } = ends;
        let label = Label::new(port).told(Side::Client, &[right]);
        match self {
            Self::Fin | Self::FinAlone => {
                broker.receive_bytes(unread)?;
                drop(broker);
                client.wait_for_end()?;
                if self == Self::Fin {
                    drop(client);
                } else {
                    scene.keep_end(client);
                }
                // The broker's own host did it, in order: telling is welcome, silence is fine.
                Ok(label.if_told(Side::Broker, &[right]).without_reset())
            }
            Self::LateWrite => {
                broker.receive_bytes(unread)?;
                drop(broker);
                client.wait_for_end()?;
                scene.silence(scene.draw.time(60, 500))?;
                client.send(more)?;
                client.wait_for_reset()?;
                scene.keep_end(client);
                Ok(label.told(Side::Broker, &[right]).genuine(Side::Client))
            }
            Self::FinThenReset(delay) => {
                scene.silence(delay)?;
                if unread == 0 {
                    client.send(more)?;
                    broker.wait_for_data()?;
                }
                broker.end()?;
                client.wait_for_end()?;
                drop(broker);
                client.wait_for_reset()?;
                scene.keep_end(client);
                Ok(label.told(Side::Broker, &[right]).genuine(Side::Client))
            }
        }
    }
}

/// What a client of this kind says next.
fn more(right: Answer) -> Vec<u8> {
    if [TLS_ALERT, TLS_TO_PLAINTEXT].contains(&right) {
        traffic::application_data(90)
    } else if [NOT_KAFKA, HTTP_TO_TLS].contains(&right) {
        b"anything else?\r\n".to_vec()
    } else {
        traffic::kafka(18, 3, 9, b"\x00\x08rdkafka\x062.3.0\x00")
    }
}
