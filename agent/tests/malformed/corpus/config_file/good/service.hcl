service { name = "web" port = 80 check { ttl = "10s" } }
