a = 1
a = 2
a { b = 1 }
a { b = 2 }
