//! The user events that this agent has heard and that are meant for it, the latest last. Owns the decision who is meant, as
//! Consul makes it: by this node's name and by its own services and their tags.

use crate::gossip::{Announcement, EVENT_VERSION, NotFired, UserEvent, event_filter};
use lictor_catalog::Service;
use lictor_catalog::model::ServiceId;
use std::collections::BTreeMap;
use std::sync::Arc;

/// How many are kept; the oldest give way.
const KEPT: usize = 256;

/// See the module's page.
#[derive(Debug)]
pub struct Heard {
    recent: Arc<[Arc<UserEvent>]>,
}

impl Default for Heard {
    fn default() -> Self {
        Self { recent: Arc::from([]) }
    }
}

impl Heard {
    /// What readers see.
    #[must_use]
    pub fn recent(&self) -> Arc<[Arc<UserEvent>]> {
        Arc::clone(&self.recent)
    }

    /// Keeps the event if it is meant for this node. `true`: it was.
    pub fn hear(&mut self, event: Arc<UserEvent>, node: &str, services: &BTreeMap<ServiceId, Arc<Service>>) -> bool {
        if event.version > EVENT_VERSION {
            tracing::warn!(
                "event {:?} ({}) is of version {} and is left out: this release knows {EVENT_VERSION}; upgrade it",
                event.announcement.name,
                event.id,
                event.version
            );
            return false;
        }
        match is_meant(&event.announcement, node, services) {
            Ok(true) => {
                let surplus = (self.recent.len() + 1).saturating_sub(KEPT);
                self.recent = self.recent.iter().skip(surplus).cloned().chain([event]).collect();
                true
            }
            Ok(false) => false,
            Err(why) => {
                tracing::warn!("event {:?} ({}) is left out: {why}", event.announcement.name, event.id);
                false
            }
        }
    }
}

fn is_meant(
    announcement: &Announcement,
    node: &str,
    services: &BTreeMap<ServiceId, Arc<Service>>,
) -> Result<bool, NotFired> {
    let Announcement { name: _, payload: _, node_filter, service_filter, tag_filter } = announcement;
    if event_filter("node", node_filter)?.is_some_and(|wanted| !wanted.is_match(node)) {
        return Ok(false);
    }
    let Some(service) = event_filter("service", service_filter)? else { return Ok(true) };
    let tag = event_filter("tag", tag_filter)?;
    let tagged = |found: &Service| tag.as_ref().is_none_or(|tag| found.tags.iter().any(|one| tag.is_match(one)));
    Ok(services.values().any(|found| service.is_match(&found.name) && tagged(found)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    fn event(number: u128, filters: [&str; 3]) -> Arc<UserEvent> {
        let [node_filter, service_filter, tag_filter] = filters.map(str::to_owned);
        let announcement =
            Announcement { name: "deploy".to_owned(), payload: Vec::new(), node_filter, service_filter, tag_filter };
        Arc::new(UserEvent { id: Uuid::from_u128(number), time: 1, version: EVENT_VERSION, announcement })
    }

    #[test]
    fn an_event_is_for_those_whom_its_filters_mean() {
        let service = |id: &str, name: &str, tags: &[&str]| {
            let tags = tags.iter().map(|tag| (*tag).to_owned()).collect();
            (ServiceId::from(id), Arc::new(Service { id: id.into(), name: name.into(), tags, ..Service::default() }))
        };
        let services = [service("web-1", "web", &["v1", "blue"]), service("db", "db", &["v2"])].into();
        let is_heard = |filters| Heard::default().hear(event(1, filters), "node-7", &services);
        for meant in [
            ["", "", ""],
            ["node-[0-9]$", "", ""],
            ["ode", "", ""],
            ["", "^web$", ""],
            ["", "web|mail", "v1"],
            ["^node", "db", "^v2$"],
        ] {
            assert!(is_heard(meant), "{meant:?}");
        }
        for other in [
            ["node-8", "", ""],
            ["", "mail", ""],
            ["", "web", "v2"],
            ["node-8", "web", ""],
            // Whoever fired it let a filter pass that does not compile here.
            ["[", "", ""],
            ["", "[", ""],
        ] {
            assert!(!is_heard(other), "{other:?}");
        }
    }

    #[test]
    fn the_oldest_give_way_and_later_versions_are_left_out() {
        let mut heard = Heard::default();
        let services = BTreeMap::new();
        for number in 0..300 {
            assert!(heard.hear(event(number, [""; 3]), "n", &services));
        }
        let ids: Vec<u128> = heard.recent().iter().map(|event| event.id.as_u128()).collect();
        assert_eq!(ids, (44..300).collect::<Vec<u128>>());
        let later = Arc::new(UserEvent { version: EVENT_VERSION + 1, ..UserEvent::clone(&event(1, [""; 3])) });
        assert!(!heard.hear(later, "n", &services));
    }
}
