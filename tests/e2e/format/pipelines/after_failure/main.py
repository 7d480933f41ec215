print("to the rescue")
