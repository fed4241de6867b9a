//! The parameters `consistency` and `staleness_max`.

use crate::{Error, Result, civil::NS_PER_DAY, moment::parse_length};
use oribi_model::Consistency;
use std::time::Duration;

/// How old a stale answer may be unless that is said.
const STALENESS_MAX: Duration = Duration::from_secs(10);

/// Reads both.
///
/// # Errors
/// [`Error::Parameter`] names the one that is wrong and what was expected.
pub(crate) fn parse(asked: Option<&str>, max: Option<&str>) -> Result<Consistency> {
    let (asked, max) = (given(asked), given(max));
    match (asked.unwrap_or("linearizable"), max) {
        ("linearizable", None) => Ok(Consistency::Linearizable),
        ("linearizable", Some(_)) => {
            let detail = "staleness_max is given without consistency=stale";
            Err(Error::parameter("staleness_max", detail))
        }
        ("stale", None) => Ok(Consistency::Stale(STALENESS_MAX)),
        ("stale", Some(max)) => Ok(Consistency::Stale(length(max)?)),
        (other, _) => {
            let detail = format!("{other:?} is no consistency; expected linearizable or stale");
            Err(Error::parameter("consistency", detail))
        }
    }
}

fn given(text: Option<&str>) -> Option<&str> {
    text.map(str::trim).filter(|text| !text.is_empty())
}

fn length(text: &str) -> Result<Duration> {
    let refuse = || {
        let detail = format!(
            "{text:?} is no bound on staleness; expected a length such as 500ms, 10s, 5m, 1h, 1d"
        );
        Error::parameter("staleness_max", detail)
    };
    let length = parse_length("staleness_max", text)?;
    let ns = i128::from(length.days) * NS_PER_DAY + i128::from(length.ns);
    let ns = u64::try_from(ns).ok().filter(|_| length.months == 0);
    ns.map(Duration::from_nanos).ok_or_else(refuse)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_consistency_is_refused_by_name() {
        let parameter = |asked, max| match parse(asked, max) {
            Err(Error::Parameter { parameter, .. }) => parameter,
            other => panic!("{asked:?}, {max:?}: {other:?}"),
        };
        assert_eq!(parameter(Some("eventual"), None), "consistency");
        assert_eq!(parameter(Some("Stale"), None), "consistency");
        assert_eq!(parameter(None, Some("10s")), "staleness_max");
        assert_eq!(parameter(Some("linearizable"), Some("10s")), "staleness_max");
        for wrong in ["10", "-1s", "1mo", "1y", "10 s", "s", "soon", "999999999999d", "1s-2s"] {
            assert_eq!(parameter(Some("stale"), Some(wrong)), "staleness_max", "{wrong}");
        }
    }

    #[test]
    fn a_bound_has_a_unit_and_a_default() {
        let max = |asked, max| parse(asked, max).unwrap();
        assert_eq!(max(None, None), Consistency::Linearizable);
        assert_eq!(max(Some(""), Some(" ")), Consistency::Linearizable);
        assert_eq!(max(Some("linearizable"), None), Consistency::Linearizable);
        let stale = |ms| Consistency::Stale(Duration::from_millis(ms));
        assert_eq!(max(Some("stale"), None), stale(10_000));
        assert_eq!(max(Some("stale"), Some("250ms")), stale(250));
        assert_eq!(max(Some("stale"), Some("0s")), stale(0));
        assert_eq!(max(Some("stale"), Some("1m30s")), stale(90_000));
        assert_eq!(max(Some("stale"), Some("1d")), stale(86_400_000));
    }
}
