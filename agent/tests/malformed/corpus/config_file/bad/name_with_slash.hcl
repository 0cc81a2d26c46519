datacenter = "../dc"
