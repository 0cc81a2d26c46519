ports { http = 8600 }
