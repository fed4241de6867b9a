//! Tables in Markdown, their columns aligned for a terminal.

/// A table under construction.
pub(super) struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table with a head and no rows.
    pub(super) fn new(head: &[&str]) -> Table {
        Table { rows: vec![head.iter().map(|cell| (*cell).to_owned()).collect()] }
    }

    /// Adds a row, as long as the head.
    pub(super) fn row(&mut self, cells: Vec<String>) {
        self.rows.push(cells);
    }

    /// The table as text; nothing if it has no rows.
    pub(super) fn text(&self) -> Option<String> {
        let (head, rows) = self.rows.split_first()?;
        if rows.is_empty() {
            return None;
        }
        let width = |column: usize| {
            self.rows.iter().filter_map(|row| row.get(column)).map(String::len).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..head.len()).map(width).collect();
        let line = |row: &Vec<String>| {
            let cells = row.iter().zip(&widths).enumerate().map(|(column, (cell, width))| {
                if column == 0 { format!("{cell:<width$}") } else { format!("{cell:>width$}") }
            });
            format!("| {} |", cells.collect::<Vec<String>>().join(" | "))
        };
        let rules = widths.iter().enumerate().map(|(column, width)| match column {
            0 => "-".repeat(width + 2),
            _ => "-".repeat(width + 1) + ":",
        });
        let rule = format!("|{}|", rules.collect::<Vec<String>>().join("|"));
        let lines = [line(head), rule].into_iter().chain(rows.iter().map(line));
        Some(lines.collect::<Vec<String>>().join("\n"))
    }
}

/// A number with so many decimals and blanks between thousands, or `-`.
pub(super) fn number(value: Option<f64>, decimals: usize) -> String {
    let Some(value) = value else { return "-".to_owned() };
    let text = format!("{value:.decimals$}");
    let whole = text.split('.').next().map_or(0, str::len);
    let digit = |(place, digit): (usize, char)| {
        let left = whole.saturating_sub(place);
        let blank =
            place > 0 && left > 0 && left.is_multiple_of(3) && !text[..place].ends_with('-');
        [blank.then_some(' '), Some(digit)].into_iter().flatten()
    };
    text.chars().enumerate().flat_map(digit).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_easily() {
        assert_eq!(number(Some(1_234_567.4), 0), "1 234 567");
        assert_eq!(number(Some(999.126), 2), "999.13");
        assert_eq!(number(Some(-1000.0), 1), "-1 000.0");
        assert_eq!(number(None, 1), "-");
    }

    #[test]
    fn columns_are_aligned() {
        let mut table = Table::new(&["a", "bb"]);
        assert_eq!(table.text(), None);
        table.row(vec!["xyz".to_owned(), "1".to_owned()]);
        assert_eq!(table.text().unwrap(), "| a   | bb |\n|-----|---:|\n| xyz |  1 |");
    }
}
