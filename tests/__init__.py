"""The tests. ``README.md`` says which are where, and what ``make test`` and ``make verify`` run."""

import pytest

# What fails in a helper is shown like what fails in a test.
pytest.register_assert_rewrite("tests.support", "tests.chaos", "tests.sandbox_contract")
