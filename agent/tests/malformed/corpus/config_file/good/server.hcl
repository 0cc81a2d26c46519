server = true
bootstrap_expect = 3
bind_addr = "10.0.0.7"
retry_join = ["10.0.0.2"]
encrypt = "MDEyMzQ1Njc4OWFiY2RlZg=="
