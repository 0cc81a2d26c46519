node_id = "x"
