print("as its author says")
