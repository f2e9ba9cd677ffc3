"""What a person sees of a training that goes on: how fast, how long still, how good."""

import io
from types import SimpleNamespace

import pytest
from rich.console import Console

from recipes.progress import ProgressDisplay


class Clock:
    """Seconds that go on when they are told to."""

    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def shown():
    """What was written so far, since it was last asked."""
    file = io.StringIO()

    def read():
        text = file.getvalue()
        file.seek(0)
        file.truncate()
        return text

    read.file = file
    return read


def display(clock, shown, *, terminal, epochs=3, steps=10):
    best = SimpleNamespace(monitor="val_accuracy", value=0.75, epoch=0)
    console = Console(file=shown.file, force_terminal=terminal, width=100, color_system=None)
    return ProgressDisplay(epochs, steps, best, console, clock)


def go_through(callback, clock, epoch, first=0, last=10, seconds=2.0, tracing=0.0):
    """Steps of an epoch, counted from 0, each of so many seconds; the first takes longer by those of tracing."""
    callback.on_epoch_begin(epoch)
    clock.now += tracing
    for step in range(first, last):
        clock.now += seconds
        callback.on_train_batch_end(step, {"loss": 0.5, "accuracy": 0.25})


def end(callback, clock, epoch, validation=6.0):
    clock.now += validation
    callback.on_epoch_end(epoch, {"loss": 0.5, "accuracy": 0.25, "val_loss": 0.7, "val_accuracy": 0.75})


def test_a_log_gets_a_line_per_epoch_with_all_that_counts(clock, shown):
    callback = display(clock, shown, terminal=False)
    callback.on_train_begin()
    go_through(callback, clock, 0, tracing=30)
    assert shown() == ""
    end(callback, clock, 0)
    # Two more epochs of ten steps of two seconds, and six for validation: what was traced is not traced again.
    assert shown() == (
        "epoch 1/3  56 s  0.5 steps/s  loss 0.5000/0.7000  accuracy 0.2500/0.7500  "
        "best val_accuracy 0.7500 of epoch 1  left 0:00:52\n"
    )
    callback.close()
    assert shown() == ""


def test_a_terminal_shows_the_epoch_under_way(clock, shown):
    callback = display(clock, shown, terminal=True)
    callback.on_train_begin()
    go_through(callback, clock, 0)
    end(callback, clock, 0)
    shown()
    go_through(callback, clock, 1, last=4)
    seen = shown()
    # Six steps of two seconds and six for validation; then an epoch of twenty-six.
    assert "4/10  0.5 steps/s  left 0:00:18, in all 0:00:44" in seen
    assert "loss 0.5000  accuracy 0.2500  best val_accuracy 0.7500 of epoch 1" in seen
    callback.close()


def test_during_validation_the_time_left_goes_on(clock, shown):
    callback = display(clock, shown, terminal=True)
    callback.on_train_begin()
    go_through(callback, clock, 0)
    end(callback, clock, 0)
    go_through(callback, clock, 1)
    shown()
    for left in (4, 2, 0, 0):
        clock.now += 2
        callback.on_test_batch_end(0)
        assert f"10/10  0.5 steps/s  left 0:00:0{left}, in all 0:00:{26 + left}" in shown()
    callback.close()


def test_an_epoch_that_goes_on_in_its_middle_is_not_taken_for_a_quick_one(clock, shown):
    callback = display(clock, shown, terminal=False, epochs=2)
    callback.on_train_begin()
    go_through(callback, clock, 0, first=9, seconds=4.0)
    end(callback, clock, 0)
    assert "  0.25 steps/s  " in shown()


def test_many_quick_steps_are_shown_now_and_then(clock, shown):
    callback = display(clock, shown, terminal=True, steps=100_000)
    callback.on_train_begin()
    go_through(callback, clock, 0, last=99_999, seconds=1e-4)
    assert 90 < shown().count("epoch 1/3") < 110
    callback.close()


def test_nothing_is_best_before_the_first_epoch_has_ended(clock, shown):
    callback = display(clock, shown, terminal=True)
    callback.best.epoch = None
    callback.on_train_begin()
    go_through(callback, clock, 0, last=2)
    assert "best" not in shown()
    callback.close()
