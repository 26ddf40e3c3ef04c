//! A list of system calls for the attacker in a child: see src/handler/probe.rs.

use std::collections::HashMap;
use std::fmt::Write;

use nix::errno::Errno;

/// An argument of a system call.
#[derive(Debug, Clone)]
pub enum Arg {
    Number(i64),
    /// The address of a buffer.
    Address(String),
    /// The result of an earlier call.
    Result(String),
}

impl From<&Arg> for Arg {
    fn from(arg: &Arg) -> Self {
        arg.clone()
    }
}

macro_rules! numbers {
    ($($type:ty),+) => { $(impl From<$type> for Arg {
        #[allow(clippy::cast_possible_wrap, clippy::cast_lossless, clippy::unnecessary_cast)]
        fn from(number: $type) -> Self {
            Self::Number(number as i64)
        }
    })+ };
}
numbers!(i32, i64, u32, u64, usize);

impl std::fmt::Display for Arg {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Number(number) => write!(f, "{number}"),
            Self::Address(name) => write!(f, "&{name}"),
            Self::Result(name) => write!(f, "${name}"),
        }
    }
}

/// A part of a buffer.
#[derive(Clone)]
pub enum Part<'a> {
    Bytes(&'a [u8]),
    Zeros(usize),
    /// An address, of 8 bytes.
    Of(&'a Arg),
}

/// The list, and which of its calls must fail.
#[derive(Debug, Default, Clone)]
pub struct Steps {
    pub text: String,
    prefix: String,
    count: usize,
    goals: Vec<(String, &'static str)>,
    /// Calls that goals depend on.
    means: Vec<String>,
}

/// `call!(steps, SYS_openat, ...)`: a system call. Its result is an argument of later ones.
#[macro_export]
macro_rules! call {
    ($steps:expr, $number:ident $(, $arg:expr)* $(,)?) => {
        $steps.call(libc::$number, &[$($crate::steps::Arg::from($arg)),*])
    };
}

/// The same for a call that must fail; its label is in the table if it does not.
#[macro_export]
macro_rules! goal {
    ($steps:expr, $label:literal, $number:ident $(, $arg:expr)* $(,)?) => {
        $steps.goal($label, libc::$number, &[$($crate::steps::Arg::from($arg)),*])
    };
}

impl Steps {
    fn add(&mut self, step: std::fmt::Arguments<'_>) {
        writeln!(self.text, "{}{step}", self.prefix).unwrap();
    }

    fn new_name(&mut self) -> String {
        self.count += 1;
        format!("v{}", self.count)
    }

    /// A buffer.
    pub fn parts(&mut self, parts: &[Part<'_>]) -> Arg {
        let name = self.new_name();
        let mut words = String::new();
        for part in parts {
            match part {
                Part::Bytes(bytes) => {
                    words.push(' ');
                    bytes.iter().for_each(|byte| write!(words, "{byte:02x}").unwrap());
                }
                Part::Zeros(count) => write!(words, " z:{count}").unwrap(),
                Part::Of(arg) => write!(words, " {arg}").unwrap(),
            }
        }
        let prefix = std::mem::take(&mut self.prefix); // both processes of a fork may have it
        self.add(format_args!("data {name}{words}"));
        self.prefix = prefix;
        Arg::Address(name)
    }

    pub fn bytes(&mut self, bytes: &[u8]) -> Arg {
        self.parts(&[Part::Bytes(bytes)])
    }

    pub fn zeros(&mut self, count: usize) -> Arg {
        self.parts(&[Part::Zeros(count)])
    }

    /// A text with its NUL.
    pub fn text(&mut self, text: impl AsRef<str>) -> Arg {
        self.bytes(&[text.as_ref().as_bytes(), b"\0"].concat())
    }

    pub fn call(&mut self, number: i64, arguments: &[Arg]) -> Arg {
        let name = self.new_name();
        let words: String = arguments.iter().map(|argument| format!(" {argument}")).collect();
        self.add(format_args!("call {name} {number}{words}"));
        Arg::Result(name)
    }

    pub fn goal(&mut self, label: &'static str, number: i64, arguments: &[Arg]) -> Arg {
        let result = self.call(number, arguments);
        self.must_fail(label, &result);
        result
    }

    pub fn must_fail(&mut self, label: &'static str, result: &Arg) {
        let Arg::Result(name) = result else { unreachable!() };
        self.goals.push((name.clone(), label));
    }

    /// A call that later goals depend on: its error is why they fail.
    pub fn is_means(&mut self, result: &Arg) {
        let Arg::Result(name) = result else { unreachable!() };
        self.means.push(name.clone());
    }

    pub fn poke(&mut self, address: u64, bytes: &[u8]) {
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        self.add(format_args!("poke {address} {hex}"));
    }

    pub fn show(&mut self, buffer: &Arg) {
        let Arg::Address(name) = buffer else { unreachable!() };
        let name = name.clone();
        self.add(format_args!("show {name}"));
    }

    /// The steps that `add` adds, in the child of a fork only.
    pub fn in_child(&mut self, fork: &Arg, add: impl FnOnce(&mut Self)) {
        self.with_prefix("zero", fork, add);
    }

    /// The same in the parent.
    pub fn in_parent(&mut self, fork: &Arg, add: impl FnOnce(&mut Self)) {
        self.with_prefix("some", fork, add);
    }

    /// Clones children that sleep; the result is their number.
    pub fn flood(&mut self, count: u32, flags: i32, seconds: u32) -> Arg {
        let name = self.new_name();
        self.add(format_args!("flood {name} {count} {flags} {seconds}"));
        Arg::Result(name)
    }

    fn with_prefix(&mut self, word: &str, result: &Arg, add: impl FnOnce(&mut Self)) {
        let Arg::Result(name) = result else { unreachable!() };
        let outer = self.prefix.clone();
        self.prefix = format!("{outer}{word} {name} ");
        add(self);
        self.prefix = outer;
    }

    /// Sleeps.
    pub fn sleep(&mut self, seconds: i64) {
        let time = self.bytes(&[seconds.to_ne_bytes(), [0; 8]].concat());
        call!(self, SYS_nanosleep, &time, 0);
    }

    /// What the goals came to: an error for each that failed, its label for each that did not.
    pub fn judge(&self, answer: &Answer) -> Seen {
        let mut denials = Vec::new();
        let mut done = Vec::new();
        for (name, label) in &self.goals {
            match answer.results.get(name) {
                // It has become another program, or was killed.
                None if !done.contains(label) => done.push(*label),
                None => {}
                Some(&result) if result < 0 => denials.push(name_error(result)),
                Some(_) if !done.contains(label) => done.push(*label),
                Some(_) => {}
            }
        }
        let failed =
            self.means.iter().filter_map(|name| answer.results.get(name)).filter(|result| **result < 0);
        denials.extend(failed.map(|result| name_error(*result)));
        denials.sort();
        denials.dedup();
        if denials.len() > 1 {
            denials.retain(|name| name != "EBADF"); // the descriptor comes from a call that was denied
        }
        if done.is_empty() { Seen::Denied(denials.join(", ")) } else { Seen::Open(done.join(", ")) }
    }
}

/// The name of the error that a call returned.
pub fn name_error(result: i64) -> String {
    format!("{:?}", Errno::from_raw(i32::try_from(-result).unwrap()))
}

/// What the attacker answered.
#[derive(Debug, Default)]
pub struct Answer {
    results: HashMap<String, i64>,
    data: HashMap<String, String>,
}

impl Answer {
    pub fn parse(text: &str) -> Self {
        let mut answer = Self::default();
        for (name, value) in text.lines().filter_map(|line| line.split_once(' ')) {
            answer.data.insert(name.into(), value.into());
            if let Ok(number) = value.parse() {
                answer.results.insert(name.into(), number);
            }
        }
        answer
    }

    /// The result of a call; `None` if it was not made, or did not return.
    pub fn get(&self, result: &Arg) -> Option<i64> {
        match result {
            Arg::Result(name) => self.results.get(name).copied(),
            _ => unreachable!(),
        }
    }

    /// The bytes of a buffer that was shown.
    pub fn bytes(&self, buffer: &Arg) -> Vec<u8> {
        let Arg::Address(name) = buffer else { unreachable!() };
        let hex = self.data.get(name).map_or("", String::as_str);
        (0..hex.len() / 2).map(|at| u8::from_str_radix(&hex[2 * at..2 * at + 2], 16).unwrap()).collect()
    }
}

/// What came of an attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Seen {
    /// It failed, and how.
    Denied(String),
    /// It worked, and what of it.
    Open(String),
    /// It makes no sense for this kind of child.
    Absent,
}

impl std::fmt::Display for Seen {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Denied(how) if how.is_empty() => f.write_str("denied"),
            Self::Denied(how) => f.write_str(how),
            Self::Open(what) => write!(f, "**{what}**"),
            Self::Absent => f.write_str("-"),
        }
    }
}
