a = 1
b = <<EOF
text
EOF
