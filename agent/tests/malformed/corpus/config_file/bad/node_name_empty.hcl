node_name = "\u0000"
