dns_config { node_ttl = "soon" }
