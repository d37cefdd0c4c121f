"""Alignment: what a tower says of other looks is moved towards what it said of known ones."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import gymnasium as gym
import hypothesis.extra.numpy as hnp
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from pixelis_agent.config import TTRLConfig
from pixelis_agent.learning.training import save_model
from pixelis_agent.models.align import ALIGNMENT, Alignment, alignment_of, measured
from pixelis_agent.models.batch import base_model
from pixelis_agent.models.load import EARLY, TINY, Lora, load_model
from pixelis_agent.models.vision import VisionCache
from pixelis_agent.splits import DEMONSTRATED
from pixelis_agent.ttrl.home import TASKS, align
from pixelis_env.wrappers import ToolCall

FEATURES = hnp.arrays(np.float32, (7, 3), elements=st.floats(-5, 5, width=32))
MEANS = hnp.arrays(np.float32, 3, elements=st.floats(-5, 5, width=32))
DEVIATIONS = hnp.arrays(np.float32, 3, elements=st.floats(0.125, 4, width=32))
STRENGTHS = st.floats(0, 1)


@given(x=FEATURES, mean=MEANS, deviation=DEVIATIONS, strength=STRENGTHS)
def test_moments_come_nearer_to_the_known_ones(
    x: Any, mean: Any, deviation: Any, strength: float
) -> None:
    """At strength a, 1 - a of the distance of the means is left, in the deviations' proportion."""
    features, known, spread = map(torch.from_numpy, (x, mean, deviation))
    own = features.std(0, correction=0)
    made = Alignment([known], [spread], strength)(features, 0)
    if strength < 1e-3 or bool((own > 1e-2).all()):  # a channel without any spread keeps none
        d = spread.lerp(own, strength)
        left = (1 - strength) * (features.mean(0) - known) * spread / d
        torch.testing.assert_close(made.mean(0), known + left, atol=1e-3, rtol=1e-3)
        torch.testing.assert_close(
            made.std(0, correction=0), own * spread / d, atol=1e-3, rtol=1e-3
        )
    if strength == 0:
        torch.testing.assert_close(made, features, atol=1e-5, rtol=1e-4)


@given(x=FEATURES, scale=st.floats(0.25, 4), offset=st.floats(-3, 3))
def test_at_full_strength_no_change_of_looks_is_left(x: Any, scale: float, offset: float) -> None:
    """Whatever contrast and brightness a channel was given."""
    features = torch.from_numpy(x)
    if bool((features.std(0, correction=0) < 1e-2).any()):
        return
    moments = Alignment([torch.zeros(3)], [torch.ones(3)], 1.0)
    torch.testing.assert_close(
        moments(scale * features + offset, 0), moments(features, 0), atol=1e-3, rtol=1e-3
    )


def pictures(seed: int, dim: float = 1.0) -> list[Image.Image]:
    rng = np.random.default_rng(seed)
    shapes = [(64, 96), (96, 96), (64, 64)]
    return [
        Image.fromarray((rng.integers(0, 256, (*shape, 3)) * dim).astype(np.uint8))
        for shape in shapes
    ]


@pytest.fixture(scope="module")
def moments() -> Alignment:
    loaded = load_model(EARLY)
    look = VisionCache(loaded.model, loaded.processor).features
    return measured(look, pictures(0), 0.5)


def test_the_known_are_measured_over_all_tokens() -> None:
    loaded = load_model(EARLY)
    look = VisionCache(loaded.model, loaded.processor).features
    found = measured(look, pictures(0), 0.5)
    for k in range(2):
        tokens = torch.cat([look(image)[k] for image in pictures(0)])
        mean, deviation = getattr(found, f"mean_{k}"), getattr(found, f"deviation_{k}")
        torch.testing.assert_close(mean, tokens.mean(0), atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(deviation, tokens.std(0, correction=0), atol=1e-5, rtol=1e-4)
    with pytest.raises(ValueError, match="without images there are no moments"):
        measured(look, [], 0.5)


def test_every_way_to_the_tower_is_aligned_and_images_do_not_touch(moments: Alignment) -> None:
    plain, made = load_model(EARLY), load_model(EARLY)
    moments.attach(made.model)
    before = VisionCache(plain.model, plain.processor)
    after = VisionCache(made.model, made.processor)
    dark = pictures(1, dim=0.4)
    together = base_model(made.model).get_image_features(
        **made.processor.pixels(dark), return_dict=True
    )
    for k, image in enumerate(dark):
        expected = [moments(x, n) for n, x in enumerate(before.features(image))]
        found = [together.pooler_output[k], *(x[k] for x in together.deepstack_features)]
        for one, two, three in zip(expected, after.features(image), found, strict=True):
            torch.testing.assert_close(one, two, atol=5e-3, rtol=1e-2)  # kept as float16
            torch.testing.assert_close(two, three, atol=5e-3, rtol=1e-2)
    with pytest.raises(ValueError, match="aligned already"):
        moments.attach(made.model)


def test_what_is_saved_is_loaded(tmp_path: Path, moments: Alignment) -> None:
    """With an adapter, whose model is another's, and with a whole model."""
    image = pictures(2)[0]
    for lora in (Lora(4, 8), None):
        loaded = load_model(EARLY, lora=lora)
        moments.attach(loaded.model)
        folder = tmp_path / str(lora is None)
        save_model(loaded.model, loaded.processor, folder)
        again = load_model(folder)
        found = alignment_of(again.model)
        assert found is not None
        assert found.strength == 0.5
        for one, two in zip(
            VisionCache(loaded.model, loaded.processor).features(image),
            VisionCache(again.model, again.processor).features(image),
            strict=True,
        ):
            torch.testing.assert_close(one, two)
    assert alignment_of(load_model(EARLY).model) is None


def test_a_run_measures_once_where_it_comes_from(tmp_path: Path) -> None:
    config = TTRLConfig(
        TINY, tmp_path, types=("text_read",), tools="oracle", shift="lighting", align=0.3
    )
    first, second, third, unshifted = (load_model(TINY, lora=Lora(4, 8)) for _ in range(4))
    align(first, config)
    written = (tmp_path / ALIGNMENT).stat()
    align(second, config)
    assert (tmp_path / ALIGNMENT).stat().st_mtime_ns == written.st_mtime_ns
    # Where it comes from: the same tasks without the shift.
    env = ToolCall(gym.make(config.env, types=["text_read"], tools="oracle"))
    shown = [env.reset(options={"index": k})[0]["images"] for k in DEMONSTRATED[:TASKS]]
    known = measured(
        VisionCache(third.model, third.processor).features,
        [image for images in shown for image in images],
        0.3,
    )
    one, two = alignment_of(first.model), alignment_of(second.model)
    torch.testing.assert_close(known.mean_0, one.mean_0 if one else None)
    assert one is not None
    assert two is not None
    assert one.strength == two.strength == 0.3
    for name, value in one.named_buffers():
        assert torch.equal(value, dict(two.named_buffers())[name])
    align(second, replace(config, align=0.9))  # as it is
    for other in (0.9, 0.0):
        with pytest.raises(ValueError, match=r"was begun with align 0\.3, not"):
            align(third, replace(config, align=other))
    other_folder = tmp_path / "other"
    align(third, replace(config, align=0.0, out=other_folder))
    align(unshifted, replace(config, shift="none", out=other_folder))
    assert alignment_of(third.model) is alignment_of(unshifted.model) is None


def test_what_does_not_fit_is_refused(moments: Alignment) -> None:
    with pytest.raises(ValueError, match=r"strength 1.5 must lie in 0..1"):
        Alignment([torch.zeros(3)], [torch.ones(3)], 1.5)
    loaded = load_model(EARLY)
    with pytest.raises(ValueError, match=r"moments are of 1 layers of \[3\] channels, the tower"):
        Alignment([torch.zeros(3)], [torch.ones(3)], 0.5).attach(loaded.model)
    del base_model(loaded.model).visual
    with pytest.raises(ValueError, match="only a model with a vision tower"):
        moments.attach(loaded.model)
