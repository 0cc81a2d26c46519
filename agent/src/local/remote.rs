//! What the catalog is believed to hold of this node, and how that differs from what this agent owns.
//!
//! The catalog gives names and tags of a service to its checks by itself and keeps the spelling of the first
//! registration, so that neither is a difference.

use super::state::Key;
use lictor_catalog::model::{ServiceId, folded};
use lictor_catalog::{Check, Coordinate, Node, Service, Store};
use std::collections::BTreeMap;
use std::sync::Arc;

/// The rows of one node.
#[derive(Debug, Default)]
pub(super) struct Remote {
    pub(super) node: Option<Arc<Node>>,
    pub(super) services: BTreeMap<Key, Arc<Service>>,
    /// By service and id; the node's own under the empty key.
    pub(super) checks: BTreeMap<(Key, Key), Arc<Check>>,
    pub(super) place: Option<Coordinate>,
}

impl Remote {
    pub(super) fn read(store: &Store, node: &str) -> Self {
        Self {
            node: store.node(node).cloned(),
            services: store.services_of(node).map(|row| (row.id.folded(), Arc::clone(row))).collect(),
            checks: store
                .checks_of(node)
                .map(|row| ((row.service_id.folded(), row.id.folded()), Arc::clone(row)))
                .collect(),
            place: store.coordinate(node).map(|row| row.coordinate),
        }
    }

    pub(super) fn checks_of<'a>(&'a self, service: &Key) -> impl Iterator<Item = (&'a Key, &'a Arc<Check>)> + use<'a> {
        let (from, service) = ((Arc::clone(service), Key::from("")), Arc::clone(service));
        self.checks.range(from..).take_while(move |((of, _), _)| *of == service).map(|((_, key), row)| (key, row))
    }

    /// Takes over from `other` all that it holds of one service.
    pub(super) fn adopt_service(&mut self, key: &Key, other: &mut Self) {
        self.forget_service(key);
        if let Some(row) = other.services.remove(key) {
            self.services.insert(Arc::clone(key), row);
        }
        let checks: Vec<Key> = other.checks_of(key).map(|(check, _)| Arc::clone(check)).collect();
        for check in checks {
            let at = (Arc::clone(key), check);
            self.checks.extend(other.checks.remove_entry(&at));
        }
    }

    /// The service and its checks are gone.
    pub(super) fn forget_service(&mut self, key: &Key) {
        self.services.remove(key);
        let checks: Vec<Key> = self.checks_of(key).map(|(check, _)| Arc::clone(check)).collect();
        for check in checks {
            self.checks.remove(&(Arc::clone(key), check));
        }
    }
}

/// Whether the catalog's row says of the node what we say. A node keeps the id it has when we know none.
pub(super) fn same_node(ours: &Node, theirs: &Node) -> bool {
    let Node { id, name, address, tagged_addresses, meta, create_index: _, modify_index: _ } = ours;
    (id.is_none() || *id == theirs.id)
        && folded(name) == folded(&theirs.name)
        && *address == theirs.address
        && *tagged_addresses == theirs.tagged_addresses
        && *meta == theirs.meta
}

pub(super) fn same_service(ours: &Service, theirs: &Service) -> bool {
    let Service {
        node: _,
        id: _,
        name,
        kind,
        tags,
        address,
        port,
        socket_path,
        tagged_addresses,
        meta,
        weights,
        enable_tag_override,
        proxy,
        connect,
        locality,
        create_index: _,
        modify_index: _,
    } = ours;
    *name == theirs.name
        && *kind == theirs.kind
        && *tags == theirs.tags
        && *address == theirs.address
        && *port == theirs.port
        && *socket_path == theirs.socket_path
        && *tagged_addresses == theirs.tagged_addresses
        && *meta == theirs.meta
        && *weights == theirs.weights
        && *enable_tag_override == theirs.enable_tag_override
        && *proxy == theirs.proxy
        && *connect == theirs.connect
        && *locality == theirs.locality
}

/// All but the output, which is compared by itself because it may wait.
pub(super) fn same_check_but_output(ours: &Check, theirs: &Check) -> bool {
    let Check {
        node: _,
        id: _,
        name,
        status,
        notes,
        output: _,
        service_id,
        service_name: _,
        service_tags: _,
        kind,
        interval,
        timeout,
        exposed_port,
        definition,
        create_index: _,
        modify_index: _,
    } = ours;
    *name == theirs.name
        && *status == theirs.status
        && *notes == theirs.notes
        && same_id(service_id, &theirs.service_id)
        && *kind == theirs.kind
        && *interval == theirs.interval
        && *timeout == theirs.timeout
        && *exposed_port == theirs.exposed_port
        && *definition == theirs.definition
}

fn same_id(ours: &ServiceId, theirs: &ServiceId) -> bool {
    folded(ours) == folded(theirs)
}

/// Whether the catalog's place of this node is so far from ours that it would mislead: a quarter of the way to the origin, which
/// is about the distance to the others, and at least half a millisecond, which noise alone may bring about; or a guess where
/// we have become twice as sure. A place that is unsure itself, as after a start, replaces none that is surer.
pub(super) fn is_misplaced(ours: &Coordinate, theirs: Option<&Coordinate>) -> bool {
    let Some(theirs) = theirs else { return true };
    if ours.error() > SURE && theirs.error() <= SURE {
        return false;
    }
    let origin = ours.vector().iter().map(|number| number * number).sum::<f64>().sqrt() + ours.height();
    let heights = ours.height() + theirs.height();
    let apart = ours.raw_distance(theirs) - heights + (ours.height() - theirs.height()).abs();
    let adjusted = (ours.adjustment() - theirs.adjustment()).abs();
    apart + adjusted > (origin / 4.0).max(NOISE) || ours.error() < theirs.error() / 2.0
}

/// The error up to which a place says something.
const SURE: f64 = 0.5;
/// Seconds.
const NOISE: f64 = 0.0005;
