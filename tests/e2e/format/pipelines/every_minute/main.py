print("on the minute")
