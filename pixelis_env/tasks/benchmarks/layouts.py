"""The layouts of all public benchmarks."""

from __future__ import annotations

from collections.abc import Mapping

from pixelis_env.tasks.benchmarks.infovqa import INFOVQA
from pixelis_env.tasks.benchmarks.mmbench import MMBENCH
from pixelis_env.tasks.benchmarks.mvbench import MVBENCH
from pixelis_env.tasks.benchmarks.source import Layout
from pixelis_env.tasks.benchmarks.v_star import V_STAR
from pixelis_env.tasks.benchmarks.video_mmmu import VIDEO_MMMU
from pixelis_env.tasks.benchmarks.vsi_bench import VSI_BENCH

LAYOUTS: Mapping[str, Layout] = {
    layout.name: layout for layout in (VSI_BENCH, V_STAR, INFOVQA, MVBENCH, MMBENCH, VIDEO_MMMU)
}
"""By the name that `source=` takes."""
