//! Whether a change makes sense, and which records it needs. Reads local state, never changes it.

use super::change::{Change, Refused};
use super::effect::Write;
use super::record::{Record, RecordKey, RecordKind};
use super::spec::ServiceSpec;
use super::state::{Key, Local};
use crate::checks::CheckSpec;
use lictor_catalog::Service;
use lictor_catalog::model::{CheckId, NODE_MAINTENANCE, ServiceId};
use std::collections::BTreeSet;
use std::sync::Arc;

/// Who defined it decides which switch must allow scripts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    Api,
    File,
}

pub(super) enum Admitted {
    /// It is so already.
    Nothing,
    /// It takes effect with these records; none when it needs no record.
    Writes(Vec<Write>),
}

impl Local {
    pub(super) fn admit(&self, change: &Change) -> Result<Admitted, Refused> {
        match change {
            Change::RegisterService { spec, replace_checks } => self.admit_service(spec, *replace_checks),
            Change::RegisterCheck(spec) => self.admit_check(spec),
            Change::DeregisterService(id) => {
                let key = id.folded();
                if !self.service_expected(&key) {
                    return Err(Refused::UnknownService(id.to_string()));
                }
                let mut writes = vec![Write::Remove(RecordKey::new(RecordKind::Service, id))];
                self.checks_expected_of(&key).iter().for_each(|check| writes.extend(removal(check)));
                Ok(Admitted::Writes(writes))
            }
            Change::DeregisterCheck(id) => match self.check_expected(&id.folded()) {
                true => Ok(Admitted::Writes(removal(id).into())),
                false => Err(Refused::UnknownCheck(id.to_string())),
            },
            Change::NodeMaintenance(reason) => Ok(self.admit_maintenance(&ServiceId::default(), reason.as_deref())),
            Change::ServiceMaintenance(id, reason) => match self.service_expected(&id.folded()) {
                true => Ok(self.admit_maintenance(id, reason.as_deref())),
                false => Err(Refused::NoServiceToMaintain(id.to_string())),
            },
            Change::UpdateCheck { .. } => Ok(Admitted::Writes(Vec::new())),
        }
    }

    /// Whether this agent may and can run a check.
    pub(super) fn runnable(&self, spec: &CheckSpec, origin: Origin) -> Result<(), Refused> {
        let allowed = self.options.scripts || (origin == Origin::File && self.options.local_scripts);
        if spec.kind.is_script() && !allowed {
            return Err(Refused::ScriptsDisabled);
        }
        match spec.kind.not_run_yet() {
            Some(kind) => Err(Refused::KindNotRun { id: spec.id.to_string(), kind }),
            None => Ok(()),
        }
    }

    fn admit_service(&self, spec: &ServiceSpec, replace_checks: bool) -> Result<Admitted, Refused> {
        spec.checks.iter().try_for_each(|check| self.runnable(check, Origin::Api))?;
        let key = spec.service.id.folded();
        let fresh: BTreeSet<Key> = spec.checks.iter().map(|check| check.id.folded()).collect();
        let dropped: Vec<Key> = match replace_checks {
            true => self.checks_expected_of(&key).into_iter().filter(|check| !fresh.contains(check)).collect(),
            false => Vec::new(),
        };
        if self.staged.is_empty() && dropped.is_empty() && self.holds_service(spec) {
            // Registering again what is registered needs no disk. It still takes effect: TTLs start anew.
            return Ok(Admitted::Writes(Vec::new()));
        }
        let record = Record::Service { service: spec.service.clone(), token: spec.token.clone() };
        let mut writes = vec![put(RecordKind::Service, &spec.service.id, &record)];
        for check in &spec.checks {
            writes.push(put(RecordKind::Check, &check.id, &Record::Check(Box::new(check.clone()))));
        }
        dropped.iter().filter(|check| !self.is_maintenance(check)).for_each(|check| writes.extend(removal(check)));
        Ok(Admitted::Writes(writes))
    }

    fn admit_check(&self, spec: &CheckSpec) -> Result<Admitted, Refused> {
        self.runnable(spec, Origin::Api)?;
        if !spec.service_id.is_empty() && !self.service_expected(&spec.service_id.folded()) {
            return Err(Refused::NoSuchServiceForCheck(spec.service_id.to_string()));
        }
        if self.staged.is_empty() && self.holds_check(spec) {
            return Ok(Admitted::Writes(Vec::new()));
        }
        Ok(Admitted::Writes(vec![put(RecordKind::Check, &spec.id, &Record::Check(Box::new(spec.clone())))]))
    }

    fn admit_maintenance(&self, service: &ServiceId, reason: Option<&str>) -> Admitted {
        let id = CheckId::maintenance_of(service);
        match (reason, self.check_expected(&id.folded())) {
            (Some(_), true) | (None, false) => Admitted::Nothing,
            (Some(reason), false) => {
                let record = Record::Maintenance { service_id: service.to_string(), reason: reason.to_owned() };
                Admitted::Writes(vec![put(RecordKind::Check, &id, &record)])
            }
            (None, true) => Admitted::Writes(removal(&id).into()),
        }
    }

    /// Whether exactly this service with exactly these checks is registered.
    fn holds_service(&self, spec: &ServiceSpec) -> bool {
        self.services.get(&spec.service.id.folded()).is_some_and(|owned| {
            let given = Service { node: owned.row.node.clone(), ..spec.service.clone() };
            *owned.row == given && owned.token == spec.token
        }) && spec.checks.iter().all(|check| self.holds_check(check))
    }

    fn holds_check(&self, spec: &CheckSpec) -> bool {
        self.checks.get(&spec.id.folded()).and_then(|owned| owned.spec.as_ref()).is_some_and(|held| **held == *spec)
    }

    pub(super) fn is_maintenance(&self, check: &Key) -> bool {
        self.checks.get(check).is_some_and(|owned| owned.spec.is_none())
    }

    /// Whether the service will be there once the disk has caught up.
    fn service_expected(&self, key: &Key) -> bool {
        let staged = self.staged.values().rev().find_map(|change| match change {
            Change::RegisterService { spec, .. } if spec.service.id.folded() == *key => Some(true),
            Change::DeregisterService(id) if id.folded() == *key => Some(false),
            _ => None,
        });
        staged.unwrap_or_else(|| self.services.contains_key(key))
    }

    /// Whether the check will be there once the disk has caught up.
    fn check_expected(&self, key: &Key) -> bool {
        let service = self.checks.get(key).map(|check| check.row.service_id.folded());
        let staged = self.staged.values().rev().find_map(|change| match change {
            Change::RegisterService { spec, .. } if spec.checks.iter().any(|c| c.id.folded() == *key) => Some(true),
            Change::RegisterCheck(spec) if spec.id.folded() == *key => Some(true),
            Change::DeregisterCheck(id) if id.folded() == *key => Some(false),
            Change::DeregisterService(id) if service == Some(id.folded()) => Some(false),
            Change::NodeMaintenance(reason) if **key == *NODE_MAINTENANCE => Some(reason.is_some()),
            Change::ServiceMaintenance(id, reason) if CheckId::maintenance_of(id).folded() == *key => {
                Some(reason.is_some())
            }
            _ => None,
        });
        staged.unwrap_or_else(|| service.is_some())
    }

    /// The keys of a service's checks, those included that still wait for the disk.
    fn checks_expected_of(&self, service: &Key) -> BTreeSet<Key> {
        let mut keys: BTreeSet<Key> = self.checks_of(service).cloned().collect();
        for change in self.staged.values() {
            match change {
                Change::RegisterService { spec, .. } if spec.service.id.folded() == *service => {
                    keys.extend(spec.checks.iter().map(|check| check.id.folded()));
                }
                Change::RegisterCheck(spec) if spec.service_id.folded() == *service => {
                    keys.insert(spec.id.folded());
                }
                Change::ServiceMaintenance(id, Some(_)) if id.folded() == *service => {
                    keys.insert(CheckId::maintenance_of(id).folded());
                }
                _ => {}
            }
        }
        keys
    }

    /// The keys of a service's checks; of the node's own checks for the empty key.
    pub(super) fn checks_of<'a>(&'a self, service: &Key) -> impl Iterator<Item = &'a Key> + use<'a> {
        let (from, service) = ((Arc::clone(service), Key::from("")), Arc::clone(service));
        self.by_service.range(from..).take_while(move |(of, _)| *of == service).map(|(_, check)| check)
    }
}

fn put(kind: RecordKind, id: &str, record: &Record) -> Write {
    Write::Put { key: RecordKey::new(kind, id), content: record.encode() }
}

/// A check and what was remembered of it.
pub(super) fn removal(check: &str) -> [Write; 2] {
    [RecordKind::Check, RecordKind::CheckState].map(|kind| Write::Remove(RecordKey::new(kind, check)))
}
