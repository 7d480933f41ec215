"""Ways out of a sandbox, tried from inside: ``attempts`` is the program, ``trial`` the machine that it runs on."""
