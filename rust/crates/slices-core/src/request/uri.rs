//! Tells local paths from URIs, and which URIs can be read and written.

use std::path::{Path, PathBuf};

use crate::error::{Code, Error, Result};

/// A scheme of URIs that name objects in a bucket or on a web server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Scheme {
    /// Amazon S3, and what speaks its protocol.
    S3,
    /// Google Cloud Storage.
    Gs,
    /// Azure Blob Storage.
    Az,
    /// A web server: `http` or `https`.
    Http,
}

impl Scheme {
    /// Whether objects can be listed and written, not only read by their full name.
    #[must_use]
    pub const fn is_bucket(self) -> bool {
        !matches!(self, Self::Http)
    }
}

const SUPPORTED: &str = "s3://, gs://, az://, http://, https:// and file://";

/// The scheme of a URI that names an object elsewhere; `None` for local paths and unknown schemes.
#[must_use]
pub fn remote_scheme(path: &Path) -> Option<Scheme> {
    match uri_scheme(path.to_str()?)? {
        "s3" => Some(Scheme::S3),
        "gs" => Some(Scheme::Gs),
        "az" => Some(Scheme::Az),
        "http" | "https" => Some(Scheme::Http),
        _ => None,
    }
}

/// The path that a URI of the scheme `file` names, taken literally; any other text as it is.
#[must_use]
pub fn without_file_scheme(path: PathBuf) -> PathBuf {
    let after = path.to_str().and_then(|text| text.strip_prefix("file://"));
    let after = after.map(|after| after.strip_prefix("localhost").unwrap_or(after));
    match after.filter(|after| after.starts_with('/')) {
        Some(local) => PathBuf::from(local),
        None => path,
    }
}

/// Checks that a text names a local path or an object that can be read.
///
/// # Errors
///
/// [`Code::UnsupportedInput`] with the scheme if it is not a known one. A usage error for a URI
/// without the name of a bucket or server, or one whose name holds credentials or a query.
pub fn check_readable(text: &str) -> Result<()> {
    let Some(scheme) = uri_scheme(text) else {
        return Ok(());
    };
    let rest = &text[scheme.len() + "://".len()..];
    let wrong = |what: &str, hint: &'static str| {
        // The text itself may hold a password.
        Err(Error::usage(format!("cannot read a {scheme} URI: {what}")).with_hint(hint))
    };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    if authority.contains('@') {
        return wrong(
            "it holds a user name or password",
            "leave them out, and name a place that asks for none",
        );
    }
    match scheme {
        "s3" | "gs" | "az" if authority.is_empty() => wrong(
            "it names no bucket",
            "write the bucket behind the scheme, as in s3://bucket/folder",
        ),
        "s3" | "gs" | "az" if authority.contains(['?', '*', '{']) => wrong(
            "the name of the bucket is not literal",
            "write the bucket out, as in s3://bucket/folder",
        ),
        "s3" | "gs" | "az" => Ok(()),
        "http" | "https" if authority.is_empty() => wrong(
            "it names no server",
            "write the server behind the scheme, as in https://server/file.parquet",
        ),
        "http" | "https" if rest.contains(['?', '#']) => wrong(
            "it holds a query or fragment",
            "name a file that is served without one",
        ),
        "http" | "https" if rest.contains('*') => wrong(
            "files on a web server cannot be listed, so a * matches none",
            "name each file in full, or list them in a list of inputs",
        ),
        "http" | "https" => Ok(()),
        "file" => wrong(
            "it names a file of another machine",
            "write file:///folder/file, or a plain path",
        ),
        _ => Err(Error::input(
            Code::UnsupportedInput,
            format!("cannot read {text:?}: the scheme {scheme} is not supported"),
        )
        .with_hint(format!("use a local path, or one of {SUPPORTED}"))),
    }
}

/// Checks that a text names a local path or an object that can be written.
///
/// # Errors
///
/// As [`check_readable`], as errors of the request; also for a web server.
pub fn check_writable(text: &str) -> Result<()> {
    let scheme = uri_scheme(text).unwrap_or_default();
    check_readable(text).map_err(|error| match error.code() {
        Code::UnsupportedInput => {
            let message = format!("cannot write to {text:?}: the scheme {scheme} is not supported");
            Error::bad_request(Code::UnsupportedInput, message)
                .with_hint("write to a local path, or to one of s3://, gs://, az:// and file://")
        }
        _ => error,
    })?;
    if matches!(scheme, "http" | "https") {
        let message = format!("cannot write to {text:?}: {scheme} can only be read");
        return Err(Error::usage(message).with_hint("write to a bucket or a local path"));
    }
    Ok(())
}

/// Rejects URIs, for what has to be on this machine.
///
/// # Errors
///
/// [`Code::UnsupportedInput`] with the scheme if `text` starts like `s3://`.
pub fn check_local_path(text: &str) -> Result<()> {
    match uri_scheme(text) {
        None => Ok(()),
        Some(scheme) => Err(Error::input(
            Code::UnsupportedInput,
            format!("cannot use {text:?}: the scheme {scheme} is not supported here"),
        )
        .with_hint("name a local path")),
    }
}

/// The scheme of a URI, such as `s3`; `None` for a local path.
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
    fn only_a_scheme_makes_a_uri() {
        for text in ["s3://bucket/root", "https://x/y", "a+b.c-d://x"] {
            assert!(check_local_path(text).is_err(), "{text}");
            assert!(uri_scheme(text).is_some(), "{text}");
        }
        for text in [
            "data", "/data", "C:/data", "a//b", "3d://x", "://x", "a b://x",
        ] {
            assert!(check_local_path(text).is_ok(), "{text}");
            assert!(check_readable(text).is_ok(), "{text}");
        }
    }

    #[test]
    fn what_can_be_read_and_written() {
        for text in [
            "s3://b/x",
            "gs://b",
            "az://b/x y?z",
            "https://server/x.parquet",
        ] {
            assert!(check_readable(text).is_ok(), "{text}");
        }
        for text in [
            "s3://",
            "s3:///x",
            "https://user:pass@server/x",
            "s3://key:pass@b/x",
        ] {
            let error = check_readable(text).expect_err(text);
            assert_eq!(error.code(), Code::Usage, "{text}");
            assert!(!error.to_string().contains("pass@"), "{error}");
        }
        for text in [
            "http://server/x?sig=1",
            "http://server/x*.parquet",
            "file://host/x",
        ] {
            assert_eq!(
                check_readable(text).expect_err(text).code(),
                Code::Usage,
                "{text}"
            );
        }
        for text in ["hdfs://x/y", "ftp://x/y"] {
            let error = check_readable(text).expect_err(text);
            assert_eq!(error.code(), Code::UnsupportedInput, "{text}");
        }
        assert!(check_writable("s3://b/x.arrow").is_ok());
        assert_eq!(
            check_writable("http://h/x.arrow").expect_err("http").code(),
            Code::Usage
        );
    }

    #[test]
    fn a_file_uri_is_the_path_that_it_names() {
        let path = |text: &str| without_file_scheme(PathBuf::from(text));
        assert_eq!(path("file:///a/b%20c"), PathBuf::from("/a/b%20c"));
        assert_eq!(path("file://localhost/a"), PathBuf::from("/a"));
        for text in ["file://host/a", "/a", "file:/a", "s3://b/a"] {
            assert_eq!(path(text), PathBuf::from(text));
        }
    }
}
