//! The handler `probe`: executes a list of raw system calls that the request contains, as an attacker would in a child
//! that was taken over. In test builds only (the feature `attacks`). tests/attacks/program.py does the same as a CGI
//! program and as the program of a service.
//!
//! A list is text, a step on each line:
//!
//! ```text
//! data NAME PART...            makes a buffer: hexadecimal bytes, `z:N` zeros, `&NAME` an address, `$NAME` a result (4 bytes)
//! call NAME NUMBER ARG...      makes a system call: an ARG is a number, `&NAME` or `$NAME`
//! poke ADDRESS HEX             writes to memory
//! show NAME                    adds the bytes of a buffer to the answer
//! zero NAME STEP               the step, only if the result is 0: in the child of a fork
//! some NAME STEP               the step, only if the result is not 0
//! flood NAME COUNT FLAGS TIME  clones children that sleep for so many seconds
//! ```
//!
//! The answer has a line for each result and each buffer shown: `NAME VALUE`.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use super::exchange::Exchange;
use crate::http::failure::Failure;
use crate::outcome::Outcome;
use crate::sys::probe;

/// Only test builds contain this text.
const CONTENT_TYPE: &str = "text/x-lsbaws-probe";

/// The handler has no settings.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Probe;

impl Probe {
    /// # Errors
    /// The client has gone, or is too slow.
    pub(crate) fn answer(&self, exchange: &mut Exchange<'_, '_>) -> Result<Outcome, Failure> {
        let mut list = Vec::new();
        let mut part = [0; 4096];
        loop {
            match exchange.body.read(&mut part)? {
                0 => break,
                count => list.extend_from_slice(&part[..count]),
            }
        }
        let mut run = Run::default();
        let mut result = Some(());
        for line in String::from_utf8_lossy(&list).lines() {
            result = result.and(run.step(line.split_whitespace()));
        }
        if result.is_none() {
            run.answer.push_str("malformed -1\n");
        }
        let mut head = exchange.response.head(200);
        head.field("Content-Type", CONTENT_TYPE);
        head.send(run.answer.as_bytes())?;
        Ok(Outcome::Served)
    }
}

/// The state of a list that is executed.
#[derive(Default)]
struct Run {
    data: HashMap<String, Vec<u8>>,
    results: HashMap<String, i64>,
    answer: String,
}

impl Run {
    /// Executes a step; `None` if it is malformed.
    fn step<'w>(&mut self, mut words: impl Iterator<Item = &'w str>) -> Option<()> {
        match words.next()? {
            "data" => {
                let name = words.next()?.to_owned();
                let data = words.map(|part| self.part(part)).collect::<Option<Vec<_>>>()?.concat();
                self.data.insert(name, data);
            }
            "call" => {
                let name = words.next()?.to_owned();
                let number = words.next()?.parse().ok()?;
                let mut arguments = [0; 6];
                for (argument, word) in arguments.iter_mut().zip(words) {
                    *argument = self.value(word)?;
                }
                let result = probe::call(number, arguments);
                self.answer.push_str(&format!("{name} {result}\n"));
                self.results.insert(name, result);
            }
            "poke" => {
                let address = self.value(words.next()?)?;
                probe::poke(address, &from_hex(words.next()?)?);
            }
            "show" => {
                let name = words.next()?;
                let hex: String = self.data.get(name)?.iter().map(|byte| format!("{byte:02x}")).collect();
                self.answer.push_str(&format!("{name} {hex}\n"));
            }
            "zero" if *self.results.get(words.next()?)? == 0 => return self.step_boxed(words),
            "some" if *self.results.get(words.next()?)? != 0 => return self.step_boxed(words),
            "zero" | "some" => {}
            "flood" => {
                let name = words.next()?.to_owned();
                let numbers = words.map(|word| word.parse().ok()).collect::<Option<Vec<i64>>>()?;
                let [count, flags, seconds] = numbers[..] else { return None };
                let made = (0..count).filter(|_| flood(flags, seconds) > 0).count();
                self.answer.push_str(&format!("{name} {made}\n"));
            }
            _ => return None,
        }
        Some(())
    }

    /// A step within a step: the type of its words must not grow with each.
    fn step_boxed<'w>(&mut self, words: impl Iterator<Item = &'w str>) -> Option<()> {
        let words: Vec<_> = words.collect();
        self.step(words.into_iter())
    }

    fn value(&mut self, word: &str) -> Option<i64> {
        match word.split_at_checked(1)? {
            ("&", name) => {
                Some((self.data.get_mut(name)?.as_mut_ptr().expose_provenance() as u64).cast_signed())
            }
            ("$", name) => self.results.get(name).copied(),
            _ => word.parse().ok(),
        }
    }

    fn part(&mut self, word: &str) -> Option<Vec<u8>> {
        match word.split_at_checked(1)? {
            ("&", _) => Some(self.value(word)?.to_ne_bytes().to_vec()),
            ("$", _) => Some(self.value(word)?.to_ne_bytes()[..4].to_vec()),
            ("z", count) => Some(vec![0; count.strip_prefix(':')?.parse().ok()?]),
            _ => from_hex(word),
        }
    }
}

fn flood(flags: i64, seconds: i64) -> i64 {
    let child = probe::call(libc::SYS_clone, [flags, 0, 0, 0, 0, 0]);
    if child == 0 {
        let time = [seconds, 0];
        probe::call(
            libc::SYS_nanosleep,
            [time.as_ptr().expose_provenance().cast_signed() as i64, 0, 0, 0, 0, 0],
        );
        crate::sys::exit_now(0);
    }
    child
}

fn from_hex(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: &u8| char::from(*byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let (pairs, []) = text.as_bytes().as_chunks::<2>() else { return None };
    pairs.iter().map(|[high, low]| Some(digit(high)? << 4 | digit(low)?)).collect()
}
