"""One ``fastflow up`` for all tests of this package, with the pipelines of the folder ``pipelines``: one for each rule.

A test switches off the schedule that it has seen fire, so that it takes no time from the others.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator

import pytest

from tests.e2e.format.folders import FOLDERS, GLOBAL_TIMEOUT_S
from tests.support.installation import Installation
from tests.support.rules import Rules


@pytest.fixture(scope="package")
def there(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rules]:
    """One installation for all tests of this package. It has a global timeout."""
    folder = tmp_path_factory.mktemp("rules")
    shutil.copytree(FOLDERS, folder / "pipelines")
    with Installation(folder) as made:
        made.start(CONTAINER_TIMEOUT=str(GLOBAL_TIMEOUT_S))
        yield Rules(made)
        assert made.stop() == 0
