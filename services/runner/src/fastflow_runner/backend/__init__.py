"""Which sandboxes this runner uses, and what a run gets in them. A module for each kind; ``choose`` opens one."""
