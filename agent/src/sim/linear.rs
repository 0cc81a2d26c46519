//! Is a history of a map of registers linearizable (Herlihy & Wing 1990)? Pure: operations in, a verdict out.
//!
//! A map is linearizable exactly when each of its keys is (Herlihy & Wing's locality), so keys are checked one by one. For
//! one key this is the search of Wing & Gong (1993) with Lowe's memoization and just-in-time linearization ("Testing for
//! linearizability", 2017): time is walked from answer to answer, with every *configuration* that may be the truth (what
//! the register holds, and which of the operations under way have taken effect already). Only an answer forces an
//! effect. When an answer leaves no configuration, it is the one that cannot be explained.
//!
//! Every value is written once. Therefore a write of unknown outcome whose value was seen did happen, before whoever saw
//! it had his answer. One whose value nobody saw can only explain why a compare-and-set did not match, or, a delete, why
//! nothing was found: it is tried there and nowhere else, and those of equal effect in the order in which they began, as
//! the first can do whatever a later one can. So they cost little, however many there are.
//!
//! What it never does: it passes no history that it could not search to the end.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// Configurations looked at for one key before the search is given up.
const LOOKED_AT_MAX: usize = 3_000_000;
/// Operations of one key that may be under way at once: the bits of a configuration.
const UNDER_WAY_MAX: usize = u128::BITS as usize;
/// Operations that a violation shows.
const SHOWN_MAX: usize = 24;

/// What a client did to one register. An operation that surely did not happen is no operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Operation {
    pub key: String,
    /// When it was asked, on one clock for the whole history, in any unit.
    pub begun: u64,
    /// When it was answered. `None`: the outcome is unknown; it took effect at any time after `begun`, or never.
    pub ended: Option<u64>,
    pub action: Action,
}

/// What was asked, and the answer. No two writes to a key may have the same value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    Put(String),
    Delete,
    /// Writes `value` if the register holds `expect` (`None`: nothing). `matched` is `None` if the answer is unknown.
    Cas {
        expect: Option<String>,
        value: String,
        matched: Option<bool>,
    },
    Read(Option<String>),
}

/// Why a history was not found to be linearizable.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Violation {
    #[error("{0}")]
    Unexplained(Window),
    #[error(
        "two operations write {value:?} to the key {key:?}: without a value of its own for each write nothing is told apart"
    )]
    Repeated { key: String, value: String },
    #[error(
        "gave up on the key {key:?}, at operation {at}, with {configurations} configurations looked at: nothing is known of \
         this history; record it with fewer clients on a key, or for a shorter time"
    )]
    GaveUp { key: String, at: usize, configurations: usize },
}

/// The piece of one key's history in which an answer cannot be explained.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Window {
    pub key: String,
    /// The place, in the history, of the operation whose answer no order explains.
    pub at: usize,
    /// What the register may have held when that answer came, in words.
    pub may_hold: Vec<String>,
    /// The operation itself and those that bear on it, by their places, in the order in which they began.
    pub operations: Vec<(usize, Operation)>,
    /// How many more there were.
    pub left_out: usize,
}

impl fmt::Display for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "no order explains the answer of operation {} on the key {:?};", self.at, self.key)?;
        writeln!(f, "by the answers before it the register held {}:", self.may_hold.join(" or "))?;
        for (at, operation) in &self.operations {
            let mark = if *at == self.at { '>' } else { ' ' };
            writeln!(f, "{mark} {at:>6}  {operation}")?;
        }
        if self.left_out > 0 { write!(f, "  and {} more between them", self.left_out) } else { Ok(()) }
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.ended {
            Some(ended) => write!(f, "{:>14} to {ended:<14} ", self.begun)?,
            None => write!(f, "{:>14} to {:<14} ", self.begun, "?")?,
        }
        match &self.action {
            Action::Put(value) => write!(f, "put {value:?}"),
            Action::Delete => write!(f, "delete"),
            Action::Read(value) => write!(f, "read {}", shown(value.as_deref())),
            Action::Cas { expect, value, matched } => {
                write!(f, "put {value:?} if there is {}", shown(expect.as_deref()))?;
                match matched {
                    Some(true) => write!(f, ": done"),
                    Some(false) => write!(f, ": it was not"),
                    None => Ok(()),
                }
            }
        }
    }
}

fn shown(value: Option<&str>) -> String {
    value.map_or_else(|| "nothing".to_owned(), |value| format!("{value:?}"))
}

/// Whether there is an order of these operations, each at one moment between its beginning and its answer, that gives
/// every answer. They may come in any order; those of equal times are taken to overlap.
///
/// # Errors
/// [`Violation`]: the first answer that cannot be explained, or why that was not found out.
pub fn check(history: &[Operation]) -> Result<(), Violation> {
    check_within(history, LOOKED_AT_MAX)
}

fn check_within(history: &[Operation], looked_at_max: usize) -> Result<(), Violation> {
    let mut keys: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for (at, operation) in history.iter().enumerate() {
        keys.entry(&operation.key).or_default().push(at);
    }
    keys.values().try_for_each(|places| Register::of(history, places, looked_at_max)?.search())
}

/// A value by number; those that nobody asks for are all one.
type Value = u32;
const NOTHING: Value = 0;
const UNSEEN: Value = 1;

/// What the register must hold for a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Needs {
    Any,
    Is(Value),
    Not(Value),
}

/// An operation as the search sees it.
#[derive(Clone, Copy, Debug)]
struct Step {
    at: usize,
    begun: u64,
    /// `None`: it may never happen.
    ended: Option<u64>,
    needs: Needs,
    makes: Option<Value>,
}

impl Needs {
    const fn met(self, held: Value) -> bool {
        match self {
            Self::Any => true,
            Self::Is(value) => held == value,
            Self::Not(value) => held != value,
        }
    }
}

/// One truth that is possible: what the register holds, and which steps under way, by their slots, took effect already.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Configuration {
    done: u128,
    held: Value,
}

impl Configuration {
    /// What changes nothing may as well happen as soon as it can: later it can do no more.
    fn and_all_that_fits(mut self, under_way: &[Option<Step>]) -> Self {
        for (slot, step) in under_way.iter().enumerate() {
            if step.is_some_and(|step| step.makes.is_none() && step.needs.met(self.held)) {
                self.done |= 1 << slot;
            }
        }
        self
    }
}

/// How many steps of each kind that may never happen were made to. The fewer, the more can still be explained.
type Spent = Vec<u16>;

/// The possible truths, none of which another one makes needless.
#[derive(Default)]
struct Frontier(BTreeMap<Configuration, Vec<Spent>>);

impl Frontier {
    /// Whether it is news.
    fn add(&mut self, configuration: Configuration, spent: &Spent) -> bool {
        let known = self.0.entry(configuration).or_default();
        let covers = |less: &Spent, more: &Spent| less.iter().zip(more).all(|(less, more)| less <= more);
        if known.iter().any(|other| covers(other, spent)) {
            return false;
        }
        known.retain(|other| !covers(spent, other));
        known.push(spent.clone());
        true
    }

    fn into_each(self) -> impl Iterator<Item = (Configuration, Spent)> {
        self.0.into_iter().flat_map(|(configuration, all)| all.into_iter().map(move |spent| (configuration, spent)))
    }
}

/// The steps that may never happen and are alike in effect: (what they need, what they make).
type Kind = (Needs, Value);

/// One key's history, made ready for the search.
struct Register<'a> {
    history: &'a [Operation],
    places: &'a [usize],
    names: Vec<Option<&'a str>>,
    /// Those that happened.
    steps: Vec<Step>,
    /// Those that may have, and when each began.
    kinds: Vec<(Kind, Vec<u64>)>,
    looked_at: usize,
    looked_at_max: usize,
}

impl<'a> Register<'a> {
    fn of(history: &'a [Operation], places: &'a [usize], looked_at_max: usize) -> Result<Self, Violation> {
        let numbers = number_values(history, places)?;
        let number = |value: &Option<String>| match value {
            None => NOTHING,
            Some(value) => numbers.get(value.as_str()).copied().unwrap_or(UNSEEN),
        };
        let mut steps: Vec<Step> = places.iter().filter_map(|&at| step(at, &history[at], number)).collect();
        settle(&mut steps);
        let (steps, maybe): (Vec<Step>, Vec<Step>) = steps.into_iter().partition(|step| step.ended.is_some());
        let mut kinds: BTreeMap<Kind, Vec<u64>> = BTreeMap::new();
        for step in maybe {
            if let Some(makes) = step.makes {
                kinds.entry((step.needs, makes)).or_default().push(step.begun);
            }
        }
        kinds.values_mut().for_each(|begun| begun.sort_unstable());
        let mut names = vec![None; numbers.len() + 2];
        numbers.iter().for_each(|(name, number)| names[*number as usize] = Some(*name));
        Ok(Self { history, places, names, steps, kinds: kinds.into_iter().collect(), looked_at: 0, looked_at_max })
    }

    fn search(mut self) -> Result<(), Violation> {
        // At equal times beginnings come first: such operations overlap.
        let begins = self.steps.iter().enumerate().map(|(number, step)| (step.begun, false, number));
        let ends = self.steps.iter().enumerate().filter_map(|(number, step)| Some((step.ended?, true, number)));
        let mut moments: Vec<(u64, bool, usize)> = begins.chain(ends).collect();
        moments.sort_unstable();
        let mut under_way: Vec<Option<Step>> = Vec::new();
        let mut slots = vec![0; self.steps.len()];
        let mut frontier = Frontier::default();
        frontier.add(Configuration { done: 0, held: NOTHING }, &vec![0; self.kinds.len()]);
        for (time, is_end, number) in moments {
            let step = self.steps[number];
            if !is_end {
                let free = under_way.iter().position(Option::is_none).unwrap_or(under_way.len());
                if free == UNDER_WAY_MAX {
                    return Err(self.give_up(step));
                }
                under_way.resize(under_way.len().max(free + 1), None);
                under_way[free] = Some(step);
                slots[number] = free;
                continue;
            }
            let held: BTreeSet<Value> = frontier.0.keys().map(|configuration| configuration.held).collect();
            frontier = self.explain(frontier, &under_way, slots[number], time)?;
            if frontier.0.is_empty() {
                return Err(Violation::Unexplained(self.window(step, &held)));
            }
            under_way[slots[number]] = None;
        }
        Ok(())
    }

    /// What may be the truth once the step in this slot took effect at the latest.
    fn explain(
        &mut self,
        before: Frontier,
        under_way: &[Option<Step>],
        slot: usize,
        now: u64,
    ) -> Result<Frontier, Violation> {
        let mut seen = Frontier::default();
        let mut after = Frontier::default();
        let mut left: Vec<(Configuration, Spent)> = before.into_each().collect();
        while let Some((configuration, spent)) = left.pop() {
            self.looked_at += 1;
            if let (true, Some(step)) = (self.looked_at > self.looked_at_max, under_way[slot]) {
                return Err(self.give_up(step));
            }
            let configuration = configuration.and_all_that_fits(under_way);
            if configuration.done & (1 << slot) != 0 {
                after.add(Configuration { done: configuration.done & !(1 << slot), ..configuration }, &spent);
                continue;
            }
            let waiting = under_way.iter().enumerate().filter_map(|(slot, step)| Some((slot, (*step)?)));
            for (other, step) in waiting.filter(|(other, _)| configuration.done & (1 << other) == 0) {
                for (held, spent) in self.ways(step, configuration.held, &spent, now) {
                    let held = step.makes.unwrap_or(held);
                    let next = Configuration { done: configuration.done | (1 << other), held };
                    if seen.add(next, &spent) {
                        left.push((next, spent));
                    }
                }
            }
        }
        Ok(after)
    }

    /// How the register comes to hold what the step needs: it does so already, or one step that may never have happened
    /// did, just before.
    fn ways(&self, step: Step, held: Value, spent: &Spent, now: u64) -> Vec<(Value, Spent)> {
        if step.needs.met(held) {
            return vec![(held, spent.clone())];
        }
        let helps = |(number, ((needs, makes), begun)): (usize, &(Kind, Vec<u64>))| {
            let begun = begun.get(usize::from(spent[number])).is_some_and(|begun| *begun <= now);
            if !begun || !needs.met(held) || !step.needs.met(*makes) {
                return None;
            }
            let mut spent = spent.clone();
            spent[number] += 1;
            Some((*makes, spent))
        };
        self.kinds.iter().enumerate().filter_map(helps).collect()
    }

    fn name(&self, value: Value) -> String {
        match value {
            UNSEEN => "a value that nobody was shown".to_owned(),
            value => shown(self.names[value as usize]),
        }
    }

    fn give_up(&self, step: Step) -> Violation {
        let key = self.history[step.at].key.clone();
        Violation::GaveUp { key, at: step.at, configurations: self.looked_at }
    }

    /// From the last write of what was expected or held, up to the answer; and whoever wrote what was expected.
    fn window(&self, step: Step, held: &BTreeSet<Value>) -> Window {
        let expected = match step.needs {
            Needs::Is(value) | Needs::Not(value) => Some(value),
            Needs::Any => None,
        };
        let tells = |other: &&Step| {
            let before = other.begun <= step.begun;
            before && other.makes.is_some_and(|made| Some(made) == expected || held.contains(&made))
        };
        let from = self.steps.iter().filter(tells).map(|other| other.begun).max().unwrap_or(step.begun);
        let until = step.ended.unwrap_or(u64::MAX);
        let wrote = |other: &&Step| other.makes.is_some_and(|made| Some(made) == expected && made > UNSEEN);
        let named: BTreeSet<usize> = self.steps.iter().filter(wrote).map(|other| other.at).chain([step.at]).collect();
        let beside =
            |operation: &Operation| operation.begun <= until && operation.ended.is_none_or(|ended| ended >= from);
        let mut near: Vec<usize> = self.places.to_vec();
        near.retain(|at| named.contains(at) || beside(&self.history[*at]));
        // What bears on it goes first into the room that there is, then what is nearest in time.
        near.sort_by_key(|at| (!named.contains(at), self.history[*at].begun.abs_diff(step.begun)));
        let left_out = near.len().saturating_sub(SHOWN_MAX);
        near.truncate(SHOWN_MAX);
        near.sort_by_key(|at| (self.history[*at].begun, *at));
        Window {
            key: self.history[step.at].key.clone(),
            at: step.at,
            may_hold: held.iter().map(|value| self.name(*value)).collect(),
            operations: near.into_iter().map(|at| (at, self.history[at].clone())).collect(),
            left_out,
        }
    }
}

/// Numbers for the values that some answer or condition names.
fn number_values<'a>(history: &'a [Operation], places: &[usize]) -> Result<BTreeMap<&'a str, Value>, Violation> {
    let mut written = BTreeSet::new();
    let mut numbers = BTreeMap::new();
    for operation in places.iter().map(|&at| &history[at]) {
        let (writes, names) = match &operation.action {
            Action::Put(value) => (Some(value), None),
            Action::Delete => (None, None),
            Action::Cas { expect, value, .. } => (Some(value), expect.as_ref()),
            Action::Read(value) => (None, value.as_ref()),
        };
        if let Some(value) = writes.filter(|value| !written.insert(value.as_str())) {
            return Err(Violation::Repeated { key: operation.key.clone(), value: value.clone() });
        }
        if let Some(name) = names {
            let next = numbers.len() as Value + UNSEEN + 1;
            numbers.entry(name.as_str()).or_insert(next);
        }
    }
    Ok(numbers)
}

/// `None` for a read without an answer, which says nothing.
fn step(at: usize, operation: &Operation, number: impl Fn(&Option<String>) -> Value) -> Option<Step> {
    let written = |value: &String| Some(number(&Some(value.clone())));
    let mut ended = operation.ended;
    let (needs, makes) = match &operation.action {
        Action::Put(value) => (Needs::Any, written(value)),
        Action::Delete => (Needs::Any, Some(NOTHING)),
        Action::Read(value) => (Needs::Is(number(value)), None),
        Action::Cas { expect, value, matched } => match (*matched).filter(|_| ended.is_some()) {
            Some(false) => (Needs::Not(number(expect)), None),
            matched => {
                ended = ended.filter(|_| matched.is_some());
                (Needs::Is(number(expect)), written(value))
            }
        },
    };
    (ended.is_some() || makes.is_some()).then_some(Step { at, begun: operation.begun, ended, needs, makes })
}

/// A write whose value was needed by what happened did happen itself, before that was answered; and so on from there.
fn settle(steps: &mut [Step]) {
    loop {
        let mut needed: BTreeMap<Value, u64> = BTreeMap::new();
        for step in steps.iter() {
            if let (Needs::Is(value), Some(ended)) = (step.needs, step.ended) {
                let first = needed.entry(value).or_insert(ended);
                *first = (*first).min(ended);
            }
        }
        let mut settled = false;
        for step in steps.iter_mut().filter(|step| step.ended.is_none()) {
            let seen = step.makes.filter(|made| *made > UNSEEN).and_then(|made| needed.get(&made));
            step.ended = seen.copied().filter(|seen| *seen >= step.begun);
            settled |= step.ended.is_some();
        }
        if !settled {
            return;
        }
    }
}

#[cfg(test)]
#[path = "linear_tests.rs"]
mod tests;
