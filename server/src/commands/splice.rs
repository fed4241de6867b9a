//! Several answers of one query shape written as one stream.

use anyhow::{Result, bail};

/// How an Arrow IPC stream ends.
const ARROW_END: [u8; 8] = [0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0];

/// What has to go from an answer so that it continues those before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Splice {
    /// Nothing: every line stands alone.
    Lines,
    /// The header.
    Csv,
    /// The schema message, and the end of the one before.
    Arrow,
}

impl Splice {
    /// The part of an answer that is written; `is_first` keeps what leads the stream.
    ///
    /// # Errors
    /// Bytes that are not in the format.
    pub(super) fn part(self, answer: &[u8], is_first: bool) -> Result<&[u8]> {
        match self {
            Splice::Lines => Ok(answer),
            Splice::Csv if is_first => Ok(answer),
            Splice::Csv => Ok(&answer[csv_header_len(answer)..]),
            Splice::Arrow => {
                let Some(body) = answer.strip_suffix(&ARROW_END) else {
                    bail!("the answer is no whole arrow stream");
                };
                let schema_len = arrow_message_len(body)?;
                Ok(if is_first { body } else { &body[schema_len..] })
            }
        }
    }

    /// What ends the stream.
    pub(super) fn end(self) -> &'static [u8] {
        if self == Splice::Arrow { &ARROW_END } else { &[] }
    }
}

/// Names of columns may hold quoted ends of line.
fn csv_header_len(answer: &[u8]) -> usize {
    let mut is_quoted = false;
    for (at, byte) in answer.iter().enumerate() {
        match byte {
            b'"' => is_quoted = !is_quoted,
            b'\n' if !is_quoted => return at + 1,
            _ => {}
        }
    }
    answer.len()
}

/// The length of a first message without a body, as a schema is.
fn arrow_message_len(stream: &[u8]) -> Result<usize> {
    const HEAD_BYTES: usize = 8;
    let head = stream.get(..HEAD_BYTES).filter(|head| head[..4] == ARROW_END[..4]);
    let length = head.and_then(|head| head[4..].try_into().ok()).map(u32::from_le_bytes);
    match length.map(|length| HEAD_BYTES + length as usize) {
        Some(length) if length <= stream.len() => Ok(length),
        _ => bail!("the answer does not begin with an arrow schema"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_leads_a_stream_is_written_once() {
        let csv = b"time,\"a\n\"\"b\"\n1,2\n";
        assert_eq!(Splice::Csv.part(csv, true).unwrap(), csv);
        assert_eq!(Splice::Csv.part(csv, false).unwrap(), b"1,2\n");
        let mut arrow = vec![0xff, 0xff, 0xff, 0xff, 3, 0, 0, 0, 1, 2, 3, 9, 9];
        arrow.extend(ARROW_END);
        assert_eq!(Splice::Arrow.part(&arrow, true).unwrap(), &arrow[..13]);
        assert_eq!(Splice::Arrow.part(&arrow, false).unwrap(), [9, 9]);
        assert!(Splice::Arrow.part(&arrow[..12], true).is_err());
        assert!(Splice::Arrow.part(&[&arrow[8..]].concat(), true).is_err());
    }
}
