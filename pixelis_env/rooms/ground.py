"""The floor as a grid: how much room there is around each spot, and ways between spots."""

from __future__ import annotations

import heapq
import math
from collections.abc import Sequence

import numpy as np

from .scene import Placed

CELL = 0.1
CLEARANCE = 0.3
"""Metres kept between the camera and any box or wall while planning."""


class Ground:
    """The floor as a grid of clearances.

    Attributes:
        clear: float (nx, ny): metres from each cell's centre to the nearest box or wall.
        x: Cell centres along x, m.
        y: Cell centres along y, m.
    """

    def __init__(
        self,
        width: float,
        depth: float,
        objects: Sequence[Placed],
        below: float = 1.9,
        cell: float = CELL,
        walls: bool = True,
    ) -> None:
        """Measure the clearance of every cell, counting boxes that start below `below` m."""
        self.x = np.arange(cell / 2, width, cell)
        self.y = np.arange(cell / 2, depth, cell)
        gx, gy = self.x[:, None], self.y[None, :]
        if walls:
            self.clear = np.minimum(np.minimum(gx, width - gx), np.minimum(gy, depth - gy))
        else:
            self.clear = np.full((len(self.x), len(self.y)), 9.0)
        for item in objects:
            if item.mount == "top" or item.center[2] - item.size[2] / 2 > below:
                continue
            c, s = math.cos(item.yaw), math.sin(item.yaw)
            dx, dy = gx - item.center[0], gy - item.center[1]
            u = np.abs(dx * c + dy * s) - item.size[0] / 2
            v = np.abs(-dx * s + dy * c) - item.size[1] / 2
            outside = np.hypot(np.maximum(u, 0), np.maximum(v, 0)) + np.minimum(np.maximum(u, v), 0)
            self.clear = np.minimum(self.clear, outside)
        self._steps: list[float] | None = None
        self._region: np.ndarray | None = None

    def region(self, clearance: float) -> np.ndarray:
        """bool (nx, ny): the largest connected patch with that clearance."""
        free = self.clear >= clearance
        label = np.zeros(free.shape, int)
        best, best_size, current = 0, 0, 0
        for start in zip(*np.nonzero(free), strict=True):
            if label[start]:
                continue
            current += 1
            stack, size = [start], 0
            label[start] = current
            while stack:
                i, j = stack.pop()
                size += 1
                for a, b in ((i + 1, j), (i - 1, j), (i, j + 1), (i, j - 1)):
                    inside = 0 <= a < free.shape[0] and 0 <= b < free.shape[1]
                    if inside and free[a, b] and not label[a, b]:
                        label[a, b] = current
                        stack.append((a, b))
            if size > best_size:
                best, best_size = current, size
        return label == best if best else np.zeros(free.shape, bool)

    def at(self, points: np.ndarray) -> np.ndarray:
        """Clearance at points (N, 2), m; of the nearest cell."""
        i = (points[:, 0] / CELL).astype(int).clip(0, len(self.x) - 1)
        j = (points[:, 1] / CELL).astype(int).clip(0, len(self.y) - 1)
        return self.clear[i, j]

    def straight(self, a: np.ndarray, b: np.ndarray, clearance: float) -> bool:
        """Whether the straight way between two points keeps that clearance."""
        n = max(2, int(math.hypot(b[0] - a[0], b[1] - a[1]) / (CELL / 2)))
        points = a + np.linspace(0, 1, n)[:, None] * (b - a)
        return bool(self.at(points).min() >= clearance)

    def route(
        self, region: np.ndarray, start: tuple[int, int], goal: tuple[int, int]
    ) -> list[tuple[int, int]]:
        """Cells of a short path inside `region` that prefers open floor; [] when there is none."""
        a, b = (np.array(c) + 0.5 for c in (start, goal))
        if self.straight(a * CELL, b * CELL, CLEARANCE):
            n = int(max(abs(goal[0] - start[0]), abs(goal[1] - start[1]))) + 1
            line = np.round(np.linspace(start, goal, n)).astype(int)
            return [(int(i), int(j)) for i, j in line]
        if self._steps is None or self._region is not region:
            wish = 1.0 + 0.6 * np.maximum(0.0, 0.6 - self.clear)
            # A frame of unreachable cells saves testing for the borders; plain lists are faster
            # than arrays to read one number at a time.
            padded = np.pad(np.where(region, wish, np.inf), 1, constant_values=np.inf)
            self._steps, self._region = padded.ravel().tolist(), region
        steps, wide = self._steps, region.shape[1] + 2
        first = (start[0] + 1) * wide + start[1] + 1
        last = (goal[0] + 1) * wide + goal[1] + 1
        gi, gj = divmod(last, wide)
        moves = [(a * wide + b, math.hypot(a, b)) for a in (-1, 0, 1) for b in (-1, 0, 1) if a or b]
        cost, came, done = {first: 0.0}, {first: first}, set()
        queue = [(0.0, first)]
        while queue:
            _, cell = heapq.heappop(queue)
            if cell == last:
                path = [cell]
                while came[cell] != cell:
                    cell = came[cell]
                    path.append(cell)
                return [(c // wide - 1, c % wide - 1) for c in path[::-1]]
            if cell in done:
                continue
            done.add(cell)
            here = cost[cell]
            for move, length in moves:
                nxt = cell + move
                total = here + length * steps[nxt]
                if total < cost.get(nxt, math.inf):
                    cost[nxt], came[nxt] = total, cell
                    i, j = divmod(nxt, wide)
                    heapq.heappush(queue, (total + math.hypot(gi - i, gj - j), nxt))
        return []
