"""An assertion that fails: scripts run without -O."""

rows = [1, 2, 3]
assert __debug__
assert len(rows) == 4, f"expected 4 rows, found {len(rows)}"
