//! The whole agent as one value: events in, effects out, one thread, no clock of its own.
//!
//! It routes each event to the part that owns it (gossip, local state, the server's role), lets the parts tell each other
//! what changed, and at the end of each turn carries their wishes out as effects. What a part decides is on its own page.
//!
//! What it never does: it opens no socket or file, starts no thread, asks no clock and rolls no unseeded dice. The runtime
//! and the simulator drive it alike.

use crate::effect::{Answer, Effect, Ending, Ticket};
use crate::event::Event;
use crate::gossip::{Gossip, GossipCounts, Member, MemberEvent, MemberStatus, Output, UserEvent};
use crate::http::call::Act;
use crate::local::Heard;
use crate::metrics::Counts;
use crate::rpc::Unserved;
use crate::server::role::Role;
use crate::server::role::recovery::CannotRecover;
use crate::server::tags::{Own, OwnServer};
use crate::time::Instant;
use crate::view::{Facts, LocalView};
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

/// How long a leave may take before the agent goes anyway.
pub const LEAVE_PATIENCE: Duration = Duration::from_secs(15);
/// How long an heir has to take leadership; a server that got none by the end of the leave lets the others elect.
const OFFER_PATIENCE: Duration = Duration::from_secs(1);
/// What is left for the farewell when leadership could not be handed over.
const FAREWELL_TIME: Duration = Duration::from_secs(5);

/// See the module's page.
pub struct Agent {
    facts: Arc<Facts>,
    gossip: Gossip,
    role: Option<Role>,
    owned: crate::local::Owned,
    members: Arc<[Member]>,
    /// Joins that gossip still works on.
    joins: BTreeSet<Ticket>,
    leaving: Option<Leaving>,
    /// Servers in sight, by where their RPC listens.
    servers: BTreeSet<SocketAddr>,
    /// What our tags tell of this server.
    tagged: Option<OwnServer>,
    /// This server knows the truth and a leader.
    serves: bool,
    local_changed: bool,
    heard: Heard,
    /// To be given after what they speak of was published.
    answers: Vec<Effect>,
    counts: Counts,
    ending: Option<Ending>,
}

/// A leave under way, and who is told when it is done.
struct Leaving {
    tickets: Vec<Ticket>,
    deadline: Instant,
    /// When leadership is offered next; an offer that the heir does not take is made again.
    next_offer: Instant,
}

/// The parts of an agent, made by whoever starts it.
pub struct Parts {
    pub facts: Arc<Facts>,
    pub gossip: Gossip,
    pub role: Option<Role>,
    pub owned: crate::local::Owned,
}

impl Agent {
    #[must_use]
    pub fn new(parts: Parts) -> Self {
        let Parts { facts, gossip, role, owned } = parts;
        let tagged = role.as_ref().map(Role::tags);
        Self {
            facts,
            gossip,
            role,
            owned,
            members: Arc::from([]),
            joins: BTreeSet::new(),
            leaving: None,
            servers: BTreeSet::new(),
            tagged,
            serves: false,
            local_changed: true,
            heard: Heard::default(),
            answers: Vec::new(),
            counts: Counts::default(),
            ending: None,
        }
    }

    /// The moment at which [`Agent::finish`] wants to be called even if nothing happens.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        let parts = [
            self.gossip.deadline(),
            self.role.as_ref().map(Role::deadline),
            self.owned.deadline(),
            self.leaving.as_ref().map(|leaving| leaving.deadline),
        ];
        parts.into_iter().flatten().min()
    }

    /// Takes one event. What follows from it appears at the end of the turn.
    pub fn step(&mut self, now: Instant, event: Event, effects: &mut Vec<Effect>) {
        match event {
            Event::Packet { from, bytes } => self.gossip.packet(now, from, &bytes),
            Event::GossipAsked { ticket, body } => {
                let body = self.gossip.request(now, &body);
                effects.push(Effect::GossipAnswer { ticket, body });
            }
            Event::GossipAnswered { dial, answer } => self.gossip.answered(now, dial, answer),
            Event::Join { addresses, ticket } => {
                self.joins.insert(ticket);
                self.gossip.join(now, addresses, ticket);
            }
            Event::Letter { from, cluster, letter, state } => {
                if let Some(role) = &mut self.role {
                    role.letter(from, letter, state, cluster, now, effects);
                }
            }
            Event::Peer { peer, news } => self.with_role(|role| role.with_replica(|replica| replica.news(peer, news))),
            Event::Bootstrap { letter } => {
                if let Some(role) = &mut self.role {
                    role.bootstrap(letter, now, effects);
                }
            }
            Event::Stored { batch } => {
                if let Some(role) = &mut self.role {
                    role.stored(batch, now, effects);
                }
            }
            Event::StoreFull { .. } => self.with_role(|role| role.with_replica(|replica| replica.disk_full())),
            Event::Write { ticket, command } => match &mut self.role {
                Some(role) => role.write(ticket, command, now, effects),
                None => effects.push(not_here(ticket)),
            },
            Event::ReadIndex { ticket } => match &mut self.role {
                Some(role) => role.read_index(ticket, now, effects),
                None => effects.push(not_here(ticket)),
            },
            Event::Act { ticket, act } => self.act(now, ticket, act, effects),
            Event::Probed { run, outcome } => self.owned.probed(now, run, &outcome),
            Event::Persisted { ticket, failed } => self.owned.persisted(now, ticket, failed),
            Event::Fetched { ticket, rows } => self.owned.fetched(now, ticket, rows.as_ref()),
            Event::Pushed { ticket, result } => self.owned.pushed(now, ticket, result),
        }
    }

    fn with_role(&mut self, act: impl FnOnce(&mut Role)) {
        if let Some(role) = &mut self.role {
            act(role);
        }
    }

    fn act(&mut self, now: Instant, ticket: Ticket, act: Act, effects: &mut Vec<Effect>) {
        match act {
            Act::Local(change) => self.owned.change(now, ticket, *change),
            Act::Fire(announcement) => {
                let answer = Answer::Fired(self.gossip.fire(now, *announcement));
                self.answers.push(Effect::Answer { ticket, answer });
            }
            Act::Leave => {
                if self.leaving.is_none() {
                    tracing::info!("leaves the cluster");
                }
                let deadline = now + LEAVE_PATIENCE;
                let leaving = Leaving { tickets: Vec::new(), deadline, next_offer: now };
                self.leaving.get_or_insert(leaving).tickets.push(ticket);
                // Its node is about to be taken off the catalog: nothing of this agent's may put it there again.
                self.owned.stop_syncing();
                self.begin_to_leave(now, effects);
            }
            Act::ForceLeave { node, prune } => {
                let answer = match self.gossip.force_leave(now, &node, prune) {
                    Ok(()) => Answer::Done,
                    Err(unknown) => Answer::UnknownMember(unknown.0),
                };
                effects.push(Effect::Answer { ticket, answer });
            }
            Act::TransferLeadership(to) => match &mut self.role {
                Some(role) => role.transfer_leadership(ticket, to, now, effects),
                None => effects.push(not_here(ticket)),
            },
            Act::RemoveServer(node) => match &mut self.role {
                Some(role) => role.remove_server(ticket, node, now, effects),
                None => effects.push(not_here(ticket)),
            },
            Act::Recover(confirm) => match (&mut self.role, confirm) {
                (Some(role), Some(confirm)) => role.recover(ticket, &confirm, effects),
                (Some(role), None) => {
                    effects.push(Effect::Answer { ticket, answer: Answer::Recovery(role.prospect()) })
                }
                (None, _) => {
                    let answer = Answer::Recovery(Err(CannotRecover::NoServer));
                    effects.push(Effect::Answer { ticket, answer });
                }
            },
            // Names were resolved by the host; what arrives here has none left.
            Act::Join(_) => effects.push(Effect::Answer { ticket, answer: Answer::Joined(Ok(0)) }),
        }
    }

    /// A leader hands over before it goes, so that writes do not stop for an election; a voter is taken off the voters first,
    /// so that the others keep a quorum.
    fn begin_to_leave(&mut self, now: Instant, effects: &mut Vec<Effect>) {
        let Some(leaving) = &mut self.leaving else { return };
        let offer = now >= leaving.next_offer;
        if offer {
            leaving.next_offer = now + OFFER_PATIENCE;
        }
        let waits = self.role.as_mut().is_some_and(|role| role.waits_to_leave(offer, now, effects));
        if !waits || now + FAREWELL_TIME >= leaving.deadline {
            self.gossip.leave(now);
        }
    }

    /// What it is as a server.
    #[must_use]
    pub const fn role(&self) -> Option<&Role> {
        self.role.as_ref()
    }

    /// Ends a turn: does what is due, and turns the parts' wishes into effects.
    pub fn finish(&mut self, now: Instant, effects: &mut Vec<Effect>) {
        if self.gossip.deadline().is_some_and(|deadline| deadline <= now) {
            self.gossip.timer(now);
        }
        self.drain_gossip(now, effects);
        if let Some(role) = &mut self.role {
            if let Err(diverging) = role.finish(now, effects) {
                self.ending = Some(Ending::Fatal(diverging.to_string()));
            }
            let serves = role.serves();
            let given_up = role.given_up(now);
            let tags = Some(role.tags());
            if self.tagged != tags {
                self.tagged = tags;
                self.retag(now);
                self.drain_gossip(now, effects);
            }
            self.ending = self.ending.take().or_else(|| given_up.map(Ending::Fatal));
            let served = std::mem::replace(&mut self.serves, serves);
            if serves && !served {
                self.owned.server_known(now);
            }
        }
        if let Some(place) = self.gossip.place() {
            self.owned.place(now, place);
        }
        self.local_changed |= self.owned.finish(now, effects);
        if self.leaving.is_some() {
            self.begin_to_leave(now, effects);
            self.drain_gossip(now, effects);
        }
        if self.leaving.as_ref().is_some_and(|leaving| now >= leaving.deadline) {
            self.gone(effects);
        }
        if std::mem::take(&mut self.local_changed) {
            effects.push(Effect::PublishLocal(Arc::new(self.local_view())));
        }
        effects.append(&mut self.answers);
        effects.extend(self.owned.answers());
        if let Some(ending) = self.ending.take() {
            effects.push(Effect::Exit(ending));
        }
    }

    fn drain_gossip(&mut self, now: Instant, effects: &mut Vec<Effect>) {
        let mut changed = false;
        for output in self.gossip.outputs() {
            match output {
                Output::Packet { to, bytes } => effects.push(Effect::Packet { to, bytes }),
                Output::Dial { to, dial, body } => effects.push(Effect::Dial { to, dial, body }),
                Output::Changed => changed = true,
                Output::Event(event) => self.note(&event),
                Output::Heard(event) => self.hear(event),
                Output::Joined { ticket, reached } => self.joined(ticket, Ok(reached), effects),
                // The ticket stays open: gossip goes on trying.
                Output::JoinWaits { ticket: _, to, reason } => {
                    tracing::warn!("{to} does not let this agent in yet: {reason}");
                }
                Output::JoinFailed { ticket, failures } => {
                    let causes: Vec<String> = failures.iter().map(|(to, cause)| format!("{to}: {cause}")).collect();
                    self.joined(ticket, Err(causes.join("; ")), effects);
                }
                Output::Conflict { name, first, second } => {
                    tracing::warn!("{name:?} is the name of two live members, at {first} and {second}: rename one");
                }
                Output::Clone { id, holder, joiner } => {
                    self.ending = Some(Ending::Fatal(format!(
                        "node id {id} is alive at {holder} and this agent has it too, at {joiner}: its data directory is a \
                         copy of a living one; empty it, or stop the other agent"
                    )));
                }
                Output::Gone => self.gone(effects),
            }
        }
        if changed {
            self.members = self.gossip.members().into();
            self.local_changed = true;
            let (members, alive) = (Arc::clone(&self.members), self.alive());
            self.with_role(|role| role.members(&members, now));
            self.owned.cluster_size(alive);
            let servers = crate::server::rpc_addresses(&self.members, &self.facts.datacenter);
            // To a client agent a new face is a reason to try again; a server asks itself.
            if self.role.is_none() && servers.iter().any(|server| !self.servers.contains(server)) {
                self.owned.server_known(now);
            }
            self.servers = servers.into_iter().collect();
        }
    }

    /// Counts what became of a member, and logs it.
    fn note(&mut self, event: &MemberEvent) {
        let (word, member) = told(event);
        match event {
            // Its tags are others: what of that matters, such as who leads or votes, has lines of its own.
            MemberEvent::Updated(_) => tracing::debug!("member {} at {} {word}", member.name, member.address),
            _ => tracing::info!("member {} at {} {word}", member.name, member.address),
        }
        match event {
            MemberEvent::Joined(_) => self.counts.joined += 1,
            MemberEvent::Left(_) => self.counts.left += 1,
            MemberEvent::Failed(_) => self.counts.failed += 1,
            MemberEvent::Updated(_) => self.counts.updated += 1,
            MemberEvent::Reaped(_) => {}
        }
    }

    /// A user event came, perhaps for this node.
    fn hear(&mut self, event: Arc<UserEvent>) {
        let (services, _) = self.owned.view();
        tracing::debug!("event {:?} ({}) was heard", event.announcement.name, event.id);
        self.local_changed |= self.heard.hear(event, &self.facts.node_name, &services);
    }

    fn alive(&self) -> usize {
        self.members.iter().filter(|member| member.status == MemberStatus::Alive).count()
    }

    fn joined(&mut self, ticket: Ticket, result: Result<usize, String>, effects: &mut Vec<Effect>) {
        if self.joins.remove(&ticket) {
            effects.push(Effect::Answer { ticket, answer: Answer::Joined(result) });
        }
    }

    fn gone(&mut self, effects: &mut Vec<Effect>) {
        if let Some(leaving) = self.leaving.take() {
            let tickets = leaving.tickets.into_iter();
            effects.extend(tickets.map(|ticket| Effect::Answer { ticket, answer: Answer::Done }));
            self.ending = Some(Ending::Left);
        }
    }

    /// Tells gossip what this agent is now.
    fn retag(&mut self, now: Instant) {
        let tags = own_tags(&self.facts, self.role.as_ref());
        self.gossip.set_tags(now, tags);
    }

    fn local_view(&mut self) -> LocalView {
        let (services, checks) = self.owned.view();
        let health_score = self.gossip.counts().unhealthy;
        LocalView {
            members: Arc::clone(&self.members),
            services,
            checks,
            node: self.owned.node(),
            events: self.heard.recent(),
            place: self.gossip.place(),
            health_score,
        }
    }

    /// What it has counted since its start.
    #[must_use]
    pub fn counts(&self) -> Counts {
        let GossipCounts { packets_refused, packets_malformed, requests_refused, dials_dropped, unhealthy } =
            self.gossip.counts();
        Counts {
            packets_refused,
            packets_malformed,
            requests_refused,
            dials_dropped,
            health_score: unhealthy,
            ..self.counts
        }
    }
}

/// What an agent tells of itself in gossip.
#[must_use]
pub fn own_tags(facts: &Facts, role: Option<&Role>) -> BTreeMap<String, String> {
    Own { id: facts.node_id, datacenter: &facts.datacenter, server: role.map(Role::tags) }.tags()
}

/// The event in a word, and whom it is about.
const fn told(event: &MemberEvent) -> (&'static str, &Member) {
    match event {
        MemberEvent::Joined(member) => ("joined", member),
        MemberEvent::Left(member) => ("left", member),
        MemberEvent::Failed(member) => ("failed", member),
        MemberEvent::Updated(member) => ("changed", member),
        MemberEvent::Reaped(member) => ("is forgotten", member),
    }
}

fn not_here(ticket: Ticket) -> Effect {
    Effect::Answer { ticket, answer: Answer::Unserved(Unserved::NoLeader) }
}
