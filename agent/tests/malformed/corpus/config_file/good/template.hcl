bind_addr = "{{ GetInterfaceIP \"eth0\" }}"
