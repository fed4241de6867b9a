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
    let (mut depth, mut operators) = (0usize, 0usize);
    for token in &tokens {
        match token {
            Token::LParen | Token::LBracket | Token::LBrace => depth += 1,
            Token::RParen | Token::RBracket | Token::RBrace => depth = depth.saturating_sub(1),
            token if is_operator(token) => operators += 1,
            _ => {}
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

/// Whether a token can deepen the tree: everything but names, literals and separators.
fn is_operator(token: &Token) -> bool {
    match token {
        Token::Word(word) => matches!(
            word.keyword,
            Keyword::AND
                | Keyword::OR
                | Keyword::XOR
                | Keyword::NOT
                | Keyword::IS
                | Keyword::IN
                | Keyword::LIKE
                | Keyword::ILIKE
                | Keyword::BETWEEN
                | Keyword::CASE
                | Keyword::WHEN
                | Keyword::UNION
                | Keyword::INTERSECT
                | Keyword::EXCEPT
                | Keyword::JOIN
                | Keyword::SELECT
                | Keyword::COLLATE
                | Keyword::AT
                | Keyword::INTERVAL
                | Keyword::EXPLAIN
        ),
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
            (" ".repeat(300_000), false),
            ("'never closed".to_owned(), false),
        ] {
            assert_eq!(check(&text, &options).is_ok(), fine, "{}", &text[..text.len().min(40)]);
        }
    }
}
