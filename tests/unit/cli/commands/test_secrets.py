"""``fastflow encrypt``, ``keys``, ``schema`` and ``validate`` without a bus, as in a user's CI."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from cryptography.fernet import Fernet

from fastflow_contracts.pipelines.format.json_schema import pipeline_schema
from fastflow_runner.secrets import SecretBox
from tests.support.command import fastflow

KEY, NEW = Fernet.generate_key().decode(), Fernet.generate_key().decode()


def a_pipeline(folder: Path, name: str, **metadata: object) -> Path:
    (folder / name).mkdir(parents=True)
    (folder / name / "main.py").write_text("print(1)\n")
    (folder / name / "pipeline.json").write_text(json.dumps(metadata, indent=3))
    return folder / name / "pipeline.json"


def encrypted(folder: Path, value: str, *options: str) -> str:
    done = fastflow("encrypt", *options, cwd=folder, data=value, ENCRYPTION_KEY=KEY)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_a_value_is_read_from_standard_input_or_an_argument(tmp_path: Path) -> None:
    """Standard input keeps the value out of the shell's history. Its line break is removed."""
    place = ("--pipeline", "shop", "--name", "API_KEY")
    tokens = [
        encrypted(tmp_path, "hunter2\n", *place),
        encrypted(tmp_path, "hunter2", *place, "-"),
        encrypted(tmp_path, "", *place, "hunter2"),
    ]
    for token in tokens:
        assert SecretBox(KEY).open({"API_KEY": token}, pipeline="shop") == {"API_KEY": "hunter2"}
    (tmp_path / "key").write_text(KEY)
    done = fastflow("encrypt", "a\nb", cwd=tmp_path, ENCRYPTION_KEY_FILE="key")
    assert SecretBox(KEY).open({"A": done.stdout.strip()}, pipeline="any") == {"A": "a\nb"}
    assert "opens in any pipeline" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "environ", "code", "says"),
    [
        (["encrypt", "x"], {}, 3, "fastflow keys new"),
        (["encrypt", "x"], {"ENCRYPTION_KEY": "short"}, 2, "Key 1 of ENCRYPTION_KEY"),
        (["encrypt", "x"], {"ENCRYPTION_KEY_FILE": "nowhere"}, 3, "nowhere"),
        (["encrypt", "--name", "A", "x"], {"ENCRYPTION_KEY": KEY}, 2, "belong together"),
        (["encrypt", "--name", "A", "--pipeline", "a/b", "x"], {"ENCRYPTION_KEY": KEY}, 2, "a/b"),
        (["encrypt", ""], {"ENCRYPTION_KEY": KEY}, 1, "empty"),
        (["keys", "rotate", "nowhere"], {"ENCRYPTION_KEY": KEY}, 3, "nowhere"),
    ],
)
def test_a_mistake_gets_an_error_with_advice(
    tmp_path: Path, arguments: list[str], environ: dict[str, str], code: int, says: str
) -> None:
    """One line, the documented exit code, and never a key."""
    done = fastflow(*arguments, cwd=tmp_path, data="", **environ)
    assert (done.returncode, says in done.stderr) == (code, True), done.stderr
    assert "Traceback" not in done.stderr
    assert KEY not in done.stderr + done.stdout


def test_keys_are_rotated_in_a_whole_folder(tmp_path: Path) -> None:
    """A dry run writes nothing. The real one changes only tokens, keeps file modes, and reports what no key opens."""
    root = tmp_path / "pipelines"
    good = a_pipeline(root, "shop", timeout=5, encrypted_env={"A": encrypted(tmp_path, "a")})
    foreign = Fernet(Fernet.generate_key()).encrypt(b"x").decode()
    bad = a_pipeline(root, "other", encrypted_env={"B": foreign})
    (root / "shop" / "stray.json").write_text(good.read_text())
    good.chmod(0o640)
    before = good.read_text(), bad.read_text()
    keys = {"ENCRYPTION_KEY": f"{NEW},{KEY}"}

    dry = fastflow("keys", "rotate", "pipelines", "--dry-run", cwd=tmp_path, **keys)
    assert (good.read_text(), bad.read_text()) == before
    done = fastflow("keys", "rotate", "pipelines", cwd=tmp_path, **keys)
    assert dry.stdout == done.stdout
    assert "pipelines/other/pipeline.json:3: encrypted_env.B cannot be opened by any key" in done.stdout
    assert "1 of 2 tokens, 1 of 2 files changed" in done.stderr
    assert (dry.returncode, done.returncode) == (1, 1)
    assert bad.read_text() == before[1]
    token = json.loads(good.read_text())["encrypted_env"]["A"]
    assert SecretBox(NEW).open({"A": token}, pipeline="shop") == {"A": "a"}
    assert good.read_text() == before[0].replace(json.loads(before[0])["encrypted_env"]["A"], token)
    assert good.stat().st_mode & 0o777 == 0o640

    alone = fastflow("keys", "rotate", ".", "--bind", cwd=root / "shop", ENCRYPTION_KEY=NEW)
    assert (alone.returncode, "bound to this place" in alone.stdout) == (0, True)
    assert fastflow("keys", "rotate", "pipelines/shop", cwd=tmp_path, ENCRYPTION_KEY=NEW).returncode == 0


def test_a_new_key_is_valid(tmp_path: Path) -> None:
    """It is different each time."""
    made = [fastflow("keys", "new", cwd=tmp_path).stdout.strip() for _ in range(2)]
    assert made[0] != made[1]
    assert fastflow("encrypt", "x", cwd=tmp_path, ENCRYPTION_KEY=",".join(made)).returncode == 0


def test_validate_prints_problems_notices_and_slots(tmp_path: Path) -> None:
    """As text and as JSON, with an exit code for CI."""
    a_pipeline(tmp_path, "good", schedule_cron="0 9 * * *", timezone="Asia/Kathmandu", timeot=5)
    done = fastflow("validate", ".", cwd=tmp_path)
    assert done.returncode == 0
    assert "did you mean timeout?" in done.stdout
    assert done.stdout.count("09:00:00 +0545") == 3
    a_pipeline(tmp_path, "bad", schedule_cron="0 25 * * *")
    done = fastflow("validate", ".", "--slots", "1", "--json", cwd=tmp_path)
    assert done.returncode == 1
    bad, good = json.loads(done.stdout)
    assert (bad["valid"], bad["schedules"]) == (False, [])
    assert [len(each["next_slots"]) for each in good["schedules"]] == [1]


def test_the_schema_is_printed_for_editors(tmp_path: Path) -> None:
    """The same schema that a gateway serves."""
    assert json.loads(fastflow("schema", cwd=tmp_path).stdout) == json.loads(json.dumps(pipeline_schema()))
