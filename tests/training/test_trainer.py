"""The loop itself, on a model of a few numbers."""

from __future__ import annotations

import json
import math

import pytest
import torch
from torch import nn

from yggdrasil.core.errors import ConfigError, ModelError
from yggdrasil.training.checkpoints import latest_checkpoint, read_checkpoint
from yggdrasil.training.settings import TrainingSettings
from yggdrasil.training.trainer import Trainer

SETTINGS = {
    "steps": 8,
    "batch_size": 2,
    "seed": 3,
    "optimizer": {"lr": 0.05},
    "schedule": {"name": "cosine", "warmup_steps": 2},
    "ema": {"decay": 0.9},
    "checkpoint_every": 3,
    "log_every": 2,
}


class Points:
    """Points on a line, and where it goes."""

    def __len__(self):
        return 5

    def __getitem__(self, index):
        x = torch.tensor([index / 5, 1.0])
        return {"x": x, "y": x.sum(dim=0, keepdim=True)}


class Recorder:
    """Keeps what it is told."""

    def __init__(self):
        self.reports = []

    def on_step(self, report):
        self.reports.append(dict(report))


def modules(seed=0):
    torch.manual_seed(seed)
    return {"one": nn.Linear(2, 3), "two": nn.Linear(3, 1)}


def noisy_loss(held):
    """Gives a loss that draws, so that the order of draws shows."""

    def loss(batch, generator):
        noise = 0.1 * torch.randn(batch["x"].shape, generator=generator)
        made = held["two"](torch.tanh(held["one"](batch["x"] + noise)))
        return nn.functional.mse_loss(made, batch["y"])

    return loss


def trainer(folder, held=None, loss=None, **settings):
    held = held or modules()
    parsed = TrainingSettings(**{**SETTINGS, **settings})
    return Trainer(loss or noisy_loss(held), held, parsed, folder)


def state_of(made):
    """Gives everything that a run consists of: weights, average, optimizer, schedule, step."""
    tensors = {f"weights.{name}": each.detach() for name, each in made.parameters.items()}
    if made._average is not None:
        shadows = zip(made.parameters, made._average.shadow_params, strict=True)
        tensors |= {f"average.{name}": each for name, each in shadows}
    optimizer = made._optimizer.state_dict()
    for number, values in optimizer["state"].items():
        tensors |= {f"optimizer.{number}.{k}": torch.as_tensor(v) for k, v in values.items()}
    rates = [group["lr"] for group in optimizer["param_groups"]]
    return tensors, (made.step, rates, made._schedule.last_epoch, made._schedule.get_last_lr())


def assert_same(one, other):
    (tensors, rest), (others, other_rest) = state_of(one), state_of(other)
    assert rest == other_rest
    assert tensors.keys() == others.keys()
    different = [name for name, each in tensors.items() if not torch.equal(each, others[name])]
    assert different == []


@pytest.mark.parametrize("name", ["constant", "constant_with_warmup", "linear", "cosine"])
@pytest.mark.parametrize("ema", [None, {"decay": 0.9}])
@pytest.mark.parametrize("precision", ["no", "bf16"])
def test_a_run_that_resumes_is_the_run_that_never_stopped(tmp_path, name, ema, precision):
    settings = {
        "schedule": {"name": name, "warmup_steps": 2}, "ema": ema, "precision": precision,
    }  # fmt: skip
    whole = trainer(tmp_path / "whole", **settings)
    whole.fit(Points())
    trainer(tmp_path / "parts", **settings).fit(Points(), until=5)
    torch.randn(3)  # whatever happens between two processes
    again = trainer(tmp_path / "parts", modules(seed=9), **settings)
    assert again.resume()
    assert again.step == 5
    again.fit(Points())
    assert_same(again, whole)


def test_a_run_may_be_broken_off_between_checkpoints(tmp_path):
    whole = trainer(tmp_path / "whole")
    whole.fit(Points())

    class Break:
        def on_step(self, report):
            if report["step"] == 5:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        trainer(tmp_path / "parts").fit(Points(), observers=(Break(),))
    again = trainer(tmp_path / "parts", modules(seed=9))
    again.resume()
    assert again.step == 3
    again.fit(Points())
    assert_same(again, whole)


def test_an_average_that_is_wanted_later_begins_with_the_weights_of_then(tmp_path):
    trainer(tmp_path, ema=None).fit(Points(), until=4)
    again = trainer(tmp_path, modules(seed=9))
    again.resume()
    weights = [each.clone() for each in again.parameters.values()]
    again.use_average()
    assert all(torch.equal(a, b) for a, b in zip(again.parameters.values(), weights, strict=True))


def test_without_a_checkpoint_there_is_nothing_to_resume(tmp_path):
    made = trainer(tmp_path)
    assert not made.resume()
    assert made.step == 0


def test_a_checkpoint_of_other_parameters_is_refused(tmp_path):
    trainer(tmp_path).fit(Points(), until=1)
    held = {"one": nn.Linear(2, 1)}
    with pytest.raises(ModelError, match=r"2 that are not trained, 0 that it lacks.*'two\.bias'"):
        trainer(tmp_path, held, loss=lambda *_: held["one"].weight.sum()).resume()


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"batch_size": 3}, r"batch_size is 2 there, 3 here\. Use another folder"),
        ({"steps": 9}, r": steps is 8 there, 9 here"),
        ({"attention": "math"}, r"attention is 'auto' there, 'math' here"),
        (
            {"optimizer": {"lr": 0.1, "betas": (0.9, 0.99)}},
            r"optimizer\.lr is 0\.05 there, 0\.1 here; optimizer\.betas is \[0\.9, 0\.999\] there",
        ),
        ({"optimizer": {"lr": 0.05, "lr_factors": {"two": 2.0}}}, r"lr_factors\.two is None there"),
        ({"ema": None}, r"ema is {'decay': 0\.9} there, None here"),
        ({"ema": {"decay": 0.8}}, r"ema\.decay is 0\.9 there, 0\.8 here"),
        ({"schedule": {"name": "constant", "warmup_steps": 2}, "steps": 9}, r"schedule\.name"),
    ],
)
def test_a_checkpoint_of_other_settings_is_refused(tmp_path, changes, told):
    trainer(tmp_path).fit(Points(), until=1)
    again = trainer(tmp_path, modules(seed=9), **changes)
    before = [each.clone() for each in again.parameters.values()]
    with pytest.raises(ConfigError, match=rf"00000001 is of a run with other settings.*{told}"):
        again.resume()
    assert again.step == 0
    assert all(map(torch.equal, again.parameters.values(), before))


@pytest.mark.parametrize(
    ("settings", "changes"),
    [
        ({}, {"log_every": 1, "checkpoint_every": 1, "checkpoints_kept": 1}),
        ({"schedule": {"name": "constant"}}, {"steps": 20}),
        ({"schedule": {"name": "constant_with_warmup", "warmup_steps": 2}}, {"steps": 20}),
    ],
)
def test_settings_that_change_no_number_may_differ(tmp_path, settings, changes):
    trainer(tmp_path, **settings).fit(Points(), until=1)
    assert trainer(tmp_path, **{**settings, **changes}).resume()


def edit_saved_settings(folder, edit):
    path = latest_checkpoint(folder) / "state.json"
    state = json.loads(path.read_text())
    edit(state["settings"])
    path.write_text(json.dumps(state))


def test_settings_that_an_old_checkpoint_lacks_count_as_their_defaults(tmp_path):
    trainer(tmp_path).fit(Points(), until=1)
    edit_saved_settings(tmp_path, lambda saved: (saved.pop("attention"),
                                                 saved["optimizer"].pop("eps")))  # fmt: skip
    assert trainer(tmp_path).resume()
    with pytest.raises(ConfigError, match="attention is 'auto' there, 'math' here"):
        trainer(tmp_path, attention="math").resume()


def test_saved_settings_that_cannot_be_read_are_refused(tmp_path):
    trainer(tmp_path).fit(Points(), until=1)
    edit_saved_settings(tmp_path, lambda saved: saved.update(stepz=3))
    with pytest.raises(ModelError, match=r"are none that this version reads: (.|\n)*stepz"):
        trainer(tmp_path).resume()


def test_a_damaged_checkpoint_is_refused(tmp_path):
    trainer(tmp_path).fit(Points(), until=1)
    (latest_checkpoint(tmp_path) / "weights.safetensors").write_bytes(b"")
    with pytest.raises(ModelError, match="is no whole checkpoint"):
        trainer(tmp_path).resume()


def test_a_run_ends_where_it_is_told_to(tmp_path):
    made = trainer(tmp_path)
    made.fit(Points(), until=0)
    assert made.step == 0
    made.fit(Points(), until=2)
    assert made.step == 2
    made.fit(Points(), until=100)
    assert made.step == 8
    made.fit(Points())
    assert made.step == 8


def test_the_loss_goes_down(tmp_path):
    recorder = Recorder()
    trainer(tmp_path, steps=60).fit(Points(), observers=(recorder,))
    losses = [report["loss"] for report in recorder.reports]
    assert sum(losses[-10:]) < 0.2 * sum(losses[:10])


def test_reports_tell_step_rate_and_norm(tmp_path):
    recorder = Recorder()
    trainer(tmp_path).fit(Points(), observers=(recorder,))
    assert [report["step"] for report in recorder.reports] == [*range(1, 9)]
    rates = [report["lr"] for report in recorder.reports]
    assert rates[:3] == pytest.approx([0.0, 0.025, 0.05])
    assert all(report["grad_norm"] > 0 and report["seconds"] >= 0 for report in recorder.reports)
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [2, 4, 6, 8]
    assert lines == [report for report in recorder.reports if report["step"] % 2 == 0]


def test_checkpoints_are_written_in_time(tmp_path):
    trainer(tmp_path, checkpoints_kept=9).fit(Points())
    steps = [read_checkpoint(path).step for path in sorted(tmp_path.glob("checkpoint-*"))]
    assert steps == [3, 6, 8]


@pytest.mark.parametrize("bound", [1e-3, None])
def test_gradients_are_clipped_to_the_bound(tmp_path, bound):
    held, seen = {"one": nn.Linear(2, 1)}, []
    made = trainer(
        tmp_path, held, loss=lambda batch, _: 1e3 * held["one"](batch["x"]).sum(),
        steps=1, max_grad_norm=bound,
    )  # fmt: skip
    recorder = Recorder()
    step = made._optimizer.step
    made._optimizer.step = lambda: (seen.extend(p.grad.clone() for p in made.parameters.values()),
                                    step())  # fmt: skip
    made.fit(Points(), observers=(recorder,))
    norm = math.sqrt(sum(float(each.square().sum()) for each in seen))
    unclipped = recorder.reports[0]["grad_norm"]
    assert unclipped > 1e3
    assert norm == pytest.approx(unclipped if bound is None else bound, rel=1e-4)


@pytest.mark.parametrize(
    ("factor", "what"), [(math.nan, "loss of step 1 is nan"), (math.inf, "loss of step 1 is inf")]
)
def test_a_loss_that_is_no_number_ends_the_run(tmp_path, factor, what):
    held = modules()
    loss = noisy_loss(held)
    before = {name: each.clone() for name, each in held["one"].named_parameters()}
    made = trainer(tmp_path, held, loss=lambda *args: factor * loss(*args))
    with pytest.raises(ModelError, match=rf"{what}\. Lower the learning rate \(0\.05\)"):
        made.fit(Points())
    assert all(torch.equal(each, before[name]) for name, each in held["one"].named_parameters())
    assert latest_checkpoint(tmp_path) is None


def test_a_gradient_that_is_no_number_ends_the_run_before_weights_are_spoilt(tmp_path):
    held = {"one": nn.Linear(2, 1)}
    # The root has no slope at 0.
    loss = lambda *_: (0 * held["one"].weight).abs().sqrt().sum()  # noqa: E731
    with pytest.raises(ModelError, match="gradient's norm of step 1 is nan"):
        trainer(tmp_path, held, loss=loss).fit(Points())
    assert held["one"].weight.isfinite().all()


def test_an_empty_dataset_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="The dataset has no samples"):
        trainer(tmp_path).fit([])


def test_the_average_is_put_in_and_taken_out_again(tmp_path):
    made = trainer(tmp_path)
    made.fit(Points())
    weights = [each.clone() for each in made.parameters.values()]
    average = [each.clone() for each in made._average.shadow_params]
    assert not torch.equal(weights[0], average[0])
    restore = made.swap_in_average()
    assert all(torch.equal(*pair) for pair in zip(made.parameters.values(), average, strict=True))
    restore()
    assert all(torch.equal(*pair) for pair in zip(made.parameters.values(), weights, strict=True))
    made.use_average()
    assert all(torch.equal(*pair) for pair in zip(made.parameters.values(), average, strict=True))


def test_without_an_average_nothing_is_put_in(tmp_path):
    made = trainer(tmp_path, ema=None)
    made.fit(Points(), until=2)
    weights = [each.clone() for each in made.parameters.values()]
    made.use_average()
    made.swap_in_average()()
    assert all(torch.equal(*pair) for pair in zip(made.parameters.values(), weights, strict=True))


def test_the_average_is_the_published_one(tmp_path):
    """Shadows move by 1 - decay towards the weights; the decay is warmed up."""
    held, seen = modules(), []

    class Watch:
        def on_step(self, report):
            seen.append(held["one"].weight.detach().clone())

    start = held["one"].weight.detach().clone()
    made = trainer(tmp_path, held)
    made.fit(Points(), observers=(Watch(),))
    expected = start
    for step, weight in enumerate(seen):
        decay = min(0.9, (1 + step) / (10 + step)) if step else 0.0
        expected = expected - (1 - decay) * (expected - weight)
    torch.testing.assert_close(made._average.shadow_params[0], expected)


def test_factors_act_on_the_rate_of_a_node(tmp_path):
    held = modules()
    before = {name: each.detach().clone() for name, each in held["two"].named_parameters()}
    made = trainer(tmp_path, held, optimizer={"lr": 0.05, "lr_factors": {"two": 0.0}})
    made.fit(Points())
    assert all(torch.equal(each, before[name]) for name, each in held["two"].named_parameters())
    assert made._schedule.base_lrs == [0.05, 0.0]


def test_a_factor_of_a_node_that_is_not_trained_gives_the_nearest(tmp_path):
    with pytest.raises(ConfigError, match=r"lr_factors names 'two_', which is not trained.*'two'"):
        trainer(tmp_path, optimizer={"lr_factors": {"two_": 2.0}})


def test_modules_train_while_they_train(tmp_path):
    held, seen = modules(), []
    loss = noisy_loss(held)

    def watched(*args):
        seen.append(held["one"].training)
        return loss(*args)

    trainer(tmp_path, held, loss=watched).fit(Points(), until=1)
    assert seen == [True]
    assert not held["one"].training


def test_the_precision_acts_on_the_forward_pass_alone(tmp_path):
    held, seen = modules(), []
    loss = noisy_loss(held)
    held["one"].register_forward_hook(lambda _, __, out: seen.append(out.dtype))
    trainer(tmp_path / "a", held, loss, precision="bf16").fit(Points(), until=1)
    trainer(tmp_path / "b", held, loss, precision="no").fit(Points(), until=1)
    assert seen == [torch.bfloat16, torch.float32]
    assert held["one"].weight.dtype == torch.float32
