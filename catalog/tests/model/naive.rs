//! The catalog as one would write it on a napkin: four maps, every question answered by looking at everything.

use lictor_catalog::command::{Command, Deregister, KvCommand, Register};
use lictor_catalog::model::{Node, Service, ServiceId, ServiceName, folded};
use lictor_catalog::query::{Instance, Query, Rows};
use lictor_catalog::{Check, Index, KvEntry, KvRow, Outcome, Refusal, Status};
use std::collections::BTreeMap;
use std::sync::Arc;

#[derive(Clone, Default, PartialEq, Debug)]
pub(crate) struct Naive {
    nodes: BTreeMap<String, Node>,
    services: BTreeMap<(String, String), Service>,
    checks: BTreeMap<(String, String), Check>,
    kv: BTreeMap<String, KvRow>,
}

fn fold(name: &str) -> String {
    folded(name).into_owned()
}

impl Naive {
    pub(crate) fn apply(&mut self, index: Index, command: &Command) -> Outcome {
        match command {
            Command::Register(register) => match self.register(index, register) {
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
            Command::Kv(command) => self.apply_kv(index, command),
            Command::FeatureLevel(_) => Outcome::Done,
            Command::Restore(_) => unreachable!("restoring has tests of its own"),
        }
    }

    fn lives(&self, node: &str) -> bool {
        let check = self.checks.get(&(node.to_owned(), "serfhealth".to_owned()));
        check.is_some_and(|check| check.status == Status::Passing)
    }

    fn forget_node(&mut self, node: &str) {
        self.nodes.remove(node);
        self.services.retain(|(on, _), _| on != node);
        self.checks.retain(|(on, _), _| on != node);
    }

    fn register(&mut self, index: Index, register: &Register) -> Result<(), Refusal> {
        let before = self.clone();
        let key = fold(&register.node.name);
        let existing = before.nodes.get(&key);
        if register.skip_node_update && existing.is_none() && register.node.address.is_empty() {
            return Err(Refusal::MissingNode { node: register.node.name.clone() });
        }
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

    fn apply_kv(&mut self, index: Index, command: &KvCommand) -> Outcome {
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
        }
    }

    fn set(&mut self, index: Index, key: &str, value: &bytes::Bytes, flags: u64) {
        let old = self.kv.get(key).map(KvRow::entry);
        let mut entry = KvEntry {
            key,
            value,
            flags,
            session: None,
            lock_index: 0,
            create_index: old.map_or(index, |old| old.create_index),
            modify_index: old.map_or(index, |old| old.modify_index),
        };
        if Some(entry) != old {
            entry.modify_index = index;
        }
        self.kv.insert(key.to_owned(), entry.into());
    }

    fn instances(&self, name: &str, tags: &[String], meta: &[(String, String)]) -> Vec<Instance> {
        let wanted = |service: &&Service| {
            fold(&service.name) == fold(name)
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
            Query::ServiceNodes { name, tags, meta } => {
                let instances = self.instances(name, tags, meta).into_iter();
                Rows::Instances(instances.map(|instance| Instance { checks: Vec::new(), ..instance }).collect())
            }
            Query::HealthService { name, tags, meta, passing } => {
                let mut instances = self.instances(name, tags, meta);
                instances.retain(|i| !passing || i.checks.iter().all(|check| check.status == Status::Passing));
                Rows::Instances(instances)
            }
            Query::HealthNode { name } => self.checks_where(|check| fold(&check.node) == fold(name)),
            Query::HealthChecks { service, meta } => self
                .checks_where(|check| fold(&check.service_name) == fold(service) && self.has_meta(&check.node, meta)),
            Query::HealthState { state, meta } => self.checks_where(|check| {
                state.is_none_or(|state| state == check.status) && self.has_meta(&check.node, meta)
            }),
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
        }
    }
}
