"""What a run is: its record, its state machine, its store, and everything it says."""
