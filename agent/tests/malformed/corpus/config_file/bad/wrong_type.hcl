server = "yes please"
