"""Lines per second that the runner turns into encoded log chunks: ``python -m bench.lines``."""

from collections.abc import Sequence
from datetime import UTC, datetime
from time import perf_counter

from fastflow_contracts.runs.logs import CHUNK
from fastflow_runner.output.lines import Assembler

LINE = b"2026-01-01 12:00:00 INFO  worker: processed item 0123456789 of the batch, all is well so far, go on...\n"
LINES = 1_000_000
NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


def lines_per_s(output_bytes: int, secrets: Sequence[str]) -> float:
    """Feed ``LINES`` lines in outputs of *output_bytes* each and encode every chunk; return lines per second."""
    data = LINE * (max(1, output_bytes // len(LINE)))
    assembler = Assembler(secrets=secrets, log_bytes_max=10**12)
    offset, started = 0, perf_counter()
    while offset < LINES * len(LINE):
        for chunk in assembler.feed("stdout", offset, NOON, data):
            CHUNK.encode(chunk)
        offset += len(data)
    return offset / len(LINE) / (perf_counter() - started)


def main() -> None:
    secrets = [f"s3cret-value-number-{n}-!&" for n in range(5)]
    for name, output_bytes in (("64 KiB", 65_536), ("4 KiB", 4_096), ("one line", len(LINE))):
        for values in ([], secrets):
            rate = lines_per_s(output_bytes, values)
            print(f"outputs of {name:8}  {len(values)} secrets  {rate / 1e6:6.2f} million lines/s")


if __name__ == "__main__":
    main()
