//! Tells local paths from URIs, which this program cannot read.

use crate::error::{Code, Error, Result};

/// Rejects a URI: only local paths can be read and written.
///
/// # Errors
///
/// [`Code::UnsupportedInput`] with the scheme if `text` starts like `s3://`.
pub fn check_local_path(text: &str) -> Result<()> {
    match uri_scheme(text) {
        None => Ok(()),
        Some(scheme) => Err(Error::input(
            Code::UnsupportedInput,
            format!("cannot read {text:?}: the scheme {scheme} is not supported"),
        )
        .with_hint("download the files, then name a local path")),
    }
}

/// The text before `://`, if it can be a scheme: then `text` is no local path.
#[must_use]
pub fn uri_scheme(text: &str) -> Option<&str> {
    let (scheme, _) = text.split_once("://")?;
    let is_scheme = scheme.starts_with(|first: char| first.is_ascii_alphabetic())
        && scheme
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"+.-".contains(&byte));
    is_scheme.then_some(scheme)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_begins_like_a_scheme_is_a_uri() {
        for text in ["s3://bucket/x", "hdfs://cluster", "file:///data", "a+b://x"] {
            assert!(check_local_path(text).is_err(), "{text}");
        }
        for text in [
            "data/x", "/data", "C:/x", "a:b", "://x", "1s://x", "a b://x", "",
        ] {
            assert!(check_local_path(text).is_ok(), "{text}");
        }
    }
}
