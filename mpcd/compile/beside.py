"""Which sets of a question stand beside which of earlier ones: the pairs that are compared, from texts alone.

Theory of operation.  `mpcd.governance.history` says what is compared and why; here the list is made, alike at all
parties.  A *view* is one set of a question split by all its keys, by one of them, or not at all.  For each view of this
question and each of an earlier one:

Sets that this question is about too are no earlier ones: how they stand to each other, the rules within a question say
(`plan.isolation`, margins), and asking the same again must answer the same.

1. Columns that a key of either splits are *blocks*: the values of such a column are gone through, and each gives the
   code that it has on both sides.  So it is known which codes can share a row, which stand for the same values, and
   which group of codes of the one side covers a code of the other.  Keys over several columns, or over too many values,
   are compared as expressions.
2. The cells that can share a row are the product over the blocks.  Those that are the same set in every database are
   left out, if everything else (relation, owners, other columns, mixed conditions) is the same too.
3. Each cell of one side is also put beside the union of all cells of the other's full view that can share a row with
   it.  Where the two are the same set in every database, nothing differs, and the cells make a *band*
   (`release.differencing`), unless they are a margin of their own question: its own secondary suppression saw to that.

A *side* is cells of one family (a set, split by all its keys); owners evaluate families (`mpcd.sources.sets`) and add
cells up.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache, reduce
from typing import Final, Literal

import numpy as np
import numpy.typing as npt

from mpcd import limits
from mpcd.errors import PlanUnsupported
from mpcd.governance.history import Definition, Key, Question, Region, relation_of
from mpcd.plan.domains import Values, value_of
from mpcd.plan.nodes import ColumnRef, Expr, IsNotTrue, Not, Pred, columns_of
from mpcd.plan.ranges import Bounds
from mpcd.plan.relation import Relation
from mpcd.release.differencing import Layout
from mpcd.roster.model import Roster

Places = npt.NDArray[np.int64]
Level = Literal["rows", "persons"]

VALUES_MAX: Final = 20_001
"""Most values of a column, NULL included, that are gone through."""
_ELSEWHERE: Final = 1_000
"""Added to the sources of a relation whose columns mean nothing in another one."""


@dataclass(frozen=True)
class Family:
    """One set of a definition, split by all its keys: what an owner evaluates."""

    definition: Definition
    region: Region

    @cached_property
    def cells(self) -> int:
        """How many cells there are."""
        return _product(key.places for key in self.definition.keys)


@dataclass(frozen=True)
class Beside:
    """All pairs of one question, and how its cells hang on them."""

    families: tuple[Family, ...]
    sides: tuple[tuple[int, Places | None], ...]
    """A family and its cells, ascending; None: all of them.  The place after all families stands for nobody."""
    pairs: Places
    """Shape (pairs, 2): sides."""
    by_rows: npt.NDArray[np.bool_]
    """Per pair: both sides are of the same relation, so rows are compared; else persons."""
    layout: Layout


def plan(question: Question, past: Sequence[Definition], roster: Roster, cells: int) -> Beside:
    """The pairs of a question.

    Args:
        question: from the plan.
        past: the definitions to compare with, in an order common to all parties; itself among them changes nothing.
        roster: the present one; definitions that do not fit it are left out.
        cells: of the plan.

    Raises:
        PlanUnsupported: too many pairs.
    """
    return _Planner(question, roster, cells).run(past)


def _product(numbers: Sequence[int] | object) -> int:
    return reduce(lambda a, b: a * b, numbers, 1)  # type: ignore[arg-type]


# ------------------------------------------------------------------------------------------------ views


@dataclass(frozen=True)
class _Split:
    """One key of a view, with the weight of its code in the number of the view's cell."""

    key: Key
    weight: int


@dataclass(frozen=True)
class _Ground:
    """What views of one relation share."""

    relation: Relation
    place: int
    """Of the relation among those of the run; 0 is that of the question."""
    names: Mapping[ColumnRef, ColumnRef]
    """What a column is called where relations are compared: the same for what means the same."""

    known: dict[ColumnRef, Values]

    def declared(self, column: ColumnRef) -> Values:
        """All that the roster allows."""
        if column not in self.known:
            found = self.relation.bounds(column)
            runs = ((found.low, found.high),) if found.low <= found.high else ()
            self.known[column] = Values(runs, found.nullable)
        return self.known[column]


class _View:
    """One set, split by some of its definition's keys."""

    def __init__(
        self, family: int, definition: Definition, region: Region, kept: Sequence[int], ground: _Ground
    ) -> None:
        self.family = family
        self.definition = definition
        self.region = region
        self.ground = ground
        self.is_full = len(kept) == len(definition.keys)
        self._kept = kept
        self._possible: list[int] | None = None
        self.splits: list[_Split] = []
        weight = 1
        for index in reversed(kept):
            self.splits.append(_Split(definition.keys[index], weight))
            weight *= definition.keys[index].places
        self.cells = weight
        names = ground.names
        self.values = {names[column]: values for column, values in region.columns}
        self.columns = {names[column]: column for column in self._columns()}
        self.by_column: dict[ColumnRef, list[_Split]] = {}
        self.opaque: dict[Key, int] = {}
        for split in self.splits:
            column = _only(split.key, ground)
            if column is None:
                self.opaque[split.key] = split.weight
            else:
                self.by_column.setdefault(names[column], []).append(split)
        self.rest = frozenset(region.rest)
        self.apart: list[_View] = []
        """Of a full view: those of its definition that share no row with it, in any database."""
        self.sides: dict[int, int] = {}
        """By cell, where it stands among the sides."""

    def _columns(self) -> set[ColumnRef]:
        keys = columns_of(*(split.key.expr for split in self.splits))
        return {column for column, _ in self.region.columns} | keys

    @property
    def same(self) -> object:
        """Views with equal ones are the same sets in every database, cell by cell."""
        keys = tuple(split.key for split in self.splits)
        return self.ground.place, self.definition.owners, self.region, keys

    def declared(self, name: ColumnRef) -> Values:
        """All that the roster allows in a column of ours."""
        return self.ground.declared(self.columns[name])

    def is_margin(self, cells: Places) -> bool:
        """Whether cells of a full view are all those that some keys' codes leave, whatever the other keys' are."""
        weight, found = 1, 1
        for split, possible in zip(self.splits, self._possible_codes(), strict=True):
            used = len(np.unique(cells // weight % split.key.places))
            if used not in {1, possible}:
                return False
            weight *= split.key.places
            found *= used
        return found == len(cells)

    def _possible_codes(self) -> list[int]:
        """Per key how many codes its set leaves it."""
        if self._possible is None:
            self._possible = []
            for split in self.splits:
                column = _only(split.key, self.ground)
                count = split.key.places
                if column is not None:
                    bounds = self.ground.relation.bounds(column)
                    codes = _codes(split.key.expr, split.key.low, split.key.count, bounds)
                    name = self.ground.names[column]
                    if name in self.values:
                        codes = codes[_mask(self.values[name], bounds)]
                    count = len(np.unique(codes))
                self._possible.append(count)
        return self._possible

    @cached_property
    def margins(self) -> frozenset[bytes]:
        """Of a full view: the cells of each value of each key, and all of them, as bytes."""
        places = tuple(key.places for key in self.definition.keys)
        cells = np.arange(self.cells).reshape(places)
        one_key = (np.moveaxis(cells, axis, 0).reshape(count, -1) for axis, count in enumerate(places))
        return frozenset({cells.tobytes(), *(np.sort(group).tobytes() for groups in one_key for group in groups)})

    @cached_property
    def base_cells(self) -> list[Places | None]:
        """Per cell of the view the family's cells."""
        if not self.splits:
            return [None]
        keys = self.definition.keys
        number = np.arange(_product(key.places for key in keys))
        code = np.zeros_like(number)
        weight = 1
        for index in reversed(range(len(keys))):
            if index in self._kept:
                split = self.splits[len(self._kept) - 1 - list(self._kept).index(index)]
                code += number // weight % keys[index].places * split.weight
            weight *= keys[index].places
        order = np.argsort(code, kind="stable")
        return list(np.split(order, np.cumsum(np.bincount(code, minlength=self.cells))[:-1]))


def _only(key: Key, ground: _Ground) -> ColumnRef | None:
    """The only column of a key whose values can be gone through."""
    columns = columns_of(key.expr)
    if len(columns) != 1:
        return None
    column = next(iter(columns))
    return column if ground.declared(column).count < VALUES_MAX else None


@lru_cache(maxsize=256)
def _codes(expr: Expr, low: int, count: int, bounds: Bounds) -> Places:
    """The code of a key for each value of its only column, NULL last where there is one; -1 for none."""
    values: list[int | None] = [*range(bounds.low, bounds.high + 1)]
    if bounds.nullable:
        values.append(None)
    found = [value_of(expr, value) for value in values]
    # A peer's key may be about other codes than its expression has.
    return np.array([count if code is None else max(-1, min(code - low, count + 1)) for code in found], dtype=np.int64)


@lru_cache(maxsize=4096)
def _mask(values: Values, bounds: Bounds) -> npt.NDArray[np.bool_]:
    """Which values of a column are among `values`."""
    mask = np.zeros(bounds.count + bounds.nullable, dtype=np.bool_)
    for low, high in values.runs:
        mask[max(low - bounds.low, 0) : max(high - bounds.low + 1, 0)] = True
    if bounds.nullable:
        mask[-1] = values.null
    return mask


# ------------------------------------------------------------------------------------------------ blocks


@dataclass(frozen=True)
class _Block:
    """What one column, or one key, says about which codes can share a row."""

    ours: Places
    theirs: Places
    """Pairs of contributions to the cells' numbers."""
    same: npt.NDArray[np.bool_]
    """Per pair: the codes stand for the same values."""
    ours_covered: Mapping[int, bool]
    """Per code of ours: the codes of theirs beside it stand together for the same values as it."""
    theirs_covered: Mapping[int, bool]
    common: Sequence[_Common]


@dataclass(frozen=True)
class _Common:
    """Codes that hang together, of both sides."""

    ours: Places
    theirs: Places
    same: bool
    """Both stand for the same values."""


def _column_block(a: _View, b: _View, name: ColumnRef) -> _Block | None:
    """None where no value is possible on both sides."""
    ours, theirs = _contributions(a, name, b), _contributions(b, name, a)
    both = (ours >= 0) & (theirs >= 0)
    if not both.any():
        return None
    scale = int(theirs.max()) + 1
    pairs, shared = np.unique(ours[both] * scale + theirs[both], return_counts=True)
    left, right = pairs // scale, pairs % scale
    left_size, right_size = _sizes(ours, left), _sizes(theirs, right)
    same = (shared == left_size) & (shared == right_size)
    return _Block(
        left,
        right,
        same,
        _covered(left, shared, left_size, right_size),
        _covered(right, shared, right_size, left_size),
        _hanging_together(left, right, shared, left_size, right_size),
    )


def _hanging_together(
    left: Places, right: Places, shared: Places, left_size: Places, right_size: Places
) -> list[_Common]:
    """The connected pieces of which codes share values."""
    names, ours = np.unique(left, return_inverse=True)
    others, theirs = np.unique(right, return_inverse=True)
    above = list(range(len(names) + len(others)))

    def root(node: int) -> int:
        while above[node] != node:
            above[node] = node = above[above[node]]
        return node

    for one, other in zip(ours.tolist(), theirs.tolist(), strict=True):
        above[root(one)] = root(len(names) + other)
    pieces = np.array([root(one) for one in ours.tolist()])
    order = np.argsort(pieces, kind="stable")
    found = []
    for places in np.split(order, np.flatnonzero(np.diff(pieces[order])) + 1):
        mine, first = np.unique(left[places], return_index=True)
        beside, second = np.unique(right[places], return_index=True)
        total = int(shared[places].sum())
        same = total == int(left_size[places][first].sum()) == int(right_size[places][second].sum())
        found.append(_Common(mine, beside, same))
    return found


def _contributions(view: _View, name: ColumnRef, other: _View) -> Places:
    """Per value of a column its part of the number of the view's cell, -1 where the view has no such row."""
    owner = view if name in view.columns else other
    bounds = owner.ground.relation.bounds(owner.columns[name])
    found = np.zeros(bounds.count + bounds.nullable, dtype=np.int64)
    for split in view.by_column.get(name, ()):
        found += _codes(split.key.expr, split.key.low, split.key.count, bounds) * split.weight
    if name in view.values:
        found = np.where(_mask(view.values[name], bounds), found, -1)
    return found


def _sizes(codes: Places, wanted: Places) -> Places:
    """Per wanted code how many values it stands for."""
    names, counts = np.unique(codes[codes >= 0], return_counts=True)
    return np.asarray(counts[np.searchsorted(names, wanted)], dtype=np.int64)


def _covered(codes: Places, shared: Places, own: Places, others: Places) -> dict[int, bool]:
    """Per code: all its values are shared, and the codes beside it have no other values."""
    names, where = np.unique(codes, return_inverse=True)
    total, beside = np.bincount(where, shared), np.bincount(where, others)
    size = np.zeros(len(names))
    size[where] = own
    return dict(zip(names.tolist(), ((total == size) & (beside == size)).tolist(), strict=True))


def _key_blocks(a: _View, b: _View, *, same_ground: bool) -> list[_Block]:
    """Keys that are compared as they are written."""
    blocks = []
    for key in sorted(a.opaque.keys() | b.opaque.keys(), key=repr):
        codes = np.arange(key.places)
        if key in a.opaque and key in b.opaque and same_ground:
            covered = dict.fromkeys((codes * a.opaque[key]).tolist(), True)
            theirs = dict.fromkeys((codes * b.opaque[key]).tolist(), True)
            same = np.ones(key.places, dtype=np.bool_)
            mine, other = codes * a.opaque[key], codes * b.opaque[key]
            common = [_Common(mine[place : place + 1], other[place : place + 1], same=True) for place in codes.tolist()]
            blocks.append(_Block(mine, other, same, covered, theirs, common))
            continue
        none, apart = np.zeros(key.places, dtype=np.int64), np.zeros(key.places, dtype=np.bool_)
        if key in a.opaque:
            ours = codes * a.opaque[key]
            # Every row has some code: together they are whatever is left without the key.
            covered = dict.fromkeys(ours.tolist(), False)
            blocks.append(_Block(ours, none, apart, covered, {0: True}, [_Common(ours, none[:1], same=True)]))
        if key in b.opaque:
            theirs_codes = codes * b.opaque[key]
            covered = dict.fromkeys(theirs_codes.tolist(), False)
            blocks.append(
                _Block(none, theirs_codes, apart, {0: True}, covered, [_Common(none[:1], theirs_codes, same=True)])
            )
    return blocks


# ------------------------------------------------------------------------------------------------ the run


class _Planner:
    """One run of `plan`."""

    def __init__(self, question: Question, roster: Roster, cells: int) -> None:
        self._question = question
        self._roster = roster
        self._cells = cells
        self._grounds: dict[object, _Ground | None] = {}
        self._families: dict[Family, int] = {}
        self._sides: dict[object, int] = {}
        self._side_list: list[tuple[int, Places | None]] = []
        self._pairs: list[tuple[int, int, int, bool]] = []
        """Target, our side, their side, whether rows are compared."""
        self._targets: dict[tuple[int, object], int] = {}
        """By view, and cell or cells."""
        self._bands: dict[tuple[int, int, bytes], list[int]] = {}
        """Sides of the fine cells, by what the band is made of."""
        self._parts = 0
        self._target_cells: list[tuple[Region, Places]] = []
        """Per target: its set, and the cells of the answer that hang on it."""
        self._band_cells: list[tuple[Region, Places]] = []
        """The same for bands."""
        self._blocks: dict[object, _Block | None] = {}

    def run(self, past: Sequence[Definition]) -> Beside:
        own = self._views_of(self._question.definition)
        seen = {view.same for view in own}
        for definition in past:
            if definition.names & self._question.definition.names:
                for view in self._views_of(definition):
                    if view.same not in seen:
                        seen.add(view.same)
                        for ours in own:
                            self._compare(ours, view)
        return self._finished()

    def _views_of(self, definition: Definition) -> list[_View]:
        ground = self._ground(definition)
        if ground is None:
            return []
        count = len(definition.keys)
        kept: list[tuple[int, ...]] = [tuple(range(count))]
        kept += [(index,) for index in range(count)] if count > 1 else []
        kept += [()] if count else []
        views = []
        for region in definition.sets:
            family = self._families.setdefault(Family(definition, region), len(self._families))
            views += [_View(family, definition, region, some, ground) for some in kept]
        full = [view for view in views if view.is_full]
        for view in full:
            view.apart = [other for other in full if _are_apart(view, other)]
        return views

    def _ground(self, definition: Definition) -> _Ground | None:
        """What its views stand on; None for one that does not fit the present roster."""
        name = (definition.tables, definition.joins)
        if name not in self._grounds:
            relation, place = relation_of(definition, self._roster), len(self._grounds)
            named = None if relation is None else _names(relation, place)
            self._grounds[name] = None if relation is None or named is None else _Ground(relation, place, named, {})
        found = self._grounds[name]
        return found if found is not None and definition.fits(found.relation) else None

    # -------------------------------------------------------------------------------------------- two views

    def _compare(self, a: _View, b: _View) -> None:
        by_rows = a.ground.place == b.ground.place
        if not by_rows and not _comparable(a, b):
            return
        everything_same = by_rows and a.definition.owners == b.definition.owners and a.rest == b.rest
        if by_rows and any(_negated(one, other) for one in a.rest for other in b.rest):
            return
        split = a.by_column.keys() | b.by_column.keys()
        for name in (a.columns.keys() | b.columns.keys()) - split:
            ours, theirs = _left(a, name, b), _left(b, name, a)
            if (ours & theirs).is_empty:
                return
            everything_same &= ours == theirs
        blocks = _key_blocks(a, b, same_ground=by_rows)
        for name in sorted(split, key=lambda ref: (ref.source, ref.name)):
            block = self._block(a, b, name)
            if block is None:
                return
            blocks.append(block)
        self._put(a, b, blocks, everything_same=everything_same, by_rows=by_rows)

    def _block(self, a: _View, b: _View, name: ColumnRef) -> _Block | None:
        known = (
            name,
            a.ground.place,
            b.ground.place,
            tuple(a.by_column.get(name, ())),
            tuple(b.by_column.get(name, ())),
            a.values.get(name),
            b.values.get(name),
        )
        if known not in self._blocks:
            self._blocks[known] = _column_block(a, b, name)
        return self._blocks[known]

    def _put(self, a: _View, b: _View, blocks: Sequence[_Block], *, everything_same: bool, by_rows: bool) -> None:
        """Cells beside cells, and beside unions of cells."""
        if _product(len(block.ours) for block in blocks) + len(self._pairs) > 2 * limits.HISTORY_PAIRS_MAX:
            raise PlanUnsupported(_TOO_MANY)
        ours, theirs = np.zeros(1, dtype=np.int64), np.zeros(1, dtype=np.int64)
        same = np.full(1, everything_same)
        for block in blocks:
            ours = (ours[:, None] + block.ours[None, :]).reshape(-1)
            theirs = (theirs[:, None] + block.theirs[None, :]).reshape(-1)
            same = (same[:, None] & block.same[None, :]).reshape(-1)
        for left, right in zip(ours[~same].tolist(), theirs[~same].tolist(), strict=True):
            self._pair(self._target(a, left), self._cell(a, left), self._cell(b, right), by_rows=by_rows)
        self._put_unions(a, b, ours, theirs, blocks, everything_same=everything_same, by_rows=by_rows)
        if a.is_full and b.is_full:
            for left_cells, right_cells, is_same in _common(a, b, blocks, everything_same=everything_same):
                if is_same:
                    self._band(a, left_cells, a, left_cells)
                    self._band(a, left_cells, b, right_cells)
                else:
                    target = self._as_target(a, left_cells.tobytes(), left_cells)
                    self._pair(target, self._union(a, left_cells), self._union(b, right_cells), by_rows=by_rows)

    def _put_unions(
        self,
        a: _View,
        b: _View,
        ours: Places,
        theirs: Places,
        blocks: Sequence[_Block],
        *,
        everything_same: bool,
        by_rows: bool,
    ) -> None:
        """Cells of each side beside all cells of the other's full view that can share a row with them."""
        if b.is_full and b.cells > 1:
            covered = _all_covered([block.ours_covered for block in blocks], everything_same=everything_same)
            for left, union, is_same in _unions(ours, theirs, covered, b.cells):
                if is_same:
                    base = a.base_cells[left]
                    self._band(a, np.arange(self._cells) if base is None else base, b, union)
                else:
                    self._pair(self._target(a, left), self._cell(a, left), self._union(b, union), by_rows=by_rows)
        if a.is_full and a.cells > 1:
            covered = _all_covered([block.theirs_covered for block in blocks], everything_same=everything_same)
            for right, union, is_same in _unions(theirs, ours, covered, a.cells):
                if is_same:
                    self._band(a, union, a, union)
                    continue
                target = self._as_target(a, union.tobytes(), union)
                self._pair(target, self._union(a, union), self._cell(b, right), by_rows=by_rows)

    def _band(self, hidden: _View, cells: Places, fine: _View, parts: Places) -> None:
        """The cells of the answer that go if the fine cells' suppressed ones could be told together."""
        if fine.is_margin(parts):
            return
        # A cell may be suppressed for its complement, which whoever has the cell and the whole would have too.
        for one in (fine, *fine.apart):
            known = (id(hidden), one.family, cells.tobytes() + b"|" + parts.tobytes())
            if known not in self._bands:
                sides = [self._cell(one, part) for part in parts.tolist()]
                self._parts += len(sides)
                self._band_cells.append((hidden.region, cells))
                self._bands[known] = sides
                if len(self._pairs) + self._parts > limits.HISTORY_PAIRS_MAX:
                    raise PlanUnsupported(_TOO_MANY)

    # -------------------------------------------------------------------------------------------- sides and targets

    def _pair(self, target: int, ours: int, theirs: int, *, by_rows: bool) -> None:
        self._pairs.append((target, ours, theirs, by_rows))
        if len(self._pairs) > limits.HISTORY_PAIRS_MAX:
            raise PlanUnsupported(_TOO_MANY)

    def _cell(self, view: _View, cell: int) -> int:
        if cell not in view.sides:
            view.sides[cell] = len(self._side_list)
            self._side_list.append((view.family, view.base_cells[cell]))
        return view.sides[cell]

    def _union(self, view: _View, cells: Places) -> int:
        known = (view.family, b"union", hashlib.sha256(cells.tobytes()).digest())
        if known not in self._sides:
            self._sides[known] = len(self._side_list)
            self._side_list.append((view.family, cells))
        return self._sides[known]

    def _target(self, view: _View, cell: int) -> int:
        base = view.base_cells[cell]
        return self._as_target(view, cell, np.arange(self._cells) if base is None else base)

    def _as_target(self, view: _View, name: object, cells: Places) -> int:
        known = (id(view), name)
        if known not in self._targets:
            self._targets[known] = len(self._target_cells)
            self._target_cells.append((view.region, cells))
        return self._targets[known]

    # -------------------------------------------------------------------------------------------- the end

    def _finished(self) -> Beside:
        pairs = sorted(self._pairs)
        targets = np.array([pair[0] for pair in pairs], dtype=np.int64)
        by_set: dict[Region, list[tuple[Places, Places]]] = {}
        for target, (region, cells) in enumerate([*self._target_cells, *self._band_cells]):
            by_set.setdefault(region, []).append((cells, np.full(len(cells), target)))
        nothing = np.zeros(0, dtype=np.int64)
        gates = []
        for sets in self._question.gates:
            found = [entry for one in sets for entry in by_set.get(self._question.definition.sets[one], ())]
            cells = np.concatenate([nothing, *(cells for cells, _ in found)])
            gates.append((cells, np.concatenate([nothing, *(target for _, target in found)])))
        sizes = [len(sides) for sides in self._bands.values()]
        nobody = len(self._side_list)
        parts = [(side, nobody) for sides in self._bands.values() for side in sides]
        return Beside(
            tuple(self._families),
            (*self._side_list, (len(self._families), None)),
            np.array([*(pair[1:3] for pair in pairs), *parts], dtype=np.int64).reshape(-1, 2),
            np.array([*(pair[3] for pair in pairs), *([True] * len(parts))], dtype=np.bool_),
            Layout(
                np.bincount(targets, minlength=len(self._target_cells)),
                self._cells,
                tuple(gates),
                np.array(sizes, dtype=np.int64),
            ),
        )


_TOO_MANY: Final = (
    "this question would have to be kept apart from too many earlier groups of persons (at most "
    f"{limits.HISTORY_PAIRS_MAX} comparisons are made for one question); ask for fewer cells at once, in wider bands"
)


def _all_covered(blocks: Sequence[Mapping[int, bool]], *, everything_same: bool) -> dict[int, bool]:
    """By cell: the union beside it is the same set in every database."""
    found = {0: everything_same}
    for block in blocks:
        found = {cell + part: whole and covered for cell, whole in found.items() for part, covered in block.items()}
    return found


def _unions(cells: Places, others: Places, covered: Mapping[int, bool], count: int) -> list[tuple[int, Places, bool]]:
    """For each cell the cells beside it, where they are several but not all; whether they are together the same set."""
    order = np.lexsort((others, cells))
    names, starts = np.unique(cells[order], return_index=True)
    pieces = np.split(others[order], starts[1:])
    return [
        (cell, piece, covered[cell])
        for cell, piece in zip(names.tolist(), pieces, strict=True)
        if 1 < len(piece) < count
    ]


def _common(
    a: _View, b: _View, blocks: Sequence[_Block], *, everything_same: bool
) -> Iterator[tuple[Places, Places, bool]]:
    """Cells of both full views that hang together, several on each side; whether they are the same set.

    Where they are not, margins are left out: they are views of their own, so they meet the unions beside them already.
    """
    most = [_product(max(len(side(one)) for one in block.common) for block in blocks) for side in (_ours, _theirs)]
    if min(most) == 1:
        return
    for pieces in itertools.product(*(block.common for block in blocks)):
        if min(_product(len(side(one)) for one in pieces) for side in (_ours, _theirs)) == 1:
            continue
        ours, theirs = (np.sort(reduce(_sums, map(side, pieces))) for side in (_ours, _theirs))
        is_same = everything_same and all(one.same for one in pieces)
        if is_same or (ours.tobytes() not in a.margins and theirs.tobytes() not in b.margins):
            yield ours, theirs, is_same


def _ours(common: _Common) -> Places:
    return common.ours


def _theirs(common: _Common) -> Places:
    return common.theirs


def _sums(one: Places, other: Places) -> Places:
    return np.asarray((one[:, None] + other[None, :]).reshape(-1), dtype=np.int64)


def _left(view: _View, name: ColumnRef, other: _View) -> Values:
    """What a view leaves of a column that no key splits."""
    if name in view.values:
        return view.values[name]
    return view.declared(name) if name in view.columns else other.declared(name)


def _negated(one: Pred, other: Pred) -> bool:
    """Whether one condition is TRUE only where the other is not."""
    return one in {IsNotTrue(other), Not(other)} or other in {IsNotTrue(one), Not(one)}


def _are_apart(a: _View, b: _View) -> bool:
    """Whether two sets of one definition share no row in any database, as a set and its complement."""
    if any(_negated(one, other) for one in a.rest for other in b.rest):
        return True
    return any((_left(a, name, b) & _left(b, name, a)).is_empty for name in a.values.keys() | b.values.keys())


def _comparable(a: _View, b: _View) -> bool:
    """Whether persons of two relations are told apart by the same thing."""
    if a.ground.relation.persons is None or b.ground.relation.persons is None:
        first = a.definition.tables[0] == b.definition.tables[0]
        return a.ground.relation.persons is None and b.ground.relation.persons is None and first
    return True


def _names(relation: Relation, place: int) -> Mapping[ColumnRef, ColumnRef]:
    """What the columns of a relation are called beside others: by table, where each person has one row of it."""
    names = {}
    tables = [table.name for table in relation.tables]
    for source, table in enumerate(relation.tables):
        persons = table.person_id
        alone = persons is not None and tables.count(table.name) == 1 and table.column(persons).unique
        alone &= source not in relation.nullable_sources
        for column in table.columns:
            own = ColumnRef(source + _ELSEWHERE * place, column.name)
            names[ColumnRef(source, column.name)] = ColumnRef(-1, f"{table.name}.{column.name}") if alone else own
    return names
