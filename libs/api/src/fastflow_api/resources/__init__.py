"""The methods of ``Client``, one module for each resource. Use ``fastflow_api.Client``."""
