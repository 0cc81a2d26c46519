service { port = 1 }
