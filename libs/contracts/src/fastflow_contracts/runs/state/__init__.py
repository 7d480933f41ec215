"""The state of a pipeline: the files that its last successful run left, and its history."""
