//! Calls between agents (`runtime/rpc`): encoded, delayed, refused, lost on the way there or on the way back.

use super::bug;
use super::node::Process;
use super::walk::{Origin, Work};
use super::world::{Happening, MS, SECOND, World};
use crate::rpc::{self, Answered, Forwarded, Submission, Submitted, Unserved};
use crate::runtime::mailbox::Lane;
use bytes::Bytes;
use lictor_catalog::store::Scope;
use std::net::SocketAddr;

/// As `runtime/rpc/client.rs`.
const CONNECT_TIMEOUT: u64 = 1_500 * MS;
/// A connection that is silent this long is taken for dead.
const KEEP_ALIVE: u64 = 10 * SECOND;
/// TCP's pause before it sends again.
const RESEND: u64 = 400 * MS;

/// What is asked, encoded as it travels; a part of the catalog as it is.
#[derive(Clone, Debug)]
pub(super) enum Request {
    Call(Bytes),
    Submit(Bytes),
    Part(Scope),
}

#[derive(Clone, Debug)]
pub(super) enum Response {
    Answered(Bytes),
    Submitted(Bytes),
    /// The chunks of a partial store.
    Part(Vec<u8>),
    Refused(String),
}

/// Why there is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Failure {
    NotSent,
    Lost,
}

/// On whose behalf a call is out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Behalf {
    Walk(u64),
    Fetch(u64),
}

/// A call that is out.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pending {
    pub(super) to: usize,
    /// The process that was asked; another one knows nothing of the call.
    life: u64,
    pub(super) behalf: Behalf,
}

impl World {
    /// Sends a call; its answer, or why there is none, comes within `patience` ns.
    pub(super) fn ask(&mut self, node: usize, to: SocketAddr, request: Request, behalf: Behalf, patience: u64) {
        let target = self.owner(to.ip());
        let way = self.net.way(&mut self.dice) + if self.net.lost(&mut self.dice) { 200 * MS } else { 0 };
        let (now, life) = (self.now, self.nodes[node].life);
        let theirs = target.map_or(0, |target| self.nodes[target].life);
        // Through a cut a new connection does not stand; on one that stood the request vanishes.
        let stood = self.dice.below(2) == 0;
        let Some(process) = self.running(node) else { return };
        let id = process.number();
        let refusal = target.and_then(|target| self.not_admitted(node, target));
        let Some(process) = self.running(node) else { return };
        process.rpcs.insert(id, Pending { to: target.unwrap_or(usize::MAX), life: theirs, behalf });
        let open = target.filter(|target| self.net.reaches(node, *target));
        match open {
            _ if refusal.is_some() => {
                let answer = Ok(Response::Refused(refusal.unwrap_or_default()));
                self.at(now + 2 * way, node, Happening::Answered { id, answer });
            }
            Some(target) => {
                self.at_any(now + way, target, Happening::Asked { from: node, life, id, request });
                self.at(now + KEEP_ALIVE.min(patience), node, Happening::KeepAlive { id });
            }
            None if target.is_some() && stood => {
                let answer = Err(Failure::Lost);
                self.at(now + KEEP_ALIVE.min(patience), node, Happening::Answered { id, answer });
            }
            None => {
                let answer = Err(Failure::NotSent);
                self.at(now + CONNECT_TIMEOUT, node, Happening::Answered { id, answer });
            }
        }
        self.at(now + patience, node, Happening::Answered { id, answer: Err(Failure::Lost) });
    }

    fn not_admitted(&self, node: usize, target: usize) -> Option<String> {
        let ours = &self.nodes[node].process.as_ref()?.hello;
        let theirs = &self.nodes[target].process.as_ref()?.hello;
        theirs.admit(ours).err().map(|refusal| refusal.to_string())
    }

    /// Nothing listens there.
    pub(super) fn refused(&mut self, node: usize, (from, life, id): (usize, u64, u64)) {
        if self.net.reaches(node, from) {
            let way = self.net.way(&mut self.dice);
            let answer = Err(Failure::NotSent);
            self.at_life(self.now + way, from, life, Happening::Answered { id, answer });
        }
    }

    /// A call arrives.
    pub(super) fn asked(&mut self, node: usize, asker: (usize, u64, u64), request: Request) {
        match request {
            Request::Call(bytes) => match rpc::decode::<Forwarded>(&bytes) {
                Ok(forwarded) => self.walk_for(node, forwarded, asker),
                Err(malformed) => self.respond(node, asker, Response::Refused(malformed.to_string())),
            },
            Request::Submit(bytes) => match rpc::decode::<Submission>(&bytes) {
                Ok(submission) => self.submit_for(node, submission, asker),
                Err(malformed) => self.respond(node, asker, Response::Refused(malformed.to_string())),
            },
            Request::Part(scope) => {
                let Some(process) = self.running(node) else { return };
                let view = &process.view;
                let response = if view.caught_up {
                    Response::Part(view.store.part(&scope).chunks().flatten().collect())
                } else {
                    Response::Refused(Unserved::NotCaughtUp.to_string())
                };
                self.respond(node, asker, response);
            }
        }
    }

    fn walk_for(&mut self, node: usize, forwarded: Forwarded, asker: (usize, u64, u64)) {
        let Forwarded { call, hops, budget_ms } = forwarded;
        self.walk_with(node, Work::Call(Box::new(call)), Origin::Rpc(asker), hops, Some(budget_ms));
    }

    fn submit_for(&mut self, node: usize, submission: Submission, asker: (usize, u64, u64)) {
        let Submission { command, hops, budget_ms } = submission;
        self.walk_with(node, Work::Submit(Box::new(command)), Origin::Rpc(asker), hops, Some(budget_ms));
    }

    pub(super) fn respond(&mut self, node: usize, (from, life, id): (usize, u64, u64), response: Response) {
        let way = self.net.way(&mut self.dice);
        if self.net.reaches(node, from) {
            self.at_life(self.now + way, from, life, Happening::Answered { id, answer: Ok(response) });
        } else if self.nodes[from].life == life {
            // TCP sends it again; the asker's keep-alive ends it if the cut lasts.
            self.at(self.now + RESEND, node, Happening::Respond { asker: (from, life, id), response });
        }
    }

    pub(super) fn answered(&mut self, node: usize, id: u64, answer: Result<Response, Failure>) {
        let Some(process) = self.running(node) else { return };
        let Some(pending) = process.rpcs.remove(&id) else { return };
        let answer = bug::answered(self.setup.bug, answer);
        match pending.behalf {
            Behalf::Walk(walk) => self.passed(node, walk, answer),
            Behalf::Fetch(fetch) => self.part_came(node, fetch, answer),
        }
    }

    pub(super) fn keep_alive(&mut self, node: usize, id: u64) {
        let Some(process) = self.running(node) else { return };
        let Some(pending) = process.rpcs.get(&id) else { return };
        let Pending { to, life, .. } = *pending;
        let stands = self.nodes.get(to).is_some_and(|target| target.life == life && target.process.is_some());
        if stands && self.net.reaches(node, to) && self.net.reaches(to, node) {
            self.at(self.now + KEEP_ALIVE, node, Happening::KeepAlive { id });
        } else {
            self.answered(node, id, Err(Failure::Lost));
        }
    }

    /// A process died: whoever waits for it hears of it, and its own clients too.
    pub(super) fn break_calls(&mut self, node: usize, process: &Process) {
        for other in 0..self.nodes.len() {
            let Some(asker) = self.nodes[other].process.as_ref() else { continue };
            let lost: Vec<u64> = asker.rpcs.iter().filter(|(_, call)| call.to == node).map(|(id, _)| *id).collect();
            if other == node || !self.net.reaches(node, other) {
                continue;
            }
            for id in lost {
                let way = self.net.way(&mut self.dice);
                self.at(self.now + way, other, Happening::Answered { id, answer: Err(Failure::Lost) });
            }
        }
        for walk in process.walks.values() {
            if let Origin::Client(op) = walk.origin {
                self.client_lost(op);
            }
        }
    }

    /// The answer to another agent.
    pub(super) fn respond_call(&mut self, node: usize, asker: (usize, u64, u64), answered: &Answered) {
        self.respond(node, asker, Response::Answered(rpc::encode(answered)));
    }

    pub(super) fn respond_submit(&mut self, node: usize, asker: (usize, u64, u64), submitted: &Submitted) {
        self.respond(node, asker, Response::Submitted(rpc::encode(submitted)));
    }

    /// News for the agent from anti-entropy's helpers.
    pub(super) fn tell(&mut self, node: usize, event: crate::event::Event) {
        self.take(node, Lane::Probes, event);
    }
}
