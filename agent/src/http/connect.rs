//! `/v1/connect/...` and `/v1/agent/connect/...`: the root that signs for services, their certificates, and who may
//! connect to whom.
//!
//! A server with `connect.enabled = false` answers as Consul does. Its client agents need no switch: they learn it from it.

use super::call::{Call, Certify, Encoding, Form, LeafRead, Plan, Reply, WriteAnswer};
use super::{Context, body, options, undecodable, wire};
use crate::json::Object;
use crate::signing::{self, BadSigning};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use lictor_catalog::{Command, Query};
use schemars::JsonSchema;
use serde::Serialize;

/// Bytes of a service's name in a certificate at most; a URI in it has no more than 2048 (SPIFFE ID, §2.3).
const NAME_MAX: usize = 255;
/// Bytes of a point on P-256, uncompressed.
const POINT: usize = 65;

fn enabled(context: &Context<'_>) -> Result<(), Reply> {
    let off = || Reply::text(500, "Connect must be enabled in order to use this endpoint");
    context.facts.connect.then_some(()).ok_or_else(off)
}

pub fn roots(context: &Context<'_>, call: &Call, _: &str) -> Result<Plan, Reply> {
    enabled(context)?;
    let form = match call.params.get("pem") {
        None => Form::Plain,
        Some("") => Form::Pem,
        Some(text) if options::go_bool(text) == Some(true) => Form::Pem,
        Some(text) if options::go_bool(text) == Some(false) => Form::Plain,
        Some(_) => return Err(Reply::text(400, "The 'pem' query parameter must be a boolean value")),
    };
    options::read_as(context, call, Query::Authority, Encoding { form, ..Encoding::default() })
}

pub fn configuration(context: &Context<'_>, call: &Call, _: &str) -> Result<Plan, Reply> {
    enabled(context)?;
    let encoding = Encoding { form: Form::Configuration, ..Encoding::default() };
    options::read_as(context, call, Query::Authority, encoding)
}

/// Sets what certificates are made by; what is absent gets its default. The root stays the one that the cluster has made:
/// whatever would put another in its place is refused.
pub fn set_configuration(context: &Context<'_>, call: &Call, _: &str) -> Result<Plan, Reply> {
    enabled(context)?;
    options::here(context, call)?;
    let value = body(call)?;
    let object = Object::of(&value).map_err(undecodable)?;
    let provider = object.string("Provider").map_err(undecodable)?;
    signing::provided_by(&provider).map_err(refused)?;
    let none = serde_json::Map::new().into();
    let config = Object::of(object.get("Config").unwrap_or(&none)).map_err(undecodable)?;
    let signing = signing::read(&config).map_err(refused)?;
    Ok(Plan::Write(Command::Signing(Box::new(signing)), WriteAnswer::Empty))
}

fn refused(problem: BadSigning) -> Reply {
    match problem {
        BadSigning::Field(field) => undecodable(field),
        problem => Reply::text(500, problem.to_string()),
    }
}

pub fn leaf(context: &Context<'_>, call: &Call, service: &str) -> Result<Plan, Reply> {
    options::here(context, call)?;
    let service = signable(service)?.to_owned();
    let blocking = options::blocking(context.facts, call)?;
    Ok(Plan::Leaf(LeafRead { service, blocking, pretty: options::pretty(context.facts, call) }))
}

/// An agent that was asked for a certificate has drawn a key and asks the leader to sign for it.
pub fn sign(context: &Context<'_>, call: &Call, _: &str) -> Result<Plan, Reply> {
    enabled(context)?;
    let value = body(call)?;
    let object = Object::of(&value).map_err(undecodable)?;
    let service = object.string("Service").map_err(undecodable)?;
    let key = STANDARD.decode(object.string("PublicKey").map_err(undecodable)?);
    let key = key.ok().filter(|key| key.len() == POINT && key[0] == 4);
    let key = key.ok_or_else(|| Reply::text(400, "PublicKey must be an uncompressed point on P-256 in base64"))?;
    signable(&service)?;
    Ok(Plan::Certify(Certify { service, key }))
}

fn signable(service: &str) -> Result<&str, Reply> {
    match service.len() {
        0 => Err(Reply::text(400, "Missing service name")),
        1..=NAME_MAX => Ok(service),
        _ => Err(Reply::text(400, format!("A service whose name is longer than {NAME_MAX} bytes has no certificate"))),
    }
}

/// Whether a client may connect to a service. There are no intentions, and without ACLs everybody may.
pub fn authorize(context: &Context<'_>, call: &Call, _: &str) -> Result<Plan, Reply> {
    let value = body(call)?;
    let object = Object::of(&value).map_err(undecodable)?;
    let (target, uri) = (object.string("Target"), object.string("ClientCertURI"));
    let (target, uri) = (target.map_err(undecodable)?, uri.map_err(undecodable)?);
    if target.is_empty() {
        return Err(Reply::text(400, "Target service must be specified"));
    }
    match Identity::of(&uri) {
        None => Err(Reply::text(400, "ClientCertURI not a valid Connect identifier")),
        Some(Identity::Other) => Err(Reply::text(400, "ClientCertURI not a valid Service identifier")),
        Some(Identity::Service) => {
            let verdict = Verdict { authorized: true, reason: "Default behavior configured by ACLs" };
            Ok(Plan::Answer(wire::reply(context, call, &verdict)))
        }
    }
}

#[derive(JsonSchema, Serialize)]
#[schemars(rename = "Authorization")]
#[serde(rename_all = "PascalCase")]
pub(super) struct Verdict {
    authorized: bool,
    reason: &'static str,
}

/// Whom a certificate's URI names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Identity {
    Service,
    /// An agent, a server, a gateway or a root.
    Other,
}

impl Identity {
    /// `None`: it names nobody.
    fn of(uri: &str) -> Option<Self> {
        let rest = uri.strip_prefix("spiffe://")?;
        let (domain, path) = rest.split_once('/').unwrap_or((rest, ""));
        if domain.is_empty() {
            return None;
        }
        let parts: Vec<&str> = path.split('/').collect();
        let parts = match &parts[..] {
            ["ap", partition, rest @ ..] if !partition.is_empty() => rest,
            parts => parts,
        };
        if parts[1.min(parts.len())..].iter().any(|part| part.is_empty()) {
            return None;
        }
        match parts {
            ["ns", _, "dc", _, "svc", _] => Some(Self::Service),
            ["agent", "client", "dc", _, "id", _]
            | ["agent", "server", "dc", _]
            | ["gateway", "mesh", "dc", _]
            | [""] => Some(Self::Other),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uris_name_services_and_others() {
        for (uri, expected) in [
            ("spiffe://x.consul/ns/default/dc/dc1/svc/web", Some(Identity::Service)),
            ("spiffe://x.consul/ap/p/ns/default/dc/dc1/svc/web", Some(Identity::Service)),
            ("spiffe://x.consul/agent/client/dc/dc1/id/n1", Some(Identity::Other)),
            ("spiffe://x.consul/agent/server/dc/dc1", Some(Identity::Other)),
            ("spiffe://x.consul/gateway/mesh/dc/dc1", Some(Identity::Other)),
            ("spiffe://x.consul", Some(Identity::Other)),
            ("spiffe:///ns/default/dc/dc1/svc/web", None),
            ("spiffe://x.consul/ns/default/dc/dc1/svc/", None),
            ("spiffe://x.consul/ns//dc/dc1/svc/web", None),
            ("spiffe://x.consul/ns/default/dc/dc1/svc/web/more", None),
            ("https://x.consul/ns/default/dc/dc1/svc/web", None),
            ("", None),
        ] {
            assert_eq!(Identity::of(uri), expected, "{uri}");
        }
    }
}
