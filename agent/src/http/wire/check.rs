//! A check as catalog, health and agent endpoints show it.

use super::go::Span;
use super::is_false;
use lictor_catalog::model::{Check, CheckDefinition};
use schemars::JsonSchema;
use serde::{Serialize, Serializer};
use std::collections::BTreeMap;

/// A check; from the agent's own state its indexes are 0.
#[derive(JsonSchema, Serialize)]
#[schemars(rename = "Check")]
#[serde(rename_all = "PascalCase")]
pub struct WireCheck<'a> {
    node: &'a str,
    #[serde(rename = "CheckID")]
    id: &'a str,
    name: &'a str,
    status: &'static str,
    notes: &'a str,
    output: &'a str,
    #[serde(rename = "ServiceID")]
    service_id: &'a str,
    service_name: &'a str,
    service_tags: Option<&'a [String]>,
    #[serde(rename = "Type")]
    kind: &'a str,
    interval: Span,
    timeout: Span,
    exposed_port: u16,
    definition: Definition<'a>,
    create_index: u64,
    modify_index: u64,
}

impl<'a> From<&'a Check> for WireCheck<'a> {
    fn from(check: &'a Check) -> Self {
        let Check {
            node,
            id,
            name,
            status,
            notes,
            output,
            service_id,
            service_name,
            service_tags,
            kind,
            interval,
            timeout,
            exposed_port,
            definition,
            create_index,
            modify_index,
        } = check;
        Self {
            node,
            id,
            name,
            status: status.as_str(),
            notes,
            output,
            service_id,
            service_name,
            service_tags: Some(service_tags),
            kind,
            interval: Span(*interval),
            timeout: Span(*timeout),
            exposed_port: *exposed_port,
            definition: Definition(definition.as_deref()),
            create_index: create_index.0,
            modify_index: modify_index.0,
        }
    }
}

impl WireCheck<'_> {
    /// As a transaction shows it: what is empty is `null`, as nobody filled it in.
    pub(super) fn bare(self) -> Self {
        Self { service_tags: self.service_tags.filter(|tags| !tags.is_empty()), ..self }
    }
}

/// `{}`, or what an external monitor was told; zero fields are left out.
struct Definition<'a>(Option<&'a CheckDefinition>);

shown_as!(Definition<'_>, WireDefinition<'_>);

#[derive(JsonSchema, Serialize)]
#[schemars(rename = "ProbeShown")]
#[serde(rename_all = "PascalCase")]
struct WireDefinition<'a> {
    #[serde(skip_serializing_if = "Span::is_zero")]
    interval: Span,
    #[serde(skip_serializing_if = "Span::is_zero")]
    timeout: Span,
    #[serde(skip_serializing_if = "Span::is_zero")]
    deregister_critical_service_after: Span,
    #[serde(rename = "HTTP", skip_serializing_if = "str::is_empty")]
    http: &'a str,
    #[serde(rename = "TLSServerName", skip_serializing_if = "str::is_empty")]
    tls_server_name: &'a str,
    #[serde(rename = "TLSSkipVerify", skip_serializing_if = "is_false")]
    tls_skip_verify: bool,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    header: &'a BTreeMap<String, Vec<String>>,
    #[serde(skip_serializing_if = "str::is_empty")]
    method: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    body: &'a str,
    #[serde(rename = "TCP", skip_serializing_if = "str::is_empty")]
    tcp: &'a str,
    #[serde(rename = "TCPUseTLS", skip_serializing_if = "is_false")]
    tcp_use_tls: bool,
    #[serde(rename = "UDP", skip_serializing_if = "str::is_empty")]
    udp: &'a str,
    #[serde(rename = "OSService", skip_serializing_if = "str::is_empty")]
    os_service: &'a str,
    #[serde(rename = "GRPC", skip_serializing_if = "str::is_empty")]
    grpc: &'a str,
    #[serde(rename = "GRPCUseTLS", skip_serializing_if = "is_false")]
    grpc_use_tls: bool,
}

impl Serialize for Definition<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Some(definition) = self.0 else { return super::service::Empty {}.serialize(serializer) };
        let CheckDefinition {
            http,
            header,
            method,
            body,
            tls_server_name,
            tls_skip_verify,
            tcp,
            tcp_use_tls,
            udp,
            grpc,
            grpc_use_tls,
            os_service,
            interval,
            timeout,
            deregister_after,
        } = definition;
        WireDefinition {
            interval: Span(*interval),
            timeout: Span(*timeout),
            deregister_critical_service_after: Span(*deregister_after),
            http,
            tls_server_name,
            tls_skip_verify: *tls_skip_verify,
            header,
            method,
            body,
            tcp,
            tcp_use_tls: *tcp_use_tls,
            udp,
            os_service,
            grpc,
            grpc_use_tls: *grpc_use_tls,
        }
        .serialize(serializer)
    }
}
