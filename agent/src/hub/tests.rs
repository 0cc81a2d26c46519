use super::*;
use crate::http::call::Form;
use lictor_catalog::command::KvCommand;
use lictor_catalog::{Entry as LogEntry, Node, Register, Store};
use proptest::prelude::*;

/// A hub over a store that is written to, and what it answered.
struct Bench {
    hub: Hub,
    store: Store,
    index: u64,
    answers: Vec<(WaitId, Found)>,
}

impl Bench {
    fn new() -> Self {
        let hub = Hub::new("dc1".to_owned(), Arc::new(View::default()));
        let mut bench = Self { hub, store: Store::default(), index: 1, answers: Vec::new() };
        bench.put("seed");
        bench
    }

    fn put(&mut self, key: &str) {
        self.index += 1;
        let command = lictor_catalog::Command::Kv(KvCommand::Set {
            key: key.into(),
            value: self.index.to_string().into(),
            flags: 0,
        });
        let entry = LogEntry { time_ms: 0, id: self.index, command };
        let applied = self.store.apply(Index(self.index), &entry);
        self.publish(&applied.touched);
    }

    fn publish(&mut self, touched: &Touched) {
        let view = View { store: self.store.clone(), applied: Index(self.index), ..View::default() };
        self.hub.published(Arc::new(view), touched, &mut self.answers);
    }

    fn wait(&mut self, id: WaitId, query: Query, min_index: u64, deadline: u64) {
        self.wait_as(id, query, Encoding::default(), min_index, deadline);
    }

    fn wait_as(&mut self, id: WaitId, query: Query, encoding: Encoding, min_index: u64, deadline: u64) {
        let subject = Subject::Catalog(query);
        let waiter = Waiter { id, subject, encoding, min_index: Index(min_index), deadline: Instant(deadline) };
        self.hub.wait(waiter, &mut self.answers).expect("there is room");
    }

    fn answered(&mut self) -> Vec<WaitId> {
        let mut ids: Vec<WaitId> = self.answers.drain(..).map(|(id, _)| id).collect();
        ids.sort_unstable();
        ids
    }
}

fn get(key: &str) -> Query {
    Query::KvGet { key: key.to_owned() }
}

fn list(prefix: &str) -> Query {
    Query::KvList { prefix: prefix.to_owned() }
}

#[test]
fn equal_reads_are_evaluated_and_encoded_once() {
    let mut bench = Bench::new();
    bench.put("a");
    let index = bench.index;
    for id in 1..=100 {
        bench.wait(id, get("a"), index, 1000);
    }
    assert_eq!(bench.answered(), [0; 0]);
    assert_eq!(bench.hub.counters.evaluations, 1, "whoever joins a group that sleeps costs nothing");
    bench.put("a");
    assert_eq!(bench.answers.len(), 100);
    assert_eq!(bench.hub.counters, Counters { evaluations: 2, encodes: 1, answers: 100 });
    let first = &bench.answers[0].1.encoded.body;
    assert!(bench.answers.iter().all(|(_, found)| found.encoded.body.as_ptr() == first.as_ptr()), "the same bytes");
    assert_eq!((bench.hub.waiting(), bench.hub.deadline()), (0, None));
    assert!(bench.hub.by_watch.is_empty() && bench.hub.keys.is_empty(), "nothing is left behind");
}

#[test]
fn nobody_is_woken_early_and_nobody_too_late() {
    let mut bench = Bench::new();
    bench.put("a");
    let seen = bench.index;
    bench.put("a");
    // The change came before the registration.
    bench.wait(1, get("a"), seen, 1000);
    assert_eq!(bench.answered(), [1]);
    let seen = bench.index;
    bench.wait(2, get("a"), seen, 1000);
    bench.wait(3, get("a"), seen + 1, 1000);
    bench.put("b");
    assert_eq!(bench.answered(), [0; 0], "not his key");
    let evaluations = bench.hub.counters.evaluations;
    bench.put("c");
    assert_eq!(bench.hub.counters.evaluations, evaluations, "what nobody watches costs nothing");
    bench.put("a");
    assert_eq!(bench.answered(), [2, 3]);
    bench.wait(4, get("a"), bench.index + 5, 1000);
    bench.put("a");
    assert_eq!(bench.answered(), [0; 0], "his index is further on");
    // A sleeper's group is not asked again for the newcomer, who nevertheless has missed something.
    bench.wait(5, get("a"), seen, 1000);
    assert_eq!(bench.answered(), [5]);
}

#[test]
fn two_thousand_watchers_of_one_thing_sleep_through_a_thousand_writes_to_another() {
    let mut bench = Bench::new();
    bench.put("a");
    let index = bench.index;
    for id in 0..2000 {
        bench.wait(id, get("a"), index, 1_000_000);
    }
    let counters = bench.hub.counters;
    for _ in 0..1000 {
        bench.put("b");
    }
    assert_eq!(bench.answered(), [0; 0]);
    assert_eq!(bench.hub.counters, counters, "not even looked at");
    bench.put("a");
    assert_eq!(bench.answered().len(), 2000);
}

#[test]
fn ten_thousand_equal_reads_are_compressed_once() {
    let mut bench = Bench::new();
    let index = bench.index;
    for id in 0..10_000 {
        // Half of them take gzip: two groups.
        let encoding = Encoding { gzip: id % 2 == 0, ..Encoding::default() };
        bench.wait_as(id, get("a"), encoding, index, 1_000_000);
    }
    let before = bench.hub.counters;
    bench.put("a");
    assert_eq!(bench.hub.counters.encodes - before.encodes, 2);
    assert_eq!(bench.answers.len(), 10_000);
    let body = |gzip: bool| {
        let found = bench.answers.iter().find(|(_, found)| found.encoded.gzip == gzip).map(|(_, found)| found);
        found.expect("an answer").encoded.body.clone()
    };
    let (plain, compressed) = (body(false), body(true));
    for (_, found) in &bench.answers {
        let expected = if found.encoded.gzip { &compressed } else { &plain };
        assert_eq!(found.encoded.body.as_ptr(), expected.as_ptr(), "the same bytes for all");
    }
    let mut decoder = flate2::read::GzDecoder::new(&*compressed);
    let mut decoded = Vec::new();
    std::io::Read::read_to_end(&mut decoder, &mut decoded).expect("gzip");
    assert_eq!(decoded, plain);
}

#[test]
fn what_shows_the_same_wakes_nobody() {
    let mut bench = Bench::new();
    bench.put("a/b");
    let index = bench.index;
    let names = Query::KvKeys { prefix: "a/".to_owned(), separator: String::new() };
    bench.wait(1, names.clone(), index, 1000);
    bench.wait(2, list("a/"), index, 1000);
    bench.put("a/b");
    assert_eq!(bench.answered(), [2], "a value is another one, the names are not");
    // Who saw a later index than the one at which the names changed has seen these names.
    bench.wait(3, names.clone(), bench.index, 1000);
    bench.wait(4, names.clone(), index, 1000);
    assert_eq!(bench.answered(), [0; 0]);
    // But who saw an earlier one has not.
    bench.wait(5, names, index - 1, 1000);
    assert_eq!(bench.answered(), [5]);
    bench.put("a/c");
    assert_eq!(bench.answered(), [1, 3, 4]);
}

#[test]
fn a_key_wakes_its_prefixes() {
    let mut bench = Bench::new();
    let index = bench.index;
    for (id, prefix) in ["", "a/", "a/é", "b/"].into_iter().enumerate() {
        bench.wait(id as WaitId, list(prefix), index, 1000);
    }
    bench.put("a/éx");
    assert_eq!(bench.answered(), [0, 1, 2]);
}

#[test]
fn a_replaced_store_wakes_everybody() {
    let mut bench = Bench::new();
    bench.wait(1, get("a"), 900, 1000);
    bench.wait(2, list("z"), 900, 1000);
    bench.publish(&Touched { all: true, watches: Vec::new() });
    assert_eq!(bench.answered(), [1, 2], "even those whose index the restored store has not reached");
}

#[test]
fn deadlines_answer_and_cancelled_waits_do_not() {
    let mut bench = Bench::new();
    let index = bench.index;
    for id in 1..=3 {
        bench.wait(id, get("a"), index, 100 * id);
    }
    assert_eq!(bench.hub.deadline(), Some(Instant(100)));
    bench.hub.cancel(2);
    bench.hub.cancel(77);
    bench.hub.timer(Instant(99), &mut bench.answers);
    assert_eq!(bench.answered(), [0; 0]);
    bench.hub.timer(Instant(250), &mut bench.answers);
    assert_eq!(bench.answered(), [1]);
    bench.put("a");
    assert_eq!(bench.answered(), [3]);
}

#[test]
fn one_too_many_is_refused() {
    let mut bench = Bench::new();
    let index = bench.index;
    for id in 0..WAITERS_MAX as WaitId {
        bench.wait(id, get("a"), index, 1000);
    }
    let waiter = Waiter {
        id: 0,
        subject: Subject::Catalog(get("b")),
        encoding: Encoding::default(),
        min_index: Index(1),
        deadline: Instant(9),
    };
    let mut answers = Vec::new();
    assert_eq!(bench.hub.wait(waiter, &mut answers), Err(Full));
    assert!(answers.is_empty());
}

#[test]
fn who_waits_for_events_is_answered_by_any_other_last_one() {
    let event = |number: u128, name: &str| {
        let announcement = crate::gossip::Announcement { name: name.to_owned(), ..Default::default() };
        Arc::new(UserEvent { id: uuid::Uuid::from_u128(number), time: 1, version: 1, announcement })
    };
    // Of the halves of an id, the index is the difference of bits.
    let (high, low) = (event(9 << 64, "deploy"), event(3 << 64 | 1, "deploy"));
    assert_eq!((high.index(), low.index()), (9, 2));
    let local = |events: &[&Arc<UserEvent>]| {
        let events = events.iter().map(|event| Arc::clone(event)).collect();
        Arc::new(LocalView { events, ..LocalView::default() })
    };
    let mut bench = Bench::new();
    let wait = |bench: &mut Bench, id, name: &str, index| {
        let subject = Subject::Events { name: name.to_owned() };
        let (encoding, min_index, deadline) = (Encoding::default(), Index(index), Instant(1000));
        bench.hub.wait(Waiter { id, subject, encoding, min_index, deadline }, &mut bench.answers).expect("room");
    };
    wait(&mut bench, 1, "", 1);
    wait(&mut bench, 2, "deploy", 1);
    wait(&mut bench, 3, "other", 1);
    wait(&mut bench, 4, "deploy", 77);
    assert_eq!(bench.answered(), [4], "none is what none of them has seen");
    bench.hub.told(local(&[&high]), &mut bench.answers);
    let indexes: Vec<u64> = bench.answers.iter().map(|(_, found)| found.index.0).collect();
    assert_eq!((bench.answered(), indexes), (vec![1, 2], vec![9, 9]));
    wait(&mut bench, 5, "deploy", 9);
    bench.put("x");
    bench.publish(&Touched { all: true, ..Touched::default() });
    assert_eq!(bench.answered(), [0; 0], "a restored catalog is no event");
    bench.hub.told(local(&[&high, &low]), &mut bench.answers);
    assert_eq!(bench.answered(), [5], "a lower index is news too");
    bench.hub.timer(Instant(1000), &mut bench.answers);
    assert_eq!(bench.answered(), [3]);
    assert_eq!((bench.hub.waiting(), bench.hub.by_own.len()), (0, 0));
}

#[test]
fn who_watches_all_nodes_is_woken_by_any() {
    let mut bench = Bench::new();
    let register = |bench: &mut Bench, port: u16| {
        bench.index += 1;
        let node = Node { name: "N1".into(), address: "10.0.0.1".to_owned(), ..Node::default() };
        let service = Some(Service { id: "web".into(), name: "web".into(), port, ..Service::default() });
        let register = Register { node, service, ..Register::default() };
        let command = lictor_catalog::Command::Register(Box::new(register));
        let applied = bench.store.apply(Index(bench.index), &LogEntry { time_ms: 0, id: bench.index, command });
        bench.publish(&applied.touched);
    };
    register(&mut bench, 1);
    let seen = bench.index;
    let overview = Encoding { form: Form::Overview, ..Encoding::default() };
    bench.wait(1, Query::Dump { node: None }, seen, 9);
    bench.wait(2, Query::Dump { node: Some("n1".to_owned()) }, seen, 9);
    bench.wait_as(3, Query::Dump { node: None }, overview, seen, 9);
    bench.put("elsewhere");
    assert!(bench.answered().is_empty());
    register(&mut bench, 2);
    assert_eq!(bench.answered(), [1, 2], "what an overview shows is the same");
    bench.hub.timer(Instant(9), &mut bench.answers);
    assert_eq!(bench.answered(), [3]);
    assert_eq!((bench.hub.by_watch.len(), bench.hub.waiting()), (0, 0));
}

#[test]
fn who_waits_for_an_own_service_is_answered_by_any_other_hash() {
    let local = |ports: &[(&str, u16)]| {
        let service = |&(id, port): &(&str, u16)| {
            let service = Service { id: id.into(), name: "web".into(), port, ..Service::default() };
            (service.id.clone(), Arc::new(service))
        };
        Arc::new(LocalView { services: Arc::new(ports.iter().map(service).collect()), ..LocalView::default() })
    };
    let hash_of = |id: &str, port| wire::content_hash(&local(&[(id, port)]).services[id]);
    let hash = |port| hash_of("a", port);
    let mut bench = Bench::new();
    let wait = |bench: &mut Bench, id, service: &str, hash| {
        let subject = Subject::Service { id: service.to_owned() };
        let (encoding, min_index, deadline) = (Encoding::default(), Index(hash), Instant(1000));
        bench.hub.wait(Waiter { id, subject, encoding, min_index, deadline }, &mut bench.answers).expect("room");
    };
    bench.hub.told(local(&[("a", 1), ("b", 1)]), &mut bench.answers);
    wait(&mut bench, 1, "a", hash(1));
    wait(&mut bench, 2, "a", hash(2));
    wait(&mut bench, 3, "b", hash_of("b", 1));
    assert_eq!(bench.answered(), [2], "the change came before the question");
    bench.put("x");
    bench.publish(&Touched { all: true, ..Touched::default() });
    bench.hub.told(local(&[("a", 1), ("b", 1)]), &mut bench.answers);
    assert_eq!(bench.answered(), [0; 0], "the catalog is another matter, and an equal registration no change");
    bench.hub.told(local(&[("a", 2), ("b", 1)]), &mut bench.answers);
    assert_eq!(bench.answers[0].1.index, Index(hash(2)));
    assert_eq!(bench.answered(), [1]);
    wait(&mut bench, 4, "a", hash(2));
    bench.hub.told(local(&[("b", 1)]), &mut bench.answers);
    assert_eq!(bench.answers[0].1.encoded.body, "unknown service ID: a");
    assert_eq!((bench.answers[0].1.encoded.status, bench.answered()), (404, vec![4]));
    bench.hub.timer(Instant(1000), &mut bench.answers);
    assert_eq!(bench.answered(), [3]);
    assert_eq!((bench.hub.waiting(), bench.hub.by_own.len()), (0, 0));
}

proptest! {
    /// However changes and questions alternate, whoever asks with the hash he was shown last ends up with the last state, and
    /// is never answered what he has seen already before his time is over.
    #[test]
    fn no_change_of_an_own_service_is_slept_through(steps in proptest::collection::vec((any::<bool>(), 0u16..3), 1..40)) {
        let mut bench = Bench::new();
        let (mut seen, mut waiting, mut id) = (1, false, 0);
        for (asks, port) in steps.into_iter().chain([(true, 0)]) {
            if asks && !waiting {
                id += 1;
                let subject = Subject::Service { id: "web".to_owned() };
                let (encoding, min_index, deadline) = (Encoding::default(), Index(seen), Instant(1000));
                bench.hub.wait(Waiter { id, subject, encoding, min_index, deadline }, &mut bench.answers).expect("room");
                waiting = true;
            } else {
                let service = Service { id: "web".into(), name: "web".into(), port, ..Service::default() };
                let services = Arc::new((port > 0).then(|| (service.id.clone(), Arc::new(service))).into_iter().collect());
                bench.hub.told(Arc::new(LocalView { services, ..LocalView::default() }), &mut bench.answers);
            }
            for (answered, found) in bench.answers.drain(..) {
                prop_assert!(waiting && answered == id && found.index.0 != seen, "{found:?}");
                (seen, waiting) = (found.index.0, false);
            }
            let current = bench.hub.local.services.get("web").map_or(0, |service| wire::content_hash(service));
            prop_assert!(!waiting || seen == current, "asleep with {seen:x}, which is {current:x}");
        }
    }
}
