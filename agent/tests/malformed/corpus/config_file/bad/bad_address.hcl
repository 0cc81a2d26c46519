bind_addr = "not an address"
