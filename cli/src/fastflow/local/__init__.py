"""What runs on this machine: the data folder, the embedded bus, all services in one process."""
