//! The store against a naive model of it, under random logs.

mod naive;
mod strategy;

use bytes::Bytes;
use lictor_catalog::command::{Command, Entry, KvCommand, RestoreCommand, SessionCommand};
use lictor_catalog::model::folded;
use lictor_catalog::query::{Rows, execute};
use lictor_catalog::{AllowAll, Execution, Index, Outcome, Query, Restore, Scope, Store, Touched, Watch};
use naive::Naive;
use proptest::prelude::*;
use strategy::{PREPARED, log, queries, short_log};
use uuid::Uuid;

fn cases(cases: u32) -> ProptestConfig {
    ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
}

fn answers(store: &Store, queries: &[Query]) -> Vec<(Index, Rows)> {
    queries.iter().map(|query| query.run(store, &AllowAll)).collect()
}

/// What the hub does: exact watches by equality, prefixes by the touched keys, all nodes by any.
fn woken(query: &Query, touched: &Touched) -> bool {
    query.watches().iter().any(|watch| match watch {
        Watch::Prefix(prefix) => {
            touched.watches.iter().any(|touched| matches!(touched, Watch::Key(key) if key.starts_with(&**prefix)))
        }
        Watch::AnyNode => touched.watches.iter().any(|touched| matches!(touched, Watch::Node(_))),
        watch => touched.watches.contains(watch),
    })
}

fn restored(store: &Store) -> Store {
    let mut restore = Restore::new();
    for chunk in store.chunks() {
        restore.feed(&chunk).expect("fresh chunks are sound");
    }
    restore.finish().expect("a whole snapshot restores")
}

proptest! {
    #![proptest_config(cases(256))]

    /// Every answer is the naive one; no wake-up is lost; indexes rise with every change, never fall, and are never 0; a
    /// command that changes nothing touches nothing and moves no index.
    #[test]
    fn agrees_with_the_naive_model(log in short_log(40)) {
        let queries = queries();
        let (mut store, mut naive) = (Store::default(), Naive::default());
        let mut before = answers(&store, &queries);
        for (at, entry) in log.iter().enumerate() {
            let world = naive.clone();
            let index = Index(at as u64 + 10);
            let applied = store.apply(index, entry);
            let outcome = naive.apply(index, store.time_ms(), &entry.command);
            prop_assert_eq!(&applied.outcome, &outcome, "{:?}", entry);
            let sorted = applied.touched.watches.is_sorted_by(|a, b| a < b);
            prop_assert!(sorted, "touched is sorted and has no duplicates: {:?}", applied.touched);
            let after = answers(&store, &queries);
            for (query, (old, new)) in queries.iter().zip(before.iter().zip(&after)) {
                prop_assert_eq!(&new.1, &naive.run(query), "{:?} after {:?}", query, entry);
                prop_assert!(new.0 >= old.0, "{:?}: index fell from {} to {}", query, old.0, new.0);
                prop_assert!(new.0 > Index(0), "{:?}: index 0", query);
                prop_assert!(new.0 <= index.max(Index(1)), "{:?}: index beyond the log", query);
                if new.1 != old.1 {
                    prop_assert!(new.0 > old.0, "{:?}: rows changed under index {}, {:?}", query, old.0, entry);
                    prop_assert!(woken(query, &applied.touched), "{:?}: not woken by {:?}", query, entry);
                }
                if world == naive {
                    prop_assert_eq!(new.0, old.0, "{:?}: moved by nothing, {:?}", query, entry);
                }
            }
            if world == naive {
                prop_assert!(applied.touched.watches.is_empty(), "{:?} touched {:?}", entry, applied.touched);
            }
            before = after;
        }
    }

    /// Equal logs make equal stores, whatever was snapshot, cloned or restored on the way.
    #[test]
    fn is_deterministic(log in log(40), at in 0usize..40) {
        let run = |mut store: Store, log: &[Entry], from: usize| {
            for (at, entry) in log.iter().enumerate() {
                store.apply(Index((from + at) as u64 + 1), entry);
            }
            store
        };
        let whole = run(Store::default(), &log, 0);
        let (head, tail) = log.split_at(at.min(log.len()));
        let half = run(Store::default(), head, 0);
        let twin = restored(&half);
        prop_assert!(twin == half);
        prop_assert_eq!(twin.hash(), half.hash());
        let snapshot = (half.clone(), half.hash());
        let (twin, half) = (run(twin, tail, head.len()), run(half, tail, head.len()));
        prop_assert!(whole == half && whole == twin);
        prop_assert_eq!(whole.hash(), twin.hash());
        prop_assert_eq!(snapshot.0.hash(), snapshot.1, "a snapshot does not move with its store");
    }

    /// Whatever happened since it was saved, and whatever time it is: a restored store answers everything as the saved one
    /// did, its sessions have their whole time to live before them, and what is written from then on has higher indexes.
    #[test]
    fn a_restore_gives_everything_back(log in short_log(60), since in log(40)) {
        let mut store = Store::default();
        for (at, entry) in log.iter().enumerate() {
            store.apply(Index(at as u64 + 1), entry);
        }
        let saved = store.clone();
        let queries = queries();
        let was = answers(&saved, &queries);
        let mut apply = |command: Command, time_ms| {
            let index = Index(store.index().0 + 1);
            store.apply(index, &Entry { time_ms, id: 0, command })
        };
        for entry in &since {
            apply(entry.command.clone(), entry.time_ms);
        }
        let rows: Vec<Bytes> = saved.tables().map(Bytes::from).collect();
        let restore = [
            RestoreCommand::Begin { id: 1 },
            RestoreCommand::Stage { id: 1, number: 0, rows },
            RestoreCommand::Commit { id: 1, count: 1 },
        ];
        for (step, command) in restore.into_iter().enumerate() {
            let applied = apply(Command::Restore(command), 0);
            prop_assert_eq!(applied.outcome, Outcome::Done);
            prop_assert_eq!(applied.touched.all, step == 2, "everybody wakes");
        }
        let now = store.time_ms();
        prop_assert_eq!(answers(&store, &queries), was);
        let sessions = (1..4).filter_map(|id| saved.session(Uuid::from_u128(id)));
        for session in sessions.filter(|session| !session.ttl.span.is_zero()) {
            let ttl = session.ttl.span.as_millis() as u64;
            let ends = |at: u64| store.expiries(at).any(|end| {
                matches!(end, SessionCommand::Expire { id, .. } if id == session.id)
            });
            prop_assert!(!ends(now + ttl - 1) && ends(now + ttl), "{:?}", session);
        }
        let twin = restored(&store);
        prop_assert!(twin == store);
        let highest = answers(&store, &queries).iter().map(|answer| answer.0).max();
        let key = KvCommand::Set { key: "a".to_owned(), value: Bytes::from_static(b"after"), flags: 9 };
        let index = Index(store.index().0 + 1);
        store.apply(index, &Entry { time_ms: 0, id: 0, command: Command::Kv(key) });
        let written = store.key("a").map(|row| row.entry().modify_index);
        prop_assert!(written > highest, "{:?} is not above {:?}", written, highest);
    }

    /// A part answers what it covers as the whole does, and survives encoding.
    #[test]
    fn parts_answer_as_the_whole(log in short_log(40)) {
        let mut store = Store::default();
        for (at, entry) in log.iter().enumerate() {
            store.apply(Index(at as u64 + 1), entry);
        }
        for query in queries() {
            let scope = match &query {
                Query::Node { name }
                | Query::HealthNode { name }
                | Query::Dump { node: Some(name) }
                | Query::Coordinate { node: name } => Scope::Node(name.clone()),
                Query::ServiceNodes { name, .. } | Query::HealthService { name, .. } => Scope::Service(name.clone()),
                Query::HealthChecks { service, .. } => Scope::Service(service.clone()),
                Query::Explain { name } => Scope::Prepared(name.clone()),
                _ => continue,
            };
            let part = restored(&store.part(&scope));
            prop_assert!(part.covers(&scope) && store.covers(&scope));
            prop_assert!(!part.covers(&Scope::Servers));
            prop_assert_eq!(query.run(&part, &AllowAll), query.run(&store, &AllowAll), "{:?}", query);
        }
    }

    /// What a prepared query finds is what the naive model finds, in whatever order; a part knows as much as the whole, and
    /// equal executions have equal answers.
    #[test]
    fn prepared_queries_find_what_the_model_finds(log in short_log(60), seed in any::<u64>(), limit in 0usize..3) {
        let (mut store, mut naive) = (Store::default(), Naive::default());
        for (at, entry) in log.iter().enumerate() {
            store.apply(Index(at as u64 + 1), entry);
            naive.apply(Index(at as u64 + 1), store.time_ms(), &entry.command);
        }
        for name in PREPARED {
            let execution = Execution { name: (*name).to_owned(), seed, ..Execution::default() };
            let found = execute(&store, &execution, &AllowAll);
            let part = restored(&store.part(&Scope::Prepared(execution.name.clone())));
            prop_assert_eq!(&execute(&part, &execution, &AllowAll), &found, "{}", name);
            let limited = execute(&store, &Execution { limit, ..execution }, &AllowAll);
            let (Some(mut found), Some(limited)) = (found, limited) else {
                prop_assert_eq!(naive.execute(name), None, "{}", name);
                continue;
            };
            let first = if limit == 0 { found.instances.len() } else { found.instances.len().min(limit) };
            prop_assert_eq!(&limited.instances, &found.instances[..first]);
            found.instances.sort_by_key(|i| (folded(&i.node.name).into_owned(), folded(&i.service.id).into_owned()));
            prop_assert_eq!(Some(found), naive.execute(name), "{}", name);
        }
    }
}
