from __future__ import annotations

import pytest

from dlkit.cli.errors import Stopped, report
from dlkit.data import DataError
from dlkit.recipes import SettingsError


@pytest.mark.parametrize(
    ("error", "status", "text"),
    [
        (
            SettingsError("lr is 0, expected a number above 0"),
            2,
            "error: lr is 0, expected a number above 0\n",
        ),
        (DataError("file.gz is damaged"), 1, "error: file.gz is damaged\n"),
        (OSError("no [bold]space[/bold] left"), 1, "error: no [bold]space[/bold] left\n"),
        (KeyError("weight"), 1, "error: KeyError: 'weight' (DLKIT_DEBUG=1 shows where)\n"),
        (ValueError(""), 1, "error: ValueError: no message (DLKIT_DEBUG=1 shows where)\n"),
        (MemoryError(), 1, "error: not enough memory\n"),
        (KeyboardInterrupt(), 130, "interrupted\n"),
        (Stopped("stopped\nresume with: this"), 130, "stopped\nresume with: this\n"),
    ],
)
def test_one_message_and_a_status(capsys, monkeypatch, error, status, text):
    monkeypatch.delenv("DLKIT_DEBUG", raising=False)
    assert report(error) == status
    assert capsys.readouterr().err == text


def test_debug_shows_where(capsys, monkeypatch):
    monkeypatch.setenv("DLKIT_DEBUG", "1")
    with pytest.raises(DataError) as caught:
        raise DataError("damaged")
    assert report(caught.value) == 1
    captured = capsys.readouterr().err
    assert "Traceback" in captured
    assert "test_errors.py" in captured
    assert captured.endswith("error: damaged\n")


def test_long_messages_are_not_broken_into_lines(capsys, monkeypatch):
    monkeypatch.delenv("DLKIT_DEBUG", raising=False)
    message = "a path/" * 60
    report(DataError(message))
    assert capsys.readouterr().err == f"error: {message}\n"
