//! Columns for people: left-aligned, two spaces between them, nothing at the ends of lines.

use comfy_table::Table;
use comfy_table::presets::NOTHING;

/// How a row strikes the eye, on terminals.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tone {
    Plain,
    Bad,
    Doubtful,
    Faint,
}

impl Tone {
    /// A line in this tone (ECMA-48, select graphic rendition).
    fn paint(self, line: &str) -> String {
        let code = match self {
            Self::Plain => return line.to_owned(),
            Self::Bad => 31,
            Self::Doubtful => 33,
            Self::Faint => 2,
        };
        format!("\u{1b}[{code}m{line}\u{1b}[0m")
    }
}

/// A name as it may be shown: a line break would tear the table, and what else is a control character would command the terminal.
pub(crate) fn printable(name: &str) -> String {
    name.replace(char::is_control, " ")
}

/// A table with one line for its heads, which are bold where `bold`.
pub(crate) fn render(heads: &[&str], rows: &[Vec<String>], bold: bool) -> String {
    render_toned(heads, rows, bold, |_| Tone::Plain)
}

/// As [`render`], with rows that stand out where `bold`.
pub(crate) fn render_toned(heads: &[&str], rows: &[Vec<String>], bold: bool, tone: fn(&[String]) -> Tone) -> String {
    let mut table = Table::new();
    table.load_style(NOTHING);
    if !heads.is_empty() {
        table.set_header(heads.to_vec());
    }
    for row in rows {
        table.add_row(row.iter().map(|cell| printable(cell)).collect::<Vec<_>>());
    }
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    let mut out = String::new();
    let above = usize::from(!heads.is_empty());
    for (place, line) in table.lines().enumerate() {
        let line = line.trim_end();
        let shown = match place.checked_sub(above) {
            _ if !bold => line.to_owned(),
            None => format!("\u{1b}[1m{line}\u{1b}[0m"),
            Some(row) => rows.get(row).map_or(Tone::Plain, |row| tone(row)).paint(line),
        };
        out.push_str(&shown);
        out.push('\n');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::render;

    fn row(cells: &[&str]) -> Vec<String> {
        cells.iter().map(|cell| (*cell).to_owned()).collect()
    }

    #[test]
    fn columns_are_padded_by_two_and_lines_end_bare() {
        let rows = [row(&["node-a", "10.0.0.1:8301", ""]), row(&["b", "x\ny", "z"])];
        let plain = "Node    Address        DC\nnode-a  10.0.0.1:8301\nb       x y            z\n";
        assert_eq!(render(&["Node", "Address", "DC"], &rows, false), plain);
        assert!(
            render(&["Node", "Address", "DC"], &rows, true)
                .starts_with("\u{1b}[1mNode    Address        DC\u{1b}[0m\n")
        );
        assert_eq!(render(&[], &[row(&["web", "a,b"]), row(&["longer", ""])], false), "web     a,b\nlonger\n");
        assert_eq!(render(&["A"], &[], false), "A\n");
    }

    #[test]
    fn a_name_does_not_command_the_terminal() {
        let rows = [row(&["\u{1b}[2Jweb\t\u{9b}31m", "é"])];
        assert_eq!(render(&[], &rows, false), " [2Jweb  31m  é\n");
    }
}
