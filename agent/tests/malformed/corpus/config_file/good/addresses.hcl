addresses { http = "unix:///tmp/x.sock 127.0.0.1" }
client_addr = "127.0.0.1 ::1"
