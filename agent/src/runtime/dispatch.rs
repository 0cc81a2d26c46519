//! A call's way through this agent: find its handler, carry out its plan here, or pass it on. The decisions are
//! `http` (what to do) and `forward` (where, and when to give up); this file walks.

mod backup;

use crate::dice::Dice;
use crate::effect::{Answer, Pushed};
use crate::forward::{self, Attempt, Deed, Journey, Next, Where};
use crate::http::answer::{self, Freshness};
use crate::http::call::{
    Act, Call, Certify, Consistency, Encoding, LeafRead, Method, Plan, Read, Reply, Subject, Survey, WriteAnswer,
};
use crate::http::route::{self, Found as Route, Place};
use crate::http::wire::Leaf;
use crate::http::{Context, autopilot, options, wire};
use crate::hub::{self, Found};
use crate::rpc::{Answered, Forwarded, HOPS_MAX, Submission, Submitted, Unserved};
use crate::runtime::clock;
use crate::runtime::connect::{self, leaves::Leaves};
use crate::runtime::handle::{Handle, patience};
use crate::runtime::hub::{Hub, Unheard};
use crate::runtime::machine;
use crate::runtime::meter::Event;
use crate::runtime::monitor::Monitor;
use crate::runtime::rpc::client::{Client, Failed};
use crate::runtime::watch::Streams;
use crate::time::Instant;
use crate::view::View;
use lictor_catalog::{Command, Execution, Index, Outcome, Query};
use std::borrow::Cow;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::{Semaphore, watch};

/// How long the origin keeps trying while there is no leader (`rpc_hold_timeout`).
pub const HOLD: Duration = Duration::from_secs(7);
/// A call that does not block is answered by then, whatever happens.
const PATIENCE: Duration = Duration::from_secs(60);

/// Everything a call may need.
#[derive(Debug)]
pub struct Dispatcher {
    pub handle: Arc<Handle>,
    pub hub: Arc<Hub>,
    pub client: Arc<Client>,
    pub monitor: Arc<Monitor>,
    pub streams: Arc<Streams>,
    pub leaves: Leaves,
    pub dice: Mutex<Dice>,
    backups: Arc<Semaphore>,
    hold: Duration,
    recent: Mutex<Recent>,
}

/// Answers to reads of the newest state: equal questions to an equal store have equal answers, so each is evaluated and
/// encoded once for each state.
#[derive(Debug, Default)]
struct Recent {
    applied: Index,
    epoch: u64,
    found: HashMap<(Query, Encoding), Found>,
    bytes: usize,
}

/// Bytes of answers that are kept for the newest state, and how many: questions cost memory even when their answer is empty.
const RECENT_BYTES_MAX: usize = 8 << 20;
const RECENT_MAX: usize = 4096;

impl Recent {
    /// Forgets everything when the state is another one.
    fn turn_to(&mut self, view: &View) {
        if (self.applied, self.epoch) != (view.applied, view.epoch) {
            *self = Self { applied: view.applied, epoch: view.epoch, ..Self::default() };
        }
    }

    fn keep(&mut self, key: (Query, Encoding), found: &Found) {
        let bytes = self.bytes + found.encoded.body.len();
        let ours = (self.applied, self.epoch) == (found.view.applied, found.view.epoch);
        if ours && bytes <= RECENT_BYTES_MAX && self.found.len() < RECENT_MAX && !self.found.contains_key(&key) {
            self.bytes = bytes;
            self.found.insert(key, found.clone());
        }
    }
}

/// A call, its route, and how far it has come.
struct Way<'a> {
    call: &'a Call,
    route: &'static route::Route,
    rest: Cow<'a, str>,
    hops: u8,
    deadline: Instant,
}

/// A call that is held until it can be served.
struct Hold {
    journey: Journey,
    leadership: watch::Receiver<u64>,
}

impl Hold {
    /// A try begins: news of a leader counts from here.
    fn begin(&mut self) {
        self.leadership.borrow_and_update();
    }
}

impl Dispatcher {
    #[must_use]
    pub fn new(
        handle: Arc<Handle>,
        hub: Arc<Hub>,
        client: Arc<Client>,
        monitor: Arc<Monitor>,
        dice: Dice,
        hold: Duration,
    ) -> Self {
        let (streams, leaves) = Default::default();
        let backups = Arc::new(Semaphore::new(backup::BACKUPS_MAX));
        let (dice, recent) = (Mutex::new(dice), Mutex::default());
        Self { handle, hub, client, monitor, streams, leaves, dice, backups, hold, recent }
    }

    pub(super) fn dice(&self) -> Dice {
        self.dice.lock().unwrap_or_else(PoisonError::into_inner).split()
    }

    /// Answers a call that came in over HTTP, or from this agent itself.
    pub async fn serve(&self, call: Call) -> Reply {
        let begun = clock::now();
        let reply = match route::find(&self.handle.facts, &call) {
            Route::Answer(reply) => reply,
            Route::Route(route, rest) => {
                let way = Way { call: &call, route, rest, hops: 0, deadline: begun + PATIENCE };
                let reply = self.walk(&way).await.unwrap_or_else(forward::given_up);
                self.served(route, &call, &reply, clock::now().since(begun));
                reply
            }
        };
        answer::finish(reply, &self.handle.facts)
    }

    /// Answers a call that another agent passed on.
    pub async fn serve_forwarded(&self, forwarded: Forwarded) -> Answered {
        self.handle.meter.count(Event::RpcRequest, 1);
        let Forwarded { call, hops, budget_ms } = forwarded;
        let way = match route::find(&self.handle.facts, &call) {
            Route::Answer(reply) => return Answered::Reply(reply),
            Route::Route(route, rest) => Way { call: &call, route, rest, hops, deadline: deadline(budget_ms) },
        };
        match self.walk(&way).await {
            Ok(reply) => Answered::Reply(reply),
            Err(why) => Answered::Unserved(why),
        }
    }

    /// Counts an answered call; changes of what the agent owns are told to those who debug it.
    fn served(&self, route: &'static route::Route, call: &Call, reply: &Reply, took: Duration) {
        self.handle.meter.served(route, took);
        if route.place == Place::Agent && call.method != Method::Get {
            let (method, path, from) = (call.method.as_str(), call.path.as_str(), call.source);
            let from = from.map_or_else(|| "a unix socket".to_owned(), |from| from.to_string());
            tracing::debug!(method, path, from, status = reply.status, latency = ?took, "request finished");
        }
    }

    async fn walk(&self, way: &Way<'_>) -> Result<Reply, Unserved> {
        let deed = if way.call.method == Method::Get { Deed::Read } else { Deed::Write };
        let mut hold = self.hold(way.hops, deed);
        loop {
            hold.begin();
            let attempt = self.attempt(way).await;
            if let Some(end) = self.weigh(&mut hold, attempt).await {
                return end.map(|reply| reply.unwrap_or_else(forward::outcome_unknown));
            }
        }
    }

    fn hold(&self, hops: u8, deed: Deed) -> Hold {
        let journey = Journey::new(hops, deed, clock::now() + self.hold);
        Hold { journey, leadership: self.handle.leadership.subscribe() }
    }

    /// Weighs a try: how it ended (`Ok(None)`: its outcome cannot be known), or, after a pause, `None` for another one.
    async fn weigh<T>(&self, hold: &mut Hold, attempt: Attempt<T>) -> Option<Result<Option<T>, Unserved>> {
        let attempt = match attempt {
            Attempt::Done(answer) => return Some(Ok(Some(answer))),
            attempt => attempt,
        };
        let next = hold.journey.after(attempt, clock::now(), &mut self.dice());
        match next {
            Next::Done(answer) => Some(Ok(Some(answer))),
            Next::Unknown => Some(Ok(None)),
            Next::GiveUp(why) => Some(Err(why)),
            Next::Retry(pause) => {
                // News of a leader ends the pause early.
                let _ = tokio::time::timeout(pause, hold.leadership.changed()).await;
                None
            }
        }
    }

    /// Applies a command through the leader, wherever it is. It may be repeated, as those of anti-entropy may.
    pub async fn submit(&self, command: Command) -> Pushed {
        match self.step(command).await {
            Ok(Some(outcome)) => Pushed::Applied(outcome),
            Ok(None) | Err(_) => Pushed::Failed,
        }
    }

    /// The same; `None`: it cannot be known whether it was applied.
    async fn step(&self, command: Command) -> Result<Option<Outcome>, Unserved> {
        let until = clock::now() + PATIENCE;
        let mut hold = self.hold(0, Deed::Step);
        loop {
            hold.begin();
            let attempt = self.try_to_submit(&command, 0, until).await;
            if let Some(end) = self.weigh(&mut hold, attempt).await {
                return end;
            }
        }
    }

    /// Applies a command that another agent passed on.
    pub async fn submit_forwarded(&self, submission: Submission) -> Submitted {
        self.handle.meter.count(Event::RpcRequest, 1);
        let Submission { command, hops, budget_ms } = submission;
        match self.try_to_submit(&command, hops, deadline(budget_ms)).await {
            Attempt::Done(outcome) => Submitted::Applied(outcome),
            Attempt::Unserved(why) => Submitted::Unserved(why),
            Attempt::Lost => Submitted::Unknown,
        }
    }

    /// The servers to ask, one after the other, for what is served at this place; `None`: it is served here. A client agent
    /// serves nothing, and asks any.
    fn whom(&self, place: Where, hops: u8) -> Result<Option<Vec<SocketAddr>>, Unserved> {
        if !self.handle.facts.server {
            return Ok(Some(self.servers()));
        }
        match place {
            Where::Here => Ok(None),
            Where::There(leader) if hops < HOPS_MAX => Ok(Some(vec![leader])),
            Where::There(_) => Err(Unserved::NoLeader),
            Where::Nowhere(why) => Err(why),
        }
    }

    async fn try_to_submit(&self, command: &Command, hops: u8, deadline: Instant) -> Attempt<Outcome> {
        let place = forward::place_write(&self.handle.view.load());
        let servers = match self.whom(place, hops) {
            Ok(Some(servers)) => servers,
            Ok(None) => return forward::proposed(self.handle.write(command.clone(), deadline).await),
            Err(why) => return Attempt::Unserved(why),
        };
        let budget_ms = u64::try_from(patience(deadline).as_millis()).unwrap_or(u64::MAX);
        let submission = Submission { command: command.clone(), hops: hops + 1, budget_ms };
        let mut unserved = Unserved::Unreachable;
        for server in servers {
            let submitted = self.client.submit(server, &submission).await;
            self.passed(submitted.is_ok());
            match submitted {
                Ok(Submitted::Applied(outcome)) => return Attempt::Done(outcome),
                Ok(Submitted::Unserved(why)) => unserved = why,
                Err(Failed::NotSent | Failed::Refused(_)) => {}
                Ok(Submitted::Unknown) | Err(Failed::Lost) => return Attempt::Lost,
            }
        }
        Attempt::Unserved(unserved)
    }

    async fn attempt(&self, way: &Way<'_>) -> Attempt<Reply> {
        if way.route.place == Place::Catalog && !self.handle.facts.server {
            return self.pass_to_any(way).await;
        }
        let view = self.handle.view.load_full();
        let plan = {
            let local = self.handle.local.load();
            let context = Context { view: &view, local: &local, facts: &self.handle.facts, now: clock::now() };
            (way.route.handler)(&context, way.call, &way.rest).unwrap_or_else(Plan::Answer)
        };
        match forward::place(&plan, &view) {
            Where::Here => {}
            Where::There(leader) => return self.pass(way, leader).await.unwrap_or_else(Attempt::Done),
            Where::Nowhere(why) => return Attempt::Unserved(why),
        }
        match plan {
            Plan::Answer(reply) => Attempt::Done(reply),
            // On the heap, as what is rarely asked for must not make each waiting query larger.
            Plan::Act(act) => Box::pin(self.act(act, options::pretty(&self.handle.facts, way.call))).await,
            Plan::Survey(survey) => Attempt::Done(Box::pin(self.survey(survey, way.call, &view)).await),
            Plan::Stream(source) => Attempt::Done(Reply::stream(source)),
            // On the heap, as it asks for roots and a signature by way of this very function.
            Plan::Leaf(read) => Attempt::Done(self.leaf(&read).await),
            Plan::Certify(request) => self.certify(&request, &view),
            // It leads by now: the next try will see it.
            Plan::Leader => Attempt::Unserved(Unserved::NoLeader),
            Plan::Read(read) => self.read(view, read, way).await,
            Plan::Write(command, how) => self.propose(way, command, how).await,
        }
    }

    /// The living servers of this datacenter, in random order.
    fn servers(&self) -> Vec<SocketAddr> {
        let local = self.handle.local.load();
        let mut servers = crate::server::rpc_addresses(&local.members, &self.handle.facts.datacenter);
        self.dice().shuffle(&mut servers);
        servers
    }

    async fn pass_to_any(&self, way: &Way<'_>) -> Attempt<Reply> {
        let mut attempt = Attempt::Unserved(Unserved::Unreachable);
        for server in self.servers() {
            attempt = match self.pass(way, server).await {
                Ok(attempt) => attempt,
                // Another one may be of our cluster.
                Err(refusal) => {
                    attempt = Attempt::Done(refusal);
                    continue;
                }
            };
            // What one server could not serve, another may: it may have caught up, or know the leader. A read whose server
            // died under it is asked of the next one at once.
            let again = attempt == Attempt::Lost && way.call.method == Method::Get && clock::now() < way.deadline;
            if !again && !matches!(attempt, Attempt::Unserved(_)) {
                break;
            }
        }
        attempt
    }

    /// Passes a call on. `Err`: the reply to it, when the server does not deal with this agent at all, such as one of another
    /// cluster.
    async fn pass(&self, way: &Way<'_>, to: SocketAddr) -> Result<Attempt<Reply>, Reply> {
        if way.hops >= HOPS_MAX {
            return Ok(Attempt::Unserved(Unserved::NoLeader));
        }
        let blocking = way.call.params.has("index");
        let deadline = if blocking { clock::now() + self.handle.facts.max_query_time * 2 } else { way.deadline };
        let budget_ms = u64::try_from(patience(deadline).as_millis()).unwrap_or(u64::MAX);
        let forwarded = Forwarded::of(way.call, &self.handle.facts.node_name, way.hops + 1, budget_ms);
        // On the heap: a call that is not passed on, as most that wait at a server, need not have room for it.
        let answered = Box::pin(self.client.call(to, &forwarded, blocking)).await;
        self.passed(answered.is_ok());
        match answered {
            Ok(Answered::Reply(reply)) => Ok(Attempt::Done(reply)),
            Ok(Answered::Unserved(why)) => Ok(Attempt::Unserved(why)),
            Err(Failed::NotSent) => Ok(Attempt::Unserved(Unserved::Unreachable)),
            Err(Failed::Refused(reason)) => Err(Reply::text(500, reason)),
            Err(Failed::Lost) => Ok(Attempt::Lost),
        }
    }

    /// Counts what was passed to another server.
    fn passed(&self, taken: bool) {
        self.handle.meter.count(Event::ClientRpc, 1);
        if !taken {
            self.handle.meter.count(Event::ClientRpcFailed, 1);
        }
    }

    async fn propose(&self, way: &Way<'_>, command: Command, how: WriteAnswer) -> Attempt<Reply> {
        let pretty = options::pretty(&self.handle.facts, way.call);
        let proposed = forward::proposed(self.handle.write(command, way.deadline).await);
        proposed.map(|outcome| answer::write_reply(&outcome, how, pretty, &self.handle.facts.datacenter))
    }

    fn leaf<'a>(&'a self, read: &'a LeafRead) -> Pin<Box<dyn Future<Output = Reply> + Send + 'a>> {
        Box::pin(self.leaves.read(self, read))
    }

    /// Signs, unless the root is still being made.
    fn certify(&self, request: &Certify, view: &View) -> Attempt<Reply> {
        let Some(authority) = view.store.authority() else { return Attempt::Unserved(Unserved::NotCaughtUp) };
        let (Certify { service, key }, now) = (request, clock::unix_ms() / 1000);
        let signed = connect::authority::certify(authority, &self.handle.facts.datacenter, service, key, now);
        let reply = match signed {
            Ok(leaf) => {
                let (create_index, modify_index) = (view.applied.0, view.applied.0);
                let life = authority.signing.leaf_life.as_secs();
                Reply::json(wire::shown(&Leaf { create_index, modify_index, ..leaf }, false))
                    .with("cache-control", format!("max-age={life}"))
            }
            Err(error) => Reply::text(500, format!("no certificate can be signed for {service:?}: {error}")),
        };
        Attempt::Done(reply)
    }

    async fn survey(&self, survey: Survey, call: &Call, view: &View) -> Reply {
        let local = self.handle.local.load_full();
        let (facts, meter) = (&*self.handle.facts, &self.handle.meter);
        let context = Context { view, local: &local, facts, now: clock::now() };
        match survey {
            Survey::Metrics { prometheus: true } => Reply::empty(200)
                .with("content-type", "text/plain; version=0.0.4; charset=utf-8")
                .body(wire::prometheus(&meter.total(&context), &facts.telemetry)),
            Survey::Metrics { prometheus: false } => {
                wire::reply(&context, call, &wire::Metrics::of(&meter.interval(&context), &facts.telemetry))
            }
            Survey::Servers(report) => autopilot::report(&context, call, report, clock::unix_ms()),
            Survey::Host => {
                // Files of /proc are quick, but that is no promise.
                let host = tokio::task::spawn_blocking(machine::host).await;
                wire::reply(&context, call, &host.unwrap_or_default())
            }
        }
    }

    async fn act(&self, act: Act, pretty: bool) -> Attempt<Reply> {
        let deadline = clock::now() + PATIENCE;
        if let Act::Join(names) = act {
            let addresses = super::join::resolve(&names, self.handle.facts.serf_port).await;
            return match addresses {
                Ok(addresses) => forward::acted(self.handle.join(addresses, deadline).await, pretty),
                Err(problem) => Attempt::Done(Reply::text(500, problem)),
            };
        }
        forward::acted(self.handle.act(act, deadline).await, pretty)
    }

    /// Answers a read here, once it is fresh enough, waiting if it blocks.
    async fn read(&self, view: Arc<View>, read: Read, way: &Way<'_>) -> Attempt<Reply> {
        self.handle.meter.count(Event::RpcQuery, 1);
        let view = match self.trusted(view, read.consistency, way.deadline).await {
            Ok(view) => view,
            Err(why) => return Attempt::Unserved(why),
        };
        let (found, kept) = match read.blocking {
            Some(blocking) => {
                let _counted = self.handle.meter.blocks();
                let jitter = self.dice().span(blocking.wait / 16);
                let until = clock::now() + blocking.wait + jitter;
                match self.hub.wait(&read, until).await {
                    Ok(found) => {
                        let seen = found.index <= blocking.min_index && read.subject.index_rises();
                        if seen && clock::now() < until {
                            self.handle.meter.count(Event::HubEarly, 1);
                        }
                        // The hub learns of a view before its readers do: what is asked next must not be read in an older one.
                        self.reach(found.view.applied).await;
                        (found, false)
                    }
                    Err(Unheard::Full(full)) => return Attempt::Done(Reply::text(429, full.to_string())),
                    Err(Unheard::Stopped) => return Attempt::Unserved(Unserved::Unreachable),
                }
            }
            None => self.find(&view, &read),
        };
        let freshness = Freshness::of(&found.view, clock::now());
        let reply = answer::read_reply(&read, found.index, &found.encoded, freshness);
        let asks = way.call.params.has("cached");
        Attempt::Done(if asks { answer::cached(reply, &read.subject, kept) } else { reply })
    }

    /// Evaluates and encodes, or finds it done already for the same state; and which of both.
    fn find(&self, view: &Arc<View>, read: &Read) -> (Found, bool) {
        let (local, datacenter) = (self.handle.local.load(), &self.handle.facts.datacenter);
        let found = |subject: &Subject| hub::find(view, &local, subject, &read.encoding, datacenter);
        let query = match &read.subject {
            Subject::Catalog(Query::Execute(execution)) => {
                // Each gets an order of his own, so that not all turn to the same instance.
                let seed = self.dice().number();
                return (found(&Subject::Catalog(Query::Execute(Execution { seed, ..execution.clone() }))), false);
            }
            Subject::Catalog(query) => query,
            Subject::Events { name: _ } | Subject::Service { id: _ } => return (found(&read.subject), false),
        };
        let key = (query.clone(), read.encoding.clone());
        {
            let mut recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
            recent.turn_to(view);
            if let Some(found) = recent.found.get(&key) {
                return (Found { view: Arc::clone(view), ..found.clone() }, true);
            }
        }
        let found = hub::find(view, &local, &read.subject, &read.encoding, datacenter);
        self.recent.lock().unwrap_or_else(PoisonError::into_inner).keep(key, &found);
        (found, false)
    }

    /// A view that is as fresh as asked for: this one, or a newer one after a quorum was asked.
    async fn trusted(
        &self,
        view: Arc<View>,
        consistency: Consistency,
        deadline: Instant,
    ) -> Result<Arc<View>, Unserved> {
        let leased = view.lease_until.is_some_and(|until| clock::now() < until);
        match consistency {
            Consistency::Stale => Ok(view),
            Consistency::Default if leased => Ok(view),
            Consistency::Default | Consistency::Consistent => self.fresh(deadline).await,
        }
    }

    /// A view at least as fresh as a quorum knew after this was called.
    async fn fresh(&self, deadline: Instant) -> Result<Arc<View>, Unserved> {
        let index = match self.handle.read_index(deadline).await {
            Answer::ReadAt(index) => index,
            Answer::Unserved(why) => return Err(why),
            _ => return Err(Unserved::NoLeader),
        };
        match tokio::time::timeout(patience(deadline), self.reach(index)).await {
            Ok(()) => {
                let view = self.handle.view.load_full();
                forward::still_leads(&view).map(|()| view)
            }
            Err(_over) => Err(Unserved::NoLeader),
        }
    }

    /// Waits until readers see what was applied up to this index.
    async fn reach(&self, index: Index) {
        // The sender is ours: it cannot be gone.
        let _ = self.handle.applied.subscribe().wait_for(|applied| *applied >= index.0).await;
    }
}

/// A foreign budget, bounded.
fn deadline(budget_ms: u64) -> Instant {
    clock::now() + Duration::from_millis(budget_ms).min(PATIENCE * 24)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view::LocalView;

    fn key(number: usize) -> (Query, Encoding) {
        (Query::KvGet { key: number.to_string() }, Encoding::default())
    }

    fn find(view: &Arc<View>, key: &(Query, Encoding)) -> Found {
        hub::find(view, &LocalView::default(), &Subject::Catalog(key.0.clone()), &key.1, "dc1")
    }

    fn view(applied: u64, epoch: u64) -> Arc<View> {
        Arc::new(View { applied: Index(applied), epoch, ..View::default() })
    }

    #[test]
    fn recent_answers_are_bounded_and_die_with_their_state() {
        let mut recent = Recent::default();
        let old = view(5, 1);
        recent.turn_to(&old);
        for number in 0..RECENT_MAX + 10 {
            let key = key(number);
            recent.keep(key.clone(), &find(&old, &key));
        }
        assert_eq!(recent.found.len(), RECENT_MAX, "even empty answers");
        let new = view(6, 1);
        recent.turn_to(&new);
        assert!(recent.found.is_empty());
        recent.keep(key(1), &find(&old, &key(1)));
        assert!(recent.found.is_empty(), "an answer to an older state came too late");
        let mut large = find(&new, &key(1));
        large.encoded.body = vec![0; RECENT_BYTES_MAX].into();
        recent.keep(key(1), &large);
        recent.keep(key(1), &large);
        recent.keep(key(2), &large);
        assert_eq!((recent.found.len(), recent.bytes), (1, RECENT_BYTES_MAX));
        recent.turn_to(&view(6, 2));
        assert_eq!((recent.found.len(), recent.bytes), (0, 0));
    }
}
