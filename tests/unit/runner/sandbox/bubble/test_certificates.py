"""Which certificates a sandbox trusts."""

from __future__ import annotations

from pathlib import Path

import pytest

from fastflow_runner.sandbox.bubble import certificates
from fastflow_runner.sandbox.bubble.certificates import Certificates, trusted


@pytest.fixture
def system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    bundle = tmp_path / "system.pem"
    bundle.write_text("system\n")
    monkeypatch.setattr(certificates, "BUNDLES", ("/nowhere/ca.crt", str(bundle)))
    return bundle


def test_it_trusts_what_the_machine_trusts(tmp_path: Path, system: Path) -> None:
    """The machine's own file is shown, at its place."""
    assert trusted(tmp_path / "all.pem", "") == Certificates(str(system), str(system))
    assert trusted(tmp_path / "all.pem", str(system)) == Certificates(str(system), str(system))


def test_further_certificates_are_added(tmp_path: Path, system: Path) -> None:
    """The operator's come beside the machine's, where programs look for these."""
    (tmp_path / "own.pem").write_text("own\n")
    assert trusted(tmp_path / "all.pem", str(tmp_path / "own.pem")) == Certificates(
        str(tmp_path / "all.pem"), str(system)
    )
    assert (tmp_path / "all.pem").read_text().split() == ["system", "own"]


def test_on_a_machine_that_trusts_nobody_only_the_operator_s_are_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without those, there are none."""
    monkeypatch.setattr(certificates, "BUNDLES", ("/nowhere/ca.crt",))
    (tmp_path / "own.pem").write_text("own\n")
    assert trusted(tmp_path / "all.pem", "") is None
    assert trusted(tmp_path / "all.pem", str(tmp_path / "own.pem")) == Certificates(
        str(tmp_path / "all.pem"), "/nowhere/ca.crt"
    )


def test_a_missing_file_is_an_error(tmp_path: Path, system: Path) -> None:
    """Its name is in it."""
    with pytest.raises(FileNotFoundError, match=r"gone\.pem"):
        trusted(tmp_path / "all.pem", str(tmp_path / "gone.pem"))
