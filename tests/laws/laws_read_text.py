"""The laws of ReadText."""

from __future__ import annotations

import numpy as np

from pixelis_env.actions import ReadText, Zoom
from pixelis_env.media.base import ArrayMedia
from pixelis_env.metrics.text import cer
from pixelis_env.tools import Toolbox
from tests.laws.law import Bench, law
from tests.laws.scenes import blank, page, rng_of


@law(examples=6)
def law_read_text_stays_in_its_region(toolbox: Toolbox, seed: int) -> None:
    rng, scene = rng_of(seed), page(seed)
    x0, y0 = rng.uniform(0, (0.5 * scene.media.width, 0.5 * scene.media.height))
    x1, y1 = rng.uniform((x0 + 20, y0 + 12), (scene.media.width, scene.media.height))
    _, read = Bench(toolbox, scene.media).run(ReadText(box=(x0, y0, x1, y1), frame="px"))
    region = read.region
    assert (region.x0, region.y0) == (int(x0), int(y0))
    for line in read.lines:
        assert line.text.strip() == line.text != ""
        assert 0.0 <= line.confidence <= 1.0
        for x, y in line.quad:
            assert region.x0 <= x <= region.x1
            assert region.y0 <= y <= region.y1


@law(examples=5)
def law_read_text_reads_rows_from_the_top(toolbox: Toolbox, seed: int) -> None:
    """Lines come in reading order, and in the same order from a zoomed view."""
    scene = page(seed, n_lines=3)
    bench = Bench(toolbox, scene.media)
    _, read = bench.run(ReadText())
    tops = [min(y for _, y in line.quad) for line in read.lines]
    assert len(tops) >= 3
    assert tops == sorted(tops)
    name, _ = bench.run(Zoom(box=(0, 0, 1000, 1000)))
    _, again = bench.run(ReadText(source=name))
    assert again == read


@law(examples=8)
def law_read_text_finds_nothing_on_a_blank_image(toolbox: Toolbox, seed: int) -> None:
    rng = rng_of(seed)
    width, height = (int(v) for v in rng.integers(1, 120, 2))
    _, read = Bench(toolbox, blank(seed, width=width, height=height)).run(ReadText())
    assert read.lines == ()


@law(examples=8)
def law_read_text_reads_what_was_drawn(toolbox: Toolbox, seed: int) -> None:
    """Letters of 16 px and more come back with at most one edit in twenty over two pages."""
    pages = [page(seed, letter=16 + seed % 16), page(seed + 1, letter=16)]
    wanted, found = "", ""
    for scene in pages:
        _, read = Bench(toolbox, scene.media).run(ReadText())
        wanted += "".join(scene.lines)
        found += "".join(line.text for line in read.lines)
    assert cer(found.replace(" ", ""), wanted.replace(" ", "")) <= 0.05


@law(examples=4)
def law_read_text_reads_the_frame_of_its_time(toolbox: Toolbox, seed: int) -> None:
    """In a clip whose text changes, each time has its own text."""
    scene = page(seed, n_lines=1)
    empty = np.broadcast_to(scene.media.frame(0)[:1, :1], scene.media.frame(0).shape)
    media = ArrayMedia(np.array([empty, scene.media.frame(0)]), fps=2.0)
    bench = Bench(toolbox, media)
    assert bench.run(ReadText())[1].lines == ()
    _, read = bench.run(ReadText(time=0.5))
    assert (read.frame_index, read.time) == (1, 0.5)
    assert cer(read.text.replace(" ", ""), scene.lines[0].replace(" ", "")) <= 0.2
