//! Where this SQL means what the standard says and the libraries underneath do not: rewrites of
//! expressions whose types are settled, and functions that take the place of DataFusion's.
//!
//! `syntax` looks at the text's tree, before anything is planned; `rules` at expressions with types.

mod checked;
mod deviation;
mod float_sum;
mod in_set;
mod joined;
mod rules;
mod sum;
mod syntax;

pub(crate) use deviation::Deviation;
pub(crate) use in_set::in_set;
pub(crate) use joined::{JOINED_BYTES_MAX, text_bytes};
pub(crate) use rules::{analyzer_rules, in_predicate, of_types};
pub(crate) use sum::CheckedSum;
pub(crate) use syntax::{check_query, settle_predicate};
