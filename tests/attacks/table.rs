//! The table of docs/security.md, between two marks.

use std::fs;

use crate::Cells;
use crate::arena::Kind;
use crate::rows::Row;
use crate::rows::clients::ClientRow;
use crate::steps::Seen;

const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/security.md");
const BEGIN: &str = "<!-- table: tests/run attacks compares it, tests/attacks/run --write makes it -->\n";
const END: &str = "<!-- end of the table -->\n";

pub fn render(rows: &[&Row], cells: &Cells, outside: &[(&ClientRow, Seen)]) -> String {
    let names = Kind::ALL.map(Kind::name).join(" | ");
    let mut table =
        format!("| attempt | {names} | why it may |\n| --- |{} --- |\n", " --- |".repeat(Kind::ALL.len()));
    for row in rows {
        let cell = |kind| cells.get(&(row.name, kind)).map_or("-".to_owned(), ToString::to_string);
        let seen = Kind::ALL.map(cell).join(" | ");
        let mut why = row.why.to_owned();
        if row.landlock > 0 {
            let note = format!("needs Landlock ABI {} for programs", row.landlock);
            why = if why.is_empty() { note } else { format!("{why}; {note}") };
        }
        table.push_str(&format!("| {} | {seen} | {why} |\n", row.name));
    }
    table.push_str("\n| attempt from outside | seen | why it may |\n| --- | --- | --- |\n");
    for (row, seen) in outside {
        table.push_str(&format!("| {} | {seen} | {} |\n", row.name, row.why));
    }
    table
}

/// Whether the page has this table; or writes it there.
pub fn compare(table: &str, must_write: bool) -> bool {
    let page = fs::read_to_string(PAGE).unwrap();
    let (before, rest) = page.split_once(BEGIN).expect("the mark of the table");
    let (old, after) = rest.split_once(END).expect("the mark of the end");
    if must_write {
        fs::write(PAGE, [before, BEGIN, table, END, after].concat()).unwrap();
        return true;
    }
    for line in table.lines().filter(|line| !old.lines().any(|other| other == *line)) {
        println!("docs/security.md differs: {line}");
    }
    old == table
}
