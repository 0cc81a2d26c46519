//! Changes take effect. Every function here leaves services, checks, timers and the notes for anti-entropy consistent.

use super::admit::{Origin, removal};
use super::change::{Change, Refused};
use super::effect::Effect;
use super::maintenance;
use super::spec::ServiceSpec;
use super::state::{Key, Local, OwnedCheck, OwnedService};
use crate::checks::{CheckSpec, Kind};
use crate::time::Instant;
use lictor_catalog::model::{CheckId, ServiceId};
use lictor_catalog::{Check, Service, Status};
use std::sync::Arc;

impl Local {
    /// Makes a change true that was admitted, perhaps some time ago: what it relied on may be gone by now.
    pub(super) fn commit(&mut self, now: Instant, change: Change, effects: &mut Vec<Effect>) -> Result<(), Refused> {
        match change {
            Change::RegisterService { spec, replace_checks } => {
                self.put_service(now, spec, replace_checks, Origin::Api, effects);
                Ok(())
            }
            Change::RegisterCheck(spec) => {
                let (id, service) = (spec.id.clone(), spec.service_id.to_string());
                if self.put_check(now, Arc::new(spec), false, Origin::Api, effects) {
                    return Ok(());
                }
                effects.push(Effect::Persist { ticket: None, writes: removal(&id).into() });
                Err(Refused::NoSuchServiceForCheck(service))
            }
            Change::DeregisterService(id) => {
                self.remove_service(&id.folded(), effects);
                Ok(())
            }
            Change::DeregisterCheck(id) => {
                self.remove_check(&id.folded(), effects);
                Ok(())
            }
            Change::NodeMaintenance(Some(reason)) => {
                self.put_maintenance(now, &ServiceId::default(), &reason);
                Ok(())
            }
            Change::ServiceMaintenance(id, Some(reason)) => {
                if self.put_maintenance(now, &id, &reason) {
                    return Ok(());
                }
                let writes = removal(&CheckId::maintenance_of(&id)).into();
                effects.push(Effect::Persist { ticket: None, writes });
                Err(Refused::NoServiceToMaintain(id.to_string()))
            }
            Change::NodeMaintenance(None) => {
                self.remove_check(&CheckId::maintenance_of("").folded(), effects);
                Ok(())
            }
            Change::ServiceMaintenance(id, None) => {
                self.remove_check(&CheckId::maintenance_of(&id).folded(), effects);
                Ok(())
            }
            // Reports need no disk and never wait.
            Change::UpdateCheck { .. } => Ok(()),
        }
    }

    /// A service with its checks. Checks that it has already keep their status.
    pub(super) fn put_service(
        &mut self,
        now: Instant,
        spec: ServiceSpec,
        replace_checks: bool,
        origin: Origin,
        effects: &mut Vec<Effect>,
    ) {
        let ServiceSpec { mut service, checks, token, warnings } = spec;
        effects.extend(warnings.into_iter().map(Effect::Warn));
        service.node = self.node.name.clone();
        let key = service.id.folded();
        let old = self.services.get(&key).map(|owned| Arc::clone(&owned.row));
        let same = old.as_ref().is_some_and(|old| **old == service);
        let row = old.filter(|_| same).unwrap_or_else(|| Arc::new(service));
        let from_file = origin == Origin::File;
        self.services.insert(Arc::clone(&key), OwnedService { row, token, from_file });
        if !same {
            self.touch_service(&key);
            self.relabel_checks(&key);
        }
        let fresh: Vec<Key> = checks.iter().map(|check| check.id.folded()).collect();
        if replace_checks {
            // Maintenance is an operator's decision about the service, not a part of its definition.
            let dropped: Vec<Key> = self
                .checks_of(&key)
                .filter(|check| !fresh.contains(check) && !self.is_maintenance(check))
                .cloned()
                .collect();
            dropped.iter().for_each(|check| self.remove_check(check, effects));
        }
        for check in checks {
            self.put_check(now, Arc::new(check), true, origin, effects);
        }
    }

    /// A check; false when its service is not there. A check of the same id passes on its status, unless the check comes
    /// on its own (not `with_service`) and says what its status is to be.
    pub(super) fn put_check(
        &mut self,
        now: Instant,
        spec: Arc<CheckSpec>,
        with_service: bool,
        origin: Origin,
        effects: &mut Vec<Effect>,
    ) -> bool {
        let key = spec.id.folded();
        let service = spec.service_id.folded();
        if !service.is_empty() && !self.services.contains_key(&service) {
            return false;
        }
        let old = self.checks.get(&key).cloned();
        let kept = old.as_ref().filter(|old| old.spec.is_some() && (with_service || spec.status.is_none()));
        let (status, output, since) = match kept {
            Some(old) => (old.row.status, old.row.output.clone(), old.critical_since),
            None => (spec.status.unwrap_or_default(), String::new(), None),
        };
        let row = self.labelled(Check {
            id: spec.id.clone(),
            name: spec.name.clone(),
            status,
            notes: spec.notes.clone(),
            output,
            service_id: spec.service_id.clone(),
            kind: spec.kind.word().to_owned(),
            interval: spec.interval,
            timeout: spec.timeout,
            ..Check::default()
        });
        let critical_since = (status == Status::Critical).then(|| since.unwrap_or(now));
        let same_spec = old.as_ref().and_then(|old| old.spec.as_ref()).is_some_and(|held| **held == *spec);
        if spec.deregister_after.is_some() {
            self.watch_for_reaping(now);
        }
        let owned =
            OwnedCheck { row, spec: Some(Arc::clone(&spec)), from_file: origin == Origin::File, critical_since };
        self.insert_check(key.clone(), owned);
        // Registering an unchanged check again must not make it run more often than its interval.
        if !same_spec || matches!(spec.kind, Kind::Ttl(_)) {
            effects.extend(self.runs.begin(now, &key, spec, None).map(Effect::Stop));
        }
        true
    }

    /// Maintenance of a service, or of the node; false when the service is not there.
    pub(super) fn put_maintenance(&mut self, now: Instant, service: &ServiceId, reason: &str) -> bool {
        let row = match self.services.get(&service.folded()).map(|owned| &owned.row) {
            None if service.is_empty() => maintenance::check(None, reason),
            None => return false,
            Some(row) => Check { service_id: row.id.clone(), ..maintenance::check(Some(row), reason) },
        };
        let row = self.labelled(row);
        let owned = OwnedCheck { spec: None, from_file: false, critical_since: Some(now), row };
        self.insert_check(owned.row.id.folded(), owned);
        true
    }

    fn insert_check(&mut self, key: Key, owned: OwnedCheck) {
        let service = owned.row.service_id.folded();
        let row = Arc::clone(&owned.row);
        let old = self.checks.insert(Arc::clone(&key), owned);
        if old.as_ref().is_some_and(|old| old.row == row) {
            return;
        }
        if let Some(old) = old {
            let former = old.row.service_id.folded();
            self.by_service.remove(&(Arc::clone(&former), Arc::clone(&key)));
            self.touch_checks_of(&former);
        }
        self.by_service.insert((Arc::clone(&service), key));
        self.touch_checks_of(&service);
    }

    pub(super) fn remove_service(&mut self, key: &Key, effects: &mut Vec<Effect>) {
        let checks: Vec<Key> = self.checks_of(key).cloned().collect();
        checks.iter().for_each(|check| self.remove_check(check, effects));
        if self.services.remove(key).is_some() {
            self.touch_service(key);
        }
    }

    pub(super) fn remove_check(&mut self, key: &Key, effects: &mut Vec<Effect>) {
        let Some(old) = self.checks.remove(key) else { return };
        effects.extend(self.runs.end(key).map(Effect::Stop));
        let service = old.row.service_id.folded();
        self.by_service.remove(&(Arc::clone(&service), Arc::clone(key)));
        self.touch_checks_of(&service);
    }

    /// Checks repeat the name and tags of their service.
    pub(super) fn relabel_checks(&mut self, service: &Key) {
        let keys: Vec<Key> = self.checks_of(service).cloned().collect();
        for key in keys {
            let Some(old) = self.checks.get(&key).map(|check| Arc::clone(&check.row)) else { continue };
            let row = self.labelled((*old).clone());
            if row != old
                && let Some(check) = self.checks.get_mut(&key)
            {
                check.row = row;
                self.touch_checks_of(service);
            }
        }
    }

    /// The catalog's tags of a service win when it said so (`EnableTagOverride`).
    pub(super) fn adopt_tags(&mut self, key: &Key, tags: &[String]) {
        let Some(owned) = self.services.get_mut(key).filter(|owned| owned.row.tags != tags) else { return };
        owned.row = Arc::new(Service { tags: tags.to_vec(), ..(*owned.row).clone() });
        self.touch_service(key);
        self.relabel_checks(key);
    }

    /// The check with the node's name and its service's labels.
    fn labelled(&self, check: Check) -> Arc<Check> {
        let service = self.services.get(&check.service_id.folded()).map(|owned| &owned.row);
        Arc::new(Check {
            node: self.node.name.clone(),
            service_id: service.map_or_else(ServiceId::default, |row| row.id.clone()),
            service_name: service.map(|row| row.name.clone()).unwrap_or_default(),
            service_tags: service.map(|row| row.tags.clone()).unwrap_or_default(),
            ..check
        })
    }
}
