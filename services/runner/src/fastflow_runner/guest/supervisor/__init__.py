"""Process 1 of every sandbox: it takes one job, runs it as its child, and reports in frames."""
