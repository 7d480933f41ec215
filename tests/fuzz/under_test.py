"""A whole installation that is attacked, and what must still be true of it afterwards."""

from __future__ import annotations

import os
import random
import re
import time
from pathlib import Path
from typing import Final

from tests.support.installation import Installation

SEED: Final = int(os.environ.get("FASTFLOW_SEED") or random.SystemRandom().randrange(2**32))
GROWTH_MIB: Final = 200.0
"""How much memory an attack may cost. What is kept has bounds, and what is read is small."""
COMPLAINTS: Final = ("Traceback (most recent call last)", "request failed", "unexpected error")
"""What the log of a service says if nobody expected something."""
AFTERWARDS_S: Final = 120.0


class Attacked:
    """``fastflow up`` with a pipeline that works. ``check`` proves that it still does."""

    def __init__(self, folder: Path) -> None:
        self.installation = Installation(folder)
        self.installation.add(
            "good",
            "print('works')",
            webhook_key="0123456789abcdef",
            default_env={"A": "0"},
            max_instances=2,
            tags=["a"],
        )
        self.installation.add("other", "print('other')")

    def __enter__(self) -> Attacked:
        print(f"FASTFLOW_SEED={SEED}")
        self.installation.start()
        self._before_mib = self.memory_mib
        return self

    def __exit__(self, *_: object) -> None:
        self.installation.__exit__()

    @property
    def base(self) -> str:
        """``host:port`` of the gateway."""
        return self.installation.address.removeprefix("http://").partition("/")[0]

    @property
    def token(self) -> str:
        return (self.installation.data_dir / "token").read_text().strip()

    @property
    def bus_url(self) -> str:
        """The administrator's address of the bus."""
        return (self.installation.data_dir / "bus.url").read_text().strip()

    @property
    def memory_mib(self) -> float:
        """Memory of the process with all services."""
        assert self.installation.process is not None
        status = Path(f"/proc/{self.installation.process.pid}/status").read_text()
        return int(status.split("VmRSS:")[1].split()[0]) / 1024

    def check(self) -> None:
        """It lives, a run works, its memory is bounded, and no service met what it did not expect."""
        deadline = time.monotonic() + AFTERWARDS_S
        while True:
            done = self.installation.command("run", "good", "--follow")
            if done.returncode == 0 or time.monotonic() > deadline:
                break
            time.sleep(1)  # `max_instances` of those that were just started
        assert done.returncode == 0, done.stdout + done.stderr
        assert "works" in done.stdout
        assert self.installation.process is not None
        assert self.installation.process.poll() is None
        grown = self.memory_mib - self._before_mib
        print(f"memory: {self._before_mib:.0f} MiB before, {grown:+.0f} MiB after")
        assert grown < GROWTH_MIB
        assert self.installation.stop() == 0
        said = "".join(self.installation.printed)
        found = [match.start() for complaint in COMPLAINTS for match in re.finditer(re.escape(complaint), said)]
        assert not found, said[max(0, found[0] - 500) : found[0] + 3000]
