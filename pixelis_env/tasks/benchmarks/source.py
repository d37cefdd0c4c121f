"""A benchmark in a local folder as a source of tasks."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Union

from pixelis_env.media import Decoder
from pixelis_env.protocols import PROTOCOLS, Protocol, Result, Scored, add_up
from pixelis_env.tasks.base import Task
from pixelis_env.tasks.benchmarks.rows import Fault, Locator, Row, read_rows
from pixelis_env.tasks.benchmarks.tables import Record
from pixelis_env.tasks.seeding import generator

Where = Mapping[str, Union[str, Sequence[str]]]
"""The values that are wanted of some columns."""

_SHOWN = 20


class FaultyRows(ValueError):
    """Rows of a benchmark that cannot be asked.

    Attributes:
        faults: All of them; the message names the first `_SHOWN`.
    """

    def __init__(self, name: str, faults: Sequence[Fault]) -> None:
        self.faults = tuple(faults)
        shown = [f"  {fault}" for fault in faults[:_SHOWN]]
        if len(faults) > _SHOWN:
            shown.append(f"  and {len(faults) - _SHOWN} more")
        super().__init__(
            f"{len(faults)} rows of {name} cannot be asked; mend them, or pass strict=False to "
            "leave them out (each counts 0):\n" + "\n".join(shown)
        )


@dataclass(frozen=True)
class Layout:
    """How a benchmark is published.

    Attributes:
        name: As `source=` names it.
        scorers: Protocols by which it is scored; the first is its own.
        splits: Its parts; the first is what `split=None` means.
        types: The question types in the benchmark's own order; empty: as the rows have them.
        records: The rows of a split of the files in a folder. ValueError where they are not there.
        parse: A row; may raise what `rows.read_rows` turns into a `Fault`.
        id_column: The column that names a row, also a broken one; None: where it stands does.
    """

    name: str
    scorers: tuple[str, ...]
    splits: tuple[str, ...]
    types: tuple[str, ...]
    records: Callable[[Path, str], Iterable[Record]]
    parse: Callable[[Path, Record], Row]
    id_column: str | None


class RowSource:
    """Rows as tasks: filtered, ordered, checked, each medium opened when its task is asked for.

    The order of work: `types` and `where` choose, `shuffle` orders, `limit` cuts; only then the
    rows that cannot be asked are raised or left out, so that they belong to what was due.

    Args:
        name: What messages and traces call it.
        rows: All rows, and those that cannot be asked, in the files' order.
        protocol: The name of the scorer.
        scorers: The names that are possible.
        order: The question types in the benchmark's own order, as far as it has one.
        types: These question types only.
        where: Rows whose columns have these values only, e.g. `{"dataset": "scannet"}`.
        shuffle: The seed of a random order; None: that of the files.
        shuffle_options: The seed by which each row's options are put in a random order, which
            depends on the row's id alone; None: as the files have them.
        limit: At the most so many rows.
        strict: Raise where a row cannot be asked; else leave it out, with a warning.
        decoder: The video decoder.

    Attributes:
        name: As above.
        size: How many rows can be asked.
        protocol: The scorer.
        strict: As above.
        faults: The rows that are due and cannot be asked.

    Raises:
        FaultyRows: `strict`, and a row cannot be asked.
        ValueError: An argument that is not as above, or no row is left.
    """

    def __init__(
        self,
        name: str,
        rows: Sequence[Row | Fault],
        *,
        protocol: str,
        scorers: Sequence[str],
        order: Sequence[str] = (),
        types: Sequence[str] | None = None,
        where: Where | None = None,
        shuffle: int | None = None,
        shuffle_options: int | None = None,
        limit: int | None = None,
        strict: bool = True,
        decoder: Decoder = "pyav",
    ) -> None:
        if protocol not in scorers:
            raise ValueError(f"scorer must be one of {', '.join(scorers)}, not {protocol!r}")
        for label, number, least in (
            ("shuffle", shuffle, 0),
            ("shuffle_options", shuffle_options, 0),
            ("limit", limit, 1),
        ):
            if number is not None and number < least:
                raise ValueError(f"{label} must be None or a number >= {least}, not {number}")
        self.name, self.strict = name, strict
        self.protocol: Protocol = PROTOCOLS[protocol]
        self._types = tuple(order)
        self._decoder = decoder
        self._shuffle_options = shuffle_options
        chosen = _of_types(rows, types, order)
        for column, wanted in (where or {}).items():
            chosen = _with_value(chosen, column, wanted)
        if not chosen:
            raise ValueError(f"no row of {name} is left: types or where leave none of {len(rows)}")
        if shuffle is not None:
            places = generator("order", shuffle).permutation(len(chosen))
            chosen = [chosen[place] for place in places]
        chosen = chosen[:limit]
        self.faults = tuple(row for row in chosen if isinstance(row, Fault))
        self._rows = tuple(row for row in chosen if isinstance(row, Row))
        if self.faults and (strict or not self._rows):
            raise FaultyRows(name, self.faults)
        if self.faults:
            message = f"{len(self.faults)} of {len(chosen)} rows of {name} cannot be asked and "
            warnings.warn(message + f"count 0, first {self.faults[0]}", stacklevel=4)
        self.size = len(self._rows)
        self._order = tuple(chosen)

    def task(self, index: int) -> Task:
        """Row `index` of those that can be asked, its medium opened.

        Raises:
            IndexError: There is no such row.
            MediaError: The medium is damaged.
        """
        row = self._row(index)
        return Task(
            id=row.id,
            type=row.type,
            media=row.medium.open(self._decoder),
            question=row.question,
            options=row.options,
            answer=row.answer,
            metric=row.metric,
            truth=row.truth,
            reading=self.protocol.reading,
            lead=row.lead,
            form=row.form,
        )

    @property
    def media(self) -> dict[str, Locator]:
        """Where each different medium lies, by the id of the first row that is about it."""
        found: dict[Locator, str] = {}
        for row in self._rows:
            found.setdefault(row.medium, row.id)
        return {name: medium for medium, name in found.items()}

    def result(
        self, scores: Mapping[int, float | None], unreadable: Mapping[int, str] | None = None
    ) -> Result:
        """What these scores come to by the protocol, with every row that was due in it.

        Where only some rows were played, of the faults those before the last of them were due.

        Args:
            scores: By index, 0..1; None where the right answer is not known.
            unreadable: Indices whose medium could not be read after all, and why: they count 0.

        Raises:
            IndexError: There is no such row.
        """
        lost = [
            Fault(row.id, self.name, reason, row.type, row.unit, row.columns)
            for index, reason in (unreadable or {}).items()
            for row in [self._row(index)]
        ]
        played = [
            Scored(row.type, row.unit if self.protocol.units and row.unit else row.id, score)
            for index, score in scores.items()
            for row in [self._row(index)]
        ]
        due = self._order
        if len(scores) + len(lost) < self.size:
            last = self._rows[max((*scores, *(unreadable or {})), default=0)]
            due = self._order[: self._order.index(last)]
        faults = [row for row in due if isinstance(row, Fault)]
        return add_up(self.protocol, self.name, played, [*faults, *lost], self._types)

    def _row(self, index: int) -> Row:
        if not 0 <= index < self.size:
            raise IndexError(f"{self.name} has no task {index}: give 0..{self.size - 1}")
        row = self._rows[index]
        if self._shuffle_options is None or row.options is None:
            return row
        return with_shuffled_options(row, self._shuffle_options)


class BenchmarkSource(RowSource):
    """A benchmark in a local folder.

    Args:
        layout: How it is published.
        root: The folder that holds its files.
        split: One of `layout.splits`; None: the first.
        scorer: One of `layout.scorers`; None: the first.
        types: See `RowSource`, as the rest.
        where: See `RowSource`.
        shuffle: See `RowSource`.
        shuffle_options: See `RowSource`.
        limit: See `RowSource`.
        strict: See `RowSource`.
        decoder: See `RowSource`.

    Raises:
        FaultyRows: `strict`, and a row cannot be asked.
        ValueError: `root` is no folder with the benchmark's files, or an argument is not as above.
    """

    def __init__(
        self,
        layout: Layout,
        root: str | Path,
        *,
        split: str | None = None,
        scorer: str | None = None,
        types: Sequence[str] | None = None,
        where: Where | None = None,
        shuffle: int | None = None,
        shuffle_options: int | None = None,
        limit: int | None = None,
        strict: bool = True,
        decoder: Decoder = "pyav",
    ) -> None:
        folder = Path(root).absolute()
        if not folder.is_dir():
            raise ValueError(f"root={str(root)!r} is no folder: give the one that holds the files")
        if split is None:
            split = layout.splits[0]
        if split not in layout.splits:
            raise ValueError(
                f"split of {layout.name} must be one of {', '.join(layout.splits)}, not {split!r}"
            )
        rows = read_rows(
            layout.records(folder, split),
            lambda record: layout.parse(folder, record),
            layout.id_column,
        )
        super().__init__(
            layout.name if split == layout.splits[0] else f"{layout.name}-{split}",
            rows,
            protocol=layout.scorers[0] if scorer is None else scorer,
            scorers=layout.scorers,
            order=layout.types,
            types=types,
            where=where,
            shuffle=shuffle,
            shuffle_options=shuffle_options,
            limit=limit,
            strict=strict,
            decoder=decoder,
        )


def with_shuffled_options(row: Row, seed: int) -> Row:
    """A row with its options in a random order that depends on the seed and its id alone."""
    assert row.options is not None
    places = generator("options", seed, row.id).permutation(len(row.options))
    answer = row.answer
    if answer is not None:
        answer = chr(ord("A") + list(places).index(ord(answer) - ord("A")))
    return replace(row, options=tuple(row.options[place] for place in places), answer=answer)


def _of_types(
    rows: Sequence[Row | Fault], types: Sequence[str] | None, order: Sequence[str]
) -> list[Row | Fault]:
    if types is None:
        return list(rows)
    known = list(dict.fromkeys([*order, *(row.type for row in rows if row.type is not None)]))
    wrong = [name for name in types if name not in known]
    if wrong or not types:
        raise ValueError(f"types must be some of {', '.join(known)}; not {wrong}")
    # A broken row whose type is not known may be of a type that was asked for.
    return [row for row in rows if row.type is None or row.type in types]


def _with_value(
    rows: Sequence[Row | Fault], column: str, wanted: str | Sequence[str]
) -> list[Row | Fault]:
    values = {wanted} if isinstance(wanted, str) else {str(value) for value in wanted}
    good = [row for row in rows if isinstance(row, Row)]
    columns: dict[str, Any] = {name: None for row in good for name in row.columns}
    if good and column not in columns:
        raise ValueError(f"where: no row has a column {column!r}; there are {', '.join(columns)}")
    return [
        row
        for row in rows
        if str(row.columns.get(column)) in values
        or (isinstance(row, Fault) and column not in row.columns)
    ]
