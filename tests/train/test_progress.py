from __future__ import annotations

import io
import re
import sys

import pytest

from dlkit.train import EarlyStopping, Interrupted, ProgressBar
from dlkit.train.progress import duration


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_plain_lines(make_trainer, make_batches, points):
    out = io.StringIO()
    make_trainer(callbacks=[ProgressBar(file=out)]).fit(make_batches(), epochs=3, validation=points)
    lines = out.getvalue().splitlines()
    assert len(lines) >= 2
    for line, epoch in ((lines[0], 1), (lines[-1], 3)):
        assert re.fullmatch(
            rf"epoch {epoch}/3  loss \d+\.\d{{4}}  accuracy \d+\.\d\d%  val loss \d+\.\d{{4}}  "
            rf"val accuracy \d+\.\d\d%  [\d,]+ samples/s(  \d+ GFLOP/s)?",
            line,
        )
    assert "\x1b" not in out.getvalue()


def test_each_epoch_gets_a_line_if_they_are_long(make_trainer, make_batches, monkeypatch):
    clock = iter(range(100000))
    monkeypatch.setattr("dlkit.train.progress.monotonic", lambda: float(next(clock)))
    out = io.StringIO()
    make_trainer(callbacks=[ProgressBar(file=out)]).fit(make_batches(), epochs=4)
    lines = out.getvalue().splitlines()
    assert [line.split()[1] for line in lines if "samples/s" in line and "left" not in line] == [
        "1/4",
        "2/4",
        "3/4",
        "4/4",
    ]


def test_lines_within_a_long_epoch(make_trainer, make_batches, monkeypatch):
    clock = iter(range(0, 10**7, 16))
    monkeypatch.setattr("dlkit.train.progress.monotonic", lambda: float(next(clock)))
    out = io.StringIO()
    make_trainer(callbacks=[ProgressBar(file=out)]).fit(make_batches(), epochs=1)
    assert re.search(r"epoch 1/1  loss \d.*samples/s  .* left", out.getvalue())


def test_bar_on_a_terminal(make_trainer, make_batches, points, monkeypatch):
    pytest.importorskip("rich")
    monkeypatch.setattr("dlkit.train.progress._REDRAW_AT_MOST", 0.0)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")
    out = Terminal()
    make_trainer(callbacks=[ProgressBar(file=out)]).fit(make_batches(), epochs=3, validation=points)
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", out.getvalue())
    assert "━" in text
    assert re.search(r"epoch 2/3  loss \d\.\d+  accuracy [\d.]+%  [\d,]+ samples/s  \d+ s left", text)
    assert re.search(r"\n?epoch 3/3 .* val accuracy", text)
    assert "\x1b[?25h" in out.getvalue()  # the cursor is shown again


def test_the_terminal_is_given_back_after_an_interrupt(make_trainer, make_batches, monkeypatch):
    pytest.importorskip("rich")
    import os
    import signal

    from dlkit.train import Callback

    class Stop(Callback):
        def on_batch_end(self, trainer):
            os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setenv("TERM", "xterm")
    out = Terminal()
    with pytest.raises(Interrupted):
        make_trainer(callbacks=[ProgressBar(file=out), Stop()]).fit(make_batches(), epochs=3)
    assert out.getvalue().rstrip("\n").rfind("\x1b[?25h") > out.getvalue().rfind("\x1b[?25l")


def test_without_rich(make_trainer, make_batches, monkeypatch):
    for name in [name for name in sys.modules if name == "rich" or name.startswith("rich.")]:
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.setitem(sys.modules, "rich", None)
    out = Terminal()
    make_trainer(callbacks=[ProgressBar(file=out)]).fit(make_batches(), epochs=1)
    assert out.getvalue().startswith("epoch 1/1  loss")
    with pytest.raises(ImportError, match=r'pip install "dlkit\[cli\]"'):
        make_trainer(callbacks=[ProgressBar(file=out, bar=True)]).fit(make_batches(), epochs=1)


def test_early_stop_is_told(make_trainer, make_batches, points):
    out = io.StringIO()
    stopping = EarlyStopping("train_loss", patience=1, min_delta=1e9)
    make_trainer(callbacks=[stopping, ProgressBar(file=out)]).fit(make_batches(), epochs=9)
    lines = out.getvalue().splitlines()
    assert lines[-2].startswith("epoch 2/9")
    assert lines[-1].startswith("stopped: train_loss has not improved for 1 epochs")


def test_default_and_off(make_trainer, make_batches, capsys):
    make_trainer(progress=True).fit(make_batches(), epochs=1)
    captured = capsys.readouterr()
    assert "epoch 1/1" in captured.err
    assert captured.out == ""
    make_trainer(progress=False).fit(make_batches(), epochs=1)
    assert capsys.readouterr() == ("", "")


def test_batches_without_a_length(make_trainer, points):
    class Endless:
        def __iter__(self):
            yield points

    out = io.StringIO()
    make_trainer(callbacks=[ProgressBar(file=out)]).fit(Endless(), epochs=2)
    assert "epoch 2/2" in out.getvalue()


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(-1, "0 s"), (0.4, "0 s"), (59.4, "59 s"), (59.6, "1:00"), (185, "3:05"), (7210, "2:00:10")],
)
def test_duration(seconds, text):
    assert duration(seconds) == text
