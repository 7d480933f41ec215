WHAT = "my supervisor"
