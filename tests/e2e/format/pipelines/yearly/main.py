print("a happy new year")
