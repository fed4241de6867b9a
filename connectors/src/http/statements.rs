//! The few InfluxQL statements that clients send before they write.

use super::{
    Writer, body,
    influx::{retry_after_s, with_version, write_error},
    params::Params,
};
use axum::{
    extract::Request,
    http::{HeaderName, Method, StatusCode, header, request::Parts},
    response::{IntoResponse, Response},
};
use oribi_access::Deed;
use oribi_model::Name;
use serde_json::{Value, json};

#[derive(Debug, PartialEq, Eq)]
enum Statement {
    ShowDatabases,
    Create(String),
    Drop(String),
}

impl Statement {
    /// What it changes, if it does.
    fn deed(&self) -> Option<Deed> {
        let (event, db) = match self {
            Statement::ShowDatabases => return None,
            Statement::Create(db) => ("database_made", db),
            Statement::Drop(db) => ("database_dropped", db),
        };
        Some(Deed { event: Some(event), object: db.clone() })
    }
}

/// How a statement came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    /// By POST.
    Post,
    /// By another method, from a program.
    Get,
    /// By another method, from a web page, as far as headers tell.
    Page,
}

impl Way {
    fn of(parts: &Parts) -> Way {
        let is_of_page = |name: &HeaderName| {
            let name = name.as_str();
            matches!(name, "origin" | "referer") || name.starts_with("sec-fetch-")
        };
        match parts.method {
            Method::POST => Way::Post,
            _ if parts.headers.keys().any(is_of_page) => Way::Page,
            _ => Way::Get,
        }
    }

    /// Why a statement may not come so: an image on any web page sends a GET.
    fn refusal(self, statement: &Statement) -> Option<&'static str> {
        match (self, statement) {
            (Way::Get | Way::Page, Statement::Drop(_)) => Some("DROP DATABASE goes by POST only"),
            (Way::Page, Statement::Create(_)) => {
                Some("CREATE DATABASE goes by POST where a web page sends it")
            }
            _ => None,
        }
    }
}

pub(super) async fn query(writer: Writer, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let way = Way::of(&parts);
    let params = match Params::parse(parts.uri.query().unwrap_or_default().as_bytes()) {
        Ok(params) => params,
        Err(wrong) => return failed(StatusCode::BAD_REQUEST, &wrong.to_string()),
    };
    let mut text = params.get("q").map(str::to_owned);
    if text.is_none() {
        let bytes = match body::read(&parts.headers, body, &writer.options).await {
            Ok(bytes) => bytes,
            Err(refused) => return failed(refused.status, &refused.detail),
        };
        text = match Params::parse(&bytes) {
            Ok(form) => form.get("q").map(str::to_owned),
            Err(wrong) => return failed(StatusCode::BAD_REQUEST, &wrong.to_string()),
        };
    }
    let Some(text) = text.filter(|text| !text.trim().is_empty()) else {
        return failed(StatusCode::BAD_REQUEST, "missing required parameter \"q\"");
    };
    let statements = match parse(&text) {
        Ok(statements) => statements,
        Err(wrong) => {
            let message = format!("error parsing query: {wrong}");
            return failed(StatusCode::BAD_REQUEST, &message);
        }
    };
    if let Some(refused) = statements.iter().find_map(|statement| way.refusal(statement)) {
        return failed(StatusCode::METHOD_NOT_ALLOWED, refused);
    }
    let (mut results, mut deed) = (Vec::new(), None);
    for (id, statement) in statements.into_iter().enumerate() {
        let tried = statement.deed();
        match run(&writer, statement).await {
            Ok(mut result) => {
                deed = deed.or(tried);
                result["statement_id"] = id.into();
                results.push(result);
            }
            Err(wrong) if wrong.is_retryable() => {
                let mut answer = failed(StatusCode::SERVICE_UNAVAILABLE, &wrong.to_string());
                answer.headers_mut().insert(header::RETRY_AFTER, retry_after_s(&wrong).into());
                return answer;
            }
            Err(wrong @ oribi_ingest::Error::Forbidden(_)) => return write_error(&wrong),
            Err(wrong) => results.push(json!({"statement_id": id, "error": wrong.to_string()})),
        }
    }
    let mut answer = with_version(axum::Json(json!({"results": results})).into_response());
    if let Some(deed) = deed {
        answer.extensions_mut().insert(deed);
    }
    answer
}

async fn run(writer: &Writer, statement: Statement) -> oribi_ingest::Result<Value> {
    let name = |text: String| {
        Name::new(&text).map_err(|wrong| oribi_ingest::Error::Invalid(wrong.to_string()))
    };
    match statement {
        Statement::ShowDatabases => {
            let names: Vec<Value> =
                writer.ingest.databases().iter().map(|db| json!([db.as_str()])).collect();
            let mut series = json!({"name": "databases", "columns": ["name"]});
            if !names.is_empty() {
                series["values"] = names.into();
            }
            return Ok(json!({"series": [series]}));
        }
        Statement::Create(db) => writer.ingest.create_database(name(db)?).await?,
        Statement::Drop(db) => writer.ingest.drop_database(name(db)?).await?,
    }
    Ok(json!({}))
}

fn failed(status: StatusCode, message: &str) -> Response {
    with_version((status, axum::Json(json!({"error": message}))).into_response())
}

fn parse(text: &str) -> Result<Vec<Statement>, String> {
    let mut words = words(text)?.into_iter().peekable();
    let mut statements = Vec::new();
    while let Some(word) = words.next() {
        if word == ";" {
            continue;
        }
        let second = words.next().unwrap_or_default();
        let known = match word.to_ascii_lowercase().as_str() {
            "show" => second.eq_ignore_ascii_case("databases").then_some(Statement::ShowDatabases),
            verb @ ("create" | "drop") if second.eq_ignore_ascii_case("database") => {
                let name = words.next().filter(|name| name != ";").ok_or("found EOF")?;
                let name = name.strip_prefix('"').unwrap_or(&name).to_owned();
                Some(if verb == "drop" { Statement::Drop(name) } else { Statement::Create(name) })
            }
            _ => None,
        };
        let Some(statement) = known else {
            return Err(format!(
                "found {word}, expected SHOW DATABASES, CREATE DATABASE, DROP DATABASE \
                 at line 1, char 1"
            ));
        };
        let takes_options = matches!(statement, Statement::Create(_));
        statements.push(statement);
        let options = words.next_if(|word| takes_options && word.eq_ignore_ascii_case("with"));
        if options.is_some() {
            while words.next_if(|word| word != ";").is_some() {}
        }
        if let Some(word) = words.next_if(|word| word != ";") {
            return Err(format!("found {word}, expected ; at line 1, char 1"));
        }
    }
    if statements.is_empty() { Err("found EOF".into()) } else { Ok(statements) }
}

/// Words, `;` and quoted names, the latter led by a `"`.
fn words(text: &str) -> Result<Vec<String>, String> {
    let mut words = Vec::new();
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            c if c.is_whitespace() => {}
            ';' => words.push(";".to_owned()),
            '"' => {
                let mut word = String::from('"');
                loop {
                    match chars.next() {
                        None => return Err("a quoted name is never closed".into()),
                        Some('"') => break,
                        Some('\\') => word.extend(chars.next()),
                        Some(c) => word.push(c),
                    }
                }
                words.push(word);
            }
            c => {
                let mut word = String::from(c);
                while let Some(c) = chars.next_if(|c| !c.is_whitespace() && !matches!(c, ';' | '"'))
                {
                    word.push(c);
                }
                words.push(word);
            }
        }
    }
    Ok(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statements_in_any_case_with_quotes_and_options() {
        let create = |name: &str| Ok(vec![Statement::Create(name.into())]);
        assert_eq!(parse("SHOW DATABASES;"), Ok(vec![Statement::ShowDatabases]));
        assert_eq!(parse("show databases"), Ok(vec![Statement::ShowDatabases]));
        assert_eq!(parse("CREATE DATABASE \"my db\""), create("my db"));
        assert_eq!(parse("create database b WITH REPLICATION 1"), create("b"));
        assert_eq!(parse("drop database b").unwrap(), [Statement::Drop("b".into())]);
        for bad in
            ["", "selct x", "drop database", "create database \"x", "show tables", "drop x y"]
        {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
