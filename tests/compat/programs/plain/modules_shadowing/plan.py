WHAT = "my plan"
