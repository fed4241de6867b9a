//! Where a Kafka source begins.

use oribi_decode::time::parse_text;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Where a new connector begins to read the partitions that there are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Start {
    /// `earliest`, `latest`, or a moment (RFC 3339): the first record stamped then or later.
    Word(String),
    /// Offsets by the numbers of partitions; a partition that is not named begins with its first
    /// record.
    Offsets(BTreeMap<String, u64>),
}

/// The same once it was understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Beginning {
    Earliest,
    Latest,
    /// Ms since the Unix epoch.
    At(i64),
    Offsets(BTreeMap<i32, u64>),
}

impl Start {
    /// # Errors
    /// What was expected.
    pub(crate) fn read(&self) -> Result<Beginning, String> {
        match self {
            Start::Word(word) if word == "earliest" => Ok(Beginning::Earliest),
            Start::Word(word) if word == "latest" => Ok(Beginning::Latest),
            Start::Word(moment) => match parse_text(moment) {
                Ok(time_ns) => Ok(Beginning::At(time_ns.div_euclid(1_000_000))),
                Err(_) => Err(format!(
                    "{moment:?} is no start; expected earliest, latest, a moment such as \
                     2026-01-31T12:00:00Z, or offsets by partition"
                )),
            },
            Start::Offsets(offsets) => {
                let number = |(partition, offset): (&String, &u64)| {
                    let number = partition.parse().ok().filter(|number: &i32| *number >= 0);
                    let is_offset = i64::try_from(*offset).is_ok();
                    let number = number.filter(|_| is_offset);
                    number.map(|number| (number, *offset)).ok_or_else(|| {
                        format!("{partition:?} = {offset} is no partition and offset")
                    })
                };
                Ok(Beginning::Offsets(offsets.iter().map(number).collect::<Result<_, _>>()?))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_moments_and_offsets() {
        let read = |json: &str| serde_json::from_str::<Start>(json).unwrap().read();
        assert_eq!(read(r#""earliest""#), Ok(Beginning::Earliest));
        assert_eq!(read(r#""latest""#), Ok(Beginning::Latest));
        assert_eq!(read(r#""1970-01-01T00:00:01.5Z""#), Ok(Beginning::At(1_500)));
        assert_eq!(read(r#"{"0":5,"3":0}"#), Ok(Beginning::Offsets([(0, 5), (3, 0)].into())));
        for wrong in [r#""newest""#, r#"{"-1":5}"#, r#"{"a":5}"#, r#"{"0":18446744073709551615}"#] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }
}
