//! Columns of a table as requests name them.

use super::{
    params::Params,
    problem::{ApiError, Result},
};
use oribi_cluster::ColumnSpec;
use oribi_model::{ColumnKind, ColumnType, Ints, Name, Table, name::TIME_COLUMN};
use serde_json::Value;

/// Columns that the parameters `tags` and `columns` ask for, in their order.
///
/// # Errors
/// A name, kind or type that cannot be, or a column that stands twice.
pub(super) fn columns(params: &Params) -> Result<Vec<ColumnSpec>> {
    let mut columns = Vec::new();
    for tag in tags(params.get("tags"))? {
        add(&mut columns, "tags", &tag, ColumnKind::Tag, ColumnType::Text)?;
    }
    match params.get("columns") {
        None | Some(Value::Null) => {}
        Some(Value::Object(members)) => {
            for (name, type_name) in members {
                let type_name = type_name.as_str().ok_or_else(|| no_column(type_name))?;
                let column_type = column_type(type_name)?;
                add(&mut columns, "columns", name, ColumnKind::Field, column_type)?;
            }
        }
        Some(Value::Array(elements)) => {
            for element in elements {
                if let Some((name, kind, column_type)) = listed(element)? {
                    add(&mut columns, "columns", name, kind, column_type)?;
                }
            }
        }
        Some(other) => return Err(no_column(other)),
    }
    Ok(columns)
}

/// A column as the list of tables shows it. The time column, which every table has, is `None`.
fn listed(element: &Value) -> Result<Option<(&str, ColumnKind, ColumnType)>> {
    let members = element.as_object().ok_or_else(|| no_column(element))?;
    let is_known = |key: &&String| ["name", "kind", "type"].contains(&key.as_str());
    if let Some(other) = members.keys().find(|key| !is_known(key)) {
        return Err(ApiError::parameter("columns", format!("{other:?} is no member of a column")));
    }
    let text = |key: &str| members.get(key).and_then(Value::as_str);
    let name = text("name").ok_or_else(|| no_column(element))?;
    match (text("kind"), text("type")) {
        (Some("time"), _) if name == TIME_COLUMN => Ok(None),
        (Some("tag"), None | Some("string")) => Ok(Some((name, ColumnKind::Tag, ColumnType::Text))),
        (None | Some("field"), Some(type_name)) => {
            Ok(Some((name, ColumnKind::Field, column_type(type_name)?)))
        }
        _ => Err(no_column(element)),
    }
}

fn no_column(what: &Value) -> ApiError {
    let detail =
        format!("{what} is no column; expected {{\"name\": \"temperature\", \"type\": \"float\"}}");
    ApiError::parameter("columns", detail)
}

/// Refuses columns that the table has otherwise; an integer may become a float.
///
/// # Errors
/// 409 with what the column is.
pub(super) fn check_against(table: &Table, columns: &[ColumnSpec]) -> Result<()> {
    for wanted in columns {
        let Some(column) = table.schema.column(&wanted.name) else { continue };
        let name = wanted.name.as_str();
        let is_kept = column.column_type == wanted.column_type
            || (column.column_type, wanted.column_type) == (ColumnType::Int, ColumnType::Float);
        if column.kind != wanted.kind || !is_kept {
            let kind = |kind, column_type: ColumnType| match kind {
                ColumnKind::Tag => "tag".to_owned(),
                ColumnKind::Field => format!("field of type {column_type}"),
            };
            let is = kind(column.kind, column.column_type);
            let asked = kind(wanted.kind, wanted.column_type);
            let detail = format!("the column {name:?} is a {is} and cannot become a {asked}");
            return Err(ApiError::conflict(detail));
        }
    }
    Ok(())
}

fn tags(given: Option<&Value>) -> Result<Vec<String>> {
    let wrong =
        || ApiError::parameter("tags", "tags are a list of names, such as [\"site\", \"device\"]");
    match given {
        None | Some(Value::Null) => Ok(Vec::new()),
        Some(Value::String(names)) if names.is_empty() => Ok(Vec::new()),
        Some(Value::String(names)) => Ok(names.split(',').map(|name| name.trim().into()).collect()),
        Some(Value::Array(names)) => {
            names.iter().map(|name| name.as_str().map(str::to_owned).ok_or_else(wrong)).collect()
        }
        Some(_) => Err(wrong()),
    }
}

fn column_type(name: &str) -> Result<ColumnType> {
    Ok(match name {
        "float" | "double" => ColumnType::Float,
        "integer" | "int" => ColumnType::Int,
        "string" | "text" => ColumnType::Text,
        "boolean" | "bool" => ColumnType::Bool,
        other => {
            let detail = format!(
                "the type {other:?} is not known; expected float, integer, string, boolean"
            );
            return Err(ApiError::parameter("columns", detail));
        }
    })
}

fn add(
    columns: &mut Vec<ColumnSpec>,
    parameter: &str,
    name: &str,
    kind: ColumnKind,
    column_type: ColumnType,
) -> Result<()> {
    let name =
        Name::new(name).map_err(|wrong| ApiError::parameter(parameter, wrong.to_string()))?;
    if name.as_str() == TIME_COLUMN {
        let detail = "every table has its column \"time\"; expected another name";
        return Err(ApiError::parameter(parameter, detail));
    }
    if columns.iter().any(|column| column.name == name) {
        let detail = format!("the column {:?} stands twice", name.as_str());
        return Err(ApiError::parameter(parameter, detail));
    }
    columns.push(ColumnSpec { name, kind, column_type, ints: Ints::Unknown });
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read(body: Value) -> Result<Vec<(String, ColumnKind, ColumnType)>> {
        let known = &["tags", "columns"];
        let params = Params::of_body(&body, known)?;
        let columns = columns(&params)?;
        Ok(columns.into_iter().map(|c| (c.name.to_string(), c.kind, c.column_type)).collect())
    }

    #[test]
    fn columns_are_given_as_they_are_listed_or_as_names_with_types() {
        let expected = vec![
            ("site".to_owned(), ColumnKind::Tag, ColumnType::Text),
            ("km/h".to_owned(), ColumnKind::Field, ColumnType::Float),
        ];
        for body in [
            json!({"tags": ["site"], "columns": {"km/h": "float"}}),
            json!({"tags": "site", "columns": [{"name": "km/h", "type": "float"}]}),
            json!({"columns": [
                {"name": "time", "kind": "time", "type": "time"},
                {"name": "site", "kind": "tag", "type": "string"},
                {"name": "km/h", "kind": "field", "type": "float"},
            ]}),
        ] {
            assert_eq!(read(body.clone()).unwrap(), expected, "{body}");
        }
        for body in [
            json!({"tags": [1]}),
            json!({"tags": ["a", "a"]}),
            json!({"tags": ["time"]}),
            json!({"tags": [".."]}),
            json!({"columns": {"a": "decimal"}}),
            json!({"columns": {"a": 1}}),
            json!({"columns": ["a"]}),
            json!({"columns": [{"name": "a"}]}),
            json!({"columns": [{"name": "a", "type": "float", "unit": "m"}]}),
            json!({"tags": ["a"], "columns": {"a": "float"}}),
        ] {
            assert!(read(body.clone()).is_err(), "{body}");
        }
    }
}
