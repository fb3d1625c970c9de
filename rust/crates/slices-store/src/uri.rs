//! Splits the URI of an object into its bucket and its key.

use std::path::{Path, PathBuf};

use object_store::path::Path as Key;

use slices_core::error::{Error, Result};
use slices_core::request::{Scheme, remote_scheme};

/// The name of an object, or of the beginning of several.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Uri {
    pub scheme: Scheme,
    /// Scheme and bucket, or the whole URI on a web server.
    pub store: String,
    /// Its name there, taken literally.
    pub key: Key,
    /// As it was spelled.
    pub path: PathBuf,
}

impl Uri {
    /// Splits a URI whose scheme was checked before.
    ///
    /// # Errors
    ///
    /// A usage error if the name is not one that stores take.
    pub fn parse(path: &Path) -> Result<Self> {
        let malformed = |why: &str| {
            Error::usage(format!("cannot name an object: {why}"))
                .at_file(path)
                .with_hint("write it as s3://bucket/folder/name")
        };
        let text = path.to_str().ok_or_else(|| malformed("it is not UTF-8"))?;
        let scheme = remote_scheme(path).ok_or_else(|| malformed("it is no URI"))?;
        if scheme == Scheme::Http {
            return Ok(Self {
                scheme,
                store: text.to_owned(),
                key: Key::default(),
                path: path.to_owned(),
            });
        }
        let start = text.find("://").map_or(0, |at| at + "://".len());
        let (bucket, key) = text[start..]
            .split_once('/')
            .unwrap_or((&text[start..], ""));
        if key.starts_with('/') {
            return Err(malformed("it has an empty part between two slashes"));
        }
        let key = Key::parse(key).map_err(|error| malformed(&why(&error)))?;
        Ok(Self {
            scheme,
            store: format!("{}{bucket}", &text[..start]),
            key,
            path: path.to_owned(),
        })
    }

    /// The URI of another object of the same store.
    pub fn of_key(&self, key: &Key) -> PathBuf {
        PathBuf::from(format!("{}/{key}", self.store))
    }
}

fn why(error: &object_store::path::Error) -> String {
    use object_store::path::Error as E;
    match error {
        E::EmptySegment { .. } => "it has an empty part between two slashes".to_owned(),
        E::BadSegment { .. } => "it has a part that stores do not take, such as . or ..".to_owned(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_taken_literally() {
        let uri = Uri::parse(Path::new("s3://b/a%20b/c d#e?f=1.parquet")).expect("a URI");
        assert_eq!(uri.store, "s3://b");
        assert_eq!(uri.key.as_ref(), "a%20b/c d#e?f=1.parquet");
        assert_eq!(uri.of_key(&uri.key), uri.path);
        for text in ["s3://b//a", "s3://b/a//b", "s3://b/../a", "s3://b/./a"] {
            assert!(Uri::parse(Path::new(text)).is_err(), "{text}");
        }
    }
}
