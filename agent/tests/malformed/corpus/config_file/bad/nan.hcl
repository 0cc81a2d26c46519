raft_snapshot_threshold = 1e400
