//! Chooses the fields of the candles that a request asks for.

use std::str::FromStr;

use super::ColumnNames;
use crate::error::{Error, Result};

/// Number of fields of a candle.
const COUNT: usize = ColumnNames::VALUE_FIELDS.len();

/// Some fields of a candle, at least one, in the order open, high, low, close, volume.
///
/// ```
/// # mod omega_slices { pub use slices_core::{Error, request::*}; }
/// use omega_slices::Fields;
///
/// let fields: Fields = "volume,close".parse()?;
/// assert_eq!(fields.names().collect::<Vec<_>>(), ["close", "volume"]);
/// # Ok::<(), omega_slices::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Fields([bool; COUNT]);

impl Fields {
    /// All five fields.
    pub const ALL: Self = Self([true; COUNT]);

    /// Chooses fields by their names, in any order.
    ///
    /// # Errors
    ///
    /// A usage error if a name is unknown or repeated, or there is none.
    pub fn of<S: AsRef<str>>(names: impl IntoIterator<Item = S>) -> Result<Self> {
        let mut chosen = [false; COUNT];
        for name in names {
            let name = name.as_ref();
            let field = ColumnNames::VALUE_FIELDS
                .iter()
                .position(|one| *one == name);
            let field = field.ok_or_else(|| {
                Error::usage(format!(
                    "invalid field {name:?}: expected a field of candles"
                ))
                .with_hint("choose from open, high, low, close and volume")
            })?;
            if std::mem::replace(&mut chosen[field], true) {
                return Err(
                    Error::usage(format!("the field {name:?} is requested twice"))
                        .with_hint("name each field once"),
                );
            }
        }
        if chosen == [false; COUNT] {
            return Err(Error::usage("the request names no field")
                .with_hint("choose from open, high, low, close and volume"));
        }
        Ok(Self(chosen))
    }

    /// Whether these are all five fields.
    #[must_use]
    pub fn is_all(self) -> bool {
        self == Self::ALL
    }

    /// Their names.
    pub fn names(self) -> impl Iterator<Item = &'static str> + Clone {
        self.indices().map(|field| ColumnNames::VALUE_FIELDS[field])
    }

    /// Their indices among [`ColumnNames::VALUE_FIELDS`], ascending.
    pub fn indices(self) -> impl Iterator<Item = usize> + Clone {
        (0..COUNT).filter(move |&field| self.0[field])
    }

    /// The place of a field among these, by its index in [`ColumnNames::VALUE_FIELDS`]. `None` if
    /// it is left out.
    #[must_use]
    pub fn place(self, field: usize) -> Option<usize> {
        self.indices().position(|one| one == field)
    }
}

impl Default for Fields {
    fn default() -> Self {
        Self::ALL
    }
}

impl FromStr for Fields {
    type Err = Error;

    /// Parses names with commas between them.
    fn from_str(text: &str) -> Result<Self> {
        Self::of(
            text.split(',')
                .map(str::trim)
                .filter(|name| !name.is_empty()),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_come_in_the_order_of_a_candle() {
        let fields: Fields = " volume, open".parse().expect("two fields");
        assert_eq!(fields.names().collect::<Vec<_>>(), ["open", "volume"]);
        assert_eq!((fields.place(4), fields.place(3)), (Some(1), None));
        assert!(!fields.is_all() && Fields::default().is_all());
    }

    #[test]
    fn wrong_fields_are_refused() {
        for (text, message) in [
            ("", "the request names no field"),
            ("close,close", "the field \"close\" is requested twice"),
            (
                "Close",
                "invalid field \"Close\": expected a field of candles",
            ),
        ] {
            let error = text.parse::<Fields>().expect_err(text);
            assert_eq!(error.message(), message);
        }
    }
}
