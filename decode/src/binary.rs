//! What the binary decoders share: a reader that never runs past its bytes, and bounds.

use super::{CELL_BYTES_MAX, Fault, JSON_DEPTH_MAX, document::Document};
use oribi_model::RejectReason;

/// Most values of one message: a tree takes many times the bytes that an empty value is written in.
pub(super) const VALUES_MAX: usize = 1 << 19;

/// Bytes left to read.
pub(super) struct Reader<'a> {
    rest: &'a [u8],
    length: usize,
    budget: Budget,
}

/// What a message may still cost.
#[derive(Debug, Clone)]
pub(super) struct Budget {
    format: &'static str,
    values: usize,
}

impl Budget {
    /// That of a new message; the name of its format is for faults.
    pub(super) fn new(format: &'static str) -> Budget {
        Budget { format, values: 0 }
    }

    /// Takes note of one more value, at this depth.
    pub(super) fn begin_value(&mut self, depth: usize) -> Result<(), Fault> {
        self.values += 1;
        if self.values > VALUES_MAX {
            let detail = format!("{} with more than {VALUES_MAX} values", self.format);
            return Err(Fault::new(RejectReason::Limit, detail));
        }
        if depth > JSON_DEPTH_MAX {
            let detail = format!("{} nests deeper than {JSON_DEPTH_MAX} levels", self.format);
            return Err(Fault::new(RejectReason::Limit, detail));
        }
        Ok(())
    }
}

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8], format: &'static str) -> Reader<'a> {
        Reader::within(Budget::new(format), bytes)
    }

    /// A reader of further bytes of a message.
    pub(super) fn within(budget: Budget, bytes: &'a [u8]) -> Reader<'a> {
        Reader { rest: bytes, length: bytes.len(), budget }
    }

    /// What is left for further bytes.
    pub(super) fn into_budget(self) -> Budget {
        self.budget
    }

    /// A fault at the present place.
    pub(super) fn fault(&self, what: &str) -> Fault {
        let at = self.length - self.rest.len();
        Fault::syntax(format!("{} is broken at byte {at}: {what}", self.budget.format))
    }

    pub(super) fn bytes(&mut self, count: u64) -> Result<&'a [u8], Fault> {
        let count = usize::try_from(count).ok().filter(|count| *count <= self.rest.len());
        let count = count.ok_or_else(|| self.fault("it ends too early"))?;
        let (taken, rest) = self.rest.split_at(count);
        self.rest = rest;
        Ok(taken)
    }

    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], Fault> {
        let mut array = [0; N];
        array.copy_from_slice(self.bytes(N as u64)?);
        Ok(array)
    }

    pub(super) fn byte(&mut self) -> Result<u8, Fault> {
        self.array::<1>().map(|[byte]| byte)
    }

    /// A number of up to 64 bits, 7 in a byte, the lowest first.
    pub(super) fn varint(&mut self) -> Result<u64, Fault> {
        let mut value = 0u64;
        for shift in (0..70).step_by(7) {
            let byte = self.byte()?;
            if shift == 63 && byte > 1 {
                break;
            }
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(self.fault("a number of more than 64 bits"))
    }

    pub(super) fn peek(&self) -> Option<u8> {
        self.rest.first().copied()
    }

    pub(super) fn text(&mut self, bytes: u64) -> Result<String, Fault> {
        let bytes = self.bytes(bytes)?;
        if bytes.len() > CELL_BYTES_MAX {
            let detail = format!("a text of {} bytes; at most {CELL_BYTES_MAX} fit", bytes.len());
            return Err(Fault::new(RejectReason::Limit, detail));
        }
        let text = std::str::from_utf8(bytes).map_err(|_| self.fault("text that is not UTF-8"))?;
        Ok(text.to_owned())
    }

    /// Takes note of one more value, at this depth.
    pub(super) fn begin_value(&mut self, depth: usize) -> Result<(), Fault> {
        self.budget.begin_value(depth)
    }

    /// So many items, each of which takes a byte at least.
    pub(super) fn check_count(&self, count: u64) -> Result<(), Fault> {
        if count > self.rest.len() as u64 {
            return Err(self.fault("it names more items than it has bytes"));
        }
        Ok(())
    }

    pub(super) fn unsigned(&self, value: u64) -> Result<Document, Fault> {
        i64::try_from(value).map(Document::Int).map_err(|_| {
            let detail = format!("{value} does not fit into 64 bits with a sign");
            Fault::new(RejectReason::Number, detail)
        })
    }

    /// A moment as seconds and nanoseconds since the Unix epoch.
    pub(super) fn moment(&self, seconds: i64, ns: i64) -> Result<Document, Fault> {
        let time = seconds.checked_mul(1_000_000_000).and_then(|time| time.checked_add(ns));
        time.map(Document::Time).ok_or_else(|| {
            let detail = format!("the time {seconds} s lies beyond the years 1677 to 2262");
            Fault::new(RejectReason::Time, detail)
        })
    }

    /// A member's name, which is a scalar.
    pub(super) fn name(&self, name: &Document) -> Result<String, Fault> {
        name.text().ok_or_else(|| self.fault("a member name that is no scalar"))
    }

    /// All bytes left.
    pub(super) fn rest(&self) -> &'a [u8] {
        self.rest
    }

    pub(super) fn end(&self) -> Result<(), Fault> {
        match self.rest {
            [] => Ok(()),
            _ => Err(self.fault("bytes after its end")),
        }
    }
}

/// A signed number whose sign is its last bit.
pub(super) fn unzigzag(value: u64) -> i64 {
    (value >> 1) as i64 ^ -((value & 1) as i64)
}
