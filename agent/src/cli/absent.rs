//! Verbs of Consul's command line that are not here, and what to do instead.

const ABSENT: [(&str, &str); 17] = [
    ("acl", "access control is not here yet: let only those reach the agent who may do everything"),
    ("config", "configuration entries are not here yet"),
    ("connect", "proxies are not here yet; a service's certificate is at /v1/agent/connect/ca/leaf/<service>"),
    (
        "exec",
        "remote execution is not here, and Consul has it off; let agents run \"lictor watch -type=event\", and fire with \"lictor event\"",
    ),
    ("intention", "intentions are not here yet: who may speak to whom is for the firewall to say"),
    (
        "keyring",
        "keys of gossip cannot be changed while agents run yet: set encrypt in the configuration of all, and restart them",
    ),
    ("license", "no license is needed"),
    ("login", "access control is not here yet, and so nobody logs in"),
    ("logout", "access control is not here yet, and so nobody logs out"),
    ("namespace", "namespaces are of Consul Enterprise only"),
    ("partition", "partitions are of Consul Enterprise only"),
    ("peering", "peering with other clusters is not here yet"),
    (
        "reload",
        "a running agent does not read its configuration again yet: check it with \"lictor validate\", and restart the agent",
    ),
    ("resource", "resources are not here: services are registered with \"lictor services register\""),
    (
        "session",
        "Consul has none either: sessions are made at /v1/session/create, and \"lictor lock\" keeps one for a program",
    ),
    ("tls", "TLS is not here yet, and so nor is what makes certificates for it"),
    (
        "troubleshoot",
        "proxies are not here yet, and so nor is what troubleshoots them; \"lictor debug\" records what an agent does",
    ),
];

/// What to say to whoever looks for this verb.
pub(super) fn advice(verb: &str) -> Option<&'static str> {
    ABSENT.iter().find(|(absent, _)| *absent == verb).map(|(_, advice)| *advice)
}

#[cfg(test)]
mod tests {
    #[test]
    fn what_is_absent_is_not_here() {
        let root = crate::cli::root(|_| true);
        for (place, (verb, _)) in super::ABSENT.iter().enumerate() {
            assert!(root.find_subcommand(verb).is_none(), "{verb}");
            assert!(super::ABSENT[..place].iter().all(|(before, _)| before < verb), "{verb}: sorted, and once");
        }
    }
}
