"""Speed, measured: one script per claim, each beside a floor taken in the same call. Not part of the tests."""
