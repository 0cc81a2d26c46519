//! The catalog as one would write it on a napkin: a few maps, every question answered by looking at everything.

mod txn;

use lictor_catalog::command::{Command, Deregister, KvCommand, PreparedCommand, Register, SessionCommand};
use lictor_catalog::model::{Behavior, CheckId, Node, Sequencer, Service, ServiceId, ServiceName, Session, folded};
use lictor_catalog::query::{Instance, NodeDump, Query, Rows};
use lictor_catalog::{
    Authority, Check, Coordinate, Executed, Index, KvEntry, KvRow, NodeCoordinate, Outcome, PreparedQuery, Refusal,
    Status,
};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use uuid::Uuid;

#[derive(Clone, Default, PartialEq, Debug)]
pub(crate) struct Naive {
    nodes: BTreeMap<String, Node>,
    services: BTreeMap<(String, String), Service>,
    checks: BTreeMap<(String, String), Check>,
    coordinates: BTreeMap<String, Coordinate>,
    kv: BTreeMap<String, KvRow>,
    /// With the time of the last renewal.
    sessions: BTreeMap<Uuid, (Session, u64)>,
    /// Until when a key cannot be locked.
    delays: BTreeMap<String, u64>,
    prepared: BTreeMap<Uuid, PreparedQuery>,
    authority: Option<Authority>,
    /// Of the next sequential key.
    next_number: u64,
    /// How many operations of transactions changed anything.
    moves: u64,
}

fn fold(name: &str) -> String {
    folded(name).into_owned()
}

impl Naive {
    /// `now` is the largest time of the log so far.
    pub(crate) fn apply(&mut self, index: Index, now: u64, command: &Command) -> Outcome {
        let outcome = self.carry_out(index, now, command);
        self.end_sessions(index, now);
        outcome
    }

    fn carry_out(&mut self, index: Index, now: u64, command: &Command) -> Outcome {
        match command {
            Command::Register(register) => match self.register(index, now, register) {
                Ok(()) => Outcome::Done,
                Err(refusal) => Outcome::Refused(refusal),
            },
            Command::Deregister(Deregister::Node(node)) => {
                self.forget_node(&fold(node));
                Outcome::Done
            }
            Command::Deregister(Deregister::Service(node, id)) => {
                let (node, id) = (fold(node), fold(id));
                if self.services.remove(&(node.clone(), id.clone())).is_some() {
                    self.checks.retain(|(on, _), check| *on != node || fold(&check.service_id) != id);
                }
                Outcome::Done
            }
            Command::Deregister(Deregister::Check(node, id)) => {
                self.checks.remove(&(fold(node), fold(id)));
                Outcome::Done
            }
            Command::Coordinate(NodeCoordinate { node, coordinate }) => {
                if self.nodes.contains_key(&fold(node)) {
                    self.coordinates.insert(fold(node), *coordinate);
                }
                Outcome::Done
            }
            Command::Kv(command) => self.apply_kv(index, now, command),
            Command::Fenced(sequencer, command) => match self.stale(sequencer) {
                None => self.apply_kv(index, now, command),
                Some(refusal) => Outcome::Refused(refusal),
            },
            Command::Txn(txn) => self.transact(index, now, txn),
            Command::Session(command) => self.apply_session(index, now, command),
            Command::Prepared(command) => self.apply_prepared(index, command),
            Command::Authority(authority) => {
                if self.authority.is_none() {
                    self.authority =
                        Some(Authority { create_index: index, modify_index: index, ..(**authority).clone() });
                }
                Outcome::Done
            }
            Command::Signing(signing) => {
                let Some(authority) = &mut self.authority else { return Outcome::Refused(Refusal::NoAuthority) };
                if authority.signing != **signing {
                    (authority.signing, authority.modify_index) = ((**signing).clone(), index);
                }
                Outcome::Done
            }
            Command::FeatureLevel(_) => Outcome::Done,
            Command::Restore(_) | Command::Autopilot { .. } => unreachable!("they have tests of their own"),
        }
    }

    fn lives(&self, node: &str) -> bool {
        let check = self.checks.get(&(node.to_owned(), "serfhealth".to_owned()));
        check.is_some_and(|check| check.status == Status::Passing)
    }

    fn forget_node(&mut self, node: &str) {
        self.nodes.remove(node);
        self.coordinates.remove(node);
        self.services.retain(|(on, _), _| on != node);
        self.checks.retain(|(on, _), _| on != node);
    }

    fn register(&mut self, index: Index, now: u64, register: &Register) -> Result<(), Refusal> {
        let before = self.clone();
        let key = fold(&register.node.name);
        let existing = before.nodes.get(&key);
        if !(register.skip_node_update && existing.is_some()) {
            self.settle_id(register, &key)?;
            let mut node = register.node.clone();
            node.create_index = existing.map_or(index, |old| old.create_index);
            node.modify_index = existing.map_or(index, |old| old.modify_index);
            if let Some(old) = existing {
                node.name = old.name.clone();
                node.id = node.id.or(old.id);
                if node != *old {
                    node.modify_index = index;
                }
            }
            self.nodes.insert(key.clone(), node);
        }
        let name = self.nodes[&key].name.clone();
        if let Some(service) = &register.service {
            let mut row = Service { node: name.clone(), ..service.clone() };
            let at = (key.clone(), fold(&row.id));
            row.create_index = before.services.get(&at).map_or(index, |old| old.create_index);
            row.modify_index = before.services.get(&at).map_or(index, |old| old.modify_index);
            if before.services.get(&at) != Some(&row) {
                row.modify_index = index;
            }
            for check in self.checks.values_mut().filter(|c| fold(&c.node) == key && fold(&c.service_id) == at.1) {
                let old = check.clone();
                check.service_id = row.id.clone();
                check.service_name = row.name.clone();
                check.service_tags = row.tags.clone();
                if *check != old {
                    check.modify_index = index;
                }
            }
            self.services.insert(at, row);
        }
        for check in &register.checks {
            let mut row = Check { node: name.clone(), ..check.clone() };
            if row.service_id.is_empty() {
                row.service_name = ServiceName::default();
                row.service_tags = Vec::new();
            } else if let Some(service) = self.services.get(&(key.clone(), fold(&row.service_id))) {
                row.service_id = service.id.clone();
                row.service_name = service.name.clone();
                row.service_tags = service.tags.clone();
            } else {
                let refusal = Refusal::MissingService {
                    node: register.node.name.clone(),
                    service: row.service_id.as_str().to_owned(),
                };
                *self = before;
                return Err(refusal);
            }
            let at = (key.clone(), fold(&row.id));
            row.create_index = self.checks.get(&at).map_or(index, |old| old.create_index);
            row.modify_index = self.checks.get(&at).map_or(index, |old| old.modify_index);
            if self.checks.get(&at) != Some(&row) {
                row.modify_index = index;
            }
            self.checks.insert(at, row);
            // A check may be named twice: its sessions see every verdict.
            self.end_sessions(index, now);
        }
        Ok(())
    }

    fn settle_id(&mut self, register: &Register, key: &str) -> Result<(), Refusal> {
        let Some(id) = register.node.id else { return Ok(()) };
        if let Some(holder) = self.nodes.get(key).and_then(|node| node.id).filter(|holder| *holder != id)
            && self.lives(key)
        {
            return Err(Refusal::NameTaken { node: register.node.name.clone(), holder });
        }
        let other = self.nodes.iter().find(|(name, node)| *name != key && node.id == Some(id));
        let Some((other, holder)) = other.map(|(name, node)| (name.clone(), node.name.clone())) else { return Ok(()) };
        if self.lives(&other) {
            return Err(Refusal::IdTaken { id, node: register.node.name.clone(), holder });
        }
        // A later refusal of the same registration restores everything, this included.
        self.forget_node(&other);
        Ok(())
    }

    fn apply_session(&mut self, index: Index, now: u64, command: &SessionCommand) -> Outcome {
        match command {
            SessionCommand::Create(session) => {
                if self.sessions.contains_key(&session.id) {
                    return Outcome::Refused(Refusal::SessionTaken { id: session.id });
                }
                let Some(node) = self.nodes.get(&fold(&session.node)) else {
                    return Outcome::Refused(Refusal::MissingNode { node: session.node.clone() });
                };
                for id in session.checks() {
                    match self.checks.get(&(fold(&node.name), fold(id))) {
                        None => return Outcome::Refused(Refusal::MissingCheck { check: id.clone() }),
                        Some(check) if check.status == Status::Critical => {
                            return Outcome::Refused(Refusal::CriticalCheck { check: id.clone() });
                        }
                        Some(_) => {}
                    }
                }
                let session = Session { node: node.name.clone(), create_index: index, ..(**session).clone() };
                self.sessions.insert(session.id, (session.clone(), now));
                Outcome::Session(Some(Arc::new(session)))
            }
            SessionCommand::Renew(id) => Outcome::Session(self.sessions.get_mut(id).map(|(session, renewed)| {
                *renewed = now;
                Arc::new(session.clone())
            })),
            SessionCommand::Destroy(id) => {
                self.end_session(index, now, *id);
                Outcome::Done
            }
            SessionCommand::Expire { id, renewed_ms } => {
                let expired = |(session, renewed): &(Session, u64)| {
                    let ttl = session.ttl.span.as_millis() as u64;
                    ttl > 0 && renewed == renewed_ms && now >= renewed + ttl
                };
                if self.sessions.get(id).is_some_and(expired) {
                    self.end_session(index, now, *id);
                }
                Outcome::Done
            }
        }
    }

    /// Those whose node or one of whose checks is not what it has to be.
    fn end_sessions(&mut self, index: Index, now: u64) {
        let healthy = |node: &str, id: &CheckId| {
            self.checks.get(&(node.to_owned(), fold(id))).is_some_and(|check| check.status != Status::Critical)
        };
        let lives = |session: &Session| {
            let node = fold(&session.node);
            self.nodes.contains_key(&node) && session.checks().all(|id| healthy(&node, id))
        };
        let ended: Vec<_> = self.sessions.values().filter(|(session, _)| !lives(session)).collect();
        for id in ended.into_iter().map(|(session, _)| session.id).collect::<Vec<_>>() {
            self.end_session(index, now, id);
        }
    }

    fn end_session(&mut self, index: Index, now: u64, id: Uuid) {
        let Some((session, _)) = self.sessions.remove(&id) else { return };
        self.prepared.retain(|_, query| query.session != Some(id));
        let delay = session.lock_delay.min(Duration::from_secs(60)).as_millis() as u64;
        for (key, row) in self.kv.clone() {
            let mut entry = row.entry();
            if entry.session != Some(id) {
                continue;
            }
            self.delays.insert(key.clone(), now + delay);
            match session.behavior {
                Behavior::Delete => drop(self.kv.remove(&key)),
                Behavior::Release => {
                    (entry.session, entry.modify_index) = (None, index);
                    self.kv.insert(key, entry.into());
                }
            }
        }
    }

    fn apply_prepared(&mut self, index: Index, command: &PreparedCommand) -> Outcome {
        let (query, made) = match command {
            PreparedCommand::Create(query) if self.prepared.contains_key(&query.id) => {
                return Outcome::Refused(Refusal::QueryTaken { id: query.id });
            }
            PreparedCommand::Create(query) => (query, Outcome::Made(query.id)),
            PreparedCommand::Update(query) if self.prepared.contains_key(&query.id) => (query, Outcome::Done),
            PreparedCommand::Update(query) => return Outcome::Refused(Refusal::MissingQuery { id: query.id }),
            PreparedCommand::Delete(id) => {
                return match self.prepared.remove(id) {
                    Some(_) => Outcome::Done,
                    None => Outcome::Refused(Refusal::MissingQuery { id: *id }),
                };
            }
        };
        let name = query.name.clone();
        let found_by_name = |query: &PreparedQuery| query.is_template() || !query.name.is_empty();
        let same = |other: &&PreparedQuery| {
            other.id != query.id && found_by_name(query) && found_by_name(other) && fold(&other.name) == fold(&name)
        };
        if self.prepared.values().any(|other| same(&other)) {
            return Outcome::Refused(Refusal::QueryNameTaken { name });
        }
        if self.prepared.keys().any(|id| id.to_string() == fold(&name)) {
            return Outcome::Refused(Refusal::QueryNameIsId { name });
        }
        if let Some(id) = query.session.filter(|id| !self.sessions.contains_key(id)) {
            return Outcome::Refused(Refusal::MissingSession { id });
        }
        let old = self.prepared.get(&query.id);
        let (create_index, modify_index) = old.map_or((index, index), |old| (old.create_index, old.modify_index));
        let mut row = PreparedQuery { create_index, modify_index, ..(**query).clone() };
        if old != Some(&row) {
            row.modify_index = index;
        }
        self.prepared.insert(row.id, row);
        made
    }

    /// By id, by name, or by the template with the longest name that this one begins with.
    fn resolve(&self, name: &str) -> Option<PreparedQuery> {
        if let Some(query) = self.prepared.values().find(|query| query.id.to_string() == fold(name)) {
            return (!query.is_template()).then(|| query.clone());
        }
        let named = |query: &&PreparedQuery| !query.name.is_empty() && fold(&query.name) == fold(name);
        let begins = |query: &&PreparedQuery| query.is_template() && fold(name).starts_with(&fold(&query.name));
        let longest = || self.prepared.values().filter(begins).max_by_key(|query| query.name.len());
        let found = self.prepared.values().find(named).or_else(longest).filter(|_| !name.is_empty())?;
        let mut query = found.clone();
        if query.is_template() {
            query.service.service = query.service.service.replace("${name.full}", name);
        }
        Some(query)
    }

    /// In no order: instances stand as they do everywhere.
    pub(crate) fn execute(&self, name: &str) -> Option<Executed> {
        let query = self.resolve(name)?;
        let mut instances = self.instances(&query.service.service, false, &[], &[]);
        instances.retain(|instance| {
            let tagged = |tag: &String| instance.service.tags.contains(tag);
            let asked = query.service.tags.iter().all(|tag| match tag.strip_prefix('!') {
                Some(tag) => !tagged(&tag.to_owned()),
                None => tagged(tag),
            });
            let counts = |check: &Check| !query.service.ignore_checks.contains(&check.id.to_string());
            let well = |status: Status| match query.service.only_passing {
                true => status == Status::Passing,
                false => status != Status::Critical,
            };
            let meta = query.service.node_meta.iter().all(|(key, value)| instance.node.meta.get(key) == Some(value));
            asked && meta && instance.checks.iter().all(|check| well(check.status) || !counts(check))
        });
        Some(Executed { service: query.service.service, instances, dns_ttl: query.dns_ttl })
    }

    fn apply_kv(&mut self, index: Index, now: u64, command: &KvCommand) -> Outcome {
        let modified = |naive: &Self, key: &String| naive.kv.get(key).map_or(Index(0), |row| row.entry().modify_index);
        match command {
            KvCommand::Set { key, value, flags } => {
                self.set(index, key, value, *flags);
                Outcome::Done
            }
            KvCommand::Cas { key, value, flags, index: expected } => {
                let matched = modified(self, key) == *expected;
                if matched {
                    self.set(index, key, value, *flags);
                }
                Outcome::Matched(matched)
            }
            KvCommand::Delete { key } => {
                self.kv.remove(key);
                Outcome::Done
            }
            KvCommand::DeleteCas { key, index: expected } => {
                let matched = !self.kv.contains_key(key) || modified(self, key) == *expected;
                if matched {
                    self.kv.remove(key);
                }
                Outcome::Matched(matched)
            }
            KvCommand::DeleteTree { prefix } => {
                self.kv.retain(|key, _| !key.starts_with(prefix));
                Outcome::Done
            }
            KvCommand::Acquire { key, value, flags, session } => {
                if !self.sessions.contains_key(session) {
                    return Outcome::Refused(Refusal::MissingSession { id: *session });
                }
                let (holder, lock_index) = self.lock(key);
                let delayed = self.delays.get(key).is_some_and(|until| now < *until);
                if holder.map_or(delayed, |holder| holder != *session) {
                    return Outcome::Matched(false);
                }
                let fresh = u64::from(holder.is_none());
                self.put(index, key, value, *flags, Some(*session), lock_index + fresh);
                Outcome::Matched(true)
            }
            KvCommand::Sequence { prefix, value, flags, session } => {
                self.append(index, now, prefix, (value, *flags), *session)
            }
            KvCommand::Release { key, value, flags, session } => {
                let (holder, lock_index) = self.lock(key);
                if holder != Some(*session) {
                    return Outcome::Matched(false);
                }
                self.put(index, key, value, *flags, None, lock_index);
                Outcome::Matched(true)
            }
        }
    }

    fn set(&mut self, index: Index, key: &str, value: &bytes::Bytes, flags: u64) {
        let (session, lock_index) = self.lock(key);
        self.put(index, key, value, flags, session, lock_index);
    }

    fn stale(&self, sequencer: &Sequencer) -> Option<Refusal> {
        let (holder, lock_index) = self.lock(&sequencer.key);
        let holder = holder.map(|session| Sequencer { key: sequencer.key.clone(), lock_index, session });
        let refusal = |holder| Refusal::StaleSequencer { key: sequencer.key.clone(), holder };
        (holder.as_ref() != Some(sequencer)).then(|| refusal(holder.map(Box::new)))
    }

    fn lock(&self, key: &str) -> (Option<Uuid>, u64) {
        self.kv.get(key).map(KvRow::entry).map_or((None, 0), |entry| (entry.session, entry.lock_index))
    }

    fn put(&mut self, index: Index, key: &str, value: &[u8], flags: u64, session: Option<Uuid>, lock_index: u64) {
        let old = self.kv.get(key).map(KvRow::entry);
        let mut entry = KvEntry {
            key,
            value,
            flags,
            session,
            lock_index,
            create_index: old.map_or(index, |old| old.create_index),
            modify_index: old.map_or(index, |old| old.modify_index),
        };
        if Some(entry) != old {
            entry.modify_index = index;
        }
        self.kv.insert(key.to_owned(), entry.into());
    }

    fn instances(&self, name: &str, native: bool, tags: &[String], meta: &[(String, String)]) -> Vec<Instance> {
        let wanted = |service: &&Service| {
            fold(&service.name) == fold(name)
                && (service.connect.native || !native)
                && tags.iter().all(|tag| service.tags.contains(tag))
                && self.has_meta(&service.node, meta)
        };
        let instance = |service: &Service| {
            let node = self.nodes[&fold(&service.node)].clone();
            let of = |id: &ServiceId| {
                let id = fold(id);
                self.checks.values().filter(move |c| fold(&c.node) == fold(&service.node) && fold(&c.service_id) == id)
            };
            let checks = of(&ServiceId::default()).chain(of(&service.id)).cloned().map(Arc::new).collect();
            Instance { node: Arc::new(node), service: Arc::new(service.clone()), checks }
        };
        self.services.values().filter(wanted).map(instance).collect()
    }

    fn has_meta(&self, node: &str, meta: &[(String, String)]) -> bool {
        let node = &self.nodes[&fold(node)];
        meta.iter().all(|(key, value)| node.meta.get(key) == Some(value))
    }

    fn checks_where(&self, wanted: impl Fn(&Check) -> bool) -> Rows {
        Rows::Checks(self.checks.values().filter(|check| wanted(check)).cloned().map(Arc::new).collect())
    }

    fn placed(&self, wanted: impl Fn(&str) -> bool) -> Rows {
        let placed = self.coordinates.iter().filter(|(name, _)| wanted(name)).map(|(name, coordinate)| {
            Arc::new(NodeCoordinate { node: self.nodes[name].name.clone(), coordinate: *coordinate })
        });
        Rows::Coordinates(placed.collect())
    }

    fn sessions_where(&self, wanted: impl Fn(&Session) -> bool) -> Rows {
        let sessions = self.sessions.values().map(|(session, _)| session).filter(|session| wanted(session));
        Rows::Sessions(sessions.cloned().map(Arc::new).collect())
    }

    fn prepared_where(&self, wanted: impl Fn(&PreparedQuery) -> bool) -> Rows {
        Rows::PreparedQueries(self.prepared.values().filter(|query| wanted(query)).cloned().map(Arc::new).collect())
    }

    pub(crate) fn run(&self, query: &Query) -> Rows {
        match query {
            Query::Nodes { meta } => {
                let nodes = self.nodes.values().filter(|node| self.has_meta(&node.name, meta));
                Rows::Nodes(nodes.cloned().map(Arc::new).collect())
            }
            Query::Services { meta } => {
                let mut names: BTreeMap<String, (String, std::collections::BTreeSet<String>)> = BTreeMap::new();
                let mut spelled = BTreeMap::new();
                for service in self.services.values() {
                    spelled.entry(fold(&service.name)).or_insert_with(|| service.name.to_string());
                }
                for service in self.services.values().filter(|service| self.has_meta(&service.node, meta)) {
                    let spelled = spelled[&fold(&service.name)].clone();
                    let row = names.entry(fold(&service.name)).or_insert_with(|| (spelled, Default::default()));
                    row.1.extend(service.tags.iter().cloned());
                }
                Rows::Services(names.into_values().collect())
            }
            Query::Node { name } => Rows::Node(self.nodes.get(&fold(name)).map(|node| {
                let services = self.services.iter().filter(|((on, _), _)| *on == fold(name));
                (Arc::new(node.clone()), services.map(|(_, service)| Arc::new(service.clone())).collect())
            })),
            Query::Dump { node } => {
                let wanted =
                    self.nodes.values().filter(|row| node.as_ref().is_none_or(|name| fold(name) == fold(&row.name)));
                let dump = |row: &Node| {
                    let services = self.services.values().filter(|service| fold(&service.node) == fold(&row.name));
                    let Rows::Checks(checks) = self.checks_where(|check| fold(&check.node) == fold(&row.name)) else {
                        unreachable!("checks are looked for")
                    };
                    let services = services.cloned().map(Arc::new).collect();
                    NodeDump { node: Arc::new(row.clone()), services, checks }
                };
                Rows::Dump(wanted.map(dump).collect())
            }
            Query::ServiceNodes { name, native, tags, meta } => {
                let instances = self.instances(name, *native, tags, meta).into_iter();
                Rows::Instances(instances.map(|instance| Instance { checks: Vec::new(), ..instance }).collect())
            }
            Query::HealthService { name, native, tags, meta, passing } => {
                let mut instances = self.instances(name, *native, tags, meta);
                instances.retain(|i| !passing || i.checks.iter().all(|check| check.status == Status::Passing));
                Rows::Instances(instances)
            }
            Query::HealthNode { name } => self.checks_where(|check| fold(&check.node) == fold(name)),
            Query::HealthChecks { service, meta } => self
                .checks_where(|check| fold(&check.service_name) == fold(service) && self.has_meta(&check.node, meta)),
            Query::HealthState { state, meta } => self.checks_where(|check| {
                state.is_none_or(|state| state == check.status) && self.has_meta(&check.node, meta)
            }),
            Query::Coordinates => self.placed(|_| true),
            Query::Coordinate { node } => self.placed(|name| name == fold(node)),
            Query::KvGet { key } => Rows::KvEntry(self.kv.get(key).cloned()),
            Query::KvList { prefix } => {
                let rows = self.kv.values().filter(|row| row.key().starts_with(prefix));
                Rows::KvEntries(rows.cloned().collect())
            }
            Query::KvKeys { prefix, separator } => {
                let mut keys: Vec<String> = Vec::new();
                for key in self.kv.keys().filter(|key| key.starts_with(prefix)) {
                    let beyond = &key[prefix.len()..];
                    let cut = match beyond.split_once(separator.as_str()) {
                        Some((head, _)) if !separator.is_empty() => format!("{prefix}{head}{separator}"),
                        _ => key.clone(),
                    };
                    if !keys.contains(&cut) {
                        keys.push(cut);
                    }
                }
                Rows::Keys(keys)
            }
            Query::Session { id } => self.sessions_where(|session| session.id == *id),
            Query::SessionsOfNode { node } => self.sessions_where(|session| fold(&session.node) == fold(node)),
            Query::Sessions => self.sessions_where(|_| true),
            Query::PreparedQuery { id } => self.prepared_where(|query| query.id == *id),
            Query::PreparedQueries => self.prepared_where(|_| true),
            Query::Explain { name } => Rows::PreparedQueries(self.resolve(name).into_iter().map(Arc::new).collect()),
            Query::Execute(execution) => Rows::Executed(self.execute(&execution.name)),
            Query::Authority => Rows::Authority(self.authority.clone().map(Arc::new)),
            Query::Txn { looks } => Rows::Txn(self.looks(looks)),
        }
    }
}
