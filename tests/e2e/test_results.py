"""Results end to end, in every sandbox: what a script wrote, where one finds it, and what is no result."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import nats
import pytest

from fastflow.local.connection import OUTSIDE_URL_FILE
from tests.support.installation import Installation
from tests.support.notebooks import code, written
from tests.support.rules import WAIT_S, Rules

WRITES = """\
import os
from pathlib import Path
for attempt, text in enumerate(os.environ.get("RESULTS", "").split("|"), start=1):
    if str(attempt) == os.environ["FASTFLOW_ATTEMPT"] and text:
        Path(os.environ["FASTFLOW_RESULT_FILE"]).write_text(text * int(os.environ.get("TIMES", "1")))
raise SystemExit(int(os.environ.get("EXIT", "0")))
"""
TELLS = """\
import os
from pathlib import Path
print(Path(os.environ["FASTFLOW_EVENT_FILE"]).read_text())
"""
NUMBER = "class Number:\n    def tolist(self):\n        return 7\n"


@pytest.fixture(
    scope="module",
    params=[
        "process",
        pytest.param("bubble", marks=pytest.mark.bubble),
        pytest.param("docker", marks=pytest.mark.docker),
    ],
)
def there(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rules]:
    """One installation for all tests of this file."""
    with Installation(tmp_path_factory.mktemp("results")) as made:
        again = {"id": "again", "retry_attempts": 1, "retry_strategy": {"type": "fixed_delay", "delay": 0}}
        links = [{"pipeline": "next", "on_failure": True}]
        made.add("first", WRITES, downstream_triggers=links, schedules=[again])
        made.add("next", TELLS)
        made.start("--sandbox", request.param)
        yield Rules(made)
        assert made.stop() == 0


def event_after(there: Rules, run: dict[str, Any]) -> Any:
    """Return the data of the event that the run after *run* got."""
    (follower,) = there.first("next", parent_run_id=run["id"])
    return json.loads(there.text(there.end(follower)))["data"]


@pytest.mark.parametrize("text", ['{"rows": 3, "of": [1.50, "ä", null]}\n', "null", "12345678901234567890123"])
def test_a_result_is_where_one_looks(there: Rules, text: str) -> None:
    """In the run, on its own, on the page, in the terminal, and in the event of what follows."""
    value = json.loads(text)
    run = there.done("first", env_vars={"RESULTS": text})
    assert (run["status"], run["result"], run["result_bytes"]) == ("SUCCESS", value, len(text.strip().encode()))
    assert there.page(f"/api/runs/{run['id']}/result") == text.strip()
    assert json.loads(there.there.command("result", run["id"]).stdout) == value
    assert 'id="result"' in there.page(f"/runs/{run['id']}")
    told = event_after(there, run)
    assert (told["result"], told["run"]["id"]) == (value, run["id"])
    assert "result" not in there.runs("first")[-1]


def test_no_file_is_no_result(there: Rules) -> None:
    """It says so where one asks."""
    run = there.done("first")
    assert (run["status"], run["result"], run["result_bytes"]) == ("SUCCESS", None, None)
    answer = there.ask("GET", f"/api/runs/{run['id']}/result")
    assert (answer.status, "has no result" in answer.json["detail"]) == (404, True)
    assert "has no result" in there.there.command("result", run["id"]).stderr
    assert event_after(there, run)["result"] is None


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{'rows': 3}", "it is not JSON: "),
        ("NaN", "NaN is not JSON"),
        ('{"a": 1, "a": 2}', "has the key 'a' twice"),
        ("1" * 16_000, "more than 65,536 bytes"),
    ],
)
def test_what_is_no_result_fails_the_run(there: Rules, text: str, words: str) -> None:
    """The sentence is on the run."""
    run = there.done("first", env_vars={"RESULTS": text, "TIMES": "5" if "more than" in words else "1"})
    assert (run["status"], run["error_type"], run["exit_code"], run["result"]) == ("FAILED", "result_error", 0, None)
    assert run["error_message"].startswith("FASTFLOW_RESULT_FILE holds no result: ")
    assert words in run["error_message"]
    assert "result is not usable" in there.page(f"/runs/{run['id']}")


def test_a_failed_run_has_a_result_too(there: Rules) -> None:
    """What is no result does not hide why it failed."""
    run = there.done("first", env_vars={"RESULTS": '{"done": 2}', "EXIT": "3"})
    assert (run["status"], run["error_type"], run["result"]) == ("FAILED", "script_error", {"done": 2})
    run = there.done("first", env_vars={"RESULTS": "{", "EXIT": "3"})
    assert (run["error_type"], run["exit_code"], run["result"]) == ("script_error", 3, None)
    assert "FASTFLOW_RESULT_FILE holds no result" in run["warnings"][0]


def test_the_last_attempt_s_result_counts(there: Rules) -> None:
    """Also if it wrote none; one that is no result is tried again as any failure."""
    run = there.done("first", run_config_id="again", env_vars={"RESULTS": "1|", "EXIT": "1"})
    assert (len(run["attempts"]), run["result_bytes"]) == (2, None)
    run = there.done("first", run_config_id="again", env_vars={"RESULTS": "NaN|2"})
    assert ([each["error_type"] for each in run["attempts"]], run["result"]) == (["result_error", None], 2)


def test_a_secret_is_no_result(there: Rules) -> None:
    """It reaches nothing that is stored."""
    token = there.seal("a-long-secret", "leaks", "API_KEY")
    leaks = "import json, os\njson.dump({'k': os.environ['API_KEY']}, open(os.environ['FASTFLOW_RESULT_FILE'], 'w'))"
    there.there.add("leaks", leaks, encrypted_env={"API_KEY": token})
    assert there.ask("POST", "/api/sync", {}).status == 200
    run = there.done("leaks")
    assert (run["status"], run["error_type"]) == ("FAILED", "result_error")
    assert "it holds a secret" in run["error_message"]
    assert "a-long-secret" not in json.dumps(run)


def test_those_who_listen_hear_a_result(there: Rules) -> None:
    """On its own subject, with the account of programs outside, once the record says so."""

    async def hear() -> Any:
        url = (there.there.data_dir / OUTSIDE_URL_FILE).read_text().strip()
        client = await nats.connect(url)
        try:
            results = await client.subscribe("ff.result.first.*")
            await client.flush()
            run = await asyncio.to_thread(there.start, "first", env_vars={"RESULTS": '{"rows": 3}', "EXIT": "1"})
            message = await results.next_msg(timeout=WAIT_S)
            return run["id"], message.subject, json.loads(message.data), await asyncio.to_thread(there.end, run)
        finally:
            await client.close()

    run_id, subject, said, run = asyncio.run(hear())
    assert subject == f"ff.result.first.{run_id}"
    assert said == {
        "run_id": run_id,
        "status": "FAILED",
        "result": {"rows": 3},
        "error_type": "script_error",
        "error_message": run["error_message"],
    }
    assert run["finished_at"]


@pytest.mark.parametrize(
    ("source", "value"),
    [
        ("{'rows': 3, 'of': (1, 2)}", {"rows": 3, "of": [1, 2]}),
        (f"{NUMBER}[Number()]", [7]),
        ("import datetime\n{'on': datetime.date(2026, 1, 31)}", {"on": "2026-01-31"}),
        ("'quiet';", None),
        ("x = 1", None),
    ],
)
def test_a_notebook_s_result_is_the_value_of_its_tagged_cell(there: Rules, source: str, value: Any) -> None:
    """Its last expression; without one there is none."""
    run = notebook(there, code("{'other': 1}"), code(source, "result"), code("2"))
    assert (run["status"], run["result"], run["result_bytes"] is None) == ("SUCCESS", value, value is None)


@pytest.mark.parametrize(
    ("source", "why"),
    [
        ("object()", "a value of type object has no form in JSON"),
        ("[1, float('nan')]", "NaN, which has no form in JSON; put None in its place"),
        ("{(1, 2): 3}", "keys must be str"),
        ("a = []; a.append(a); a", "Circular reference"),
        ("'x' * 70_000", "70,002 bytes as JSON; at most 65,536 are accepted"),
        ("10 ** 400", "a number of 401 digits; make it a text"),
        ("a = []\nfor _ in range(99): a = [a]\na", "more than 64 deep"),
        ("{1: 2, '1': 3}", "two keys of a dict are the same"),
    ],
    ids=["object", "nan", "key", "circle", "large", "digits", "deep", "twice"],
)
def test_a_value_that_is_no_result_fails_its_cell(there: Rules, source: str, why: str) -> None:
    """The cell and the run say why, in words about the cell."""
    run = notebook(there, code(source, "result"))
    assert (run["status"], run["error_type"]) == ("FAILED", "result_error")
    assert run["error_message"].startswith("Cell 1 of 1 failed: ResultError: the last expression of the cell tagged")
    assert why in run["error_message"]
    assert "FASTFLOW_RESULT_FILE" not in run["error_message"]
    (cell,) = there.get(f"/api/runs/{run['id']}/cells")["cells"]
    assert cell["status"] == "FAILED"
    assert "is no result" in json.dumps(cell)


def notebook(there: Rules, *cells: Any) -> Any:
    """Run a notebook of these cells."""
    folder = there.there.pipelines / "pages"
    folder.mkdir(exist_ok=True)
    (folder / "pipeline.json").write_text('{"type": "notebook"}')
    (folder / "main.ipynb").write_bytes(written(*cells))
    assert there.ask("POST", "/api/sync", {}).status == 200
    return there.done("pages")
