bind_addr = "{{ GetInterfaceIP"
