"""The sandbox `bubble`: our supervisor as process 1 under bubblewrap, without a daemon."""
