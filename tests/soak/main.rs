//! Injects a fault into a daemon under load, one for each row, and counts what was lost. Prints the table of
//! docs/reliability.md. A measurement, so it may sleep; see `run`.

#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    clippy::print_stdout,
    clippy::print_stderr,
    unreachable_pub,
    reason = "a measurement prints, waits and panics"
)]

mod day;
#[allow(dead_code, reason = "tests/it uses more of it")]
#[path = "../it/harness.rs"]
mod harness;
mod load;
mod rows;
mod slow;

use std::env;
use std::process::ExitCode;
use std::time::Instant;

use day::Row;
use nix::sys::resource::{Resource, getrlimit, setrlimit};

fn main() -> ExitCode {
    let wanted: Vec<String> = env::args().skip(1).collect();
    let is_wanted = |name: &str| wanted.is_empty() || wanted.iter().any(|part| name.contains(part.as_str()));
    println!(
        "| fault | offered | answered | refused | lost | zombies | descriptors leaked | in the records | |"
    );
    println!("| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | --- |");
    let mut is_well = true;
    raise_open_files();
    for (name, run) in rows::ALL.iter().filter(|(name, _)| is_wanted(name)) {
        let start = Instant::now();
        match run() {
            Some(row) => {
                println!("{}", show(name, &row));
                is_well &= row.is_well();
                let verdict = if row.is_well() { "passed" } else { "FAILED" };
                eprintln!("{verdict}: {name}, {:.0} s", start.elapsed().as_secs_f64());
            }
            None => eprintln!("skipped, not possible on this host: {name}"),
        }
    }
    ExitCode::from(u8::from(!is_well))
}

/// Ten thousand clients are in this process.
fn raise_open_files() {
    assert!(harness::can_open(1)); // which lowers the limit
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard).unwrap();
}

fn show(name: &str, row: &Row) -> String {
    let Row { counts, spent, zombies, leaked, note, .. } = row;
    let lost = if *spent > 0 { format!("{} of {spent}", counts.lost) } else { counts.lost.to_string() };
    let recorded = row.recorded.map_or("-".to_owned(), |recorded| recorded.to_string());
    format!(
        "| {name} | {} | {} | {} | {lost} | {zombies} | {leaked} | {recorded} | {note} |",
        counts.offered(),
        counts.answered,
        counts.refused
    )
}
