dns_config { service_ttl { "web*" = "5s" } soa { min_ttl = 60 } a_record_limit = 4 }
recursors = ["10.0.0.1"]
