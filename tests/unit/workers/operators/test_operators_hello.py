"""The example DAG `hello`, task after task."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

if TYPE_CHECKING:
    import pytest
    from operators_bench import Bench

HELLO = Path(__file__).parents[4] / "dags" / "hello"


def test_hello(bench: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copy(HELLO / "hello.py", bench.bundle)
    sys.modules.pop("hello", None)
    greet, shout = yaml.safe_load((HELLO / "dag.yaml").read_text())["spec"]["tasks"]
    first: dict[str, Any] = bench.run(greet, params={"name": "world"}).outputs
    second = bench.run(shout, inputs={"greeting": first["greeting"]})
    assert second.outputs == {"shouted": "HELLO, WORLD!"}
    assert capsys.readouterr().out == "HELLO, WORLD!\n"
