//! The one error type of the example programs.

use std::fmt;

use crate::Position;

/// Why a program cannot go on, for the person who runs it.
#[derive(Debug)]
pub enum Error {
    /// The command line is wrong.
    Usage(String),
    /// A file cannot be read or written.
    Io {
        /// The path as it was given.
        path: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// The input is malformed at a place.
    Syntax {
        /// Where.
        at: Position,
        /// What was expected there.
        message: String,
    },
}

/// A result whose error is one of ours.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// An error on the command line.
    pub fn usage(message: impl Into<String>) -> Self {
        Self::Usage(message.into())
    }

    /// A system error met while using `path`.
    pub fn io(path: &str, source: std::io::Error) -> Self {
        Self::Io { path: path.to_owned(), source }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Usage(message) => write!(f, "{message} (see --help)"),
            Self::Io { path, source } => write!(f, "{path}: {source}"),
            Self::Syntax { at, message } => write!(f, "line {}, column {}: {message}", at.line, at.column),
        }
    }
}

impl std::error::Error for Error {}
