services = [{ name = "a" }, { name = "b" check { http = "http://x/" interval = "1s" } }]
check { name = "c" tcp = "x:1" interval = "10s" }
