//! What local state starts from: definitions in configuration files, then what the last process left on disk.

use super::admit::{Origin, removal};
use super::change::Refused;
use super::effect::{Effect, Write};
use super::record::{Record, RecordKey, RecordKind, State};
use super::spec::ServiceSpec;
use super::state::{Key, Local};
use crate::checks::{CheckSpec, Kind};
use crate::time::Instant;
use lictor_catalog::Status;
use lictor_catalog::model::{CheckId, ServiceId};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

impl Local {
    /// Makes the definitions of the configuration files true. It may be called again with others: those of the last time
    /// that are gone are removed. A definition in a file wins over a registration of the same id. What cannot be run is
    /// left out; which checks, and why, is returned.
    pub fn define(
        &mut self,
        now: Instant,
        services: Vec<ServiceSpec>,
        checks: Vec<CheckSpec>,
        effects: &mut Vec<Effect>,
    ) -> Vec<(CheckId, Refused)> {
        let mut refused = Vec::new();
        let keys: BTreeSet<Key> = services.iter().map(|spec| spec.service.id.folded()).collect();
        let check_keys: BTreeSet<Key> =
            services.iter().flat_map(|spec| &spec.checks).chain(&checks).map(|check| check.id.folded()).collect();
        self.forget_undefined(&keys, &check_keys, effects);
        for mut spec in services {
            spec.checks.retain(|check| match self.runnable(check, Origin::File) {
                Ok(()) => true,
                Err(why) => {
                    refused.push((check.id.clone(), why));
                    false
                }
            });
            self.forget_record(RecordKind::Service, &spec.service.id.folded(), effects);
            for check in &spec.checks {
                self.forget_record(RecordKind::Check, &check.id.folded(), effects);
            }
            self.put_service(now, spec, false, Origin::File, effects);
        }
        for spec in checks {
            if let Err(why) = self.runnable(&spec, Origin::File) {
                refused.push((spec.id, why));
                continue;
            }
            effects.extend(spec.warnings.iter().cloned().map(Effect::Warn));
            self.forget_record(RecordKind::Check, &spec.id.folded(), effects);
            let (id, service) = (spec.id.clone(), spec.service_id.to_string());
            if !self.put_check(now, Arc::new(spec), true, Origin::File, effects) {
                refused.push((id, Refused::NoSuchServiceForCheck(service)));
            }
        }
        self.settle(now, effects);
        refused
    }

    fn forget_undefined(&mut self, services: &BTreeSet<Key>, checks: &BTreeSet<Key>, effects: &mut Vec<Effect>) {
        let gone = |from_file: bool, key: &Key, defined: &BTreeSet<Key>| from_file && !defined.contains(key);
        let lost: Vec<Key> = self
            .services
            .iter()
            .filter(|(key, owned)| gone(owned.from_file, key, services))
            .map(|(key, _)| Arc::clone(key))
            .collect();
        for key in &lost {
            let writes: Vec<Write> = self.checks_of(key).flat_map(|check| removal(check)).collect();
            if self.options.persist && !writes.is_empty() {
                effects.push(Effect::Persist { ticket: None, writes });
            }
            self.remove_service(key, effects);
        }
        let lost: Vec<Key> = self
            .checks
            .iter()
            .filter(|(key, owned)| gone(owned.from_file, key, checks))
            .map(|(key, _)| Arc::clone(key))
            .collect();
        lost.iter().for_each(|key| self.remove_check(key, effects));
    }

    /// A file took over what the API had registered.
    fn forget_record(&self, kind: RecordKind, key: &Key, effects: &mut Vec<Effect>) {
        let persisted = match kind {
            RecordKind::Service => self.services.get(key).is_some_and(|owned| !owned.from_file),
            RecordKind::Check | RecordKind::CheckState => self.checks.get(key).is_some_and(|owned| !owned.from_file),
        };
        if persisted && self.options.persist {
            let writes = vec![Write::Remove(RecordKey::new(kind, key))];
            effects.push(Effect::Persist { ticket: None, writes });
        }
    }

    /// Takes in the records of the last process, each with its name. Damaged ones are told and left in
    /// place; those that a configuration file overrides, and those of services that are gone, are removed. Called once,
    /// after the first [`Local::define`].
    pub fn restore(&mut self, now: Instant, records: Vec<(String, Vec<u8>)>, effects: &mut Vec<Effect>) {
        let (mut checks, mut states, mut maintained) = (Vec::new(), Vec::new(), Vec::new());
        let (mut writes, mut orphans, mut damaged) = (Vec::new(), Vec::new(), false);
        for (name, content) in records {
            match Record::decode(&content) {
                Ok(Record::Service { service, token }) => {
                    let key = service.id.folded();
                    if self.services.contains_key(&key) {
                        writes.push(Write::Remove(RecordKey::new(RecordKind::Service, &key)));
                    } else {
                        let spec = ServiceSpec { service, token, checks: Vec::new(), warnings: Vec::new() };
                        self.put_service(now, spec, false, Origin::Api, effects);
                    }
                }
                Ok(Record::Check(spec)) => checks.push(*spec),
                Ok(Record::Maintenance { service_id, reason }) => maintained.push((service_id, reason)),
                Ok(Record::State(state)) => states.push(state),
                Err(bad) => {
                    damaged = true;
                    effects.push(Effect::Warn(format!("the record {name} is skipped and left in place: {bad}")));
                }
            }
        }
        for spec in checks {
            self.restore_check(now, spec, &mut writes, &mut orphans, effects);
        }
        for (service_id, reason) in maintained {
            let service = ServiceId::from(service_id);
            if !self.put_maintenance(now, &service, &reason) {
                orphans.extend(removal(&CheckId::maintenance_of(&service)));
            }
        }
        for state in states {
            self.restore_state(now, state, &mut orphans);
        }
        // What seems to belong to nothing may belong to a damaged record.
        if !damaged {
            writes.extend(orphans);
        }
        if self.options.persist && !writes.is_empty() {
            effects.push(Effect::Persist { ticket: None, writes });
        }
        self.settle(now, effects);
    }

    fn restore_check(
        &mut self,
        now: Instant,
        spec: CheckSpec,
        writes: &mut Vec<Write>,
        orphans: &mut Vec<Write>,
        effects: &mut Vec<Effect>,
    ) {
        let id = spec.id.clone();
        if self.checks.contains_key(&id.folded()) {
            writes.push(Write::Remove(RecordKey::new(RecordKind::Check, &id)));
            return;
        }
        // Switched off since it was registered: kept on disk for the day it is switched on again, but not run.
        if let Err(why) = self.runnable(&spec, Origin::Api) {
            effects.push(Effect::Warn(format!("the stored check {id:?} is not restored: {why}")));
            return;
        }
        if !self.put_check(now, Arc::new(spec), true, Origin::Api, effects) {
            orphans.extend(removal(&id));
        }
    }

    /// A status counts while what it rests on does: a TTL until its deadline, a probe's result within the same boot,
    /// where the first run corrects it at once.
    fn restore_state(&mut self, now: Instant, state: State, writes: &mut Vec<Write>) {
        let key = Key::from(lictor_catalog::model::folded(&state.id).as_ref());
        let now_ms = self.unix_ms(now);
        let boot = self.options.boot == state.boot;
        let Some((check, spec)) =
            self.checks.get_mut(&key).and_then(|check| check.spec.clone().map(|spec| (check, spec)))
        else {
            writes.push(Write::Remove(RecordKey::new(RecordKind::CheckState, &state.id)));
            return;
        };
        let left = match (&spec.kind, state.expires_ms) {
            // A deadline further off than the TTL means that the clock was set back: no evidence.
            (Kind::Ttl(ttl), Some(expires)) => Some(Duration::from_millis(expires.saturating_sub(now_ms)))
                .filter(|left| !left.is_zero() && left <= ttl),
            (Kind::Ttl(_), None) => None,
            _ => boot.then_some(Duration::ZERO),
        };
        let Some(left) = left else {
            writes.push(Write::Remove(RecordKey::new(RecordKind::CheckState, &state.id)));
            return;
        };
        let (status, output) = (state.status, state.output);
        check.critical_since = (status == Status::Critical).then_some(now);
        check.row = Arc::new(lictor_catalog::Check { status, output, ..(*check.row).clone() });
        let service = check.row.service_id.folded();
        self.touch_checks_of(&service);
        if matches!(spec.kind, Kind::Ttl(_)) {
            self.runs.begin(now, &key, spec, Some(left));
        }
    }
}
