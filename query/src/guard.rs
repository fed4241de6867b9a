//! Refuses SQL text that parsing or planning could not bear, before either begins.

use crate::QueryOptions;
use datafusion::sql::sqlparser::{
    dialect::GenericDialect,
    keywords::Keyword,
    tokenizer::{Token, Tokenizer},
};

/// Checks length, nesting and number of operators.
///
/// # Errors
/// Says which bound is passed, or where the text is no SQL.
pub(crate) fn check(text: &str, options: &QueryOptions) -> Result<Vec<Token>, String> {
    if text.len() > options.sql_bytes_max {
        return Err(format!(
            "the SQL has {} bytes; expected at most sql_bytes_max = {}",
            text.len(),
            options.sql_bytes_max
        ));
    }
    let tokens = Tokenizer::new(&GenericDialect {}, text)
        .tokenize()
        .map_err(|error| format!("the SQL cannot be read: {error}"))?;
    let (mut depth, mut operators, mut words) = (0usize, 0usize, 0usize);
    let mut lists = Lists::default();
    for token in &tokens {
        match token {
            Token::LParen | Token::LBracket | Token::LBrace => depth += 1,
            Token::RParen | Token::RBracket | Token::RBrace => depth = depth.saturating_sub(1),
            token if is_operator(token) => operators += 1,
            _ => {}
        }
        words += usize::from(!matches!(token, Token::Whitespace(_)) && !lists.holds(token));
        if words > WORDS_MAX {
            return Err(format!(
                "the SQL has more than {WORDS_MAX} words and signs outside of lists of values"
            ));
        }
        if depth > options.sql_depth_max {
            return Err(format!(
                "the SQL nests deeper than sql_depth_max = {} levels",
                options.sql_depth_max
            ));
        }
        if operators > options.sql_operators_max {
            return Err(format!(
                "the SQL has more than sql_operators_max = {} operators; expected fewer, such as \
                 IN (...) instead of many ORs",
                options.sql_operators_max
            ));
        }
    }
    Ok(tokens)
}

/// Whether a text means the same at any time and on any node, as far as its words tell.
pub(crate) fn is_lasting(text: &str) -> bool {
    is_certain(text) && has_none_of(text, &["now", "current", "today"])
}

/// Whether nothing in a text is left to chance, as far as its words tell.
pub(crate) fn is_certain(text: &str) -> bool {
    has_none_of(text, &["random", "uuid"])
}

fn has_none_of(text: &str, words: &[&str]) -> bool {
    let lower = text.to_ascii_lowercase();
    words.iter().all(|word| !lower.contains(word))
}

/// Words and signs that are no value of a list. What is selected is compared with all else that is
/// selected, so that a plan takes time by the square of them.
const WORDS_MAX: usize = 12_000;

/// Where in a text the values of IN lists and VALUES stand.
#[derive(Default)]
struct Lists {
    /// For each open bracket, whether it is such a list.
    open: Vec<bool>,
    next: Option<Next>,
}

/// What the last word says of a bracket that follows.
enum Next {
    /// IN: it opens a list.
    List,
    /// VALUES: it opens one, and so may further ones.
    Rows,
}

impl Lists {
    /// Takes the next token, and tells whether it is a value of a list or between two.
    fn holds(&mut self, token: &Token) -> bool {
        let within = self.open.last() == Some(&true);
        let between_rows =
            matches!(self.next, Some(Next::Rows)) && matches!(token, Token::LParen | Token::Comma);
        match token {
            Token::LParen => {
                self.open.push(self.next.is_some());
                if matches!(self.next, Some(Next::List)) {
                    self.next = None;
                }
            }
            Token::RParen => drop(self.open.pop()),
            Token::Word(word) if word.keyword == Keyword::IN => self.next = Some(Next::List),
            Token::Word(word) if word.keyword == Keyword::VALUES => self.next = Some(Next::Rows),
            Token::Word(_) if !within => self.next = None,
            _ => {}
        }
        (within || between_rows) && !is_operator(token)
    }
}

/// Whether a token can deepen the tree: everything but names, literals, separators and the words
/// that are known to stand beside others only.
fn is_operator(token: &Token) -> bool {
    match token {
        Token::Word(word) => !is_harmless(word.keyword),
        Token::Whitespace(_)
        | Token::Comma
        | Token::Period
        | Token::SemiColon
        | Token::EOF
        | Token::Number(..)
        | Token::SingleQuotedString(_)
        | Token::DoubleQuotedString(_)
        | Token::LParen
        | Token::RParen
        | Token::RBracket
        | Token::RBrace => false,
        _ => true,
    }
}

fn is_harmless(keyword: Keyword) -> bool {
    matches!(
        keyword,
        Keyword::NoKeyword
            // Clauses.
            | Keyword::AS
            | Keyword::ASC
            | Keyword::BY
            | Keyword::DESC
            | Keyword::DISTINCT
            | Keyword::FROM
            | Keyword::GROUP
            | Keyword::HAVING
            | Keyword::LIMIT
            | Keyword::OFFSET
            | Keyword::ON
            | Keyword::ORDER
            | Keyword::OVER
            | Keyword::PARTITION
            | Keyword::USING
            | Keyword::VALUES
            | Keyword::WHERE
            | Keyword::WITH
            // Parts of what counts already.
            | Keyword::ALL
            | Keyword::ELSE
            | Keyword::END
            | Keyword::FIRST
            | Keyword::LAST
            | Keyword::NULLS
            | Keyword::THEN
            // Values and types.
            | Keyword::DATE
            | Keyword::FALSE
            | Keyword::NULL
            | Keyword::TIME
            | Keyword::TIMESTAMP
            | Keyword::TRUE
            // Names of columns and functions.
            | Keyword::AVG
            | Keyword::COUNT
            | Keyword::ID
            | Keyword::LOCATION
            | Keyword::MAX
            | Keyword::MIN
            | Keyword::NAME
            | Keyword::SOURCE
            | Keyword::STATUS
            | Keyword::SUM
            | Keyword::TYPE
            | Keyword::USER
            | Keyword::VALUE
            | Keyword::VERSION
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_past_a_bound_are_refused() {
        let options = QueryOptions::default();
        let in_list = format!("a IN ({})", vec!["'x'"; 10_000].join(","));
        for (text, fine) in [
            ("SELECT 1".to_owned(), true),
            (in_list, true),
            (vec!["1"; 400].join("+"), true),
            (vec!["1"; 5_000].join("+"), false),
            (vec!["a = 1"; 10_000].join(" OR "), false),
            (format!("{}1{}", "(".repeat(60), ")".repeat(60)), true),
            (format!("{}1{}", "(".repeat(5_000), ")".repeat(5_000)), false),
            (format!("{}1", "-".repeat(4_000)), true),
            (format!("{}1", "- ".repeat(4_000)), false),
            (format!("{}1", "NOT ".repeat(4_000)), false),
            (vec!["SELECT 1"; 600].join(" UNION ALL "), false),
            (["'a'"; 4_000].join(" SIMILAR TO "), false),
            (["'a'"; 4_000].join(" RLIKE "), false),
            (["a"; 4_000].join(" REGEXP "), false),
            (["a"; 4_000].join(" OVERLAPS "), false),
            (["a"; 4_000].join(" MEMBER OF "), false),
            (["a"; 4_000].join(" ESCAPE "), false),
            ("PRIOR ".repeat(4_000), false),
            (format!("SELECT {}", ["1 AS a"; 20_000].join(", ")), false),
            (format!("SELECT {}", ["round(avg(time), 2) AS a"; 1_000].join(", ")), true),
            (format!("SELECT * FROM (VALUES {}) AS t", ["(1, 'x')"; 20_000].join(", ")), true),
            (
                format!(
                    "a IN ({}) AND b NOT IN ({})",
                    ["1"; 30_000].join(","),
                    ["TIMESTAMP '2024-01-01'"; 5_000].join(",")
                ),
                true,
            ),
            (" ".repeat(300_000), false),
            ("'never closed".to_owned(), false),
        ] {
            assert_eq!(check(&text, &options).is_ok(), fine, "{}", &text[..text.len().min(40)]);
        }
    }
}
