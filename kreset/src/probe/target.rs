//! The broker, as it is given.

use std::{
    io,
    net::{IpAddr, SocketAddr, ToSocketAddrs as _},
};

use thiserror::Error;

/// Kafka's own.
const PORT: u16 = 9_092;

/// Why a broker was refused.
#[derive(Debug, Error)]
pub enum TargetError {
    /// A proxy or another kind of address.
    #[error(
        "invalid broker {given:?}: expected HOST:PORT; probe connects directly, through a SOCKS or \
         HTTP proxy it would measure the proxy's own connection"
    )]
    Url {
        /// What was given.
        given: String,
    },
    /// No port.
    #[error("invalid port {port:?} in broker {given:?}: expected 1 to 65535")]
    Port {
        /// What was given.
        given: String,
        /// Its port.
        port: String,
    },
    /// It has no such address.
    #[error("cannot resolve {host:?}: {source}; give an address, or check the name")]
    Unknown {
        /// The name.
        host: String,
        /// What the resolver says.
        source: io::Error,
    },
    /// Not one of its addresses.
    #[error("{address} is not an address of {host}; expected one of {known}")]
    OtherAddress {
        /// What `--address` says.
        address: IpAddr,
        /// The name.
        host: String,
        /// Its addresses.
        known: String,
    },
}

/// A broker's host and port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    host: String,
    port: u16,
}

impl Target {
    /// Reads `HOST:PORT`, `HOST`, `[ADDRESS]:PORT` or an address.
    ///
    /// # Errors
    /// When it is anything else.
    pub fn parse(given: &str) -> Result<Self, TargetError> {
        if given.contains('/') || given.is_empty() {
            return Err(TargetError::Url {
                given: given.to_owned(),
            });
        }
        let whole = |host: &str| Self {
            host: host.to_owned(),
            port: PORT,
        };
        if let Ok(address) = given.parse::<SocketAddr>() {
            return Ok(Self {
                host: address.ip().to_string(),
                port: address.port(),
            });
        }
        let bare = given.strip_prefix('[').and_then(|it| it.strip_suffix(']'));
        if let Ok(address) = bare.unwrap_or(given).parse::<IpAddr>() {
            return Ok(whole(&address.to_string()));
        }
        let Some((host, port)) = given.rsplit_once(':') else {
            return Ok(whole(given));
        };
        match port.parse() {
            Ok(port @ 1..) if !host.is_empty() => Ok(Self {
                host: host.to_owned(),
                port,
            }),
            _ => Err(TargetError::Port {
                given: given.to_owned(),
                port: port.to_owned(),
            }),
        }
    }

    /// A broker by its address.
    #[must_use]
    pub fn at(address: SocketAddr) -> Self {
        Self {
            host: address.ip().to_string(),
            port: address.port(),
        }
    }

    /// Its addresses, each once; only `wanted`, if that is given.
    ///
    /// # Errors
    /// When it has none, or not that one.
    pub fn resolve(&self, wanted: Option<IpAddr>) -> Result<Vec<SocketAddr>, TargetError> {
        let unknown = |source| TargetError::Unknown {
            host: self.host.clone(),
            source,
        };
        let found = (self.host.as_str(), self.port)
            .to_socket_addrs()
            .map_err(unknown)?;
        let mut all: Vec<SocketAddr> = Vec::new();
        for address in found {
            let address = SocketAddr::new(address.ip().to_canonical(), address.port());
            if !all.contains(&address) {
                all.push(address);
            }
        }
        if all.is_empty() {
            return Err(unknown(io::Error::other("it has no address")));
        }
        let Some(wanted) = wanted else {
            return Ok(all);
        };
        match all.iter().find(|it| it.ip() == wanted.to_canonical()) {
            Some(address) => Ok(vec![*address]),
            None => Err(TargetError::OtherAddress {
                address: wanted,
                host: self.host.clone(),
                known: all
                    .iter()
                    .map(|it| it.ip().to_string())
                    .collect::<Vec<_>>()
                    .join(", "),
            }),
        }
    }
}

impl std::fmt::Display for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_people_write() {
        for (given, read) in [
            ("broker-3:9093", "broker-3:9093"),
            ("broker-3", "broker-3:9092"),
            ("10.0.0.1", "10.0.0.1:9092"),
            ("10.0.0.1:9094", "10.0.0.1:9094"),
            ("fd00::1", "[fd00::1]:9092"),
            ("[fd00::1]", "[fd00::1]:9092"),
            ("[fd00::1]:9094", "[fd00::1]:9094"),
        ] {
            assert_eq!(Target::parse(given).unwrap().to_string(), read);
        }
    }

    #[test]
    fn what_is_refused() {
        for (given, says) in [
            ("socks5://proxy:1080", "proxy"),
            ("http://proxy:3128", "proxy"),
            ("", "expected HOST:PORT"),
            ("broker:kafka", "invalid port \"kafka\""),
            ("broker:0", "invalid port \"0\""),
            ("broker:70000", "invalid port"),
            (":9092", "invalid port"),
        ] {
            let error = Target::parse(given).unwrap_err().to_string();
            assert!(error.contains(says), "{given}: {error}");
        }
    }

    #[test]
    fn an_address_is_chosen_among_its_own() {
        let target = Target::parse("127.0.0.1:9094").unwrap();
        let own = SocketAddr::from(([127, 0, 0, 1], 9094));
        assert_eq!(target.resolve(None).unwrap(), [own]);
        assert_eq!(target.resolve(Some(own.ip())).unwrap(), [own]);
        let error = target.resolve(Some([10, 0, 0, 9].into())).unwrap_err();
        assert!(error.to_string().contains("127.0.0.1"), "{error}");
    }
}
