encrypt = "AAAA"
