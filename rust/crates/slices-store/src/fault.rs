//! Explains the failures of stores in our own words, since an answer of a server may repeat what it
//! was sent.

use std::error::Error as StdError;
use std::path::Path;

use object_store::Error as StoreError;

use slices_core::error::{Code, Error};

/// Why an object could not be read or written; cheap to copy, since several readers may meet it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fault {
    pub kind: FaultKind,
    message: String,
    hint: &'static str,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FaultKind {
    /// There is no such object.
    Missing,
    /// An object of this name is there, against the request.
    Exists,
    /// The object is not what it was, or not what was asked for.
    Corrupt,
    /// The store cannot do it that way.
    Unsupported,
    /// The range asked for lies outside the object.
    OutOfRange,
    /// It refuses.
    Denied,
    /// It cannot be reached, or fails.
    System,
}

impl Fault {
    pub fn new(kind: FaultKind, message: impl Into<String>, hint: &'static str) -> Self {
        Self {
            kind,
            message: message.into(),
            hint,
        }
    }

    pub fn corrupt(message: impl Into<String>) -> Self {
        Self {
            kind: FaultKind::Corrupt,
            message: message.into(),
            hint: "run again when no process writes there; give a new version a new name",
        }
    }

    pub fn changed(what: &str) -> Self {
        Self::corrupt(format!("the file changed while it was being read: {what}"))
    }

    /// A request ended without an answer.
    pub fn interrupted() -> Self {
        Self::new(
            FaultKind::System,
            "a request ended without an answer",
            "run again",
        )
    }

    /// An answer holds other bytes than those that were asked for.
    pub fn of_wrong_answer() -> Self {
        Self {
            hint: "read from a server that answers requests for ranges of bytes",
            ..Self::corrupt("the answer of the server is not the range that was asked for")
        }
    }

    /// A failure of this machine, such as a full disk.
    pub fn of_error(error: &Error) -> Self {
        Self {
            kind: FaultKind::System,
            message: error.message().to_owned(),
            hint: "free space, or choose another folder of temporary files",
        }
    }

    pub fn of_store(error: &StoreError) -> Self {
        let text = chain(error);
        let code = code_in(&text);
        let status = status_in(&text);
        let system = |message: String, hint| Self::new(FaultKind::System, message, hint);
        let answer = match (&code, status) {
            (Some(code), Some(status)) => format!(" ({status}, {code})"),
            (None, Some(status)) => format!(" ({status})"),
            (Some(code), None) => format!(" ({code})"),
            (None, None) => String::new(),
        };
        match code.as_deref() {
            Some("NoSuchBucket" | "ContainerNotFound") => {
                return system(
                    format!("the bucket does not exist{answer}"),
                    "check the name of the bucket, its region and endpoint",
                );
            }
            Some(
                "ExpiredToken"
                | "ExpiredTokenException"
                | "RequestExpired"
                | "TokenRefreshRequired",
            ) => {
                return system(
                    format!("the credentials have expired{answer}"),
                    "get new credentials, and run again",
                );
            }
            Some(
                "InvalidAccessKeyId"
                | "SignatureDoesNotMatch"
                | "InvalidToken"
                | "AuthenticationFailed",
            ) => {
                return system(
                    format!("the storage does not accept the credentials{answer}"),
                    "check the access key and the secret that belongs to it",
                );
            }
            Some("NoSuchUpload") => {
                return system(
                    format!("the upload was ended by somebody else{answer}"),
                    "run again",
                );
            }
            _ => {}
        }
        match error {
            StoreError::NotFound { .. } => Self::new(
                FaultKind::Missing,
                "the object does not exist",
                "check its name: names of objects are taken literally",
            ),
            StoreError::AlreadyExists { .. } => Self::new(
                FaultKind::Exists,
                "the object exists already",
                "name another one",
            ),
            StoreError::Precondition { .. } | StoreError::NotModified { .. } => {
                Self::changed("it was replaced")
            }
            StoreError::PermissionDenied { .. } | StoreError::Unauthenticated { .. } => Self::new(
                FaultKind::Denied,
                format!("the storage denies access{answer}"),
                "check the credentials, and what they may read and write",
            ),
            StoreError::NotSupported { .. } | StoreError::NotImplemented { .. } => Self::new(
                FaultKind::Unsupported,
                "the storage does not support this",
                "use another storage",
            ),
            _ if status == Some(416) => Self::new(
                FaultKind::OutOfRange,
                "the range lies outside the object",
                "run again when no process writes there",
            ),
            StoreError::InvalidPath { .. } => system(
                "a name below the folder has a part that is empty, . or ..".to_owned(),
                "name each symbol, and no *; or rename that object",
            ),
            _ if is_wrong_answer(&text) => Self::of_wrong_answer(),
            _ if text.contains("redirect without LOCATION")
                || status.is_some_and(|one| one / 100 == 3) =>
            {
                system(
                    format!("the storage is elsewhere{answer}"),
                    "check the region and the endpoint of the bucket",
                )
            }
            _ if status == Some(401) || status == Some(403) => Self::new(
                FaultKind::Denied,
                format!("the storage denies access{answer}"),
                "check the credentials, and what they may read and write",
            ),
            _ if status.is_some() => system(
                format!("the storage fails{answer}"),
                "try again later; it was asked several times",
            ),
            _ if text.contains("allow_http")
                || text.contains("scheme is not https")
                || text.contains("URL scheme is not allowed") =>
            {
                system(
                    "the endpoint is not encrypted, which has to be allowed".to_owned(),
                    "set the storage option allow_http to true, if nobody else can listen",
                )
            }
            _ => system(
                format!("cannot reach the storage{}", innermost(error)),
                "check the network, and the endpoint in the storage options or environment",
            ),
        }
    }

    pub fn is_missing(&self) -> bool {
        self.kind == FaultKind::Missing
    }

    /// The error of reading this object.
    pub fn of_input(&self, path: &Path) -> Error {
        let error = match self.kind {
            FaultKind::System | FaultKind::Denied | FaultKind::Unsupported => {
                Error::system(format!("cannot read the file: {}", self.message))
            }
            FaultKind::Corrupt => Error::input(Code::CorruptInput, &*self.message),
            FaultKind::Missing | FaultKind::Exists | FaultKind::OutOfRange => Error::input(
                Code::CorruptInput,
                format!("cannot read the file: {}", self.message),
            ),
        };
        error.at_file(path).with_hint(self.hint)
    }

    /// The error of writing this object.
    pub fn of_output(&self, path: &Path) -> Error {
        Error::system(format!("cannot write the output: {}", self.message))
            .at_file(path)
            .with_hint(self.hint)
    }
}

/// The texts of an error and of all its causes.
fn chain(error: &StoreError) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text.push_str(" | ");
        text.push_str(&error.to_string());
        source = error.source();
    }
    text
}

/// The code in an answer of a store, such as `NoSuchKey`.
fn code_in(text: &str) -> Option<String> {
    let (_, after) = text.split_once("<Code>")?;
    let (code, _) = after.split_once("</Code>")?;
    let is_word =
        (1..=64).contains(&code.len()) && code.bytes().all(|byte| byte.is_ascii_alphanumeric());
    is_word.then(|| code.to_owned())
}

/// The status of an answer, if it was a failure.
fn status_in(text: &str) -> Option<u16> {
    let (_, after) = text.split_once("status code: ")?;
    after.get(..3)?.parse().ok()
}

fn is_wrong_answer(text: &str) -> bool {
    [
        "non-partial response",
        "Content-Range",
        "CONTENT_RANGE",
        "Requested ",
        "Content-Length",
        "Unable to extract metadata from headers",
    ]
    .iter()
    .any(|part| text.contains(part))
}

/// The first cause, if it is one of the system: its text holds no address.
fn innermost(error: &StoreError) -> String {
    let mut cause: &(dyn StdError + 'static) = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    if let Some(io) = cause.downcast_ref::<std::io::Error>() {
        return format!(": {io}");
    }
    let text = chain(error);
    if text.contains("timed out") || text.contains("TimedOut") || text.contains("Timeout") {
        return ": it does not answer in time".to_owned();
    }
    if text.contains("dns error") {
        return ": its name is not known".to_owned();
    }
    if text.contains("Connect") || text.contains("connect") {
        return ": no connection".to_owned();
    }
    String::new()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn generic(text: &str) -> StoreError {
        StoreError::Generic {
            store: "S3",
            source: text.to_owned().into(),
        }
    }

    #[test]
    fn answers_of_stores_are_told_apart() {
        let body = "Server returned non-2xx status code: 400 Bad Request: <Error><Code>ExpiredToken</Code>\
                    <Token-0>hunter2</Token-0></Error>";
        let fault = Fault::of_store(&generic(body));
        assert_eq!(
            fault.message,
            "the credentials have expired (400, ExpiredToken)"
        );
        let fault = Fault::of_store(&generic(
            "Server returned non-2xx status code: 503 Slow Down: hunter2",
        ));
        assert_eq!(fault.message, "the storage fails (503)");
        let fault = Fault::of_store(&generic(
            "Received non-partial response when range requested",
        ));
        assert_eq!(fault.kind, FaultKind::Corrupt);
        let odd = Fault::of_store(&generic("<Code>hunter2 & co</Code> hunter2"));
        assert!(!format!("{odd:?}").contains("hunter2"), "{odd:?}");
    }
}
