"""A forest as LLVM IR: `score(rows, count, stride, out)` adds up the trees of each row into `out`.

Decisions are LightGBM's `NumericalDecision` and `CategoricalDecision` (include/LightGBM/tree.h),
sums are taken tree by tree in the model's order, so a score has the very same bits. What is known
at compile time is decided there: a NaN that a split takes for zero goes where zero goes.

A few trees at a time walk over many rows: their code and the processor's memory of their branches
stay at hand. That, and constants in the code, is where the speed comes from.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

from workers.models.compiled.trees import ZERO, Forest, Missing, Split, Tree

TREES_AT_ONCE = 16
ROWS_AT_ONCE = 256
WORD = 63
"""A set of so many categories, and one bit for all others, fits a machine word."""


@dataclass(frozen=True, slots=True)
class _Plan:
    """What holds for all trees: see `_at_zero` and `_codes`; `tables` are the wide sets so far."""

    at_zero: frozenset[int]
    codes: dict[int, int]
    tables: dict[tuple[int, int], str]


def emit(forest: Forest) -> str:
    """The module's text."""
    plan = _Plan(_at_zero(forest), _codes(forest), {})
    functions: list[str] = []
    names: list[str] = []
    for first in range(0, len(forest.trees), TREES_AT_ONCE):
        names.append(f"@trees{first}")
        functions += _function(names[-1], forest.trees[first : first + TREES_AT_ONCE], plan)
    tables = [_table(name, *content) for content, name in plan.tables.items()]
    return "\n".join([*tables, *functions, *_score(names, forest.sigmoid)]) + "\n"


def _at_zero(forest: Forest) -> frozenset[int]:
    """Features with a split so near zero that it matters what LightGBM takes for zero."""
    return frozenset(
        split.feature
        for tree in forest.trees
        for split in tree.splits
        if split.categories is None
        and (abs(split.threshold) <= ZERO or split.missing is Missing.ZERO)
    )


def _codes(forest: Forest) -> dict[int, int]:
    """Categorical features, with the number that stands for every category in no set."""
    others: dict[int, int] = {}
    for tree in forest.trees:
        for split in tree.splits:
            if split.categories is not None:
                bits = split.categories.bit_length()
                others[split.feature] = max(others.get(split.feature, 0), bits)
    return others


def _function(name: str, trees: tuple[Tree, ...], plan: _Plan) -> Iterator[str]:
    """Some trees over some rows. A value is loaded where it is used, or made once a row above."""
    yield f"define internal void {name}(ptr %rows, i64 %count, i64 %stride, ptr %out) {{"
    yield "entry:\n  br label %row"
    yield "row:"
    yield "  %at = phi i64 [0, %entry], [%after, %next]"
    yield "  %skip = mul i64 %at, %stride"
    yield "  %row.values = getelementptr double, ptr %rows, i64 %skip"
    yield "  %sum.place = getelementptr double, ptr %out, i64 %at"
    yield "  %sum0 = load double, ptr %sum.place"
    numeric = {s.feature for t in trees for s in t.splits if s.categories is None}
    coded = {s.feature for t in trees for s in t.splits if s.categories is not None}
    for feature in sorted(numeric & plan.at_zero):
        yield from _flushed(feature)
    for feature in sorted(coded):
        yield from _coded(feature, plan.codes[feature])
    for number, tree in enumerate(trees):
        yield from _tree(number, tree, plan)
    yield f"  br label %next\nnext:\n  store double %sum{len(trees)}, ptr %sum.place"
    yield "  %after = add i64 %at, 1"
    yield "  %more = icmp ult i64 %after, %count"
    yield "  br i1 %more, label %row, label %done\ndone:\n  ret void\n}"


def _loaded(name: str, feature: int) -> Iterator[str]:
    yield f"  {name}.p = getelementptr double, ptr %row.values, i64 {feature}"
    yield f"  {name} = load double, ptr {name}.p"


def _flushed(feature: int) -> Iterator[str]:
    """LightGBM leaves out what is next to zero when it copies a row, so it reads as zero."""
    raw, kept = f"%raw{feature}", f"%kept{feature}"
    yield from _loaded(raw, feature)
    yield f"  {kept}.low = fcmp ult double {raw}, {_double(-ZERO)}"
    yield f"  {kept}.high = fcmp ugt double {raw}, {_double(ZERO)}"
    yield f"  {kept}.any = or i1 {kept}.low, {kept}.high"
    yield f"  {kept} = select i1 {kept}.any, double {raw}, double 0.0"


def _coded(feature: int, other: int) -> Iterator[str]:
    """A category as a number: truncated; below 0, NaN and what no set has are `other`."""
    raw, code = f"%category{feature}", f"%code{feature}"
    yield from _loaded(raw, feature)
    yield f"  {code}.low = fcmp ogt double {raw}, {_double(-1.0)}"
    yield f"  {code}.high = fcmp olt double {raw}, {_double(float(other))}"
    yield f"  {code}.in = and i1 {code}.low, {code}.high"
    yield f"  {code}.safe = select i1 {code}.in, double {raw}, double {_double(float(other))}"
    yield f"  {code} = fptosi double {code}.safe to i64"


def _tree(number: int, tree: Tree, plan: _Plan) -> Iterator[str]:
    """Branches down to a leaf, whose value is added to the sum."""
    place = f"t{number}"
    yield f"  br label %{_label(place, 0 if tree.splits else -1)}"
    for at, split in enumerate(tree.splits):
        yield f"{_label(place, at)}:"
        goes_left = f"%{place}.left{at}"
        if split.categories is None:
            yield from _numeric(goes_left, split, plan.at_zero)
        else:
            yield from _categorical(goes_left, split, plan)
        left, right = _label(place, split.left), _label(place, split.right)
        yield f"  br i1 {goes_left}, label %{left}, label %{right}"
    for leaf in range(len(tree.leaves)):
        yield f"{_label(place, ~leaf)}:\n  br label %{place}.end"
    values = ", ".join(
        f"[{_double(value)}, %{_label(place, ~leaf)}]" for leaf, value in enumerate(tree.leaves)
    )
    yield f"{place}.end:\n  %{place}.value = phi double {values}"
    yield f"  %sum{number + 1} = fadd double %sum{number}, %{place}.value"


def _label(place: str, child: int) -> str:
    return f"{place}.split{child}" if child >= 0 else f"{place}.leaf{~child}"


def _numeric(name: str, split: Split, at_zero: frozenset[int]) -> Iterator[str]:
    value = f"%kept{split.feature}"
    if split.feature not in at_zero:
        value = f"{name}.value"
        yield from _loaded(value, split.feature)
    # "ule" is true for NaN too, "ole" is not: that is where NaN goes.
    compare = "ule" if split.nan_left else "ole"
    limit = _double(split.threshold)
    if split.missing is not Missing.ZERO or split.zero_left == split.default_left:
        yield f"  {name} = fcmp {compare} double {value}, {limit}"
        return
    yield f"  {name}.side = fcmp {compare} double {value}, {limit}"
    # Zero goes the other way than its value says.
    yield f"  {name}.zero = fcmp oeq double {value}, 0.0"
    yield f"  {name} = xor i1 {name}.side, {name}.zero"


def _categorical(name: str, split: Split, plan: _Plan) -> Iterator[str]:
    other, code, members = plan.codes[split.feature], f"%code{split.feature}", split.categories or 0
    if other <= WORD:
        yield f"  {name}.bits = lshr i64 {members}, {code}"
        yield f"  {name} = trunc i64 {name}.bits to i1"
        return
    content = (members, other // 8 + 1)
    table = plan.tables.setdefault(content, f"@set{len(plan.tables)}")
    yield f"  {name}.place = lshr i64 {code}, 3"
    yield f"  {name}.p = getelementptr i8, ptr {table}, i64 {name}.place"
    yield f"  {name}.byte = load i8, ptr {name}.p"
    yield f"  {name}.low = trunc i64 {code} to i8"
    yield f"  {name}.shift = and i8 {name}.low, 7"
    yield f"  {name}.bits = lshr i8 {name}.byte, {name}.shift"
    yield f"  {name} = trunc i8 {name}.bits to i1"


def _table(name: str, members: int, size: int) -> str:
    """A set as bytes, with room for the number that stands for all others."""
    content = "".join(f"\\{byte:02x}" for byte in members.to_bytes(size, "little"))
    return f'{name} = internal constant [{size} x i8] c"{content}"'


def _score(names: list[str], sigmoid: float | None) -> Iterator[str]:
    """The function that is called from outside: all trees over some rows, then the next rows."""
    yield "declare double @exp(double)"
    yield "define void @score(ptr %rows, i64 %count, i64 %stride, ptr %out) {"
    yield "entry:\n  br label %some"
    yield "some:"
    yield "  %at = phi i64 [0, %entry], [%after, %done]"
    yield "  %left = sub i64 %count, %at"
    yield f"  %many = icmp ugt i64 %left, {ROWS_AT_ONCE}"
    yield f"  %some.count = select i1 %many, i64 {ROWS_AT_ONCE}, i64 %left"
    yield "  %skip = mul i64 %at, %stride"
    yield "  %some.rows = getelementptr double, ptr %rows, i64 %skip"
    yield "  %some.out = getelementptr double, ptr %out, i64 %at"
    for name in names:
        yield f"  call void {name}(ptr %some.rows, i64 %some.count, i64 %stride, ptr %some.out)"
    if sigmoid is None:
        yield "  br label %done"
    else:
        yield from _transform(sigmoid)
    yield "done:"
    yield "  %after = add i64 %at, %some.count"
    yield "  %more = icmp ult i64 %after, %count"
    yield "  br i1 %more, label %some, label %end\nend:\n  ret void\n}"


def _transform(sigmoid: float) -> Iterator[str]:
    """`1 / (1 + exp(-sigmoid * sum))`, with the C library's `exp` as LightGBM has it."""
    yield "  br label %one"
    yield "one:"
    yield "  %one.at = phi i64 [0, %some], [%one.after, %one]"
    yield "  %place = getelementptr double, ptr %some.out, i64 %one.at"
    yield "  %sum = load double, ptr %place"
    yield f"  %scaled = fmul double %sum, {_double(-sigmoid)}"
    yield "  %power = call double @exp(double %scaled)"
    yield "  %below = fadd double %power, 1.0"
    yield "  %found = fdiv double 1.0, %below"
    yield "  store double %found, ptr %place"
    yield "  %one.after = add i64 %one.at, 1"
    yield "  %one.more = icmp ult i64 %one.after, %some.count"
    yield "  br i1 %one.more, label %one, label %done"


def _double(value: float) -> str:
    """The bits of a number, so that none is lost in text."""
    return f"0x{struct.unpack('<Q', struct.pack('<d', value))[0]:016X}"
