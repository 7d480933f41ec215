"""Makes one environment of the store; runs inside a preparer sandbox."""
