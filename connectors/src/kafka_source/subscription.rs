//! Topics as a group subscribes to them.

use oribi_decode::RouteSpec;

/// The topics of all routes, a leading `^` being a regular expression as librdkafka knows them.
pub(super) fn topics(routes: &[RouteSpec]) -> Vec<String> {
    routes.iter().flat_map(|route| &route.topics).map(|topic| unnamed(topic)).collect()
}

/// librdkafka's own regular expressions have no names.
fn unnamed(topic: &str) -> String {
    if !topic.starts_with('^') {
        return topic.to_owned();
    }
    let (mut plain, mut rest) = (String::new(), topic);
    while let Some(at) = rest.find("(?<").or_else(|| rest.find("(?P<")) {
        let Some(end) = rest[at..].find('>') else { break };
        plain.push_str(&rest[..at]);
        plain.push('(');
        rest = &rest[at + end + 1..];
    }
    plain + rest
}

#[cfg(test)]
mod tests {
    use super::unnamed;

    #[test]
    fn names_are_taken_out_of_regular_expressions() {
        let plain = |text: &str| unnamed(text);
        assert_eq!(plain("^p-(?<a>[a-z]+)-(?<b>x)$"), "^p-([a-z]+)-(x)$");
        assert_eq!(plain("^p-(?P<a>.*)"), "^p-(.*)");
        assert_eq!(plain("a(?<b>"), "a(?<b>");
    }
}
