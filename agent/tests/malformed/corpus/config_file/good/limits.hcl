limits { kv_max_value_size = 1048576 http_max_conns_per_client = 1 }
performance { raft_multiplier = 10 }
