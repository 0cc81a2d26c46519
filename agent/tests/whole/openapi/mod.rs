//! What an agent says of its API is true: requests made from its own document are served, and broken ones are refused without
//! anything done. The tests know nothing of any endpoint but what `/v1/openapi.json` says.

mod document;
mod http;
mod schema;

use crate::cluster::{Agent, Cluster, until};
use document::{Body, Document, Operation, Param};
use http::{Answer, Request};
use lictor_agent::dice::Dice;
use schema::{Maker, fits, fits_text, least, spoiled, text_of};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// Another one finds something else; `LICTOR_SEED` sets it.
const SEED: u64 = 5;
/// Each operation is asked at least so often with what it should take.
const ROUNDS: usize = 60;
/// And all of them until each was served, but no more often than this. What one finds depends on what the others have made.
const MOST_ROUNDS: usize = 2000;
/// Bytes of a value that is longer than any head may be, and of one that is read.
const LONG: [usize; 2] = [64 << 10, 8 << 10];

/// What would end the agent, take its cluster apart, replace what the other operations have made, or ask name servers outside.
/// They are only asked for what is broken.
const SPARED: &[&str] = &[
    "putAgentLeave",
    "deleteOperatorRaftPeer",
    "putOperatorRaftRecover",
    "putSnapshot",
    "putAgentForceLeaveByNode",
    "putAgentJoinByAddress",
];

/// What a lone agent in a test has no way to do: nobody else to hand over to, nothing to recover, no lock held, no metrics server, no key to
/// be signed.
const FRUITLESS: &[&str] = &[
    "postOperatorRaftTransferLeader",
    "putOperatorRaftTransferLeader",
    "getOperatorRaftRecover",
    "getLockSequencerByKey",
    "getCoordinateNodeByNode",
    "putInternalConnectSign",
    "getInternalUiMetricsProxyByName",
];

/// All that was found wrong, told at once.
#[derive(Default)]
struct Complaints(Vec<String>);

impl Complaints {
    fn add(&mut self, wrong: bool, told: impl FnOnce() -> String) {
        if wrong {
            self.0.push(told());
        }
    }
}

impl Drop for Complaints {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            assert!(self.0.is_empty(), "{} are wrong:\n{}", self.0.len(), self.0.join("\n"));
        }
    }
}

struct World {
    cluster: Cluster,
    agent: Agent,
    document: Document,
    seed: u64,
}

impl World {
    async fn new() -> Self {
        let cluster = Cluster::new();
        let agent = cluster.agent(1, "dev1", &["-dev"]);
        cluster.leader(std::slice::from_ref(&agent)).await;
        let document = Document(cluster.json(&agent, "/v1/openapi.json").await);
        let seed = std::env::var("LICTOR_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(SEED);
        let world = Self { cluster, agent, document, seed };
        let mut last = BTreeMap::new();
        until("a catalog that nobody changes", async || {
            let now = world.state().await;
            let settled = now == last && now.values().any(|(_, body)| body.contains("serfHealth"));
            last = now;
            settled.then_some(())
        })
        .await;
        world
    }

    async fn ask(&self, what: &str, request: &Request) -> Answer {
        let answer = request.ask(self.agent.ip).await;
        answer.unwrap_or_else(|why| panic!("{}: {what}: {why}", self.told(request)))
    }

    fn told(&self, request: &Request) -> String {
        format!("LICTOR_SEED={}: {}", self.seed, request.shown())
    }

    /// All lists there are, with their indexes.
    async fn state(&self) -> BTreeMap<String, (Option<String>, String)> {
        let mut state = BTreeMap::new();
        for operation in self.document.operations() {
            let lists = operation.params().any(|param| matches!(param.name, "index" | "filter"));
            if operation.method != "get" || !operation.answers_json() || !lists {
                continue;
            }
            let mut request = self.plain(operation);
            if let Some(id) = operation.params().find(|param| param.in_path) {
                match id.schema["enum"].as_array() {
                    Some(words) => request.id = words[0].as_str().unwrap().into(),
                    None if operation.params().any(|param| param.name == "recurse") => {
                        request.id.clear();
                        request.query.push(("recurse".to_owned(), Vec::new()));
                    }
                    None => continue,
                }
            }
            let answer = self.ask("a list", &request).await;
            state.insert(operation.id().to_owned(), (answer.index.clone(), answer.text()));
        }
        state
    }

    /// The least that the operation takes.
    fn plain(&self, operation: Operation<'_>) -> Request {
        let text = |param: Param<'_>| match param.example {
            Some(example) => example.into(),
            None => text_of(least(&self.document, param.schema)),
        };
        let params: Vec<_> = operation.params().filter(|param| param.required || param.example.is_some()).collect();
        let id = params.iter().find(|param| param.in_path).map(|param| text(*param)).unwrap_or_default();
        let query = params.iter().filter(|param| !param.in_path).map(|param| (param.name.to_owned(), text(*param)));
        let body = operation.body().filter(|body| body.media == "application/json");
        let body = body.map(|body| least(&self.document, body.schema).to_string().into_bytes());
        let (method, path) = (operation.method.to_owned(), operation.path.to_owned());
        Request { method, path, id, query: query.collect(), body, length: None }
    }

    /// What may be answered to whoever made a mistake.
    fn is_refusal(operation: Operation<'_>, status: u16) -> bool {
        (400..500).contains(&status) || (status >= 500 && operation.declares(status))
    }
}

/// Complains of what a body or a parameter looks like, rather than of what it means.
fn is_about_shape(answer: &Answer) -> bool {
    let text = answer.text();
    answer.status == 400 && ["decode failed", "Failed to parse body", "expected"].iter().any(|word| text.contains(word))
}

/// The JSON of an answer, which is of the shape that the document gives it; `null` if it has none.
fn shown(document: &Document, operation: Operation<'_>, answer: &Answer) -> Result<Value, String> {
    let Some(contents) = operation.answers(answer.status).filter(|_| !answer.media.is_empty()) else {
        return Ok(Value::Null);
    };
    let content = contents.get(&answer.media).ok_or_else(|| format!("the media type {}", answer.media))?;
    if answer.media != "application/json" {
        return Ok(Value::Null);
    }
    let value = serde_json::from_slice(&answer.body).map_err(|error| error.to_string())?;
    fits(document, &content["schema"], &value).map(|()| value)
}

/// What an answer calls by name: the id of what was made, or all that a map is of.
fn names(document: &Document, operation: Operation<'_>, value: &Value) -> Vec<String> {
    let made = value["ID"].as_str().map(str::to_owned);
    let schema = operation.answers(200).and_then(|contents| contents.get("application/json"));
    let schema = schema.map(|content| document.resolve(&content["schema"]));
    let map = schema.is_some_and(|schema| schema["additionalProperties"].is_object());
    let keys = value.as_object().filter(|_| map).into_iter().flat_map(|fields| fields.keys().cloned());
    made.into_iter().chain(keys).collect()
}

/// A request that an operation should take.
fn sound(maker: &mut Maker<'_>, operation: Operation<'_>) -> Request {
    let (mut id, mut query) = (Vec::new(), Vec::new());
    for param in operation.params() {
        if param.in_path {
            id = maker.id(param.schema);
        } else if param.name == "wait" {
            // Nobody waits here for long.
            query.push((param.name.to_owned(), text_of(maker.value(param.schema))));
        } else if param.required || param.example.is_some() || maker.one_in(6) {
            for _ in 0..if param.many { 2 } else { 1 } {
                query.push((param.name.to_owned(), text_of(maker.value(param.schema))));
            }
        }
    }
    let body = operation.body().filter(|body| body.required || !maker.one_in(4)).map(|body| match body.media {
        "application/json" => maker.value(body.schema).to_string().into_bytes(),
        _ => b"\0any bytes\xff".to_vec(),
    });
    Request { method: operation.method.to_owned(), path: operation.path.to_owned(), id, query, body, length: None }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_document_offers_is_served_as_it_says() {
    let world = World::new().await;
    // In the order in which they were heard of: ids are drawn anew each time, so that theirs would be another each time.
    let mut ids: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    let asked: Vec<_> = world.document.operations().filter(|operation| !SPARED.contains(&operation.id())).collect();
    // Those that always refuse say so.
    let served_by_all = asked.iter().filter(|operation| !operation.declares(401)).map(Operation::id);
    let mut missing: BTreeSet<_> = served_by_all.filter(|id| !FRUITLESS.contains(id)).collect();
    assert!(missing.len() > 60, "{missing:?}");
    let mut dice = Dice::new(world.seed);
    let mut complaints = Complaints::default();
    for round in 0..MOST_ROUNDS {
        if round >= ROUNDS && missing.is_empty() {
            break;
        }
        for &operation in &asked {
            let known = ids.entry(operation.tag()).or_default();
            let mut maker = Maker { document: &world.document, dice: dice.split(), ids: known };
            let request = sound(&mut maker, operation);
            let answer = world.ask(operation.id(), &request).await;
            let told = || format!("{}: {} {}", world.told(&request), answer.status, answer.text());
            complaints.add(answer.status >= 500 && !operation.declares(answer.status), told);
            complaints.add(is_about_shape(&answer), told);
            match shown(&world.document, operation, &answer) {
                Ok(value) => {
                    for name in names(&world.document, operation, &value) {
                        if !known.contains(&name) {
                            known.push(name);
                        }
                    }
                }
                Err(why) => complaints.add(true, || format!("{why}: {}", told())),
            }
            // A service that is not well is served with another status.
            if answer.status == 200 || (answer.media == "application/json" && answer.status != 404) {
                missing.remove(operation.id());
            }
        }
    }
    complaints.add(!missing.is_empty(), || format!("LICTOR_SEED={}: never served: {missing:?}", world.seed));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_against_the_document_is_refused_and_nothing_is_done() {
    let world = World::new().await;
    let (mut asked, mut writes) = (0, 0);
    let mut complaints = Complaints::default();
    for operation in world.document.operations() {
        let before = (operation.method != "get").then_some(world.state().await);
        for (what, request, status) in against(&world, operation) {
            let answer = world.ask(&what, &request).await;
            let told = || format!("{}: {what}: {} {}", world.told(&request), answer.status, answer.text());
            let refused =
                status.map_or_else(|| World::is_refusal(operation, answer.status), |status| answer.status == status);
            complaints.add(!refused, || format!("{} instead of {status:?}", told()));
            complaints.add(answer.body.is_empty(), || format!("without a word: {}", told()));
            asked += 1;
        }
        if let Some(before) = before {
            let after = world.state().await;
            let changed: Vec<_> = after.iter().filter(|(list, rows)| before.get(*list) != Some(*rows)).collect();
            complaints.add(!changed.is_empty(), || format!("{} was half done: {changed:?}", operation.id()));
            writes += 1;
        }
    }
    assert!(asked > 800 && writes > 30, "{asked} requests, {writes} operations that write");
}

/// Requests of which the document says that they are refused, and with which status if it says so.
fn against(world: &World, operation: Operation<'_>) -> Vec<(String, Request, Option<u16>)> {
    let document = &world.document;
    let plain = world.plain(operation);
    let mut all = Vec::new();
    let unknown = operation.declares(401);
    if let Some(body) = operation.body().filter(|body| body.media == "application/json" && !unknown) {
        all.extend(
            bodies(document, &body).into_iter().map(|(what, bytes)| {
                (format!("the body: {what}"), Request { body: Some(bytes), ..plain.clone() }, None)
            }),
        );
        let length = Some(1 << 30);
        all.push(("a body that is too large".to_owned(), Request { length, ..plain.clone() }, Some(413)));
    }
    for param in operation.params().filter(|_| !unknown) {
        let values = ["?!", "(", "-1", "1.5", "99999999999999999999999"].into_iter();
        let unfit: Vec<_> = values.filter(|value| !fits_text(document, param.schema, value)).collect();
        // Where any text is one, it names nothing.
        let unfit = if unfit.is_empty() && param.refused.is_some() { vec!["nowhere at all"] } else { unfit };
        for value in unfit.into_iter().filter(|_| param.refused.is_some()) {
            let mut request = plain.clone();
            if param.in_path {
                request.id = value.into();
            } else {
                request.query.retain(|(name, _)| name != param.name);
                request.query.push((param.name.to_owned(), value.into()));
            }
            all.push((format!("{}={value}", param.name), request, param.refused));
        }
        if param.required && !param.in_path {
            let mut request = plain.clone();
            request.query.retain(|(name, _)| name != param.name);
            all.push((format!("without {}", param.name), request, None));
        }
        if param.in_path {
            let request = Request { id: b"a\xff\xfe".to_vec(), ..plain.clone() };
            all.push(("an id that is no UTF-8".to_owned(), request, Some(400)));
        }
    }
    for method in ["patch", "head", "brew"] {
        // The answer to HEAD has no body.
        if method != "head" {
            let request = Request { method: method.to_owned(), ..plain.clone() };
            all.push((format!("method {method}"), request, Some(405)));
        }
    }
    all
}

fn bodies(document: &Document, body: &Body<'_>) -> Vec<(String, Vec<u8>)> {
    let sound = least(document, body.schema).to_string();
    let mut all: Vec<(String, Vec<u8>)> = spoiled(document, body.schema)
        .into_iter()
        .map(|(what, value)| (what, value.to_string().into_bytes()))
        .collect();
    let deep = 100_000;
    for (what, bytes) in [
        ("not JSON", b"{\"".to_vec()),
        ("not UTF-8", b"{\"Name\":\"\xff\xfe\"}".to_vec()),
        ("too deep", [vec![b'['; deep], vec![b']'; deep]].concat()),
        ("too deep within", [b"{\"x\":".repeat(deep), b"1".to_vec(), vec![b'}'; deep]].concat()),
        ("cut off", sound.as_bytes()[..sound.len() - 1].to_vec()),
    ] {
        all.push((what.to_owned(), bytes));
    }
    if body.required {
        all.push(("nothing".to_owned(), Vec::new()));
        all.push(("blanks".to_owned(), b" \n".to_vec()));
    }
    all
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_odd_never_is_the_agents_fault() {
    let world = World::new().await;
    let mut asked = 0;
    let mut complaints = Complaints::default();
    for operation in world.document.operations().filter(|operation| operation.id() != "putAgentLeave") {
        let spared = SPARED.contains(&operation.id());
        for (what, request, param) in odd(&world, operation) {
            // A value that is refused ends what must not be carried out; any other request would carry it out.
            if spared && param.is_none_or(|param| param.refused.is_none()) {
                continue;
            }
            let answer = world.ask(&what, &request).await;
            let declared =
                operation.declares(answer.status) || param.and_then(|param| param.refused) == Some(answer.status);
            let told = || format!("{}: {what}: {} {}", world.told(&request), answer.status, answer.text());
            complaints.add(answer.status >= 500 && !declared, told);
            asked += 1;
        }
    }
    assert!(asked > 1000, "{asked} requests");
    // What cannot be parsed is answered as Consul answers it, whatever was asked for.
    for query in ["a=%", "a=%zz", "a=1;b=2"] {
        assert_eq!(
            world.cluster.get(&world.agent, &format!("/v1/agent/self?{query}")).await.unwrap(),
            (500, String::new())
        );
    }
    assert_eq!(world.cluster.get(&world.agent, "/v1/status/leader").await.unwrap().0, 200);
}

/// Requests that may be served or refused: values that are long, come twice, are no UTF-8, or are asked for by nobody.
fn odd<'w>(world: &'w World, operation: Operation<'w>) -> Vec<(String, Request, Option<Param<'w>>)> {
    let mut plain = world.plain(operation);
    let waits = operation.params().any(|param| param.name == "wait");
    if waits {
        plain.query.push(("wait".to_owned(), b"10ms".to_vec()));
    }
    let with = |name: &str, values: &[&[u8]]| {
        let mut request = plain.clone();
        request.query.retain(|(known, _)| known != name);
        request.query.extend(values.iter().map(|value| (name.to_owned(), value.to_vec())));
        request
    };
    let mut all = Vec::new();
    for param in operation.params() {
        let sound = text_of(least(&world.document, param.schema));
        for length in LONG {
            let long = vec![b'7'; length];
            let request =
                if param.in_path { Request { id: long, ..plain.clone() } } else { with(param.name, &[&long]) };
            all.push((format!("{} of {length} bytes", param.name), request, Some(param)));
        }
        if param.in_path {
            for id in [&b""[..], b".", b"..", b"../../etc/passwd", b"a//b", b"\0", b"\xe2\x80\xa8"] {
                all.push((format!("{} is odd", param.name), Request { id: id.to_vec(), ..plain.clone() }, Some(param)));
            }
            continue;
        }
        all.push((format!("{} twice", param.name), with(param.name, &[&sound, &sound]), Some(param)));
        all.push((format!("{} twice, then odd", param.name), with(param.name, &[&sound, b"?!"]), Some(param)));
        all.push((format!("{} is odd first", param.name), with(param.name, &[b"?!", &sound]), Some(param)));
        all.push((format!("{} is no UTF-8", param.name), with(param.name, &[b"\xff\xfe"]), Some(param)));
        all.push((format!("{} is empty", param.name), with(param.name, &[b""]), Some(param)));
        all.push((format!("without {}", param.name), with(param.name, &[]), Some(param)));
    }
    all.push(("what nobody knows".to_owned(), with("nobody-knows", &[b"1"]), None));
    if operation.body().is_none() {
        all.push((
            "a body that nobody reads".to_owned(),
            Request { body: Some(json!({}).to_string().into()), ..plain.clone() },
            None,
        ));
    }
    all
}
