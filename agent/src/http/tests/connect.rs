//! The root, certificates, and who may connect to whom.

use super::{World, check, header};
use bytes::Bytes;
use lictor_catalog::{Authority, Command};
use uuid::Uuid;

fn authority(domain: u128) -> Command {
    Command::Authority(Box::new(Authority {
        trust_domain: Uuid::from_u128(domain),
        id: Bytes::from_static(&[0x0a, 0xff]),
        key_id: Bytes::from_static(&[1]),
        serial: 1,
        not_before: 0,
        not_after: 1_800_000_000,
        certificate: Bytes::from_static(&[0; 50]),
        key: Bytes::from_static(b"a secret"),
        ..Authority::default()
    }))
}

const PEM: &str = "-----BEGIN CERTIFICATE-----\\nAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\\nAAA=\\n-----END CERTIFICATE-----\\n";

#[test]
fn roots_are_shown_once_there_is_one() {
    let world = &mut World::small();
    for path in ["/v1/connect/ca/roots", "/v1/agent/connect/ca/roots"] {
        check(&format!("GET {path}"), world, r#"200 {"ActiveRootID":"","TrustDomain":"","Roots":[]}"#);
    }
    check("GET /v1/connect/ca/roots?pem=true", world, "200 ");
    world.apply(authority(7));
    world.apply(authority(8));
    let id = "00000000-0000-0000-0000-000000000007";
    let root = format!(
        r#"{{"ID":"0a:ff","Name":"Consul CA Root Cert","SerialNumber":1,"SigningKeyID":"01","ExternalTrustDomain":"{id}","NotBefore":"1970-01-01T00:00:00Z","NotAfter":"2027-01-15T08:00:00Z","RootCert":"{PEM}","IntermediateCerts":null,"Active":true,"PrivateKeyType":"ec","PrivateKeyBits":256,"CreateIndex":11,"ModifyIndex":11}}"#
    );
    let roots = format!(r#"200 {{"ActiveRootID":"0a:ff","TrustDomain":"{id}.consul","Roots":[{root}]}}"#);
    for path in ["/v1/connect/ca/roots", "/v1/agent/connect/ca/roots", "/v1/connect/ca/roots?pem=0"] {
        check(&format!("GET {path}"), world, &roots);
        assert_eq!(header(&world.ask(&format!("GET {path}")), "x-consul-index"), Some("11"), "the first root stays");
    }
    check("GET /v1/connect/ca/roots?pem", world, &format!("200 {}", PEM.replace("\\n", "\n")));
    let reply = world.ask("GET /v1/connect/ca/roots?pem=true");
    assert_eq!(header(&reply, "content-type"), Some("application/pem-certificate-chain"));
    check("GET /v1/connect/ca/roots?pem=x", world, "400 The 'pem' query parameter must be a boolean value");
    check(
        "GET /v1/connect/ca/configuration",
        world,
        r#"200 {"Provider":"consul","Config":{"IntermediateCertTTL":"8760h","LeafCertTTL":"72h","RootCertTTL":"87600h"},"State":null,"ForceWithoutCrossSigning":false,"CreateIndex":11,"ModifyIndex":11}"#,
    );
}

#[test]
fn certificates_are_made_by_what_was_set_last() {
    let world = &mut World::small();
    let configuration = "/v1/connect/ca/configuration";
    let set = |body: &str| format!("PUT {configuration}\n{body}");
    let uninitialized = "500 CA is uninitialized: the leader has not made a root yet, try again";
    check(&set(r#"{"Provider":"consul"}"#), world, uninitialized);
    world.apply(authority(7));
    let shown = |leaf: &str, intermediate: &str, state: &str, modify: u64| {
        format!(
            r#"200 {{"Provider":"consul","Config":{{"IntermediateCertTTL":"{intermediate}","LeafCertTTL":"{leaf}","RootCertTTL":"87600h"}},"State":{state},"ForceWithoutCrossSigning":false,"CreateIndex":12,"ModifyIndex":{modify}}}"#
        )
    };
    let get = format!("GET {configuration}");
    check(&get, world, &shown("72h", "8760h", "null", 12));
    let body = r#"{"Provider":"consul","Config":{"LeafCertTTL":"1h30m","IntermediateCertTTL":36000000000000,"PrivateKeyType":"ec","PrivateKeyBits":256,"PrivateKey":"","test_state":{"foo":"bar"}}}"#;
    check(&set(body), world, "200 ");
    check(&get, world, &shown("1h30m0s", "10h", r#"{"foo":"bar"}"#, 13));
    check(&set(body), world, "200 ");
    check(&get, world, &shown("1h30m0s", "10h", r#"{"foo":"bar"}"#, 13));
    let reply = world.ask("GET /v1/connect/ca/roots");
    let text = String::from_utf8_lossy(&reply.body).into_owned();
    assert!(text.ends_with(r#""CreateIndex":12,"ModifyIndex":12}]}"#), "the root is the same: {text}");
    check(&set(r#"{"Provider":"consul"}"#), world, "200 ");
    check(&get, world, &shown("72h", "8760h", "null", 15));
    let config = |config: &str| set(&format!(r#"{{"Provider":"consul","Config":{config}}}"#));
    for (request, refusal) in [
        (set(""), "400 Request decode failed: EOF"),
        (set("{}"), r#"500 unknown CA provider "": lictor has its own only, which is called "consul""#),
        (
            set(r#"{"Provider":"vault"}"#),
            r#"500 unknown CA provider "vault": lictor has its own only, which is called "consul""#,
        ),
        (config("7"), "400 Request decode failed: expected a JSON object, got a number"),
        (
            config(r#"{"LeafCertTTL":"soon"}"#),
            r#"400 Request decode failed: LeafCertTTL: time: invalid duration "soon""#,
        ),
        (config(r#"{"LeafCertTTL":"59m"}"#), "500 leaf cert TTL must be greater or equal than 1h0m0s"),
        (config(r#"{"LeafCertTTL":"8761h"}"#), "500 leaf cert TTL must be less than 8760h0m0s"),
        (
            config(r#"{"IntermediateCertTTL":"215h"}"#),
            "500 Intermediate Cert TTL must be greater or equal than 3 * LeafCertTTL (>=216h0m0s).",
        ),
        (
            config(r#"{"RootCertTTL":"8759h"}"#),
            "500 root cert TTL is set and is not greater than intermediate cert ttl. root cert ttl: 8759h0m0s, intermediate cert ttl: 8760h0m0s",
        ),
        (
            config(r#"{"PrivateKeyType":"rsa","PrivateKeyBits":2048}"#),
            "500 private key type must be 'ec' with 256 bits: the root has such a key, and is not replaced",
        ),
        (
            config(r#"{"RootCert":"x"}"#),
            "500 RootCert cannot be set: the root is the one that the cluster has made for itself",
        ),
    ] {
        let reply = super::shown(&world.ask(&request));
        assert!(reply.starts_with(refusal), "{request}: {reply}");
    }
    check(&get, world, &shown("72h", "8760h", "null", 15));
}

#[test]
fn a_server_without_connect_says_so() {
    let world = &mut World::small();
    world.apply(authority(7));
    world.facts.connect = false;
    for request in [
        "GET /v1/connect/ca/roots",
        "GET /v1/agent/connect/ca/roots",
        "GET /v1/connect/ca/configuration",
        "PUT /v1/connect/ca/configuration\n{}",
        "PUT /v1/internal/connect/sign\n{}",
    ] {
        check(request, world, "500 Connect must be enabled in order to use this endpoint");
    }
}

#[test]
fn a_certificate_is_asked_for_by_name() {
    let world = &mut World::small();
    check(
        "GET /v1/agent/connect/ca/leaf/web?index=3&wait=1s",
        world,
        r#"200 LeafRead { service: "web", blocking: Some(Blocking { min_index: Index(3), wait: 1s }), pretty: false }"#,
    );
    check("GET /v1/agent/connect/ca/leaf/", world, "400 Missing service name");
    check("GET /v1/agent/connect/ca/leaf/web?dc=other", world, "500 No path to datacenter");
    check("GET /v1/agent/connect/ca/leaf/web?index=x", world, "400 Invalid index");
    let long = "w".repeat(256);
    let refusal = "400 A service whose name is longer than 255 bytes has no certificate";
    check(&format!("GET /v1/agent/connect/ca/leaf/{long}"), world, refusal);
}

#[test]
fn only_points_are_signed() {
    let world = &mut World::small();
    let point = format!("BA{}==", "A".repeat(84)).replacen("====", "==", 1);
    let good = world.ask(&format!("PUT /v1/internal/connect/sign\n{{\"Service\":\"web\",\"PublicKey\":\"{point}\"}}"));
    assert_eq!(good.status, 400, "63 bytes are no point");
    let point = format!("BAAA{}AAA=", "A".repeat(80));
    let good = world.ask(&format!("PUT /v1/internal/connect/sign\n{{\"Service\":\"web\",\"PublicKey\":\"{point}\"}}"));
    assert!(good.body.starts_with(b"Certify { service: \"web\", key: [4, 0"), "{good:?}");
    let bad = "400 PublicKey must be an uncompressed point on P-256 in base64";
    check("PUT /v1/internal/connect/sign\n{\"Service\":\"web\",\"PublicKey\":\"?\"}", world, bad);
    check("PUT /v1/internal/connect/sign\n{\"Service\":\"web\"}", world, bad);
    let nameless = format!("PUT /v1/internal/connect/sign\n{{\"PublicKey\":\"{point}\"}}");
    check(&nameless, world, "400 Missing service name");
}

#[test]
fn access_control_lists_are_off() {
    let world = &mut World::small();
    for request in [
        "PUT /v1/acl/bootstrap",
        "GET /v1/acl/tokens",
        "GET /v1/acl/token/self",
        "DELETE /v1/acl/policy/x",
        "PUT /v1/acl/role\n{",
        "PUT /v1/agent/token/default\n{}",
        "POST /v1/internal/acl/authorize\n[]",
    ] {
        check(request, world, "401 ACL support disabled");
    }
    check("POST /v1/acl/tokens", world, "405 method POST not allowed");
    assert_eq!(world.ask("PUT /v1/acl/create").status, 404, "gone since Consul 1.11");
}

#[test]
fn everybody_may_connect() {
    let world = &mut World::small();
    let ask = |target: &str, uri: &str| {
        format!("POST /v1/agent/connect/authorize\n{{\"Target\":\"{target}\",\"ClientCertURI\":\"{uri}\"}}")
    };
    let web = "spiffe://x.consul/ns/default/dc/dc1/svc/web";
    let allowed = r#"200 {"Authorized":true,"Reason":"Default behavior configured by ACLs"}"#;
    check(&ask("db", web), world, allowed);
    check(&ask("", web), world, "400 Target service must be specified");
    check(&ask("db", "nobody"), world, "400 ClientCertURI not a valid Connect identifier");
    check(&ask("db", "spiffe://x.consul"), world, "400 ClientCertURI not a valid Service identifier");
    check(
        "POST /v1/agent/connect/authorize\n{",
        world,
        "400 Request decode failed: EOF while parsing an object at line 1 column 1",
    );
}
