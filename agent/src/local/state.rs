//! The truth about this agent's services and checks. Sans-IO: what must be written, run or told is handed out as effects.
//!
//! A change that a caller must be able to rely on takes effect when it is on disk, not before: [`Local::apply`] checks it
//! and hands out the records with a ticket, [`Local::persisted`] makes it true. Statuses take effect at once; they are
//! remembered on disk too, but only so that a restart is not seen as a flap.
//!
//! Ids are compared case-blind, as the catalog compares them: two registrations that the catalog would take for one must
//! not fight over its row.

use super::admit::Admitted;
use super::change::{Change, Refused};
use super::effect::{Effect, Ticket, Write};
use super::record::{Record, RecordKey, RecordKind, State};
use crate::checks::{CheckSpec, Checks, Judged, Kind, Outcome, Run, head};
use crate::time::Instant;
use lictor_catalog::model::{CheckId, ServiceId, folded};
use lictor_catalog::{Check, Node, Service, Status};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

/// An id in the form in which ids are compared.
pub(super) type Key = Arc<str>;

/// This agent's services, as readers see them.
pub type Services = Arc<BTreeMap<ServiceId, Arc<Service>>>;
/// This agent's checks, as readers see them.
pub type ChecksById = Arc<BTreeMap<CheckId, Arc<Check>>>;

/// How often critical services are looked at for removal.
const REAP_EVERY: Duration = Duration::from_secs(30);
/// Changes that may wait for the disk.
const STAGED_MAX: usize = 4096;

/// What the configuration says about local state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalOptions {
    /// Whether there is a data directory; without one changes take effect at once (`-dev`).
    pub persist: bool,
    /// `enable_script_checks`: scripts registered by anybody.
    pub scripts: bool,
    /// `enable_local_script_checks`: scripts defined in configuration files.
    pub local_scripts: bool,
    /// `check_output_max_size`.
    pub output_max: usize,
    /// `discard_check_output`.
    pub discard_output: bool,
    /// The Unix time, in ms, of `Instant(0)`: deadlines on disk must mean something to the next process.
    pub unix_ms_at_zero: u64,
    /// Names this boot of the machine.
    pub boot: String,
}

impl Default for LocalOptions {
    fn default() -> Self {
        Self {
            persist: false,
            scripts: false,
            local_scripts: false,
            output_max: 4096,
            discard_output: false,
            unix_ms_at_zero: 0,
            boot: String::new(),
        }
    }
}

/// What became of a change that was not refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Acceptance {
    /// It is in effect.
    Done,
    /// It takes effect when the writes of this ticket are on disk.
    Waiting(Ticket),
}

#[derive(Clone, Debug)]
pub(super) struct OwnedService {
    pub(super) row: Arc<Service>,
    pub(super) token: String,
    /// From a configuration file rather than the API: not persisted.
    pub(super) from_file: bool,
}

#[derive(Clone, Debug)]
pub(super) struct OwnedCheck {
    pub(super) row: Arc<Check>,
    /// `None`: a maintenance check, which nobody runs.
    pub(super) spec: Option<Arc<CheckSpec>>,
    pub(super) from_file: bool,
    pub(super) critical_since: Option<Instant>,
}

/// This agent's services and checks.
#[derive(Debug)]
pub struct Local {
    pub(super) options: LocalOptions,
    pub(super) node: Arc<Node>,
    pub(super) services: BTreeMap<Key, OwnedService>,
    pub(super) checks: BTreeMap<Key, OwnedCheck>,
    /// Which checks a service has, by their keys; the node's own under the empty key.
    pub(super) by_service: BTreeSet<(Key, Key)>,
    pub(super) runs: Checks,
    pub(super) staged: BTreeMap<Ticket, Change>,
    tickets: u64,
    /// Services whose row or whose checks changed since anti-entropy last looked; the empty key stands for the node's own
    /// checks.
    pub(super) touched: BTreeSet<Key>,
    changed: bool,
    published: Published,
    pub(super) reap_at: Option<Instant>,
}

/// The maps that readers hold, until something in them changes.
#[derive(Debug, Default)]
struct Published {
    services: Option<Services>,
    checks: Option<ChecksById>,
}

impl Local {
    #[must_use]
    pub fn new(node: Arc<Node>, options: LocalOptions) -> Self {
        Self {
            options,
            node,
            services: BTreeMap::new(),
            checks: BTreeMap::new(),
            by_service: BTreeSet::new(),
            runs: Checks::default(),
            staged: BTreeMap::new(),
            tickets: 0,
            touched: BTreeSet::new(),
            changed: false,
            published: Published::default(),
            reap_at: None,
        }
    }

    /// Of which service a change is, as long as it is not made; the empty key: of the node.
    pub(super) fn service_of(&self, change: &Change) -> Key {
        match change {
            Change::RegisterService { spec, .. } => spec.service.id.folded(),
            Change::DeregisterService(id) | Change::ServiceMaintenance(id, _) => id.folded(),
            Change::RegisterCheck(spec) => spec.service_id.folded(),
            Change::DeregisterCheck(id) | Change::UpdateCheck { id, .. } => {
                self.checks.get(&id.folded()).map(|owned| owned.row.service_id.folded()).unwrap_or_default()
            }
            Change::NodeMaintenance(_) => Key::default(),
        }
    }

    /// Checks a change and either makes it or hands out the records that must be on disk first.
    ///
    /// # Errors
    /// [`Refused`]; nothing was changed.
    pub fn apply(&mut self, now: Instant, change: Change, effects: &mut Vec<Effect>) -> Result<Acceptance, Refused> {
        if let Change::UpdateCheck { id, status, output } = &change {
            self.update(now, id, *status, output, effects)?;
            self.settle(now, effects);
            return Ok(Acceptance::Done);
        }
        let writes = match self.admit(&change)? {
            Admitted::Nothing => return Ok(Acceptance::Done),
            Admitted::Writes(writes) => writes,
        };
        if !self.options.persist || writes.is_empty() {
            let done = self.commit(now, change, effects);
            self.settle(now, effects);
            return done.map(|()| Acceptance::Done);
        }
        if self.staged.len() >= STAGED_MAX {
            return Err(Refused::Busy(STAGED_MAX));
        }
        self.tickets += 1;
        let ticket = Ticket(self.tickets);
        self.staged.insert(ticket, change);
        effects.push(Effect::Persist { ticket: Some(ticket), writes });
        Ok(Acceptance::Waiting(ticket))
    }

    /// The records of a ticket are on disk, or could not be brought there: `(path, cause)`.
    ///
    /// # Errors
    /// [`Refused`]: the change did not take effect.
    pub fn persisted(
        &mut self,
        now: Instant,
        ticket: Ticket,
        result: Result<(), String>,
        effects: &mut Vec<Effect>,
    ) -> Result<(), Refused> {
        let Some(change) = self.staged.remove(&ticket) else { return Ok(()) };
        result.map_err(Refused::NotPersisted)?;
        let done = self.commit(now, change, effects);
        self.settle(now, effects);
        done
    }

    /// A probe came back.
    pub fn outcome(&mut self, now: Instant, run: Run, outcome: &Outcome, effects: &mut Vec<Effect>) {
        if let Some(Judged { key, status, output }) = self.runs.outcome(now, run, outcome) {
            let output = if self.options.discard_output { String::new() } else { output };
            self.set_status(now, &key, status, output, effects);
        }
        self.settle(now, effects);
    }

    /// Time has passed: TTLs run out, checks are due, critical services are removed.
    pub fn timer(&mut self, now: Instant, effects: &mut Vec<Effect>) {
        for key in self.runs.expire(now) {
            let last = self.checks.get(&key).map_or("", |check| &check.row.output);
            let output = if self.options.discard_output { String::new() } else { crate::checks::ttl_expired(last) };
            self.set_status(now, &key, Status::Critical, output, effects);
        }
        if self.reap_at.is_some_and(|at| at <= now) {
            self.reap(now, effects);
        }
        self.settle(now, effects);
    }

    /// When [`Local::timer`] has something to do.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        self.runs.deadline().into_iter().chain(self.reap_at).min()
    }

    /// The services and checks as readers see them; the same maps until something in them changes.
    pub fn view(&mut self) -> (Services, ChecksById) {
        let (services, checks) = (&self.services, &self.checks);
        let services = self.published.services.get_or_insert_with(|| {
            Arc::new(services.values().map(|owned| (owned.row.id.clone(), Arc::clone(&owned.row))).collect())
        });
        let checks = self.published.checks.get_or_insert_with(|| {
            Arc::new(checks.values().map(|owned| (owned.row.id.clone(), Arc::clone(&owned.row))).collect())
        });
        (Arc::clone(services), Arc::clone(checks))
    }

    /// This agent's node as the catalog should have it.
    #[must_use]
    pub const fn node(&self) -> &Arc<Node> {
        &self.node
    }

    pub(super) fn touch_service(&mut self, key: &Key) {
        self.touched.insert(Arc::clone(key));
        self.published.services = None;
        self.changed = true;
    }

    pub(super) fn touch_checks_of(&mut self, service: &Key) {
        self.touched.insert(Arc::clone(service));
        self.published.checks = None;
        self.changed = true;
    }

    /// Starts what may start, and says so when the view differs.
    pub(super) fn settle(&mut self, now: Instant, effects: &mut Vec<Effect>) {
        for start in self.runs.start_due(now, self.options.output_max) {
            let check = self.checks.get(&start.key).map_or_else(CheckId::default, |check| check.row.id.clone());
            effects.push(Effect::Start { run: start.run, check, probe: start.probe });
        }
        if std::mem::take(&mut self.changed) {
            effects.push(Effect::Changed);
        }
    }

    /// The owner of a TTL check reports.
    fn update(
        &mut self,
        now: Instant,
        id: &CheckId,
        status: Status,
        output: &str,
        effects: &mut Vec<Effect>,
    ) -> Result<(), Refused> {
        let key = id.folded();
        let check = self.checks.get(&key).ok_or_else(|| Refused::UnknownCheck(id.to_string()))?;
        let spec = check.spec.as_ref().filter(|spec| matches!(spec.kind, Kind::Ttl(_)));
        let spec = spec.ok_or_else(|| Refused::NotTtl(id.to_string()))?;
        let output = if self.options.discard_output {
            String::new()
        } else {
            head(output, spec.output_max.min(self.options.output_max))
        };
        let before = check.row.status;
        self.runs.beat(now, &key);
        self.set_status(now, &key, status, output, effects);
        if before == status {
            // The deadline moved, though the status did not.
            self.remember(&key, effects);
        }
        Ok(())
    }

    /// A status takes effect.
    pub(super) fn set_status(
        &mut self,
        now: Instant,
        key: &Key,
        status: Status,
        output: String,
        effects: &mut Vec<Effect>,
    ) {
        let Some(check) = self.checks.get_mut(key) else { return };
        if check.row.status == status && check.row.output == output {
            return;
        }
        let switched = check.row.status != status;
        if switched {
            check.critical_since = (status == Status::Critical).then_some(now);
        }
        check.row = Arc::new(Check { status, output, ..(*check.row).clone() });
        let service = check.row.service_id.folded();
        self.touch_checks_of(&service);
        if switched {
            self.remember(key, effects);
        }
    }

    /// Writes down how a check fares, so that a restart does not show as a flap.
    fn remember(&self, key: &Key, effects: &mut Vec<Effect>) {
        let Some(check) = self.checks.get(key).filter(|check| self.options.persist && check.spec.is_some()) else {
            return;
        };
        let state = State {
            id: check.row.id.to_string(),
            status: check.row.status,
            output: check.row.output.clone(),
            expires_ms: self.runs.ttl_deadline(key).map(|at| self.unix_ms(at)),
            boot: self.options.boot.clone(),
        };
        let ttl_ran_out =
            matches!(&check.spec, Some(spec) if matches!(spec.kind, Kind::Ttl(_))) && state.expires_ms.is_none();
        let record_key = RecordKey::new(RecordKind::CheckState, key);
        let write = if ttl_ran_out {
            Write::Remove(record_key)
        } else {
            Write::Put { key: record_key, content: Record::State(state).encode() }
        };
        effects.push(Effect::Persist { ticket: None, writes: vec![write] });
    }

    pub(super) fn unix_ms(&self, at: Instant) -> u64 {
        self.options.unix_ms_at_zero.saturating_add(at.0 / 1_000_000)
    }

    /// Deregisters services one of whose checks has been critical for longer than its definition allows.
    fn reap(&mut self, now: Instant, effects: &mut Vec<Effect>) {
        let limit_of = |check: &OwnedCheck| {
            check.spec.as_ref().filter(|spec| !spec.service_id.is_empty()).and_then(|spec| spec.deregister_after)
        };
        let limited = self.checks.values().any(|check| limit_of(check).is_some());
        self.reap_at = limited.then(|| now + REAP_EVERY);
        let lost: BTreeMap<Key, ServiceId> = self
            .checks
            .values()
            .filter(|check| {
                let critical_for = check.critical_since.map(|since| now.since(since));
                matches!((critical_for, limit_of(check)), (Some(span), Some(limit)) if span > limit)
            })
            .map(|check| (check.row.service_id.folded(), check.row.service_id.clone()))
            .collect();
        for (key, id) in lost {
            let leaving = |change: &Change| matches!(change, Change::DeregisterService(id) if *folded(id) == *key);
            if self.staged.values().any(leaving) {
                continue;
            }
            effects.push(Effect::Warn(format!(
                "service {id:?} was critical for longer than its deregister_critical_service_after: deregistering it"
            )));
            if let Err(refused) = self.apply(now, Change::DeregisterService(id), effects) {
                effects.push(Effect::Warn(refused.to_string()));
            }
        }
    }

    pub(super) fn watch_for_reaping(&mut self, now: Instant) {
        self.reap_at.get_or_insert(now + REAP_EVERY);
    }

    pub(super) fn take_touched(&mut self) -> BTreeSet<Key> {
        std::mem::take(&mut self.touched)
    }
}
