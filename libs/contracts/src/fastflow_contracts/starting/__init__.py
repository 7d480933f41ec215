"""Who may start, what follows from an end, and whose turn it is: the rules of the schedulers. Pure."""
