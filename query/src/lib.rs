//! Questions and answers: window questions, SQL, and their HTTP interface.
//!
//! Rows come through [`oribi_model::ReadPath`]; which node or disk holds them is not known here.

mod allotment;
mod answer;
mod civil;
mod consistency;
mod delivery;
mod dialect;
mod elsewhere;
mod encode;
mod engine;
mod error;
mod exact;
mod feed;
mod figures;
mod filter;
mod finish;
mod form;
mod functions;
mod guard;
pub mod http;
mod kernel;
mod lane;
mod moment;
mod operator;
mod options;
mod parallel;
mod places;
mod plan;
mod pools;
mod presence;
mod pushdown;
mod question;
mod relation;
mod rows;
mod select;
mod sql;
mod strategy;
mod target;
mod watch;
mod windows;

pub use answer::{Answer, Stats};
pub use engine::QueryEngine;
pub use error::{Error, Result};
pub use filter::tag_predicate;
pub use http::{ApiDoc, router};
pub use moment::parse_moment;
pub use options::QueryOptions;
pub use question::{Question, WindowPlan};
pub use rows::Rows;
