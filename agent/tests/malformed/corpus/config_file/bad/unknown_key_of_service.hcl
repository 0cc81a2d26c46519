service { name = "web" prot = 80 }
