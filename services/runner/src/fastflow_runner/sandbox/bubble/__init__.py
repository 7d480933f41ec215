"""The bubblewrap backend: a sandbox without a daemon, in namespaces of its own. ``sandboxes`` is its entry."""
