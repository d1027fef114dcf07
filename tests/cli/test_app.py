from __future__ import annotations

import subprocess
import sys

import pytest
from typer.testing import CliRunner

import dlkit
from dlkit.cli import main
from dlkit.cli.app import app


def test_help_lists_the_commands_in_order():
    text = CliRunner().invoke(app, ["--help"]).output
    places = [text.index(f" {name} ") for name in ("train", "predict", "list", "bench", "config")]
    assert places == sorted(places)


def test_version(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.strip() == f"dlkit {dlkit.__version__}"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["trian"], "Did you mean 'train'"),
        (["train", "mpl"], "Did you mean 'mlp'"),
        (["train", "mlp", "--epoch", "3"], "--epochs"),
        (["predict"], "Missing argument"),
        (["list", "--jsn"], "No such option"),
        (["config", "extra"], "unexpected extra argument"),
    ],
)
def test_wrong_command_lines(capsys, arguments, message):
    assert main(arguments) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("error: ")
    assert message in captured.err
    assert "Traceback" not in captured.err
    assert "--help shows how to use it" in captured.err


def test_as_a_module():
    done = subprocess.run([sys.executable, "-m", "dlkit", "list"], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0
    assert "dlkit train mlp" in done.stdout
    wrong = subprocess.run([sys.executable, "-m", "dlkit", "lst"], capture_output=True, text=True, timeout=60)
    assert wrong.returncode == 2
    assert wrong.stderr.startswith("error: ")


def test_a_reader_that_leaves_early_is_no_error():
    code = "import sys; from dlkit.cli import main; sys.exit(main(['list', '--json']))"
    with subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        process.stdout.close()
        assert "Traceback" not in process.stderr.read()
        process.wait(60)


def test_without_typer_it_says_what_to_install():
    code = "import sys\nsys.modules['typer'] = None\nfrom dlkit.cli import main\nsys.exit(main(['list']))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert 'pip install "dlkit[cli]"' in done.stderr
    assert "Traceback" not in done.stderr
