//! Reading typed values from a table, with the place of what is wrong.

use std::collections::BTreeMap;

use toml::{Spanned, de::DeValue};

use super::{in_order, scalar, unknown};

/// What is wrong, and at which byte of the file.
pub(super) type Wrong = (usize, String);

/// A table of the file.
#[derive(Clone, Copy, Debug)]
pub(super) struct Table<'a, 'i> {
    value: &'a Spanned<DeValue<'i>>,
}

impl<'a, 'i> Table<'a, 'i> {
    pub(super) const fn new(value: &'a Spanned<DeValue<'i>>) -> Self {
        Self { value }
    }

    /// Something is wrong with the table as a whole.
    pub(super) fn wrong(self, sentence: impl Into<String>) -> Wrong {
        (self.value.span().start, sentence.into())
    }

    /// Refuses keys that are none of `known`.
    pub(super) fn only(self, known: &[&str]) -> Result<(), Wrong> {
        let table = self.value.get_ref().as_table();
        for (key, _) in table.map(in_order).unwrap_or_default() {
            if !known.contains(&key.get_ref().as_ref()) {
                return Err((key.span().start, unknown(key.get_ref(), known, "")));
            }
        }
        Ok(())
    }

    fn get(self, key: &str) -> Option<&'a Spanned<DeValue<'i>>> {
        self.value.get_ref().as_table()?.get(key)
    }

    /// A text or a number, as `parse` takes it.
    pub(super) fn optional<T>(
        self,
        key: &str,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Result<Option<T>, Wrong> {
        let Some(value) = self.get(key) else {
            return Ok(None);
        };
        let text = scalar(value.get_ref()).ok_or_else(|| {
            let kind = value.get_ref().type_str();
            format!("{key} takes a string or a number, no {kind}")
        });
        text.and_then(|text| parse(&text))
            .map(Some)
            .map_err(|sentence| (value.span().start, sentence))
    }

    /// As [`Table::optional`], where the key must be there.
    pub(super) fn required<T>(
        self,
        key: &str,
        example: &str,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Result<T, Wrong> {
        self.optional(key, parse)?.ok_or_else(|| {
            self.wrong(format!(
                "the key {key} is missing, such as {key} = {example}"
            ))
        })
    }

    /// A list of texts, each as `parse` takes it; one text is a list too.
    pub(super) fn list<T>(
        self,
        key: &str,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Result<Vec<T>, Wrong> {
        let Some(items) = self.get(key).and_then(|value| value.get_ref().as_array()) else {
            return Ok(self.optional(key, parse)?.into_iter().collect());
        };
        items
            .iter()
            .map(|item| {
                scalar(item.get_ref())
                    .ok_or_else(|| format!("{key} is a list of strings"))
                    .and_then(|text| parse(&text))
                    .map_err(|sentence| (item.span().start, sentence))
            })
            .collect()
    }

    /// A flag.
    pub(super) fn flag(self, key: &str) -> Result<bool, Wrong> {
        match self
            .get(key)
            .map(|value| (value, value.get_ref().as_bool()))
        {
            None => Ok(false),
            Some((_, Some(given))) => Ok(given),
            Some((value, None)) => Err((value.span().start, format!("{key} is true or false"))),
        }
    }

    /// A table of texts, in the order of its keys.
    pub(super) fn texts(self, key: &str) -> Result<BTreeMap<String, String>, Wrong> {
        let Some(value) = self.get(key) else {
            return Ok(BTreeMap::new());
        };
        let table = value.get_ref().as_table().ok_or_else(|| {
            (
                value.span().start,
                format!("{key} is a table, such as {key} = {{ \"name\" = \"value\" }}"),
            )
        })?;
        let entries = table.iter().map(|(name, value)| {
            let text = match value.get_ref() {
                DeValue::Boolean(given) => Some(given.to_string()),
                other => scalar(other),
            };
            text.map(|text| (name.get_ref().to_string(), text))
                .ok_or_else(|| (value.span().start, format!("{key} holds texts")))
        });
        entries.collect()
    }
}
