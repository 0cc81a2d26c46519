performance { raft_multiplier = 9223372036854775807 }
