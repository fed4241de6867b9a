//! One address is asked.

use super::Answer;
use crate::transport::{self, GreetingError, HelloError};
use bytes::Bytes;
use std::{io::ErrorKind, time::Duration};
use tokio::{net::TcpStream, time::timeout};

const CONNECT_WAIT: Duration = Duration::from_secs(2);

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Asked {
    Answered(Answer),
    /// Nobody is there now.
    Nobody(String),
    /// Somebody is there who will never understand.
    Stranger(String),
}

/// Asks who listens at `address` (`HOST:PORT`).
pub(crate) async fn ask(address: &str, body: Bytes) -> Asked {
    let connecting = timeout(CONNECT_WAIT, TcpStream::connect(address)).await;
    let mut stream = match connecting {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => return Asked::Nobody(format!("cannot connect: {error}")),
        Err(_) => return Asked::Nobody("nobody answered in time".into()),
    };
    match transport::ask(&mut stream, body).await {
        Ok(body) => match Answer::decode(&body) {
            Some(answer) => Asked::Answered(answer),
            None => Asked::Stranger("its answer cannot be read".into()),
        },
        Err(GreetingError::Hello(HelloError::NoNode)) => {
            Asked::Stranger("the other side is no node of Oribi".into())
        }
        Err(GreetingError::Io(error)) if error.kind() == ErrorKind::UnexpectedEof => {
            Asked::Nobody("it closed the connection without a word".into())
        }
        Err(error) => Asked::Nobody(error.to_string()),
    }
}
