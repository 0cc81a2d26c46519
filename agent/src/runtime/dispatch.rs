//! A call's way through this agent: find its handler, carry out its plan here, or pass it on. The decisions are
//! `http` (what to do) and `forward` (where, and when to give up); this file walks.

use crate::dice::Dice;
use crate::effect::Answer;
use crate::forward::{self, Attempt, Journey, Next};
use crate::http::call::{Act, Call, Consistency, Encoding, Method, Plan, Read, Reply, WriteAnswer};
use crate::http::route::{self, Found as Route, Place};
use crate::http::{Context, answer};
use crate::hub::{self, Found};
use crate::rpc::{Answered, Forwarded, HOPS_MAX, Unserved};
use crate::runtime::clock;
use crate::runtime::handle::{Handle, patience};
use crate::runtime::hub::Hub;
use crate::runtime::rpc::client::{Client, Failed};
use crate::time::Instant;
use crate::view::View;
use lictor_catalog::{Command, Index, Query};
use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

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
    pub dice: Mutex<Dice>,
    pub hold: Duration,
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

/// Bytes of answers that are kept for the newest state.
const RECENT_BYTES_MAX: usize = 8 << 20;

/// Where a call can be served, as seen from here.
enum Where {
    Here,
    There(SocketAddr),
    Nowhere(Unserved),
}

impl Dispatcher {
    #[must_use]
    pub fn new(handle: Arc<Handle>, hub: Arc<Hub>, client: Arc<Client>, dice: Dice, hold: Duration) -> Self {
        Self { handle, hub, client, dice: Mutex::new(dice), hold, recent: Mutex::default() }
    }

    fn dice(&self) -> Dice {
        self.dice.lock().unwrap_or_else(PoisonError::into_inner).split()
    }

    /// Answers a call that came in over HTTP, or from this agent itself.
    pub async fn serve(&self, call: Call) -> Reply {
        match self.walk(call, 0, clock::now() + PATIENCE).await {
            Answered::Reply(reply) => reply,
            Answered::Unserved(why) => forward::given_up(why),
        }
    }

    /// Answers a call that another agent passed on.
    pub async fn serve_forwarded(&self, forwarded: Forwarded) -> Answered {
        let deadline = clock::now() + Duration::from_millis(forwarded.budget_ms).min(PATIENCE * 12);
        self.walk(forwarded.call, forwarded.hops, deadline).await
    }

    async fn walk(&self, call: Call, hops: u8, deadline: Instant) -> Answered {
        let route = match route::find(&call, &self.handle.facts) {
            Route::Reply(reply) => return Answered::Reply(reply),
            Route::Route(route) => route,
        };
        let writes = !matches!(call.method, Method::Get);
        let mut journey = Journey { hops, writes, hold_until: clock::now() + self.hold, tries: 0 };
        let mut dice = None;
        loop {
            let mut leadership = self.handle.leadership.subscribe();
            leadership.borrow_and_update();
            let attempt = self.attempt(&call, route.place, hops, deadline).await;
            let dice = match attempt {
                Attempt::Done(reply) => return Answered::Reply(reply),
                Attempt::Unserved(_) | Attempt::Lost => dice.get_or_insert_with(|| self.dice()),
            };
            match journey.after(attempt, clock::now(), dice) {
                Next::Reply(reply) => return Answered::Reply(reply),
                Next::Pass(why) => return Answered::Unserved(why),
                Next::Retry(pause) => {
                    // News of a leader ends the pause early.
                    let _ = tokio::time::timeout(pause, leadership.changed()).await;
                }
            }
        }
    }

    async fn attempt(&self, call: &Call, place: Place, hops: u8, deadline: Instant) -> Attempt {
        if place == Place::Catalog && !self.handle.facts.server {
            let servers = self.servers();
            return self.pass_to_any(call, &servers, hops, deadline).await;
        }
        let view = self.handle.view.load_full();
        let plan = {
            let local = self.handle.local.load();
            crate::http::plan(&Context { view: &view, local: &local, facts: &self.handle.facts, now: clock::now() }, call)
        };
        match plan {
            Plan::Answer(reply) => Attempt::Done(reply),
            Plan::Act(act) => self.act(act).await,
            Plan::Read(read) => match self.place_read(&view, read.consistency) {
                Where::Here => self.read(view, read, deadline).await,
                Where::There(leader) => self.pass(call, leader, hops, deadline).await,
                Where::Nowhere(why) => Attempt::Unserved(why),
            },
            Plan::Write(command, how) => match self.place_write(&view) {
                Where::Here => self.propose(command, how, deadline).await,
                Where::There(leader) => self.pass(call, leader, hops, deadline).await,
                Where::Nowhere(why) => Attempt::Unserved(why),
            },
        }
    }

    fn place_read(&self, view: &View, consistency: Consistency) -> Where {
        match consistency {
            Consistency::Stale if view.caught_up => Where::Here,
            Consistency::Stale => Where::Nowhere(Unserved::NotCaughtUp),
            Consistency::Default | Consistency::Consistent => self.place_write(view),
        }
    }

    fn place_write(&self, view: &View) -> Where {
        match &view.leader {
            _ if view.leading => Where::Here,
            Some(leader) => Where::There(leader.rpc),
            None => Where::Nowhere(Unserved::NoLeader),
        }
    }

    /// The living servers of this datacenter, in random order.
    fn servers(&self) -> Vec<SocketAddr> {
        let local = self.handle.local.load();
        let mut servers = crate::server::rpc_addresses(&local.members, &self.handle.facts.datacenter);
        self.dice().shuffle(&mut servers);
        servers
    }

    async fn pass_to_any(&self, call: &Call, servers: &[SocketAddr], hops: u8, deadline: Instant) -> Attempt {
        let mut attempt = Attempt::Unserved(Unserved::Unreachable);
        for &server in servers {
            attempt = self.pass(call, server, hops, deadline).await;
            if attempt != Attempt::Unserved(Unserved::Unreachable) {
                break;
            }
        }
        attempt
    }

    async fn pass(&self, call: &Call, to: SocketAddr, hops: u8, deadline: Instant) -> Attempt {
        if hops >= HOPS_MAX {
            return Attempt::Unserved(Unserved::NoLeader);
        }
        let blocking = call.params.has("index");
        let deadline = if blocking { clock::now() + self.handle.facts.max_query_time * 2 } else { deadline };
        let budget_ms = u64::try_from(patience(deadline).as_millis()).unwrap_or(u64::MAX);
        let forwarded = Forwarded { call: call.clone(), hops: hops + 1, budget_ms };
        match self.client.call(to, &forwarded, blocking).await {
            Ok(Answered::Reply(reply)) => Attempt::Done(reply),
            Ok(Answered::Unserved(why)) => Attempt::Unserved(why),
            Err(Failed::NotSent) => Attempt::Unserved(Unserved::Unreachable),
            Err(Failed::Refused(reason)) => Attempt::Done(Reply::text(500, reason)),
            Err(Failed::Lost) => Attempt::Lost,
        }
    }

    async fn propose(&self, command: Command, how: WriteAnswer, deadline: Instant) -> Attempt {
        match self.handle.write(command, deadline).await {
            Answer::Applied(outcome) => Attempt::Done(answer::write_reply(&outcome, how)),
            Answer::Unserved(why) => Attempt::Unserved(why),
            _ => Attempt::Lost,
        }
    }

    async fn act(&self, act: Act) -> Attempt {
        let deadline = clock::now() + PATIENCE;
        if let Act::Join(names) = act {
            let addresses = super::join::resolve(&names, self.handle.facts.serf_port).await;
            return Attempt::Done(match addresses {
                Ok(addresses) => answer::act_reply(self.handle.join(addresses, deadline).await),
                Err(problem) => Reply::text(500, problem),
            });
        }
        Attempt::Done(answer::act_reply(self.handle.act(act, deadline).await))
    }

    /// Answers a read here, once it is fresh enough, waiting if it blocks.
    async fn read(&self, mut view: Arc<View>, read: Read, deadline: Instant) -> Attempt {
        let leased = view.lease_until.is_some_and(|until| clock::now() < until);
        if read.consistency == Consistency::Consistent || (read.consistency == Consistency::Default && !leased) {
            match self.fresh(deadline).await {
                Ok(fresh) => view = fresh,
                Err(why) => return Attempt::Unserved(why),
            }
        }
        let found = match read.blocking {
            Some(blocking) => {
                let jitter = self.dice().span(blocking.wait / 16);
                let until = clock::now() + blocking.wait + jitter;
                match self.hub.wait(&read, until).await {
                    Ok(found) => found,
                    Err(full) => return Attempt::Done(Reply::text(429, full.to_string())),
                }
            }
            None => self.find(&view, &read),
        };
        Attempt::Done(answer::read_reply(&found, read.consistency, clock::now()))
    }

    /// Evaluates and encodes, or finds it done already for the same state.
    fn find(&self, view: &Arc<View>, read: &Read) -> Found {
        let key = (read.query.clone(), read.encoding);
        {
            let mut recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
            if (recent.applied, recent.epoch) != (view.applied, view.epoch) {
                *recent = Recent { applied: view.applied, epoch: view.epoch, ..Recent::default() };
            }
            if let Some(found) = recent.found.get(&key) {
                return Found { view: Arc::clone(view), ..found.clone() };
            }
        }
        let found = hub::find(view, &read.query, read.encoding, &self.handle.facts.datacenter);
        let mut recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        let bytes = recent.bytes + found.encoded.body.len();
        if (recent.applied, recent.epoch) == (view.applied, view.epoch) && bytes <= RECENT_BYTES_MAX {
            recent.bytes = bytes;
            recent.found.insert(key, found.clone());
        }
        found
    }

    /// A view at least as fresh as a quorum knew after this was called.
    async fn fresh(&self, deadline: Instant) -> Result<Arc<View>, Unserved> {
        let index = match self.handle.read_index(deadline).await {
            Answer::ReadAt(index) => index,
            Answer::Unserved(why) => return Err(why),
            _ => return Err(Unserved::NoLeader),
        };
        let mut applied = self.handle.applied.subscribe();
        let reached = applied.wait_for(|applied| *applied >= index.0);
        match tokio::time::timeout(patience(deadline), reached).await {
            Ok(Ok(_)) => Ok(self.handle.view.load_full()),
            Ok(Err(_)) | Err(_) => Err(Unserved::NoLeader),
        }
    }
}
