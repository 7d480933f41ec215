"""The life of a service process: settings, logging, signals, an orderly end."""
