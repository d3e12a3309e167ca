//! Rules, and the macro that lists them under the sentences of a contract.

use std::sync::Arc;

use futures::future::BoxFuture;

use super::violation::RuleResult;

/// One check of a conformance suite, with the sentence of the contract that it checks.
pub struct Rule<B> {
    pub(super) sentence: &'static str,
    pub(super) name: &'static str,
    /// True if the backend declares the capabilities that the rule needs.
    pub(super) applies: fn(&B) -> bool,
    pub(super) check: fn(Arc<B>) -> BoxFuture<'static, RuleResult>,
}

impl<B> Rule<B> {
    /// Returns the sentence of the contract.
    pub fn sentence(&self) -> &'static str {
        self.sentence
    }

    /// Returns the name of the rule, which is the name of its function in this crate.
    pub fn name(&self) -> &'static str {
        self.name
    }
}

/// Lists rules under their sentences. `needs` names the capabilities without which the rules are not run.
macro_rules! rules {
    ($on:ident; $($sentence:literal $(needs $($capability:ident)+)? => $module:ident $rules:tt;)+) => {{
        let mut rules = Vec::new();
        $(rules.extend($crate::conformance::rule::group!(
            $on, $sentence, [$($($capability)+)?], $module $rules
        ));)+
        rules
    }};
}

macro_rules! group {
    ($on:ident, $sentence:literal, $capabilities:tt, $module:ident [$($rule:ident,)+]) => {
        [$($crate::conformance::rule::Rule {
            sentence: $sentence,
            name: stringify!($rule),
            applies: $crate::conformance::rule::applies!($capabilities),
            check: |backend| Box::pin(async move { $module::$rule(&$on::new(backend).await).await }),
        },)+]
    };
}

macro_rules! applies {
    ([]) => { |_| true };
    ([$($capability:ident)+]) => { |backend: &B| $(backend.capabilities().$capability)&&+ };
}

pub(crate) use {applies, group, rules};
