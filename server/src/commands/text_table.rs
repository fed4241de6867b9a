//! A table for a terminal.

use serde_json::Value;

/// Writes names and rows in columns; numbers stand to the right.
pub(super) fn format(columns: &[String], rows: &[Vec<Value>]) -> String {
    let cells: Vec<Vec<String>> = rows.iter().map(|row| row.iter().map(cell).collect()).collect();
    let width = |at: usize| {
        let cells = cells.iter().filter_map(|row| row.get(at)).map(|cell| cell.chars().count());
        cells.chain([columns[at].chars().count()]).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns.len()).map(width).collect();
    let right = |at: usize| {
        let mut given = rows.iter().filter_map(|row| row.get(at)).filter(|one| !one.is_null());
        rows.iter().any(|row| row.get(at).is_some_and(Value::is_number))
            && given.all(Value::is_number)
    };
    let rights: Vec<bool> = (0..columns.len()).map(right).collect();
    let mut out = String::new();
    line(&mut out, columns, &widths, &rights);
    let rule: Vec<String> = widths.iter().map(|width| "─".repeat(*width)).collect();
    line(&mut out, &rule, &widths, &rights);
    cells.iter().for_each(|row| line(&mut out, row, &widths, &rights));
    out
}

fn line(out: &mut String, cells: &[String], widths: &[usize], rights: &[bool]) {
    let start = out.len();
    for ((cell, width), right) in cells.iter().zip(widths).zip(rights) {
        if out.len() > start {
            out.push_str("  ");
        }
        let pad = " ".repeat(width.saturating_sub(cell.chars().count()));
        let (before, after) = if *right { (pad.as_str(), "") } else { ("", pad.as_str()) };
        out.extend([before, cell, after]);
    }
    out.truncate(out.trim_end().len().max(start));
    out.push('\n');
}

fn cell(value: &Value) -> String {
    let text = match value {
        Value::Null => return String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    // A cell is one line, and never drives the terminal.
    text.chars()
        .flat_map(|c| if c.is_control() { c.escape_default().collect() } else { vec![c] })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn numbers_stand_to_the_right_and_control_characters_are_escaped() {
        let columns = ["device".to_owned(), "t".to_owned()];
        let rows = vec![vec![json!("a\u{1b}"), json!(1.5)], vec![json!(null), json!(10)]];
        let text = format(&columns, &rows);
        assert_eq!(text, "device     t\n───────  ───\na\\u{1b}  1.5\n          10\n");
    }
}
