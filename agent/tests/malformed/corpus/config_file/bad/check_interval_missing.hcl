check { name = "c" http = "http://x/" }
