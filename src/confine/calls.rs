//! Lists of system calls, of which filters are made.

use std::collections::BTreeMap;
use std::env::consts::ARCH;

use seccompiler::{
    BackendError, BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule, TargetArch,
};

/// System calls, each with the rules of which one must apply, or without any.
#[derive(Debug, Default)]
pub(super) struct Calls(BTreeMap<i64, Vec<SeccompRule>>);

/// What an argument of a system call must be. All arguments that are compared are integers of 32 bits: the kernel ignores
/// the upper half of the register.
#[derive(Debug, Clone, Copy)]
pub(super) struct Argument {
    index: u8,
    operator: Operator,
    value: u64,
}

#[derive(Debug, Clone, Copy)]
enum Operator {
    Is,
    IsNot,
    Has(u64),
}

/// The argument `index`, counted from 0, is `value`.
pub(super) const fn is(index: u8, value: u64) -> Argument {
    Argument { index, operator: Operator::Is, value }
}

/// The argument `index` is not `value`.
pub(super) const fn is_not(index: u8, value: u64) -> Argument {
    Argument { index, operator: Operator::IsNot, value }
}

/// Of the bits in `mask`, the argument `index` has those in `value`.
pub(super) const fn has(index: u8, mask: u64, value: u64) -> Argument {
    Argument { index, operator: Operator::Has(mask), value }
}

impl Calls {
    /// Adds calls with any arguments.
    pub(super) fn all(&mut self, calls: &[i64]) {
        self.0.extend(calls.iter().map(|call| (*call, Vec::new())));
    }

    /// Adds a call for the case that all these arguments are as described.
    pub(super) fn when(&mut self, call: i64, arguments: &[Argument]) -> Result<(), BackendError> {
        let conditions: Result<_, _> = arguments.iter().map(Argument::compile).collect();
        self.0.entry(call).or_default().push(SeccompRule::new(conditions?)?);
        Ok(())
    }

    /// A filter with the action `matched` for these calls, and `other` for all others.
    pub(super) fn filter(
        self,
        matched: SeccompAction,
        other: SeccompAction,
    ) -> Result<BpfProgram, BackendError> {
        let architecture = TargetArch::try_from(ARCH)?;
        SeccompFilter::new(self.0, other, matched, architecture)?.try_into()
    }
}

impl Argument {
    fn compile(&self) -> Result<SeccompCondition, BackendError> {
        let operator = match self.operator {
            Operator::Is => SeccompCmpOp::Eq,
            Operator::IsNot => SeccompCmpOp::Ne,
            Operator::Has(mask) => SeccompCmpOp::MaskedEq(mask),
        };
        SeccompCondition::new(self.index, SeccompCmpArgLen::Dword, operator, self.value)
    }
}

/// The action that makes a call fail. A process is not killed: a program that asks for what it cannot get, and does without,
/// works.
pub(super) fn fail(errno: i32) -> SeccompAction {
    SeccompAction::Errno(errno.unsigned_abs())
}
