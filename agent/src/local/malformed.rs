//! What lies in the data directory of this agent's services and checks: see [`crate::malformed`].

use super::record::{Record, State};
use super::{Change, Effect, Local, LocalOptions, ServiceSpec, Write};
use crate::checks::CheckSpec;
use crate::malformed::{Seeds, Verdict, survives};
use crate::time::Instant;
use lictor_catalog::{Node, Status};
use serde_json::json;
use std::sync::Arc;

const NOW: Instant = Instant(1_000_000_000);
/// Timers that are let run afterwards.
const TIMERS: usize = 16;

/// A record. A liar can compute a checksum, so what has no header gets a sound one.
pub(crate) fn record(bytes: &[u8]) -> Verdict {
    let sealed = if bytes.starts_with(b"{") { sealed(bytes) } else { bytes.to_vec() };
    let verdict = Record::decode(&sealed);
    if let Ok(record) = &verdict {
        survives(record, Record::encode, Record::decode);
    }
    let mut effects = Vec::new();
    let mut local = empty();
    local.restore(NOW, vec![("services/x.json".to_owned(), sealed)], &mut effects);
    lives_on(&mut local, effects);
    verdict.map(drop).map_err(|bad| bad.to_string())
}

fn sealed(body: &[u8]) -> Vec<u8> {
    [format!("lictor-record 1 {:08x}\n", crc32c::crc32c(body)).as_bytes(), body, b"\n"].concat()
}

pub(crate) fn records() -> Seeds {
    let service = json!({"Name": "web", "Tags": ["a"], "Port": 80, "Check": {"TTL": "10s"}});
    let ServiceSpec { service, token, .. } = ServiceSpec::parse(&service).expect("a service");
    let check = json!({"Name": "c", "HTTP": "http://x/", "Interval": "10s"});
    let check = CheckSpec::parse(&check).expect("a check");
    let state = State {
        id: "c".to_owned(),
        status: Status::Warning,
        output: "so so\n".to_owned(),
        expires_ms: Some(7),
        boot: "b".to_owned(),
    };
    vec![
        ("service", Record::Service { service, token }.encode()),
        ("check", Record::Check(Box::new(check)).encode()),
        ("maintenance", Record::Maintenance { service_id: String::new(), reason: "a reason".to_owned() }.encode()),
        ("state", Record::State(state).encode()),
    ]
}

/// A change that the API let through: it is made or refused, and what it wrote is read again.
pub(crate) fn change(change: Change) -> Verdict {
    let mut effects = Vec::new();
    let mut local = empty();
    let verdict = local.apply(NOW, change, &mut effects);
    lives_on(&mut local, effects);
    verdict.map(drop).map_err(|refused| refused.to_string())
}

fn empty() -> Local {
    let node = Arc::new(Node { name: "n1".into(), ..Node::default() });
    Local::new(node, LocalOptions { persist: true, scripts: true, boot: "b".to_owned(), ..LocalOptions::default() })
}

/// Obeys the effects, lets checks fall due, and looks at what readers would.
fn lives_on(local: &mut Local, effects: Vec<Effect>) {
    let mut due = Some(NOW);
    let mut effects = effects;
    for _ in 0..TIMERS {
        for effect in std::mem::take(&mut effects) {
            let Effect::Persist { ticket, writes } = effect else { continue };
            for write in writes {
                if let Write::Put { content, .. } = write {
                    Record::decode(&content).expect("what it writes it reads");
                }
            }
            if let Some(ticket) = ticket {
                let _ = local.persisted(NOW, ticket, Ok(()), &mut effects);
            }
        }
        let Some(now) = due else { break };
        local.timer(now, &mut effects);
        due = local.deadline();
    }
    let (services, checks) = local.view();
    assert!(services.keys().all(|id| !id.is_empty()), "services have ids");
    assert!(checks.values().all(|check| &*check.node == "n1"), "checks are of this node");
}
