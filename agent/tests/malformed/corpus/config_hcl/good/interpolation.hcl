x = "${service.name == "web" { } }"
