use super::*;
use crate::dice::Dice;
use proptest::prelude::*;
use std::collections::HashMap;

/// One operation a line: `begun ended|? put v | delete | read v|- | cas v|-→v yes|no|?`, all on one key.
#[track_caller]
fn history(text: &str) -> Vec<Operation> {
    let value = |word: &str| (word != "-").then(|| word.to_owned());
    let parse = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let action = match words[2..] {
            ["put", it] => Action::Put(it.to_owned()),
            ["delete"] => Action::Delete,
            ["read", it] => Action::Read(value(it)),
            ["cas", expect, it, matched] => Action::Cas {
                expect: value(expect),
                value: it.to_owned(),
                matched: [("yes", true), ("no", false)]
                    .into_iter()
                    .find(|(word, _)| *word == matched)
                    .map(|(_, is)| is),
            },
            _ => panic!("{line:?} is no operation"),
        };
        Operation { key: "k".to_owned(), begun: words[0].parse().unwrap(), ended: words[1].parse().ok(), action }
    };
    text.lines().map(str::trim).filter(|line| !line.is_empty()).map(parse).collect()
}

#[track_caller]
fn explained(text: &str) {
    if let Err(violation) = check(&history(text)) {
        panic!("{violation}");
    }
}

/// The operation on this line, counted from 0, is the one that cannot be explained.
#[track_caller]
fn unexplained(text: &str, line: usize) {
    match check(&history(text)) {
        Err(Violation::Unexplained(window)) => assert_eq!(window.at, line, "{window}"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn overlapping_operations_may_take_effect_in_any_order() {
    explained("0 9 put a\n 1 2 read -\n 3 4 read a\n 5 6 read a");
    explained("0 9 put a\n 0 9 put b\n 1 8 read b\n 10 11 read a");
    explained("0 1 put a\n 2 3 cas a b yes\n 4 5 cas a c no\n 6 7 delete\n 8 9 cas - d yes\n 10 11 read d");
}

#[test]
fn a_stale_read_is_found() {
    unexplained("0 1 put a\n 2 3 put b\n 4 5 read a", 2);
    unexplained("0 1 put a\n 2 3 delete\n 4 5 read a", 2);
    unexplained("0 1 put a\n 2 3 read -", 1);
}

#[test]
fn a_lost_update_is_found() {
    unexplained("0 1 put a\n 2 9 cas a b yes\n 3 8 cas a c yes\n 10 11 read c", 1);
    unexplained("0 1 put a\n 2 3 cas a b no", 1);
}

#[test]
fn a_value_that_was_refused_is_found() {
    unexplained("0 1 put a\n 2 3 put b\n 4 5 cas a c no\n 6 7 read c", 3);
    unexplained("0 1 put a\n 2 3 read z", 1);
}

#[test]
fn a_read_that_goes_back_is_found() {
    unexplained("0 1 put a\n 2 20 put b\n 3 4 read b\n 5 6 read a", 3);
    // Also while the write's outcome is unknown.
    unexplained("0 1 put a\n 2 ? put b\n 3 4 read b\n 5 6 read a", 3);
}

#[test]
fn a_read_of_the_future_is_found() {
    unexplained("0 1 read a\n 2 3 put a", 0);
    unexplained("0 1 read a\n 2 ? put a", 0);
}

#[test]
fn an_unknown_write_happens_once_at_any_time_or_never() {
    explained("0 1 put a\n 2 ? put b\n 3 4 read a\n 5 6 read a\n 50 51 read b");
    explained("0 1 put a\n 2 ? cas a b ?\n 3 4 read a\n 5 6 cas a c yes\n 7 8 read c");
    explained("0 1 put a\n 2 ? delete\n 3 4 read a\n 5 6 read -");
    unexplained("0 1 put a\n 2 ? delete\n 3 4 read -\n 5 6 put b\n 7 8 read -", 4);
    unexplained("0 1 put a\n 2 ? cas z b ?\n 3 4 read b", 1);
}

#[test]
fn an_unknown_write_that_nobody_saw_may_be_why_a_comparison_failed() {
    explained("0 1 put a\n 2 ? put b\n 3 4 cas a c no\n 5 6 put d\n 7 8 read d");
    explained("0 1 put a\n 2 ? cas a b ?\n 3 4 cas a c no\n 5 6 put d\n 7 8 read d");
    // It was one write, which cannot have been in the way twice.
    unexplained("0 1 put a\n 2 ? put b\n 3 4 cas a c no\n 5 6 put d\n 7 8 cas d e no", 4);
    unexplained("0 1 put a\n 2 3 cas a c no\n 4 ? put b", 1);
}

#[test]
fn keys_are_judged_apart_and_the_report_names_what_matters() {
    let mut all = history("0 1 put a\n 2 3 put b\n 4 5 read a");
    all[2].key = "other".to_owned();
    let violation = check(&all).unwrap_err().to_string();
    assert!(violation.contains("answer of operation 2 on the key \"other\""), "{violation}");
    assert!(violation.contains("held nothing"), "{violation}");
    let violation = check(&history("0 1 put old\n 2 3 put a\n 4 5 put b\n 6 7 read a")).unwrap_err().to_string();
    assert!(
        violation.contains("held a value that nobody was shown")
            && violation.contains("put \"a\"")
            && !violation.contains("old"),
        "{violation}"
    );
}

#[test]
fn values_must_be_told_apart() {
    let violation = check(&history("0 1 put a\n 2 3 put a")).unwrap_err();
    assert!(matches!(violation, Violation::Repeated { .. }), "{violation}");
}

#[test]
fn a_search_that_is_too_long_is_given_up_and_passes_nothing() {
    // All overlap, and no read tells anything of their order until the last.
    let writes: String = (0..40).map(|number| format!("{number} 1000 put v{number}\n")).collect();
    let reads: String = (0..40).map(|number| format!("2{number:02} 900 read v{number}\n")).collect();
    let violation = check_within(&history(&format!("{writes}{reads}1001 1002 read z")), 10_000).unwrap_err();
    assert!(matches!(violation, Violation::GaveUp { .. }), "{violation}");
}

/// What a real register answers `clients` clients, a part of whose answers are lost.
fn recorded(seed: u64, operations: usize, clients: usize, keys: u64) -> Vec<Operation> {
    let mut dice = Dice::new(seed);
    let mut register: HashMap<String, String> = HashMap::new();
    let mut free_at = vec![0; clients];
    let mut found = Vec::new();
    for number in 0..operations {
        // Effects follow each other in time; each lies somewhere within its operation.
        let effect = number as u64 * 10;
        let Some(client) = (0..clients).find(|client| free_at[*client] <= effect) else { continue };
        let begun = effect - dice.below(effect - free_at[client] + 1).min(40);
        let ended = effect + dice.below(60);
        free_at[client] = ended + 1;
        let key = format!("key{}", dice.below(keys));
        let held = register.get(&key).cloned();
        let lost = dice.below(20) == 0;
        let value = format!("v{number}");
        let action = match dice.below(10) {
            0..3 => Action::Put(value.clone()),
            3 => Action::Delete,
            4 => Action::Cas { expect: held.clone(), value: value.clone(), matched: Some(true) },
            5 => Action::Cas { expect: Some("v1".to_owned()), value, matched: Some(held.as_deref() == Some("v1")) },
            _ => Action::Read(held),
        };
        match &action {
            // A lost one takes effect or does not.
            Action::Put(value) | Action::Cas { value, matched: Some(true), .. } if !lost || dice.below(2) == 0 => {
                register.insert(key.clone(), value.clone());
            }
            Action::Delete => {
                register.remove(&key);
            }
            _ => {}
        }
        found.push(Operation { key, begun, ended: (!lost).then_some(ended), action });
    }
    found
}

#[test]
fn a_long_history_of_a_real_register_is_explained_and_one_wrong_answer_in_it_is_not() {
    let mut history = recorded(7, 12_000, 10, 20);
    assert!(history.len() > 10_000, "{}", history.len());
    if let Err(violation) = check(&history) {
        panic!("{violation}");
    }
    let (at, _) = history
        .iter()
        .enumerate()
        .filter(|(_, operation)| operation.ended.is_some() && matches!(operation.action, Action::Read(Some(_))))
        .nth(2000)
        .unwrap();
    history[at].action = Action::Read(Some("v1".to_owned()));
    assert!(matches!(check(&history), Err(Violation::Unexplained(window)) if window.at == at));
}

#[test]
fn many_unknown_operations_cost_little() {
    let mut history = recorded(11, 4_000, 10, 2);
    for number in 0..2_000 {
        let key = format!("key{}", number % 2);
        let action = match number % 3 {
            0 => Action::Put(format!("lost{number}")),
            1 => Action::Delete,
            _ => Action::Cas { expect: Some(format!("v{number}")), value: format!("lost{number}"), matched: None },
        };
        history.push(Operation { key, begun: number * 20, ended: None, action });
    }
    if let Err(violation) = check(&history) {
        panic!("{violation}");
    }
}

/// Tries every order of every subset, on one key.
fn naive(left: &[Operation], held: Option<&str>) -> bool {
    let certain = |operation: &Operation| operation.ended.is_some();
    if !left.iter().any(certain) {
        return true;
    }
    let first_end = left.iter().filter_map(|operation| operation.ended).min().unwrap();
    left.iter().enumerate().filter(|(_, operation)| operation.begun <= first_end).any(|(at, operation)| {
        let mut rest = left.to_vec();
        rest.remove(at);
        match &operation.action {
            Action::Put(value) => naive(&rest, Some(value)),
            Action::Delete => naive(&rest, None),
            Action::Read(value) => (operation.ended.is_none() || value.as_deref() == held) && naive(&rest, held),
            Action::Cas { expect, value, matched } => {
                let fits = expect.as_deref() == held;
                matched.is_none_or(|matched| matched == fits) && naive(&rest, if fits { Some(value) } else { held })
            }
        }
    })
}

fn any_history() -> impl Strategy<Value = Vec<Operation>> {
    let named = prop::option::weighted(0.8, 0..5_u8);
    let operation = (0..4_u8, named, any::<bool>(), 0..16_u64, 0..6_u64, prop::bool::weighted(0.3));
    prop::collection::vec(operation, 1..8).prop_map(|all| {
        let make =
            |(number, (kind, named, matched, begun, length, lost)): (usize, (_, Option<u8>, _, u64, u64, bool))| {
                let named = named.map(|number| format!("v{number}"));
                let value = format!("v{number}");
                let action = match kind {
                    0 => Action::Put(value),
                    1 => Action::Delete,
                    2 => Action::Cas { expect: named, value, matched: (!lost).then_some(matched) },
                    _ => Action::Read(named),
                };
                Operation { key: "k".to_owned(), begun, ended: (!lost).then_some(begun + length), action }
            };
        all.into_iter().enumerate().map(make).collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4096))]

    #[test]
    fn the_search_agrees_with_trying_every_order(history in any_history()) {
        prop_assert_eq!(check(&history).is_ok(), naive(&history, None));
    }
}
