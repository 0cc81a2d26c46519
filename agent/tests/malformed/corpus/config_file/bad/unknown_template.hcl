bind_addr = "{{ exec \"rm\" }}"
