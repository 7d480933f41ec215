"""The parts of an installation on this machine: data folder, embedded bus, all services in one process."""
