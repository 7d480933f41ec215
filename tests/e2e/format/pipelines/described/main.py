print("told")
