//! Values that are text in JSON, parsed where they stand: without a copy on the heap.

use std::{
    fmt::{self, Display},
    marker::PhantomData,
    str::FromStr,
};

use serde::de::{Error, Visitor};

/// Reads text as a `T`.
pub(super) struct Parsed<T>(PhantomData<T>);

impl<T> Parsed<T> {
    /// Reads the next value.
    pub(super) const fn new() -> Self {
        Self(PhantomData)
    }
}

impl<T: FromStr<Err: Display>> Visitor<'_> for Parsed<T> {
    type Value = T;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("text")
    }

    fn visit_str<E: Error>(self, v: &str) -> Result<T, E> {
        v.parse().map_err(E::custom)
    }
}
