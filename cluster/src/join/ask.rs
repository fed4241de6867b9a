//! One address is asked.

use super::Answer;
use crate::transport::{self, GreetingError, HelloError};
use bytes::Bytes;
use std::{io::ErrorKind, time::Duration};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

const STRANGER: &str = "the other side is no node of Oribi";
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
    let asked = transport::ask(&mut stream, body).await;
    // Some serve one connection at a time.
    drop(stream);
    match asked {
        Ok(body) => match Answer::decode(&body) {
            Some(answer) => Asked::Answered(answer),
            None => Asked::Stranger("its answer cannot be read".into()),
        },
        Err(GreetingError::Hello(HelloError::NoNode)) => Asked::Stranger(STRANGER.into()),
        // A node that stops does not answer either.
        Err(_) if speaks_http(address).await => {
            Asked::Stranger(format!("{STRANGER}: it speaks HTTP; expected the address for nodes"))
        }
        Err(GreetingError::Io(error)) if error.kind() == ErrorKind::UnexpectedEof => {
            Asked::Nobody("it closed the connection without a word".into())
        }
        Err(error) => Asked::Nobody(error.to_string()),
    }
}

/// Whether a server of HTTP listens there, which some know only by its own words.
async fn speaks_http(address: &str) -> bool {
    const QUESTION: &[u8] = b"GET / HTTP/1.0\r\n\r\n";
    const ANSWER: &[u8] = b"HTTP/";
    let asking = async {
        let mut stream = TcpStream::connect(address).await?;
        stream.write_all(QUESTION).await?;
        let mut answer = [0; ANSWER.len()];
        stream.read_exact(&mut answer).await?;
        std::io::Result::Ok(answer == ANSWER)
    };
    matches!(timeout(CONNECT_WAIT, asking).await, Ok(Ok(true)))
}
