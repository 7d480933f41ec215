"""One ``fastflow up`` with the example pipelines, for all tests of this package."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.e2e.cli.commands import EXAMPLES
from tests.support.installation import Installation


@pytest.fixture(scope="package")
def there(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """One installation for all tests of this package."""
    with Installation(tmp_path_factory.mktemp("cli"), pipelines=EXAMPLES) as made:
        made.start()
        yield made
        assert made.stop() == 0
