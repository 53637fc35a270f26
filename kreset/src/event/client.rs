//! The client of a connection, and the names that it gives itself.

use std::{fmt, net::IpAddr, str::FromStr};

use serde::{Deserialize, Serialize};
use smol_str::SmolStr;
use thiserror::Error;

use super::Endpoint;

/// The end that called `connect()`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Client {
    /// Address; IPv4-mapped IPv6 addresses are IPv4 here.
    pub address: IpAddr,
    /// TCP port.
    pub port: u16,
    /// Kafka's `client.id`, from the header of the first request. One that is longer than
    /// what is kept of the request ends in `…`. `null` where it was not seen, or `--names`
    /// leaves it out.
    pub id: Option<SmolStr>,
    /// What the client calls its software, such as `apache-kafka-java` (KIP-511).
    pub software: Option<SmolStr>,
    /// The version of the software, from there.
    pub version: Option<SmolStr>,
}

impl Client {
    /// The client at `end`, with its names.
    #[must_use]
    pub fn new(end: Endpoint, names: ClientNames) -> Self {
        let Endpoint { address, port } = end;
        let ClientNames {
            id,
            software,
            version,
        } = names;
        Self {
            address,
            port,
            id,
            software,
            version,
        }
    }

    /// Address and port.
    #[must_use]
    pub const fn end(&self) -> Endpoint {
        Endpoint {
            address: self.address,
            port: self.port,
        }
    }
}

impl From<Client> for ClientNames {
    fn from(client: Client) -> Self {
        let Client {
            id,
            software,
            version,
            ..
        } = client;
        Self {
            id,
            software,
            version,
        }
    }
}

impl From<Endpoint> for Client {
    fn from(end: Endpoint) -> Self {
        Self::new(end, ClientNames::default())
    }
}

/// The names that a client gives itself in its first request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClientNames {
    /// Its `client.id`.
    pub id: Option<SmolStr>,
    /// The name of its software.
    pub software: Option<SmolStr>,
    /// The version of its software.
    pub version: Option<SmolStr>,
}

/// Which of these names events have: the choice made by `--names`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NamesShown {
    /// [`ClientNames::id`].
    pub client_id: bool,
    /// [`ClientNames::software`] and its version.
    pub software: bool,
}

impl NamesShown {
    /// None of them.
    pub const NONE: Self = Self {
        client_id: false,
        software: false,
    };

    /// `names` without those that are not shown.
    #[must_use]
    pub fn of(self, names: ClientNames) -> ClientNames {
        ClientNames {
            id: names.id.filter(|_| self.client_id),
            software: names.software.filter(|_| self.software),
            version: names.version.filter(|_| self.software),
        }
    }
}

impl Default for NamesShown {
    fn default() -> Self {
        Self {
            client_id: true,
            software: true,
        }
    }
}

impl fmt::Display for NamesShown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match (self.client_id, self.software) {
            (true, true) => "client-id,software",
            (true, false) => "client-id",
            (false, true) => "software",
            (false, false) => "none",
        })
    }
}

impl FromStr for NamesShown {
    type Err = NamesError;

    fn from_str(text: &str) -> Result<Self, NamesError> {
        let error = || NamesError(text.to_owned());
        let mut shown = Self::NONE;
        if text == "none" {
            return Ok(shown);
        }
        for name in text.split(',') {
            match name.trim() {
                "client-id" => shown.client_id = true,
                "software" => shown.software = true,
                _ => return Err(error()),
            }
        }
        Ok(shown)
    }
}

/// A list of names that there are not.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("invalid names \"{0}\": expected client-id, software, both with a comma, or none")]
pub struct NamesError(String);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_asked_for_is_left_out() {
        let names = || ClientNames {
            id: Some("orders-api".into()),
            software: Some("apache-kafka-java".into()),
            version: Some("4.3.0".into()),
        };
        let shown = |text: &str| text.parse::<NamesShown>().unwrap().of(names());
        assert_eq!(shown("client-id,software"), names());
        assert_eq!(shown("software, client-id"), names());
        assert_eq!(NamesShown::default().of(names()), names());
        assert_eq!(shown("none"), ClientNames::default());
        assert_eq!(shown("client-id").software, None);
        assert_eq!(shown("client-id").version, None);
        let software = shown("software");
        assert_eq!((software.id, software.version), (None, names().version));
    }

    #[test]
    fn a_choice_reads_back_and_others_are_refused() {
        for text in ["client-id,software", "client-id", "software", "none"] {
            assert_eq!(text.parse::<NamesShown>().unwrap().to_string(), text);
        }
        for text in ["", "user", "none,software", "client-id,", "client_id"] {
            let error = text.parse::<NamesShown>().unwrap_err().to_string();
            assert!(error.contains(&format!("\"{text}\": expected")), "{error}");
        }
    }
}
