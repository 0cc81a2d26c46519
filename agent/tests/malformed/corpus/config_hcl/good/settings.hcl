datacenter = "dc1"
server = true
ports { http = 8501 dns = -1 }
