WHAT = "my prepare"
