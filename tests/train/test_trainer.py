from __future__ import annotations

import errno
import gc
import os
import signal
import subprocess
import sys
import textwrap
import threading

import numpy as np
import pytest

import dlkit as dl
from dlkit.data import Batches
from dlkit.train import (
    Callback,
    Checkpoint,
    CheckpointError,
    EarlyStopping,
    Interrupted,
    RunFolder,
    RunFolderError,
    TrainError,
    load_checkpoint,
)
from dlkit.train.trainer import count_correct

# What is measured, not computed: it may differ between two runs that are otherwise the same.
MEASURED = ("seconds", "samples_per_s", "gflops")


def computed(history) -> list[dict]:
    return [{key: value for key, value in record.items() if key not in MEASURED} for record in history]


class StopAt(Callback):
    """Ctrl-C (or another signal) while the given step is under way."""

    def __init__(self, step: int, number: int = signal.SIGINT) -> None:
        self.step, self.number = step, number

    def on_batch_end(self, trainer) -> None:
        if trainer.step == self.step:
            os.kill(os.getpid(), self.number)


def test_it_learns(make_trainer, make_batches, points):
    trainer = make_trainer(dropout=0.0)
    history = trainer.fit(make_batches(), epochs=15, validation=points)
    assert history[-1]["val_accuracy"] > 0.95
    assert history[-1]["train_loss"] < history[0]["train_loss"] / 2
    assert trainer.evaluate(*points)["accuracy"] == history[-1]["val_accuracy"]


def test_records(make_trainer, make_batches, points):
    trainer = make_trainer()
    history = trainer.fit(make_batches(), epochs=3, validation=points)
    assert [r["epoch"] for r in history] == [1, 2, 3]
    assert [r["step"] for r in history] == [10, 20, 30]
    for record in history:
        assert 0 <= record["train_accuracy"] <= 1
        assert record["seconds"] > 0
        assert record["samples_per_s"] == pytest.approx(300 / record["seconds"])
        assert record["lr"] == 0.01
        # forward and two products backward per layer, but for the gradient of the inputs
        flops = 300 * 2 * (8 * 16 * 2 + 16 * 3 * 3)
        assert record["gflops"] * record["seconds"] * 1e9 == pytest.approx(flops, rel=0.5)
    assert trainer.epoch == 3
    assert trainer.step == 30
    assert history is trainer.history


def test_train_loss_is_the_mean_over_samples(make_trainer, make_batches, points):
    """With a learning rate of (nearly) zero it is the loss of the fixed weights, short last batch or not."""
    trainer = make_trainer(dropout=0.0)
    trainer.optimizer.param_groups[0]["lr"] = 1e-30
    record = trainer.fit(make_batches(), epochs=1, validation=points)[0]
    assert record["train_loss"] == pytest.approx(record["val_loss"], rel=1e-5)
    assert record["train_accuracy"] == record["val_accuracy"]


def test_without_validation(make_trainer, make_batches):
    record = make_trainer().fit(make_batches(), epochs=1)[0]
    assert record["val_loss"] is None
    assert record["val_accuracy"] is None


def test_fit_again_goes_on(make_trainer, make_batches):
    trainer = make_trainer()
    batches = make_batches()
    trainer.fit(batches, epochs=2)
    history = trainer.fit(batches, epochs=3)
    assert [r["epoch"] for r in history] == [1, 2, 3, 4, 5]


def test_same_seed_same_bits(make_trainer, make_batches, weights):
    a, b, c = make_trainer(seed=1), make_trainer(seed=1), make_trainer(seed=2)
    dl.manual_seed(7)
    a.fit(make_batches(), epochs=2)
    dl.manual_seed(7)
    b.fit(make_batches(), epochs=2)
    c.fit(make_batches(), epochs=2)
    assert weights(a) == weights(b) != weights(c)


def test_predict_and_evaluate(make_trainer, points):
    trainer = make_trainer()
    x = np.repeat(points[0], 4, axis=0)  # more than one block
    y = np.repeat(points[1], 4)
    outputs = trainer.predict(x)
    assert outputs.shape == (1200, 3)
    result = trainer.evaluate(x, y)
    assert result["accuracy"] == (outputs.argmax(axis=1) == y).mean()
    z = outputs.astype(np.float64)
    z -= z.max(axis=1, keepdims=True)
    losses = np.log(np.exp(z).sum(axis=1)) - z[np.arange(len(y)), y]
    assert result["loss"] == pytest.approx(losses.mean(), rel=1e-5)


def test_evaluation_leaves_modes_gradients_and_random_numbers_alone(make_trainer, points, weights):
    trainer = make_trainer()
    trainer.model.train()
    frozen = next(m for m in trainer.model.modules() if isinstance(m, dl.nn.Dropout))
    frozen.eval()
    before, state = weights(trainer), dl.kernels.random.get_state()
    first = trainer.predict(points[0])
    np.testing.assert_array_equal(first, trainer.predict(points[0]))  # no dropout
    trainer.evaluate(*points)
    assert trainer.model.training
    assert not frozen.training
    assert weights(trainer) == before
    assert dl.kernels.random.get_state() == state
    assert all(p.grad is None for p in trainer.model.parameters())
    assert dl.autograd.is_grad_enabled()


def test_modes_are_restored_after_an_error(make_trainer):
    trainer = make_trainer()
    trainer.model.train()
    with pytest.raises(Exception, match="5"):
        trainer.predict(np.zeros((4, 5), np.float32))
    assert trainer.model.training
    assert dl.autograd.is_grad_enabled()


def test_regression(points):
    """Labels with a floating dtype arrive as a Tensor; there is no accuracy."""
    dl.manual_seed(0)
    x = points[0]
    y = (x @ np.arange(8, dtype=np.float32))[:, None]
    model = dl.nn.Linear(8, 1)
    trainer = dl.train.Trainer(
        model, dl.optim.Adam(model.parameters(), lr=0.1), dl.nn.MSELoss(), progress=False
    )
    history = trainer.fit(Batches(x, y, batch_size=50), epochs=150, validation=(x, y))
    assert history[-1]["val_loss"] < 0.01
    assert history[-1]["train_accuracy"] is None
    assert history[-1]["val_accuracy"] is None


def test_any_iterable_of_batches(make_trainer, points):
    x, y = points
    trainer = make_trainer()
    history = trainer.fit([(x[:100], y[:100]), (x[100:], y[100:])], epochs=2)
    assert [r["step"] for r in history] == [2, 4]

    class Endless:
        def __iter__(self):
            yield x[:10], y[:10]

    trainer.fit(Endless(), epochs=1)
    assert trainer.step == 5


# ----------------------------------------------------------------------------------------------- resuming


def scheduler_of(kind):
    schedules = dl.optim.lr_scheduler
    return {
        "none": None,
        "step": lambda o: schedules.StepLR(o, step_size=2, gamma=0.5),
        "plateau": lambda o: schedules.ReduceLROnPlateau(o, patience=0, factor=0.5),
    }[kind]


@pytest.mark.parametrize("stop", [1, 4, 10, 13, 20, 29])
@pytest.mark.parametrize(
    ("optimizer", "schedule", "interval"),
    [("adam", "none", "epoch"), ("sgd", "step", "step"), ("adam", "plateau", "epoch")],
)
def test_ctrl_c_and_resume_give_the_same_bits(
    tmp_path, make_trainer, make_batches, points, weights, stop, optimizer, schedule, interval
):
    def trainer(run, *callbacks):
        return make_trainer(
            seed=3,
            optimizer=optimizer,
            scheduler=scheduler_of(schedule),
            scheduler_interval=interval,
            clip_norm=0.5,
            run=run,
            callbacks=[EarlyStopping(patience=50), *callbacks],
        )

    whole = trainer(RunFolder(tmp_path / "whole", {}))
    whole.fit(make_batches(), epochs=3, validation=points)

    stopped = trainer(RunFolder(tmp_path / "run", {}), StopAt(stop))
    with pytest.raises(Interrupted, match="checkpoint written to") as caught:
        stopped.fit(make_batches(), epochs=3, validation=points)
    assert caught.value.path == tmp_path / "run" / "checkpoint.safetensors"
    assert isinstance(caught.value, KeyboardInterrupt)
    assert stopped.step == stop

    run = RunFolder(tmp_path / "run", {}, resume=True)
    resumed = trainer(run)
    dl.manual_seed(99)  # the random state must come from the checkpoint
    history = resumed.fit(make_batches(), epochs=3, validation=points, resume=True)
    assert weights(resumed) == weights(whole)
    assert computed(history) == computed(whole.history)
    assert computed(run.metrics()) == computed(whole.history)
    for file in ("model.safetensors",):
        assert (tmp_path / "run" / file).read_bytes() == (tmp_path / "whole" / file).read_bytes()
    a, b = (load_checkpoint(tmp_path / f / "checkpoint.safetensors") for f in ("run", "whole"))
    assert a["random"] == b["random"]
    assert a["data"] == b["data"]
    assert str(a["optimizer"]) == str(b["optimizer"])
    assert str(a["scheduler"]) == str(b["scheduler"])


def test_many_stops_give_the_same_bits(tmp_path, make_trainer, make_batches, points, weights):
    whole = make_trainer(seed=1)
    whole.fit(make_batches(), epochs=2, validation=points)
    RunFolder(tmp_path / "run", {})
    for stop in range(1, 20, 3):
        run = RunFolder(tmp_path / "run", {}, resume=True)
        with pytest.raises(Interrupted):
            make_trainer(seed=1, run=run, callbacks=[StopAt(stop)]).fit(
                make_batches(), epochs=2, validation=points, resume=True
            )
    resumed = make_trainer(seed=1, run=RunFolder(tmp_path / "run", {}, resume=True))
    history = resumed.fit(make_batches(), epochs=2, validation=points, resume=True)
    assert weights(resumed) == weights(whole)
    assert computed(history) == computed(whole.history)


def test_going_on_in_the_same_process(tmp_path, make_trainer, make_batches, weights):
    """The trainer and the batches that were interrupted are themselves used again."""
    whole = make_trainer(seed=1)
    whole.fit(make_batches(), epochs=2)
    trainer = make_trainer(seed=1, run=RunFolder(tmp_path / "run", {}), callbacks=[StopAt(14)])
    batches = make_batches()
    with pytest.raises(Interrupted):
        trainer.fit(batches, epochs=2)
    trainer.fit(batches, epochs=2, resume=True)
    assert weights(trainer) == weights(whole)


def test_sigterm_is_answered_like_ctrl_c(tmp_path, make_trainer, make_batches):
    trainer = make_trainer(run=RunFolder(tmp_path / "run", {}), callbacks=[StopAt(5, signal.SIGTERM)])
    with pytest.raises(Interrupted, match="stopped by SIGTERM in epoch 1, after batch 5 of 10"):
        trainer.fit(make_batches(), epochs=2)
    assert (tmp_path / "run" / "checkpoint.safetensors").is_file()


def test_a_signal_in_the_last_epochs_validation_does_not_spoil_the_run(tmp_path, make_trainer, make_batches):
    class Late(Callback):
        def on_epoch_end(self, trainer, record):
            if trainer.epoch == 2:
                os.kill(os.getpid(), signal.SIGINT)

    trainer = make_trainer(run=RunFolder(tmp_path / "run", {}), callbacks=[Late()])
    assert len(trainer.fit(make_batches(), epochs=2)) == 2
    assert (tmp_path / "run" / "model.safetensors").is_file()


def test_interrupt_without_a_run_folder(make_trainer, make_batches):
    with pytest.raises(Interrupted, match="no checkpoint") as caught:
        make_trainer(callbacks=[StopAt(3)]).fit(make_batches(), epochs=1)
    assert caught.value.path is None


def test_signals_work_as_before_after_fit(make_trainer, make_batches):
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    make_trainer().fit(make_batches(), epochs=1)
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before
    with pytest.raises(Interrupted):
        make_trainer(callbacks=[StopAt(3)]).fit(make_batches(), epochs=1)
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before


def test_fit_in_another_thread(make_trainer, make_batches):
    trainer = make_trainer()
    thread = threading.Thread(target=trainer.fit, args=(make_batches(),), kwargs={"epochs": 1})
    thread.start()
    thread.join()
    assert trainer.epoch == 1


def test_a_killed_run_resumes_to_the_same_bits(tmp_path, make_trainer, make_batches, points, weights):
    """kill -9 in a process of its own; the last checkpoint is from some steps before."""
    script = textwrap.dedent(
        """
        import os, signal, sys
        import numpy as np
        import dlkit as dl
        from dlkit.train import Callback, Checkpoint, RunFolder, Trainer

        class Kill(Callback):
            def on_batch_end(self, trainer):
                if trainer.step == 17:
                    os.kill(os.getpid(), signal.SIGKILL)

        with np.load(sys.argv[1]) as arrays:
            x, y = arrays["x"], arrays["y"]
        dl.manual_seed(0)
        dl.set_num_threads(int(sys.argv[3]))
        model = dl.models.MLP(8, hidden=(16,), out_features=3, dropout=0.3)
        trainer = Trainer(
            model, dl.optim.Adam(model.parameters(), lr=0.01), dl.nn.CrossEntropyLoss(), progress=False,
            run=RunFolder(sys.argv[2], {}), callbacks=[Checkpoint(every=4, unit="step"), Kill()],
        )
        trainer.fit(dl.data.Batches(x, y, batch_size=32, seed=5), epochs=3, validation=(x, y))
        """
    )
    np.savez(tmp_path / "points.npz", x=points[0], y=points[1])
    arguments = [tmp_path / "points.npz", tmp_path / "run", dl.get_num_threads()]
    done = subprocess.run(
        [sys.executable, "-c", script, *map(str, arguments)], capture_output=True, text=True
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    run = RunFolder(tmp_path / "run", {}, resume=True)
    assert load_checkpoint(run.checkpoint)["step"] == 16
    resumed = make_trainer(run=run)
    history = resumed.fit(make_batches(), epochs=3, validation=points, resume=True)

    whole = make_trainer()
    whole.fit(make_batches(), epochs=3, validation=points)
    assert weights(resumed) == weights(whole)
    assert computed(history) == computed(whole.history) == computed(run.metrics())


def test_resume_of_a_finished_run_trains_no_more(tmp_path, make_trainer, make_batches, weights):
    first = make_trainer(run=RunFolder(tmp_path / "run", {}))
    first.fit(make_batches(), epochs=2)
    again = make_trainer(run=RunFolder(tmp_path / "run", {}, resume=True))
    history = again.fit(make_batches(), epochs=2, resume=True)
    assert again.step == 20
    assert computed(history) == computed(first.history)
    assert weights(again) == weights(first)


def test_resume_to_more_epochs(tmp_path, make_trainer, make_batches, weights):
    whole = make_trainer()
    whole.fit(make_batches(), epochs=4)
    make_trainer(run=RunFolder(tmp_path / "run", {})).fit(make_batches(), epochs=2)
    more = make_trainer(run=RunFolder(tmp_path / "run", {}, resume=True))
    more.fit(make_batches(), epochs=4, resume=True)
    assert weights(more) == weights(whole)


def test_resume_before_the_first_checkpoint_starts_over(tmp_path, make_trainer, make_batches, weights):
    whole = make_trainer()
    whole.fit(make_batches(), epochs=1)
    run = RunFolder(tmp_path / "run", {})
    run.log({"epoch": 1})  # of the run that was killed
    again = make_trainer(run=RunFolder(tmp_path / "run", {}, resume=True))
    again.fit(make_batches(), epochs=1, resume=True)
    assert weights(again) == weights(whole)
    assert len(again.run.metrics()) == 1


def test_resume_from_a_path(tmp_path, make_trainer, make_batches, weights):
    whole = make_trainer()
    whole.fit(make_batches(), epochs=3)
    first = make_trainer(callbacks=[Checkpoint(tmp_path / "c")])
    first.fit(make_batches(), epochs=2)
    second = make_trainer()
    second.fit(make_batches(), epochs=3, resume=tmp_path / "c")
    assert weights(second) == weights(whole)


def test_resume_without_a_folder(make_trainer, make_batches):
    with pytest.raises(TrainError, match="resume=True needs a trainer with a run folder"):
        make_trainer().fit(make_batches(), epochs=1, resume=True)


@pytest.fixture
def checkpoint(tmp_path, make_trainer, make_batches):
    trainer = make_trainer(callbacks=[Checkpoint(tmp_path / "c", every=7, unit="step"), StopAt(7)])
    with pytest.raises(Interrupted):
        trainer.fit(make_batches(), epochs=2)
    return tmp_path / "c"


def test_checkpoint_of_another_model(checkpoint, make_batches):
    model = dl.models.MLP(8, hidden=(17,), out_features=3, dropout=0.3)
    trainer = dl.train.Trainer(
        model, dl.optim.Adam(model.parameters()), dl.nn.CrossEntropyLoss(), progress=False
    )
    with pytest.raises(CheckpointError, match=r"c does not fit: .*16.*17|c does not fit: .*17.*16"):
        trainer.fit(make_batches(), epochs=2, resume=checkpoint)


def test_checkpoint_of_other_data(checkpoint, make_trainer, make_batches, points):
    with pytest.raises(CheckpointError, match=r"does not fit: .*seed is 6 here but 5 in the state"):
        make_trainer().fit(make_batches(seed=6), epochs=2, resume=checkpoint)
    with pytest.raises(CheckpointError, match="the samples themselves differ"):
        make_trainer().fit(
            Batches(points[0] * 2, points[1], batch_size=32, seed=5), epochs=2, resume=checkpoint
        )
    with pytest.raises(CheckpointError, match="batches is a list without load_state_dict"):
        make_trainer().fit([points], epochs=2, resume=checkpoint)


def test_checkpoint_with_and_without_scheduler(checkpoint, make_trainer, make_batches):
    with pytest.raises(CheckpointError, match="the trainer has one scheduler but the checkpoint none"):
        make_trainer(scheduler=scheduler_of("step")).fit(make_batches(), epochs=2, resume=checkpoint)


def test_checkpoint_cut_short(checkpoint, make_trainer, make_batches):
    checkpoint.write_bytes(checkpoint.read_bytes()[:-100])
    with pytest.raises(CheckpointError, match="cut short"):
        make_trainer().fit(make_batches(), epochs=2, resume=checkpoint)


def test_checkpoint_that_is_not_of_a_trainer(tmp_path, make_trainer, make_batches):
    dl.train.save_checkpoint(tmp_path / "c", {"weights": 1})
    with pytest.raises(CheckpointError, match="does not fit: it lacks 'model'"):
        make_trainer().fit(make_batches(), epochs=2, resume=tmp_path / "c")


def test_mid_epoch_checkpoint_of_data_without_state(tmp_path, make_trainer, points):
    batches = [(points[0][:50], points[1][:50])] * 4
    trainer = make_trainer(callbacks=[Checkpoint(tmp_path / "c"), StopAt(2)])
    with pytest.raises(Interrupted):
        trainer.fit(batches, epochs=2)
    with pytest.raises(CheckpointError, match="within an epoch, and its batches had no state_dict"):
        make_trainer().fit(batches, epochs=2, resume=tmp_path / "c")


def test_other_thread_count_warns(checkpoint, make_trainer, make_batches):
    threads = dl.get_num_threads()
    try:
        dl.set_num_threads(threads + 1)
        if dl.get_num_threads() == threads:
            pytest.skip("this machine has no other number of threads to offer")
        with pytest.warns(UserWarning, match=f"written with {threads} threads, now there are {threads + 1}"):
            make_trainer().fit(make_batches(), epochs=2, resume=checkpoint)
    finally:
        dl.set_num_threads(threads)


# ------------------------------------------------------------------------------------------ what goes wrong


def full_disk(*args, **kwargs):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_full_disk_at_a_checkpoint(tmp_path, make_trainer, make_batches, monkeypatch):
    class FillUp(Callback):
        def on_batch_end(self, trainer):
            if trainer.step == 6:
                monkeypatch.setattr("os.fsync", full_disk)

    run = RunFolder(tmp_path / "run", {})
    trainer = make_trainer(run=run, callbacks=[FillUp(), Checkpoint(every=4, unit="step")])
    with pytest.raises(
        RunFolderError,
        match=r"checkpoint.safetensors: the disk is full .* stopped in epoch 1, step 8 \(the older",
    ) as caught:
        trainer.fit(make_batches(), epochs=1)
    assert caught.value.errno == errno.ENOSPC
    assert load_checkpoint(run.checkpoint)["step"] == 4


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full on this system")
def test_full_disk_at_the_metrics(tmp_path, make_trainer, make_batches):
    run = RunFolder(tmp_path / "run", {})
    (tmp_path / "run" / "metrics.jsonl").symlink_to("/dev/full")
    with pytest.raises(RunFolderError, match=r"metrics.jsonl: the disk is full"):
        make_trainer(run=run).fit(make_batches(), epochs=1)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"epochs": 0}, ValueError, "epochs is 0, expected an integer of at least 1"),
        ({"epochs": 1.5}, ValueError, "epochs is 1.5"),
        ({"epochs": True}, ValueError, "epochs is True"),
        ({"epochs": "3"}, ValueError, "epochs is '3'"),
        (
            {"batches": (np.zeros((3, 8)), np.zeros(3))},
            TypeError,
            r"batches is a tuple, expected dlkit.data.Batches",
        ),
        ({"batches": None}, TypeError, "batches is a NoneType"),
        ({"batches": iter([1])}, TypeError, "can be iterated over only once"),
        ({"batches": []}, TrainError, "batches yields no batch in epoch 1"),
        ({"validation": np.zeros(3)}, TypeError, r"expected as a tuple \(x, y\)"),
        (
            {"validation": (np.zeros((3, 8), np.float32), np.zeros(2, int))},
            TrainError,
            "validation has 3 inputs and 2 labels",
        ),
        (
            {"validation": (np.zeros((0, 8), np.float32), np.zeros(0, int))},
            TrainError,
            "validation has 0 inputs and 0 labels",
        ),
        (
            {"validation": (np.zeros((3, 8)), np.zeros(3, int))},
            TrainError,
            "x is float64 but the model's parameters are float32: convert once",
        ),
        ({"batches": Batches(np.zeros((3, 8)), np.zeros(3, int))}, TrainError, r"x.astype\(np.float32\)"),
    ],
)
def test_wrong_arguments_of_fit(make_trainer, make_batches, arguments, error, message):
    with pytest.raises(error, match=message):
        make_trainer().fit(**{"batches": make_batches(), "epochs": 1, **arguments})


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"scheduler_interval": "batch"}, ValueError, "scheduler_interval is 'batch'"),
        ({"clip_norm": 0}, ValueError, "clip_norm is 0, expected a positive number"),
        ({"clip_value": -1.0}, ValueError, "clip_value is -1.0"),
        ({"clip_norm": float("nan")}, ValueError, "clip_norm is nan"),
        ({"clip_norm": 1.0, "clip_value": 1.0}, ValueError, "expected one of them at most"),
        ({"run": "folder"}, TypeError, "run is a str, expected a dlkit.train.RunFolder"),
        ({"callbacks": [print]}, TypeError, "callbacks holds a builtin_function_or_method"),
    ],
)
def test_wrong_arguments_of_trainer(make_trainer, options, error, message):
    with pytest.raises(error, match=message):
        make_trainer(**options)


def test_wrong_arguments_of_evaluate_and_predict(make_trainer, points):
    trainer = make_trainer()
    with pytest.raises(TrainError, match="x has 300 samples and y 299"):
        trainer.evaluate(points[0], points[1][1:])
    with pytest.raises(TrainError, match="x has 0 samples and y 0"):
        trainer.evaluate(points[0][:0], points[1][:0])
    with pytest.raises(TrainError, match=r"x is \(0, 8\), expected at least one sample"):
        trainer.predict(points[0][:0])
    with pytest.raises(TrainError, match="x is float64"):
        trainer.predict(points[0].astype(np.float64))


# ---------------------------------------------------------------------------------- callbacks, clipping, cost


def test_callbacks_are_called_in_order(make_trainer, make_batches, points):
    calls = []

    class Note(Callback):
        def on_fit_start(self, trainer):
            calls.append("fit start")

        def on_epoch_start(self, trainer):
            calls.append(f"epoch {trainer.epoch + 1}")

        def on_batch_end(self, trainer):
            calls.append(trainer.step)
            assert np.isfinite(trainer.batch_loss)
            assert trainer.partial.batches == trainer.step - 5 * trainer.epoch

        def on_epoch_end(self, trainer, record):
            assert record is trainer.history[-1]
            calls.append(f"end {trainer.epoch}")

        def on_fit_end(self, trainer):
            calls.append("fit end")

        def close(self, trainer):
            calls.append("close")

    make_trainer(callbacks=[Note()]).fit(make_batches(batch_size=60), epochs=2)
    assert calls == [
        "fit start",
        *("epoch 1", 1, 2, 3, 4, 5, "end 1"),
        *("epoch 2", 6, 7, 8, 9, 10, "end 2"),
        "fit end",
        "close",
    ]


def test_close_is_called_after_an_error(make_trainer, make_batches):
    closed = []

    class Fail(Callback):
        def on_batch_end(self, trainer):
            raise RuntimeError("of the test")

        def on_fit_end(self, trainer):
            pytest.fail("training did not come to its end")

        def close(self, trainer):
            closed.append(True)

    with pytest.raises(RuntimeError, match="of the test"):
        make_trainer(callbacks=[Fail()]).fit(make_batches(), epochs=1)
    assert closed == [True]


def test_clipping_by_norm(make_trainer, make_batches):
    norms = []

    class Norm(Callback):
        def on_batch_end(self, trainer):
            squares = sum(
                float((p.grad.data.astype(np.float64) ** 2).sum()) for p in trainer.model.parameters()
            )
            norms.append(squares**0.5)

    make_trainer(clip_norm=0.01, callbacks=[Norm()]).fit(make_batches(), epochs=1)
    assert max(norms) <= 0.01 * (1 + 1e-5)
    norms.clear()
    make_trainer(callbacks=[Norm()]).fit(make_batches(), epochs=1)
    assert min(norms) > 0.01


def test_clipping_by_value(make_trainer, make_batches):
    largest = []

    class Largest(Callback):
        def on_batch_end(self, trainer):
            largest.append(max(float(np.abs(p.grad.data).max()) for p in trainer.model.parameters()))

    make_trainer(clip_value=1e-3, callbacks=[Largest()]).fit(make_batches(), epochs=1)
    assert max(largest) <= np.float32(1e-3)
    assert max(largest) > 0.9e-3


def test_scheduler_per_epoch_and_per_step(make_trainer, make_batches):
    lrs = [r["lr"] for r in make_trainer(scheduler=scheduler_of("step")).fit(make_batches(), epochs=5)]
    np.testing.assert_allclose(lrs, [0.01, 0.01, 0.005, 0.005, 0.0025])
    trainer = make_trainer(scheduler=scheduler_of("step"), scheduler_interval="step")
    trainer.fit(make_batches(), epochs=1)
    assert trainer.lr == pytest.approx(0.01 * 0.5**5)


def test_plateau_scheduler_watches_the_validation_loss(make_trainer, make_batches, points):
    trainer = make_trainer(scheduler=scheduler_of("plateau"))
    wrong = (points[0], (points[1] + 1) % 3)  # gets worse as training goes on
    history = trainer.fit(make_batches(), epochs=6, validation=wrong)
    assert history[-1]["lr"] < 0.01


@pytest.mark.parametrize(
    ("outputs", "labels", "right"),
    [
        (np.array([[0, 1], [1, 0], [0, 1.0]]), np.array([1, 1, 1]), 2),
        (np.zeros((3, 1)), np.array([0, 0, 0]), None),
        (np.zeros(3), np.array([0, 0, 0]), None),
        (np.zeros((3, 2)), np.zeros(3), None),
        (np.zeros((3, 2)), np.zeros((3, 2), int), None),
    ],
)
def test_count_correct(outputs, labels, right):
    assert count_correct(outputs, labels) == right


def test_memory_does_not_grow_with_the_number_of_steps(make_trainer, make_batches):
    trainer, batches = make_trainer(), make_batches(batch_size=4)
    trainer.fit(batches, epochs=2)
    gc.collect()
    before = len(gc.get_objects())
    trainer.fit(batches, epochs=4)
    gc.collect()
    assert len(gc.get_objects()) - before < 200  # 300 steps: less than one object a step


def test_a_learning_rule_of_ones_own(make_trainer, make_batches, points):
    class Counting(dl.train.Trainer):
        """Learns nothing, answers always the first class."""

        def train_batch(self, x, y):
            outputs = np.zeros((len(x), 3), np.float32)
            outputs[:, 0] = 1
            return 2.5, outputs

    plain = make_trainer()
    trainer = Counting(plain.model, plain.optimizer, plain.loss, progress=False)
    record = trainer.fit(make_batches(), epochs=1)[0]
    assert record["train_loss"] == 2.5
    assert record["train_accuracy"] == (points[1] == 0).mean()
