"""Warms up the vision tower of `pixelis-tiny`: each image token learns to tell what it shows.

``python -m pixelis_agent.tiny.warmup --data DIR --out RUN --steps 4500`` reads the files that
`pixelis_agent.tiny.frames` writes (new ones at each epoch) and writes

- ``RUN/warm.safetensors``: the best weights so far, by the names of `model.visual.state_dict()`;
- ``RUN/checkpoint.safetensors``: everything that is needed to go on; a second run goes on from it;
- ``RUN/metrics.jsonl``: one line per logged step, and per look at the held-out rooms.

Linear probes read every token through an RMS norm, as the language model will. The tower that is
written is a moving average of the trained one.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional

from pixelis_agent.files import whole
from pixelis_agent.learning.training import make_optimizer
from pixelis_agent.tiny.batches import BATCH, Batch, Data
from pixelis_agent.tiny.config import HIDDEN, build_tiny
from pixelis_agent.tiny.frames import COLOR_NAMES
from pixelis_agent.tiny.labels import CLASSES, MOSTLY, Rooms, Targets
from pixelis_agent.tiny.pointing import SHOWN, average_precision, chosen_frames, points
from pixelis_env.observation import OVERVIEW_FRAMES

PEAK_RATE, WARM_SHARE, WEIGHT_DECAY, CLIP = 1.5e-3, 0.1, 0.05, 1.0
AVERAGE = 0.995
"""Share of the moving average that each step keeps."""

DEEPSTACK, COLORS, DEPTH, BOXES = 0.5, 1.0, 0.25, 20.0
"""Weights of the probes on the early features, of colour, depth and boxes; classes have 1.

Boxes weigh much: a language model can only write where a thing is if its tokens say so.
"""

FEATURE_RMS = 0.5
"""Root mean square to which the written tower's features are scaled.

A probe behind a norm leaves their scale open, and the language model adds them to its residual
stream, where what its layers write must still count.
"""

LOG_EVERY, LOOK_EVERY = 25, 250


class Probe(nn.Module):
    """Reads classes, colours, log depth and boxes off token features."""

    def __init__(self) -> None:
        super().__init__()
        self.read = nn.Linear(HIDDEN, len(CLASSES) + len(COLOR_NAMES) + 1 + 4)
        nn.init.zeros_(self.read.weight)
        # Most tokens show none of the classes.
        nn.init.constant_(self.read.bias, -4.0)

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Logits of classes and colours, depth, and boxes, of features (tokens, 192)."""
        out = self.read(functional.rms_norm(features, (HIDDEN,)))
        classes, colors, depth, boxes = out.split([len(CLASSES), len(COLOR_NAMES), 1, 4], 1)
        return classes, colors, depth[:, 0] + 4.0, (boxes + 4.0).sigmoid()


class Warmer(nn.Module):
    """The vision tower with a probe on its output and one on its early (deepstack) features.

    Args:
        seed: Of the tower's random weights.
    """

    def __init__(self, seed: int) -> None:
        super().__init__()
        names = ("image", "video", "vision_start", "vision_end", "eos", "pad")
        # The tower does not depend on the vocabulary.
        self.visual = build_tiny(64, dict(zip(names, range(6), strict=True)), seed).model.visual
        self.probes = nn.ModuleList([Probe(), Probe()])

    def features(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Output and early features, float32 (tokens, 192) each."""
        out = self.visual(torch.from_numpy(batch.patches), torch.from_numpy(batch.grid))
        return out.pooler_output, out.deepstack_features[0]

    def loss(self, batch: Batch, weight: Tensor) -> Tensor:
        """The sum of the probes' losses; `weight` (classes,) makes rare classes count more."""
        classes, colors, depth, boxes = (torch.from_numpy(part) for part in batch.targets)
        total = torch.zeros(())
        for features, probe, share in zip(
            self.features(batch), self.probes, (1.0, DEEPSTACK), strict=True
        ):
            told_classes, told_colors, told_depth, told_boxes = probe(features)
            entropy = functional.binary_cross_entropy_with_logits
            # A root lifts small things: a cup that covers a tenth of a token asks for a third.
            of_classes = entropy(told_classes, classes.sqrt(), reduction="none") * weight
            of_colors = entropy(told_colors, colors.sqrt(), reduction="none")
            of_depth = functional.smooth_l1_loss(told_depth, depth)
            of_boxes = functional.smooth_l1_loss(told_boxes, boxes, beta=0.05)
            loss = of_classes.sum(1).mean() + COLORS * of_colors.sum(1).mean()
            loss = loss + DEPTH * of_depth + BOXES * of_boxes
            total = total + share * loss
        return total


@dataclass(frozen=True)
class Progress:
    """Where a run stands.

    Attributes:
        step: Steps done.
        epoch: Which pass over the data this is.
        taken: Steps done of this pass.
        files: Names of the files of this pass.
        best: Held-out rooms looked at and pointing accuracy of the weights that were written.
    """

    step: int = 0
    epoch: int = 0
    taken: int = 0
    files: tuple[str, ...] = ()
    best: tuple[int, float] = (0, 0.0)


def rate(step: int, steps: int) -> float:
    """The learning rate: half a cosine up over the first tenth, half a cosine down to 1/1000."""
    rise = WARM_SHARE * steps
    if step < rise:
        return PEAK_RATE * (0.04 + 0.96 * (1 - math.cos(math.pi * step / rise)) / 2)
    share = (step - rise) / max(steps - rise, 1)
    return PEAK_RATE * (0.001 + 0.999 * (1 + math.cos(math.pi * share)) / 2)


@torch.no_grad()
def look(warmer: Warmer, data: Data) -> dict[str, Any]:
    """Measures on the held-out rooms.

    Returns:
        `rooms`, `pointing`, `pointing_early` (deepstack features), `frame_choice` (shares, 0..1),
        `ap` (mean over classes), `per_class` (AP, pointing and its count, frame choice and its
        count by class), `color_ap`, `depth_error` (mean absolute log distance), `box_iou`
        (mean over tokens that show an object), `rms` (of output and early features).
    """
    asked: dict[str, list[tuple[int, bool]]] = defaultdict(list)
    told: list[Tensor] = []
    colors: list[Tensor] = []
    truth: list[Targets] = []
    errors, squares, overlaps = [], [], []
    for batch, classes, rooms, rows in data.held_out():
        features = warmer.features(batch)
        (logits, hues, depth, boxes), (early, *_) = (
            probe(f) for probe, f in zip(warmer.probes, features, strict=True)
        )
        true = torch.from_numpy(batch.targets.boxes)
        shown = torch.from_numpy(batch.targets.classes).sum(1) >= MOSTLY
        overlaps.append(_overlap(boxes[shown], true[shown]))
        box, pixels = rooms.shard.box[rows], rooms.shard.pixels[rows]
        frames = logits.numpy().reshape(OVERVIEW_FRAMES, -1, len(CLASSES))
        asked["pointing"] += points(frames, classes, box, pixels)
        asked["pointing_early"] += points(early.numpy().reshape(frames.shape), classes, box, pixels)
        asked["frame_choice"] += chosen_frames(frames, classes, pixels)
        told.append(logits)
        colors.append(hues)
        truth.append(batch.targets)
        errors.append(float((depth - torch.from_numpy(batch.targets.depth)).abs().mean()) * 0.64)
        squares.append([float(f.square().mean()) for f in features])
    if not errors:
        raise ValueError("no held-out room: give at least 20 rooms")
    covered = np.concatenate([t.classes for t in truth]) >= SHOWN
    precision = _precisions(torch.cat(told).numpy(), covered)
    hued = np.concatenate([t.colors for t in truth]) >= SHOWN
    per_class: dict[str, dict[str, float]] = defaultdict(dict)
    for k, value in enumerate(precision):
        if not math.isnan(value):
            per_class[CLASSES[k]]["ap"] = round(value, 4)
    for name in ("pointing", "frame_choice"):
        for k in sorted({k for k, _ in asked[name]}):
            right = [r for c, r in asked[name] if c == k]
            per_class[CLASSES[k]] |= {
                name: round(float(np.mean(right)), 4),
                f"{name}_n": len(right),
            }
    shares = {name: round(float(np.mean([r for _, r in asked[name]])), 4) for name in asked}
    return {
        "rooms": len(errors),
        **shares,
        "ap": round(float(np.nanmean(precision)), 4),
        "color_ap": round(float(np.nanmean(_precisions(torch.cat(colors).numpy(), hued))), 4),
        "depth_error": round(float(np.mean(errors)), 4),
        "box_iou": round(float(torch.cat(overlaps).mean()), 4),
        "rms": [round(float(v), 4) for v in np.sqrt(np.mean(squares, 0))],
        "per_class": dict(per_class),
    }


def _overlap(boxes: Tensor, others: Tensor) -> Tensor:
    """Intersection over union of pairs of boxes (N, 4)."""

    def area(box: Tensor) -> Tensor:
        return (box[:, 2:] - box[:, :2]).clamp_min(0).prod(1)

    low, high = (f(boxes, others) for f in (torch.maximum, torch.minimum))
    both = area(torch.cat([low[:, :2], high[:, 2:]], 1))
    return both / (area(boxes) + area(others) - both).clamp_min(1e-6)


def _precisions(score: NDArray[np.float32], positive: NDArray[np.bool_]) -> list[float]:
    return [average_precision(score[:, k], positive[:, k]) for k in range(score.shape[1])]


class Run:
    """A warm-up that can stop at any step and go on.

    Args:
        data: Folder of room files.
        out: Folder of the run; a checkpoint in it is gone on from.
        steps: Steps of the whole run; a run gone on from may get another number, and from there
            on follows that number's learning rate.
        seed: Of weights, order and changes of pictures.
        tower: Weights to begin with, instead of random ones.
    """

    def __init__(
        self, data: Path, out: Path, steps: int, seed: int = 0, tower: Path | None = None
    ) -> None:
        self._folder, self._out, self._steps, self._seed = data, out, steps, seed
        out.mkdir(parents=True, exist_ok=True)
        self.warmer, self.average = Warmer(seed), Warmer(seed)
        if tower is not None:
            for warmer in (self.warmer, self.average):
                warmer.visual.load_state_dict(load_file(tower))
        self._optimizer = make_optimizer(self.warmer, PEAK_RATE, WEIGHT_DECAY, "muon")
        self.progress = Progress()
        self._rooms: dict[str, Rooms] = {}
        if (out / "checkpoint.safetensors").exists():
            self._resume()
        else:
            self._begin_pass(0)
        self._data = Data(data, self.progress.files, self._rooms)

    def train(self) -> Iterator[dict[str, Any]]:
        """Goes on to the last step; yields the step's number, loss and rate."""
        while self.progress.step < self._steps:
            here = self.progress
            if here.taken == self._data.steps:
                self._begin_pass(here.epoch + 1)
                self._data = Data(self._folder, self.progress.files, self._rooms)
                here = self.progress
            speed = rate(here.step, self._steps)
            for group in self._optimizer.param_groups:
                group["lr"] = speed
            batch = self._data.batch(self._seed, here.epoch, here.taken)
            loss = self.warmer.loss(batch, torch.from_numpy(self._data.class_weight))
            self._optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(self.warmer.parameters(), CLIP)
            self._optimizer.step()
            # The first steps' weights must not linger in the average.
            keep = min(AVERAGE, (here.step + 1) / (here.step + 10))
            with torch.no_grad():
                for slow, fast in zip(
                    self.average.parameters(), self.warmer.parameters(), strict=True
                ):
                    slow.lerp_(fast, 1 - keep)
            self.progress = replace(here, step=here.step + 1, taken=here.taken + 1)
            yield {
                "step": here.step + 1,
                "loss": float(loss.detach()),
                "rate": speed,
                "epoch": here.epoch,
            }

    def look(self) -> dict[str, Any]:
        """Measures the averaged tower on held-out rooms; writes it if it is the best so far."""
        found = look(self.average, self._data)
        # More rooms make a better judge, whose word replaces that of fewer.
        if (found["rooms"], found["pointing"]) > self.progress.best:
            self.progress = replace(self.progress, best=(found["rooms"], found["pointing"]))
            weights = scaled(self.average, found["rms"])
            _write(self._out / "warm.safetensors", weights, {"step": str(self.progress.step)})
        return found

    def save(self) -> None:
        """Writes the checkpoint."""
        tensors = {f"warmer.{k}": v for k, v in self.warmer.state_dict().items()}
        tensors |= {f"average.{k}": v for k, v in self.average.state_dict().items()}
        for number, state in self._optimizer.state_dict()["state"].items():
            tensors |= {f"adam.{number}.{key}": value for key, value in state.items()}
        progress = json.dumps({**asdict(self.progress), "seed": self._seed})
        _write(self._out / "checkpoint.safetensors", tensors, {"progress": progress})

    def _resume(self) -> None:
        path = self._out / "checkpoint.safetensors"
        with safe_open(path, "pt") as file:
            told = json.loads(file.metadata()["progress"])
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
        seed = told.pop("seed")
        if seed != self._seed:
            raise ValueError(f"{path} has seed {seed}, not {self._seed}: give that, or another out")
        parts: dict[str, dict[str, Tensor]] = defaultdict(dict)
        for key, tensor in tensors.items():
            part, _, rest = key.partition(".")
            parts[part][rest] = tensor
        self.warmer.load_state_dict(parts["warmer"])
        self.average.load_state_dict(parts["average"])
        state: dict[int, dict[str, Tensor]] = defaultdict(dict)
        for key, tensor in parts["adam"].items():
            number, _, name = key.partition(".")
            state[int(number)][name] = tensor
        groups = self._optimizer.state_dict()["param_groups"]
        self._optimizer.load_state_dict({"state": dict(state), "param_groups": groups})
        told["files"], told["best"] = tuple(told["files"]), tuple(told["best"])
        self.progress = Progress(**told)

    def _begin_pass(self, epoch: int) -> None:
        files = tuple(sorted(path.name for path in self._folder.glob("rooms-*.npz")))
        if not files:
            raise ValueError(f"{self._folder} holds no rooms-*.npz; write some with tiny.frames")
        self.progress = replace(self.progress, epoch=epoch, taken=0, files=files)


def scaled(warmer: Warmer, rms: Sequence[float]) -> dict[str, Tensor]:
    """The tower's weights, both mergers scaled so that features have `FEATURE_RMS`.

    Args:
        warmer: The tower.
        rms: Root mean square of its output and of its early features.
    """
    weights = {key: value.clone() for key, value in warmer.visual.state_dict().items()}
    for merger, size in zip(("merger", "deepstack_merger_list.0"), rms, strict=True):
        for kind in ("weight", "bias"):
            weights[f"{merger}.linear_fc2.{kind}"] *= FEATURE_RMS / size
    return weights


def _write(path: Path, tensors: dict[str, Tensor], metadata: dict[str, str]) -> None:
    with whole(path) as file:
        save_file({key: value.contiguous() for key, value in tensors.items()}, file, metadata)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m pixelis_agent.tiny.warmup", description=__doc__
    )
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--data", type=Path, required=True, help="folder of room files")
    parser.add_argument("--out", type=Path, required=True, help="folder of the run")
    parser.add_argument("--steps", type=int, required=True, help=f"of {BATCH} pictures")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--tower", type=Path, help="weights to begin with")
    options = parser.parse_args(arguments)
    if options.steps < 1:
        parser.error(f"--steps {options.steps}: give 1 or more")
    torch.set_num_threads(1)
    run = Run(options.data, options.out, options.steps, options.seed, options.tower)
    log = options.out / "metrics.jsonl"
    _drop_after(log, run.progress.step)
    begun, losses = time.monotonic(), []
    for row in run.train():
        losses.append(row["loss"])
        last = row["step"] == options.steps
        if row["step"] % LOG_EVERY == 0 or last:
            row |= {"loss": float(np.mean(losses)), "seconds": round(time.monotonic() - begun, 1)}
            if row["step"] % LOOK_EVERY == 0 or last:
                row |= run.look()
                run.save()
            losses.clear()
            with log.open("a") as file:
                file.write(json.dumps(row) + "\n")
            print({k: v for k, v in row.items() if k != "per_class"}, flush=True)
    return 0


def _drop_after(log: Path, step: int) -> None:
    """Drops the lines of steps that were lost when the run stopped."""
    lines = log.read_text().splitlines() if log.exists() else []
    kept = [line for line in lines if json.loads(line)["step"] <= step]
    log.write_text("".join(f"{line}\n" for line in kept))


if __name__ == "__main__":
    raise SystemExit(main())
