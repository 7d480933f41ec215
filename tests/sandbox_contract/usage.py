"""Memory and CPU are measured, and the memory limit is kept."""

from __future__ import annotations

from fastflow_runner.sandbox.events import (
    UsageSample,
)
from tests.sandbox_contract.place import Place


class UsageContract:
    async def test_exceeding_the_memory_limit_is_137_and_reported(self, place: Place) -> None:
        """The exit is marked as out of memory."""
        transcript = await place.run(
            """
            import time
            hoard = []
            while True: hoard.append(b"x" * 4_000_000); time.sleep(0.005)
            """,
            channel=await place.open(memory_bytes=100_000_000),
            memory_bytes=100_000_000,
        )
        assert transcript.exited.exit_code == 137
        assert transcript.exited.oom
        assert transcript.exited.memory_peak_bytes >= 90_000_000

    async def test_usage_is_measured(self, place: Place) -> None:
        """Samples report the cores and the memory of the whole tree; the exit sums them up."""
        transcript = await place.run(
            """
            import subprocess, sys, time
            # Until it used its share of a processor, however busy the machine is.
            busy = "import time; hoard = b'x' * 50_000_000\\nwhile time.process_time() < 1.0: pass"
            subprocess.run([sys.executable, "-c", busy])
            """,
            sample_s=0.3,
            memory_bytes=500_000_000,
            channel=await place.open(memory_bytes=500_000_000),
        )
        samples = transcript.all(UsageSample)
        assert any(sample.cpu_cores > 0.05 for sample in samples)
        assert any(sample.memory_bytes > 50_000_000 for sample in samples)
        assert {sample.memory_limit_bytes // 4096 for sample in samples} == {500_000_000 // 4096}
        assert transcript.exited.cpu_s > 0.5
        assert 50_000_000 < transcript.exited.memory_peak_bytes < 400_000_000
