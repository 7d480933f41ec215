"""A running installation over HTTP for the tests of the format: pipelines in, runs and jobs out."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from datetime import datetime
from itertools import pairwise
from typing import Any, NamedTuple, TypeVar

from tests.support.installation import Installation

LATE_S = 20.0
"""Far above the promised time, for a machine that is busy with other tests."""
WAIT_S = 90.0
"""How long a test waits for something that must come: far longer than it takes."""
LOOK_S = 0.05
"""Pause between two checks."""

T = TypeVar("T")


class Answer(NamedTuple):
    status: int
    headers: Any
    json: Any


class Rules:
    """Queries a running installation."""

    def __init__(self, there: Installation) -> None:
        self.there = there
        self._base, self._token = there.url, there.token

    def ask(self, method: str, path: str, body: Any = None, *, anonymous: bool = False, **headers: str) -> Answer:
        """Send a request. *body*: bytes unchanged, anything else as JSON."""
        sent = {} if anonymous else {"Authorization": f"Bearer {self._token}"}
        sent |= {name.replace("_", "-"): value for name, value in headers.items()}
        data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        request = urllib.request.Request(self._base + path, data, sent, method=method)
        try:
            with urllib.request.urlopen(request, timeout=WAIT_S) as answer:
                return Answer(answer.status, answer.headers, json.loads(answer.read()))
        except urllib.error.HTTPError as error:
            with error:
                return Answer(error.code, error.headers, json.loads(error.read()))

    def get(self, path: str) -> Any:
        """Return the response, which must be 200."""
        answer = self.ask("GET", path)
        assert answer.status == 200, answer.json
        return answer.json

    def page(self, path: str) -> str:
        """Return a response that is not JSON."""
        request = urllib.request.Request(self._base + path, headers={"Authorization": f"Bearer {self._token}"})
        with urllib.request.urlopen(request, timeout=WAIT_S) as answer:
            return str(answer.read().decode())

    def text(self, run: Any) -> str:
        """Return the whole output of the run."""
        return self.page(f"/api/runs/{run['id']}/logs").strip()

    def rewrite(self, pipeline: str, **fields: Any) -> None:
        """Set fields of its pipeline.json, and return once they are live."""
        path = self.there.pipelines / pipeline / "pipeline.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | fields))
        assert self.ask("POST", "/api/sync", {}).status == 200

    def start(self, pipeline: str, **body: Any) -> Any:
        """Start a run of the pipeline, as an operator."""
        answer = self.ask("POST", f"/api/pipelines/{pipeline}/run?allow_undeclared=true", body)
        assert answer.status == 200, answer.json
        return answer.json

    def run(self, run: Any) -> Any:
        """Return the run's current state."""
        return self.get(f"/api/runs/{run['id']}")

    def runs(self, pipeline: str) -> list[Any]:
        """Return all its runs, oldest first."""
        return list(reversed(self.get(f"/api/runs?pipeline_name={pipeline}&limit=100")["runs"]))

    def wait(self, look: Callable[[], T | None], *, within_s: float = WAIT_S) -> T:
        """Wait until *look* returns something, and return that."""
        deadline = time.monotonic() + within_s
        while not (found := look()):
            assert time.monotonic() < deadline, "it did not come"
            time.sleep(LOOK_S)
        return found

    def end(self, run: Any) -> Any:
        """Return the run once it is over."""
        return self.wait(lambda: found if (found := self.run(run))["finished_at"] else None)

    def done(self, pipeline: str, **body: Any) -> Any:
        """Start a run and return it once it is over."""
        return self.end(self.start(pipeline, **body))

    def first(self, pipeline: str, count: int = 1, *, within_s: float = WAIT_S, **wanted: Any) -> list[Any]:
        """Return the first *count* runs that have these fields, once they exist."""

        def look() -> list[Any] | None:
            found = [run for run in self.runs(pipeline) if wanted.items() <= run.items()]
            return found[:count] if len(found) >= count else None

        return self.wait(look, within_s=within_s)

    def cancel(self, run: Any) -> Any:
        """Cancel the run and return it once it is over."""
        assert self.ask("POST", f"/api/runs/{run['id']}/cancel").status == 200
        return self.end(run)

    def switch(self, job: str, *, on: bool) -> None:
        assert self.ask("PUT", f"/api/scheduler/jobs/{job}", {"enabled": on}).status == 200

    def jobs(self, pipeline: str) -> dict[str, Any]:
        """Return its jobs by the name of their schedule."""
        return {job["schedule"]: job for job in self.get("/api/scheduler/jobs") if job["pipeline"] == pipeline}

    def seal(self, value: str, pipeline: str, name: str) -> str:
        """Return a token that opens only in that place."""
        body = {"value": value, "pipeline": pipeline, "name": name}
        answer = self.ask("POST", "/api/secrets/encrypt-for-pipeline", body)
        assert answer.status == 200, answer.json
        return str(answer.json["encrypted"])


def seconds(earlier: str, later: str) -> float:
    """Return the seconds between two times of responses."""
    return (datetime.fromisoformat(later) - datetime.fromisoformat(earlier)).total_seconds()


def slot(at: datetime) -> str:
    """Format a slot as responses do."""
    return at.isoformat().replace("+00:00", "Z")


def waits(run: dict[str, Any]) -> list[float]:
    """Return the seconds from the end of each attempt to the claim of the next one."""
    return [seconds(one["finished_at"], other["claimed_at"]) for one, other in pairwise(run["attempts"])]
