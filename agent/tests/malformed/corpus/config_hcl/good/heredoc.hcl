x = <<-EOF
    two
      lines
    EOF
y = 1
