//! What this agent owns, as the agent sees it: local state with its anti-entropy, and those who wait for either.

use super::effect::Effect as LocalEffect;
use super::state::Key;
use super::{
    Acceptance, Change, Local, LocalOptions, Refused, ServiceSpec, Sync, SyncEffect, SyncError, SyncOptions, SyncTicket,
};
use crate::checks::{CheckSpec, Outcome, Run};
use crate::dice::Dice;
use crate::effect::{Answer, Effect, Pushed, Ticket};
use crate::time::Instant;
use lictor_catalog::model::{CheckId, ServiceId};
use lictor_catalog::{Check, Command, Coordinate, Node, Outcome as Applied, Service, Store};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// What an agent is told about what it owns.
#[derive(Clone, Debug)]
pub struct OwnedConfig {
    pub node: Node,
    pub local: LocalOptions,
    pub sync: SyncOptions,
    /// Definitions of the configuration files.
    pub services: Vec<ServiceSpec>,
    pub checks: Vec<CheckSpec>,
    /// The records of the last process, each with the name of its file.
    pub records: Vec<(String, Vec<u8>)>,
}

/// How long the answer to a change waits for the catalog to be told of it. The change is made either way.
const TOLD_WITHIN: Duration = Duration::from_secs(3);
/// Answers that wait so; further ones are given at once.
const UNTOLD_MAX: usize = 1024;

type View = (Arc<BTreeMap<ServiceId, Arc<Service>>>, Arc<BTreeMap<CheckId, Arc<Check>>>);

/// A change that is made. Whoever asked for it is answered once servers know of it, so that he finds what he has registered
/// (Consul's `syncChanges`).
struct Untold {
    ticket: Ticket,
    service: Key,
    until: Instant,
}

/// See the module's page.
pub struct Owned {
    local: Local,
    sync: Sync,
    dice: Dice,
    /// Who waits for a change to be persisted, and of which service.
    waiting: BTreeMap<super::Ticket, (Ticket, Key)>,
    /// Who waits until the catalog was told, the longest first.
    untold: Vec<Untold>,
    local_effects: Vec<LocalEffect>,
    sync_effects: Vec<SyncEffect>,
    answers: Vec<(Ticket, Result<(), Refused>)>,
    changed: bool,
    /// The agent is leaving: the catalog is told nothing more.
    silent: bool,
}

impl Owned {
    #[must_use]
    pub fn start(config: OwnedConfig, dice: Dice, now: Instant) -> Self {
        let OwnedConfig { node, local, sync, services, checks, records } = config;
        let mut owned = Self {
            local: Local::new(Arc::new(node), local),
            sync: Sync::new(sync),
            dice,
            waiting: BTreeMap::new(),
            untold: Vec::new(),
            local_effects: Vec::new(),
            sync_effects: Vec::new(),
            answers: Vec::new(),
            changed: true,
            silent: false,
        };
        for (check, refused) in owned.local.define(now, services, checks, &mut owned.local_effects) {
            // Whoever read the files has told of kinds that this release lacks.
            if !matches!(refused, Refused::KindNotRun { .. }) {
                tracing::error!("check {:?} of the configuration is left out: {refused}", &*check);
            }
        }
        owned.local.restore(now, records, &mut owned.local_effects);
        owned
    }

    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        let sync = self.sync.deadline().filter(|_| !self.silent);
        let untold = self.untold.first().map(|untold| untold.until);
        self.local.deadline().into_iter().chain(sync).chain(untold).min()
    }

    /// The services and checks as readers see them.
    pub fn view(&mut self) -> View {
        self.local.view()
    }

    #[must_use]
    pub fn node(&self) -> Arc<Node> {
        Arc::clone(self.local.node())
    }

    pub fn change(&mut self, now: Instant, ticket: Ticket, change: Change) {
        let service = self.local.service_of(&change);
        match self.local.apply(now, change, &mut self.local_effects) {
            Ok(Acceptance::Done) => self.made(now, ticket, service),
            Ok(Acceptance::Waiting(persisting)) => drop(self.waiting.insert(persisting, (ticket, service))),
            Err(refused) => self.answers.push((ticket, Err(refused))),
        }
    }

    pub fn persisted(&mut self, now: Instant, persisted: super::Ticket, failed: Option<String>) {
        let result = self.local.persisted(now, persisted, failed.map_or(Ok(()), Err), &mut self.local_effects);
        match (self.waiting.remove(&persisted), result) {
            (Some((ticket, service)), Ok(())) => self.made(now, ticket, service),
            (Some((ticket, _)), refused) => self.answers.push((ticket, refused)),
            (None, _) => {}
        }
    }

    fn made(&mut self, now: Instant, ticket: Ticket, service: Key) {
        if self.untold.len() < UNTOLD_MAX {
            self.untold.push(Untold { ticket, service, until: now + TOLD_WITHIN });
        } else {
            self.answers.push((ticket, Ok(())));
        }
    }

    /// Answers those of whose changes the catalog knows, or who have waited long enough.
    fn answer_told(&mut self, now: Instant) {
        let (sync, silent) = (&self.sync, self.silent);
        let told = |untold: &mut Untold| silent || untold.until <= now || !sync.owes(&untold.service);
        self.answers.extend(self.untold.extract_if(.., told).map(|untold| (untold.ticket, Ok(()))));
    }

    pub fn probed(&mut self, now: Instant, run: Run, outcome: &Outcome) {
        self.local.outcome(now, run, outcome, &mut self.local_effects);
    }

    pub fn fetched(&mut self, now: Instant, ticket: SyncTicket, rows: Option<&Store>) {
        let rows = rows.ok_or_else(|| SyncError::Failed("no server could be asked".to_owned()));
        self.sync.fetched(now, ticket, rows, &mut self.local, &mut self.dice, &mut self.sync_effects);
        // What it took over from the catalog, readers must see.
        self.local.settle(now, &mut self.local_effects);
    }

    pub fn pushed(&mut self, now: Instant, ticket: SyncTicket, pushed: Pushed) {
        let result = match pushed {
            Pushed::Applied(Applied::Refused(refusal)) => Err(SyncError::Refused(refusal)),
            Pushed::Applied(_) => Ok(()),
            Pushed::Failed => Err(SyncError::Failed("no server took it".to_owned())),
        };
        self.sync.pushed(now, ticket, result, &mut self.local, &mut self.dice, &mut self.sync_effects);
    }

    /// There is a server that can be asked, perhaps a new one.
    pub fn server_known(&mut self, now: Instant) {
        self.sync.server_appeared(now, &mut self.dice);
        self.sync.leader_known(now, &mut self.local, &mut self.dice, &mut self.sync_effects);
    }

    /// From now on the catalog is neither asked nor told anything.
    pub const fn stop_syncing(&mut self) {
        self.silent = true;
    }

    /// Where the node is.
    pub fn place(&mut self, now: Instant, place: Coordinate) {
        self.sync.set_place(now, place);
    }

    /// How many members live: the more there are, the rarer each one syncs fully.
    pub const fn cluster_size(&mut self, members: usize) {
        self.sync.set_members(members);
    }

    /// Ends a turn. `true`: what readers see has changed.
    pub fn finish(&mut self, now: Instant, effects: &mut Vec<Effect>) -> bool {
        if self.local.deadline().is_some_and(|deadline| deadline <= now) {
            self.local.timer(now, &mut self.local_effects);
        }
        for effect in std::mem::take(&mut self.local_effects) {
            match effect {
                LocalEffect::Persist { ticket, writes } => effects.push(Effect::Persist { ticket, writes }),
                LocalEffect::Start { run, check: _, probe } => effects.push(Effect::Probe { run, probe }),
                LocalEffect::Stop(run) => effects.push(Effect::StopProbe { run }),
                LocalEffect::Changed => self.changed = true,
                LocalEffect::Warn(text) => tracing::warn!("{text}"),
            }
        }
        let changed = std::mem::take(&mut self.changed);
        if self.silent {
            self.sync_effects.clear();
            self.answer_told(now);
            return changed;
        }
        if changed {
            self.sync.local_changed(now, &mut self.local, &mut self.dice, &mut self.sync_effects);
        }
        if self.sync.deadline().is_some_and(|deadline| deadline <= now) {
            self.sync.timer(now, &mut self.local, &mut self.dice, &mut self.sync_effects);
        }
        self.answer_told(now);
        let mut told_place = false;
        for effect in self.sync_effects.drain(..) {
            match effect {
                SyncEffect::Fetch(ticket) => effects.push(Effect::Fetch { ticket }),
                // Tokens come with access control.
                SyncEffect::Push { ticket, command, token: _ } => {
                    // What readers see of it is what the catalog is told.
                    told_place |= matches!(command, Command::Coordinate(_));
                    effects.push(Effect::Push { ticket, command });
                }
                SyncEffect::Warn(text) => tracing::warn!("{text}"),
            }
        }
        changed || told_place
    }

    /// Answers to those whose change is made or refused; to be given after what changed was published.
    pub fn answers(&mut self) -> impl Iterator<Item = Effect> {
        self.answers.drain(..).map(|(ticket, result)| Effect::Answer { ticket, answer: Answer::Local(result) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lictor_catalog::Index;
    use lictor_catalog::command::{Entry, Register};
    use serde_json::json;

    /// What an agent wants done, by its kind.
    fn finish(owned: &mut Owned, now: Instant) -> Vec<Effect> {
        let mut effects = Vec::new();
        owned.finish(now, &mut effects);
        effects.extend(owned.answers());
        effects
    }

    fn answered(effects: &[Effect]) -> bool {
        effects.iter().any(|effect| matches!(effect, Effect::Answer { ticket: 1, answer: Answer::Local(Ok(())) }))
    }

    /// An agent of which the catalog knows nothing, asked to register a service.
    fn asked() -> (Owned, Instant) {
        let node = Node { name: "n1".into(), address: "10.0.0.1".into(), ..Node::default() };
        let (local, sync) = Default::default();
        let config = OwnedConfig { node, local, sync, services: Vec::new(), checks: Vec::new(), records: Vec::new() };
        let now = Instant(1_000_000_000);
        let mut owned = Owned::start(config, Dice::new(7), now);
        let spec = ServiceSpec::parse(&json!({"Name": "web"})).expect("a service");
        owned.change(now, 1, Change::RegisterService { spec, replace_checks: false });
        assert!(!answered(&finish(&mut owned, now)), "no server was asked yet");
        (owned, now)
    }

    #[test]
    fn whoever_registers_is_answered_when_the_catalog_has_it() {
        let (mut owned, now) = asked();
        owned.server_known(now);
        let effects = finish(&mut owned, now);
        let fetch = effects.iter().find_map(|effect| match effect {
            Effect::Fetch { ticket } => Some(*ticket),
            _ => None,
        });
        owned.fetched(now, fetch.expect("what there is"), Some(&Store::default()));
        let effects = finish(&mut owned, now);
        assert!(!answered(&effects), "it is on its way");
        for effect in &effects {
            if let Effect::Push { ticket, command: _ } = effect {
                owned.pushed(now, *ticket, Pushed::Applied(Applied::Done));
            }
        }
        assert!(answered(&finish(&mut owned, now)));
        assert_eq!(owned.untold.len(), 0);
    }

    #[test]
    fn what_no_server_takes_is_answered_after_a_while() {
        let (mut owned, now) = asked();
        let until = owned.deadline().expect("the end of the wait");
        assert_eq!(until, now + TOLD_WITHIN);
        assert!(answered(&finish(&mut owned, until)));
    }

    #[test]
    fn tags_that_the_catalog_may_set_are_shown_once_they_are_taken_over() {
        let node = Node { name: "n1".into(), address: "10.0.0.1".into(), ..Node::default() };
        let web = ServiceSpec::parse(&json!({"Name": "web", "Tags": ["a"], "EnableTagOverride": true})).unwrap();
        let mut service = web.service.clone();
        service.tags = vec!["b".to_owned()];
        let config = OwnedConfig {
            node: node.clone(),
            local: LocalOptions::default(),
            sync: SyncOptions::default(),
            services: vec![web],
            checks: Vec::new(),
            records: Vec::new(),
        };
        let now = Instant(1);
        let mut owned = Owned::start(config, Dice::new(7), now);
        owned.server_known(now);
        let mut effects = Vec::new();
        assert!(owned.finish(now, &mut effects));
        let fetches = effects.into_iter().filter_map(|effect| match effect {
            Effect::Fetch { ticket } => Some(ticket),
            _ => None,
        });
        let [ticket] = fetches.collect::<Vec<_>>()[..] else { panic!("one fetch") };
        let mut store = Store::default();
        let register = Register { node, skip_node_update: false, service: Some(service), checks: Vec::new() };
        store.apply(Index(1), &Entry { time_ms: 0, id: 0, command: Command::Register(Box::new(register)) });
        let tags = |owned: &mut Owned| owned.view().0.values().flat_map(|row| row.tags.clone()).collect::<Vec<_>>();
        assert_eq!(tags(&mut owned), ["a"]);
        owned.fetched(now, ticket, Some(&store));
        assert!(owned.finish(now, &mut Vec::new()), "readers must be told");
        assert_eq!(tags(&mut owned), ["b"]);
        assert!(!owned.finish(now, &mut Vec::new()), "and once only");
    }
}
