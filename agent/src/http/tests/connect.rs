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
    check("PUT /v1/connect/ca/configuration\n{}", world, "405 method PUT not allowed");
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
