//! Rows of texts, one under the other.
//!
//! A cell may hold what anybody has written into the account: none can steer the terminal.

use crate::engine::words::clean;

/// Pads all but the last column to the width of its widest text, in characters.
#[must_use]
pub fn columns<const N: usize>(rows: &[[String; N]]) -> String {
    let rows: Vec<[String; N]> =
        rows.iter().map(|row| row.each_ref().map(|cell| clean(cell))).collect();
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max();
    let widths: [usize; N] = std::array::from_fn(|column| width(column).unwrap_or(0));
    let line = |row: &[String; N]| {
        let cells = row.iter().zip(widths).map(|(text, width)| format!("{text:<width$}"));
        format!("{}\n", cells.collect::<Vec<_>>().join("  ").trim_end())
    };
    rows.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_text() {
        let rows = [["a", "bb"], ["ää", "b"], ["", ""]].map(|row| row.map(str::to_owned));
        assert_eq!(columns(&rows), "a   bb\nää  b\n\n");
    }
}
