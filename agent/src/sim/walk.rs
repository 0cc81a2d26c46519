//! A call's way through an agent, step by step as `runtime/dispatch.rs` walks it: find its handler, carry out its plan
//! here, or pass it on. The decisions are the real ones: handlers, routes and [`Journey`].

use super::bug;
use super::call::Message;
use super::node::{Asker, DATACENTER, Process};
use super::rpc::{Behalf, Failure, Request, Response};
use super::world::{Happening, MS, World};
use crate::effect::{Answer, Pushed};
use crate::event::Event;
use crate::forward::{self, Attempt, Deed, Journey, Next, Where, place_write};
use crate::http::answer::{self, Freshness};
use crate::http::call::{Act, Call, Consistency, Method, Plan, Read, Reply, WriteAnswer};
use crate::http::route::{self, Found as Route, Place};
use crate::http::{Context, options};
use crate::hub::{self, Found, Full, Waiter};
use crate::local::SyncTicket;
use crate::rpc::{self, Answered, Forwarded, HOPS_MAX, Submission, Submitted, Unserved};
use crate::runtime::mailbox::Lane;
use crate::time::Instant;
use crate::view::View;
use lictor_catalog::{Command, Index, Outcome};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

/// As `runtime/dispatch.rs`.
const HOLD: Duration = Duration::from_secs(7);
const PATIENCE: Duration = Duration::from_secs(60);

/// What is to be done.
#[derive(Clone)]
pub(super) enum Work {
    Call(Box<Call>),
    Submit(Box<Command>),
}

/// For whom.
#[derive(Clone, Copy)]
pub(super) enum Origin {
    /// The operation with this number.
    Client(usize),
    /// Anti-entropy.
    Push(SyncTicket),
    /// Another agent: node, life and number of its call.
    Rpc((usize, u64, u64)),
}

/// What a walk brings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Fruit {
    Reply(Reply),
    Outcome(Outcome),
}

/// What a walk waits for.
enum Step {
    Ready,
    /// The agent, about a write.
    Write(WriteAnswer),
    Submit,
    Act,
    /// The agent, about how far the truth reaches.
    Index(Box<Read>),
    /// The view, to reach this index.
    Apply(Index, Box<Read>),
    /// The hub.
    Wait(Box<Read>),
    /// Another agent; these can be asked next.
    Pass(Vec<SocketAddr>),
    Pause,
}

pub(super) struct Walk {
    work: Work,
    pub(super) origin: Origin,
    hops: u8,
    deadline: Instant,
    journey: Journey,
    step: Step,
    /// Which step it is: what is overdue for an earlier one does not concern a later one.
    steps: u64,
}

fn nanos(span: Duration) -> u64 {
    u64::try_from(span.as_nanos()).unwrap_or(u64::MAX)
}

fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

impl World {
    pub(super) fn walk(&mut self, node: usize, work: Work, origin: Origin) {
        self.walk_with(node, work, origin, 0, None);
    }

    pub(super) fn walk_with(&mut self, node: usize, work: Work, origin: Origin, hops: u8, budget_ms: Option<u64>) {
        let now = self.nodes[node].local_now(self.now);
        let budget = budget_ms.map_or(PATIENCE, |budget| Duration::from_millis(budget).min(PATIENCE * 24));
        let Some(process) = self.running(node) else { return };
        let number = process.number();
        let deed = match &work {
            Work::Call(call) if call.method == Method::Get => Deed::Read,
            Work::Call(_) => Deed::Write,
            Work::Submit(_) => Deed::Step,
        };
        let journey = Journey::new(hops, deed, now + HOLD);
        let walk = Walk { work, origin, hops, deadline: now + budget, journey, step: Step::Ready, steps: 0 };
        process.walks.insert(number, walk);
        self.attempt(node, number);
    }

    /// One try.
    fn attempt(&mut self, node: usize, number: u64) {
        let Some(walk) = self.running(node).and_then(|process| process.walks.get(&number)) else { return };
        match walk.work.clone() {
            Work::Call(call) => self.attempt_call(node, number, &call),
            Work::Submit(command) => self.attempt_submit(node, number, *command),
        }
    }

    fn attempt_call(&mut self, node: usize, number: u64, call: &Call) {
        let now = self.nodes[node].local_now(self.now);
        let Some(process) = self.running(node) else { return };
        let facts = Arc::clone(&process.facts);
        let (route, rest) = match route::find(&facts, call) {
            Route::Answer(reply) => return self.tried(node, number, Attempt::Done(Fruit::Reply(reply))),
            Route::Route(route, rest) => (route, rest),
        };
        if route.place == Place::Catalog && !facts.server {
            let servers = servers(process);
            return self.pass(node, number, servers, Attempt::Unserved(Unserved::Unreachable));
        }
        let view = Arc::clone(&process.view);
        let context = Context { view: &view, local: &process.local, facts: &facts, now };
        let plan = (route.handler)(&context, call, &rest).unwrap_or_else(Plan::Answer);
        match forward::place(&plan, &view) {
            Where::Here => {}
            Where::There(leader) => return self.pass_to_leader(node, number, leader),
            Where::Nowhere(why) => return self.tried(node, number, Attempt::Unserved(why)),
        }
        match plan {
            Plan::Answer(reply) => self.tried(node, number, Attempt::Done(Fruit::Reply(reply))),
            Plan::Act(act) => self.act(node, number, act),
            Plan::Survey(_) | Plan::Stream(_) | Plan::Leaf(_) | Plan::Certify(_) => {
                let reply = Reply::text(501, "a simulated agent stands on no machine, writes no log and draws no keys");
                self.tried(node, number, Attempt::Done(Fruit::Reply(reply)));
            }
            Plan::Leader => self.tried(node, number, Attempt::Unserved(Unserved::NoLeader)),
            Plan::Read(read) => self.read(node, number, view, read),
            Plan::Write(command, how) => {
                self.ask_agent(node, number, Step::Write(how), |ticket| Event::Write { ticket, command });
            }
        }
    }

    fn attempt_submit(&mut self, node: usize, number: u64, command: Command) {
        let Some(process) = self.running(node) else { return };
        if !process.facts.server {
            let servers = servers(process);
            return self.pass(node, number, servers, Attempt::Unserved(Unserved::Unreachable));
        }
        match place_write(&process.view) {
            Where::Here => self.ask_agent(node, number, Step::Submit, |ticket| Event::Write { ticket, command }),
            Where::There(leader) => self.pass_to_leader(node, number, leader),
            Where::Nowhere(why) => self.tried(node, number, Attempt::Unserved(why)),
        }
    }

    fn step(&mut self, node: usize, number: u64, step: Step) -> Option<&mut Walk> {
        let walk = self.running(node)?.walks.get_mut(&number)?;
        walk.step = step;
        walk.steps += 1;
        Some(walk)
    }

    /// Asks the agent's thread, until the walk's deadline.
    fn ask_agent(&mut self, node: usize, number: u64, step: Step, event: impl FnOnce(u64) -> Event) {
        let clock = self.nodes[node].clock;
        let Some(process) = self.running(node) else { return };
        let ticket = process.number();
        process.askers.insert(ticket, Asker::Walk(number));
        let Some(walk) = self.step(node, number, step) else { return };
        let (due, step) = (clock.when(walk.deadline), walk.steps);
        self.take(node, Lane::Calls, event(ticket));
        self.at(due, node, Happening::Overdue { walk: number, step });
    }

    fn act(&mut self, node: usize, number: u64, act: Act) {
        if let Act::Join(names) = act {
            let addresses = names.iter().filter_map(|name| name.parse().ok()).collect();
            return self.ask_agent(node, number, Step::Act, |ticket| Event::Join { addresses, ticket });
        }
        self.ask_agent(node, number, Step::Act, |ticket| Event::Act { ticket, act });
    }

    /// Nothing came in time.
    pub(super) fn overdue(&mut self, node: usize, number: u64, step: u64) {
        let Some(walk) = self.running(node).and_then(|process| process.walks.get(&number)) else { return };
        if walk.steps == step {
            match walk.step {
                Step::Apply(..) => self.tried(node, number, Attempt::Unserved(Unserved::NoLeader)),
                _ => self.agent_answered(node, number, Answer::Unknown),
            }
        }
    }

    pub(super) fn agent_answered(&mut self, node: usize, number: u64, answer: Answer) {
        let Some(walk) = self.running(node).and_then(|process| process.walks.get_mut(&number)) else { return };
        let step = std::mem::replace(&mut walk.step, Step::Ready);
        let attempt = match (step, answer) {
            (Step::Index(read), Answer::ReadAt(index)) => return self.wait_for(node, number, index, read),
            (Step::Index(_), Answer::Unserved(why)) => Attempt::Unserved(why),
            (Step::Index(_), _) => Attempt::Unserved(Unserved::NoLeader),
            (Step::Write(how), answer) => {
                let pretty = self.is_pretty(node, number);
                let shown = |outcome| answer::write_reply(&outcome, how, pretty, DATACENTER);
                forward::proposed(answer).map(|outcome| Fruit::Reply(shown(outcome)))
            }
            (Step::Submit, answer) => forward::proposed(answer).map(Fruit::Outcome),
            (Step::Act, answer) => forward::acted(answer, self.is_pretty(node, number)).map(Fruit::Reply),
            (step, _) => {
                walk_back(self.running(node), number, step);
                return;
            }
        };
        self.tried(node, number, attempt);
    }

    fn is_pretty(&self, node: usize, number: u64) -> bool {
        let process = self.nodes[node].process.as_ref();
        process.is_some_and(|process| match process.walks.get(&number).map(|walk| &walk.work) {
            Some(Work::Call(call)) => options::pretty(&process.facts, call),
            _ => false,
        })
    }

    fn read(&mut self, node: usize, number: u64, view: Arc<View>, read: Read) {
        let now = self.nodes[node].local_now(self.now);
        let leased = view.lease_until.is_some_and(|until| now < until);
        if read.consistency == Consistency::Consistent || (read.consistency == Consistency::Default && !leased) {
            let step = Step::Index(Box::new(read));
            return self.ask_agent(node, number, step, |ticket| Event::ReadIndex { ticket });
        }
        self.read_in(node, number, &view, read);
    }

    /// The quorum has spoken: the view must reach its index.
    fn wait_for(&mut self, node: usize, number: u64, index: Index, read: Box<Read>) {
        let clock = self.nodes[node].clock;
        let Some(process) = self.running(node) else { return };
        if process.view.applied >= index {
            let view = Arc::clone(&process.view);
            return self.read_confirmed(node, number, &view, *read);
        }
        let Some(walk) = self.step(node, number, Step::Apply(index, read)) else { return };
        let (due, step) = (clock.when(walk.deadline), walk.steps);
        self.at(due, node, Happening::Overdue { walk: number, step });
    }

    /// The view moved on.
    pub(super) fn applied(&mut self, node: usize) {
        let Some(process) = self.running(node) else { return };
        let view = Arc::clone(&process.view);
        let reached = |walk: &Walk| matches!(walk.step, Step::Apply(index, _) if index <= view.applied);
        let ready: Vec<u64> = process.walks.iter().filter(|(_, walk)| reached(walk)).map(|(id, _)| *id).collect();
        for number in ready {
            let walk = self.running(node).and_then(|process| process.walks.get_mut(&number));
            let Some(walk) = walk else { continue };
            if let Step::Apply(_, read) = std::mem::replace(&mut walk.step, Step::Ready) {
                walk.steps += 1;
                self.read_confirmed(node, number, &view, *read);
            }
        }
    }

    /// A quorum found the view fresh enough.
    fn read_confirmed(&mut self, node: usize, number: u64, view: &Arc<View>, read: Read) {
        match forward::still_leads(view) {
            Ok(()) => self.read_in(node, number, view, read),
            Err(why) => self.tried(node, number, Attempt::Unserved(why)),
        }
    }

    /// Answers a read from a view that is fresh enough, waiting if it blocks.
    fn read_in(&mut self, node: usize, number: u64, view: &Arc<View>, read: Read) {
        let now = self.nodes[node].local_now(self.now);
        let Some(blocking) = read.blocking else {
            let Some(process) = self.running(node) else { return };
            let found = hub::find(view, &process.local, &read.subject, &read.encoding, DATACENTER);
            return self.found(node, number, &read, &found);
        };
        let Some(process) = self.running(node) else { return };
        let jitter = process.dice.span(blocking.wait / 16);
        let id = process.number();
        let Some(waiter) = Waiter::of(&read, id, now) else { return };
        process.waiters.insert(id, number);
        self.step(node, number, Step::Wait(Box::new(read)));
        self.tell_hub(node, Message::Wait(Waiter { deadline: now + blocking.wait + jitter, ..waiter }));
    }

    fn found(&mut self, node: usize, number: u64, read: &Read, found: &Found) {
        let freshness = Freshness::of(&found.view, self.nodes[node].local_now(self.now));
        let reply = answer::read_reply(read, found.index, &found.encoded, freshness);
        self.tried(node, number, Attempt::Done(Fruit::Reply(reply)));
    }

    /// The hub answered.
    pub(super) fn waited(&mut self, node: usize, id: u64, found: Result<Found, Full>) {
        let Some(process) = self.running(node) else { return };
        let Some(number) = process.waiters.remove(&id) else { return };
        let Some(walk) = process.walks.get_mut(&number) else { return };
        let Step::Wait(read) = std::mem::replace(&mut walk.step, Step::Ready) else { return };
        match found {
            Ok(found) => self.found(node, number, &read, &found),
            Err(full) => {
                self.tried(node, number, Attempt::Done(Fruit::Reply(Reply::text(429, full.to_string()))));
            }
        }
    }

    fn pass_to_leader(&mut self, node: usize, number: u64, leader: SocketAddr) {
        self.pass(node, number, vec![leader], Attempt::Unserved(Unserved::Unreachable));
    }

    /// Passes the work on to the first of these; `so_far` is what came of the others.
    fn pass(&mut self, node: usize, number: u64, mut servers: Vec<SocketAddr>, so_far: Attempt<Fruit>) {
        let now = self.nodes[node].local_now(self.now);
        let Some(process) = self.running(node) else { return };
        let facts = Arc::clone(&process.facts);
        if servers.is_empty() {
            return self.tried(node, number, so_far);
        }
        let to = servers.remove(0);
        let Some(walk) = self.step(node, number, Step::Pass(servers)) else { return };
        if walk.hops >= HOPS_MAX {
            return self.tried(node, number, Attempt::Unserved(Unserved::NoLeader));
        }
        let hops = walk.hops + 1;
        let (request, patience) = match &walk.work {
            Work::Call(call) => {
                let blocking = call.params.has("index");
                let patience = if blocking { facts.max_query_time * 2 } else { walk.deadline.since(now) };
                let forwarded = Forwarded::of(call, &facts.node_name, hops, millis(patience));
                (Request::Call(rpc::encode(&forwarded)), patience)
            }
            Work::Submit(command) => {
                let patience = walk.deadline.since(now);
                let submission = Submission { command: (**command).clone(), hops, budget_ms: millis(patience) };
                (Request::Submit(rpc::encode(&submission)), patience)
            }
        };
        self.ask(node, to, request, Behalf::Walk(number), nanos(patience));
    }

    /// What came of passing it on.
    pub(super) fn passed(&mut self, node: usize, number: u64, answer: Result<Response, Failure>) {
        let walk = self.running(node).and_then(|process| process.walks.get_mut(&number));
        let Some(walk) = walk else { return };
        let submit = matches!(walk.work, Work::Submit(_));
        let Step::Pass(rest) = std::mem::replace(&mut walk.step, Step::Ready) else { return };
        let attempt = match answer {
            Ok(Response::Answered(bytes)) => match rpc::decode(&bytes) {
                Ok(Answered::Reply(reply)) => Attempt::Done(Fruit::Reply(reply)),
                Ok(Answered::Unserved(why)) => Attempt::Unserved(why),
                Err(_) => Attempt::Lost,
            },
            Ok(Response::Submitted(bytes)) => match rpc::decode(&bytes) {
                Ok(Submitted::Applied(outcome)) => Attempt::Done(Fruit::Outcome(outcome)),
                Ok(Submitted::Unserved(why)) => Attempt::Unserved(why),
                Ok(Submitted::Unknown) | Err(_) => Attempt::Lost,
            },
            Ok(Response::Refused(_)) if submit => Attempt::Unserved(Unserved::Unreachable),
            Ok(Response::Refused(reason)) => Attempt::Done(Fruit::Reply(Reply::text(500, reason))),
            Ok(Response::Part(_)) | Err(Failure::Lost) => Attempt::Lost,
            Err(Failure::NotSent) => Attempt::Unserved(Unserved::Unreachable),
        };
        if attempt == Attempt::Unserved(Unserved::Unreachable) {
            self.pass(node, number, rest, attempt);
        } else {
            self.tried(node, number, attempt);
        }
    }

    /// Weighs a try: the walk ends, or pauses for another one.
    fn tried(&mut self, node: usize, number: u64, attempt: Attempt<Fruit>) {
        let now = self.nodes[node].local_now(self.now);
        let at = self.now;
        let Some(process) = self.running(node) else { return };
        let Some(walk) = process.walks.get_mut(&number) else { return };
        // A submission that was passed on is tried once.
        if let (Work::Submit(_), Origin::Rpc(asker)) = (&walk.work, walk.origin) {
            let submitted = match attempt {
                Attempt::Done(Fruit::Outcome(outcome)) => Submitted::Applied(outcome),
                Attempt::Unserved(why) => Submitted::Unserved(why),
                Attempt::Done(Fruit::Reply(_)) | Attempt::Lost => Submitted::Unknown,
            };
            process.walks.remove(&number);
            return self.respond_submit(node, asker, &submitted);
        }
        let next = walk.journey.after(attempt, now, &mut process.dice);
        match next {
            Next::Done(fruit) => self.end(node, number, Ok(Some(fruit))),
            Next::Unknown => self.end(node, number, Ok(None)),
            Next::GiveUp(why) => self.end(node, number, Err(why)),
            Next::Retry(pause) => {
                walk.step = Step::Pause;
                walk.steps += 1;
                let tries = walk.journey.tries;
                self.at(at + nanos(pause), node, Happening::Retry { walk: number, tries });
            }
        }
    }

    pub(super) fn retry(&mut self, node: usize, number: u64, tries: u32) {
        let walk = self.running(node).and_then(|process| process.walks.get_mut(&number));
        let Some(walk) = walk else { return };
        if matches!(walk.step, Step::Pause) && walk.journey.tries == tries {
            walk.step = Step::Ready;
            self.attempt(node, number);
        }
    }

    /// News of a leader ends every pause early.
    pub(super) fn leadership_changed(&mut self, node: usize) {
        let Some(process) = self.running(node) else { return };
        let paused = process.walks.iter().filter(|(_, walk)| matches!(walk.step, Step::Pause));
        let paused: Vec<(u64, u32)> = paused.map(|(number, walk)| (*number, walk.journey.tries)).collect();
        for (walk, tries) in paused {
            let wait = self.dice.below(MS / 10);
            self.at(self.now + wait, node, Happening::Retry { walk, tries });
        }
    }

    fn end(&mut self, node: usize, number: u64, end: Result<Option<Fruit>, Unserved>) {
        let Some(process) = self.running(node) else { return };
        let Some(walk) = process.walks.remove(&number) else { return };
        let facts = Arc::clone(&process.facts);
        match walk.origin {
            Origin::Push(ticket) => {
                let result = match end {
                    Ok(Some(Fruit::Outcome(outcome))) => Pushed::Applied(outcome),
                    _ => Pushed::Failed,
                };
                let result = bug::pushed(self.setup.bug, result);
                self.tell(node, Event::Pushed { ticket, result });
            }
            Origin::Client(op) => {
                let reply = match end {
                    Ok(Some(Fruit::Reply(reply))) => reply,
                    Ok(_) => forward::outcome_unknown(),
                    Err(why) => forward::given_up(why),
                };
                self.client_answered(op, answer::finish(reply, &facts));
            }
            Origin::Rpc(asker) => {
                let answered = match end {
                    Ok(Some(Fruit::Reply(reply))) => Answered::Reply(reply),
                    Ok(_) => Answered::Reply(forward::outcome_unknown()),
                    Err(why) => Answered::Unserved(why),
                };
                self.respond_call(node, asker, &answered);
            }
        }
    }
}

/// The answer was meant for an earlier step: this one goes on.
fn walk_back(process: Option<&mut Process>, number: u64, step: Step) {
    if let Some(walk) = process.and_then(|process| process.walks.get_mut(&number)) {
        walk.step = step;
    }
}

/// The living servers, in random order.
pub(super) fn servers(process: &mut Process) -> Vec<SocketAddr> {
    let mut servers = crate::server::rpc_addresses(&process.local.members, DATACENTER);
    process.dice.shuffle(&mut servers);
    servers
}
