datacentre = "dc1"
