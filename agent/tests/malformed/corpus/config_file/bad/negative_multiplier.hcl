performance { raft_multiplier = -1 }
