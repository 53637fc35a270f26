//! The list of the types of sinks.

use serde::{Deserialize as _, Deserializer, de::Error as _};

use super::{HostSettings, Parts, Settings as _};
use crate::delivery::SinkError;

/// Makes [`Target`] and its dispatch from the list of types.
macro_rules! targets {
    ($($(#[if_feature = $feature:tt])? $kind:literal => $target:ident($config:path),)*) => {
        /// Where the events of a sink go.
        #[derive(Clone, Debug, PartialEq, Eq)]
        #[expect(missing_docs, reason = "each is described by its configuration")]
        pub enum Target {
            $($(#[cfg(feature = $feature)])? $target($config),)*
        }

        impl Target {
            /// Every `type`, with or without code in this build.
            pub const KINDS: &[&str] = &[$($kind),*];

            /// The `type` of such a sink.
            #[must_use]
            pub const fn kind(&self) -> &'static str {
                match self {
                    $($(#[cfg(feature = $feature)])? Self::$target(_) => $kind,)*
                }
            }

            /// Reads the keys of a sink of type `kind`.
            ///
            /// # Errors
            /// When there is no such type, this build does not have it, or a key
            /// is unknown, missing or invalid.
            pub fn deserialize<'de, D: Deserializer<'de>>(
                kind: &str,
                keys: D,
            ) -> Result<Self, D::Error> {
                match kind {
                    $(
                        $(#[cfg(feature = $feature)])?
                        $kind => {
                            let config = <$config>::deserialize(keys)?;
                            config.validate().map_err(D::Error::custom)?;
                            Ok(Self::$target(config))
                        }
                        $(
                            #[cfg(not(feature = $feature))]
                            $kind => Err(D::Error::custom(concat!(
                                "this build has no ", $kind,
                                " sink: build it with the feature ", $feature
                            ))),
                        )?
                    )*
                    _ => Err(D::Error::custom(format_args!(
                        "unknown sink type \"{kind}\"; expected one of {}",
                        Self::KINDS.join(", ")
                    ))),
                }
            }

            /// Whether a sink of type `kind` can be given a filter.
            #[must_use]
            pub fn is_filtered(kind: &str) -> bool {
                match kind {
                    $($(#[cfg(feature = $feature)])? $kind => <$config>::IS_FILTERED,)*
                    _ => true,
                }
            }

            /// An example of the value of the required key `key`.
            #[must_use]
            pub fn example(kind: &str, key: &str) -> Option<&'static str> {
                let required = match kind {
                    $($(#[cfg(feature = $feature)])? $kind => <$config>::REQUIRED,)*
                    _ => &[],
                };
                required.iter().find(|(name, _)| *name == key).map(|(_, example)| *example)
            }

            /// Where the events go, in a few words and without secrets.
            #[must_use]
            pub fn destination(&self) -> String {
                match self {
                    $($(#[cfg(feature = $feature)])? Self::$target(it) => it.destination(),)*
                }
            }

            pub(super) fn check(&self) -> Result<(), SinkError> {
                match self {
                    $($(#[cfg(feature = $feature)])? Self::$target(it) => it.check(),)*
                }
            }

            pub(super) fn open(&self, host: &HostSettings<'_>) -> Result<Parts, SinkError> {
                match self {
                    $($(#[cfg(feature = $feature)])? Self::$target(it) => it.open(host),)*
                }
            }
        }
    };
}

targets! {
    "stdout" => Stdout(super::StdoutConfig),
    "file" => File(super::FileConfig),
    "syslog" => Syslog(super::SyslogConfig),
    #[if_feature = "otlp"]
    "otlp" => Otlp(super::OtlpConfig),
    #[if_feature = "kafka"]
    "kafka" => Kafka(super::KafkaConfig),
    #[if_feature = "metrics"]
    "prometheus" => Prometheus(super::PrometheusConfig),
}
