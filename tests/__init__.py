"""The tests. ``README.md`` lists where they are, and what ``make test`` and ``make verify`` run."""

import pytest

# Failures in a helper are shown like failures in a test.
pytest.register_assert_rewrite("tests.support", "tests.chaos", "tests.sandbox_contract")
