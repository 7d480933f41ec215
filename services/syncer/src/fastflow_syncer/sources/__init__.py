"""Where pipelines come from: a mounted folder, or a branch of a git repository."""
