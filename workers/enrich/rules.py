"""Rules: decisions that are declared, before the model and after it."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa

from workers.errors import Code, ModelError, Reject
from workers.models.expressions import Expressions, parse_expression
from workers.topology import Rule

Places = npt.NDArray[np.intp]


class Rules:
    """Some rules, in order: the first that is true for a row decides it."""

    def __init__(self, rules: Sequence[Rule], given: Collection[str] = ()) -> None:
        """`given` are columns that are not the event's, such as `score`.

        Raises:
            ModelError: an expression is not SQL, or reads nothing; names the rule.
        """
        self.names = np.array([*(rule.name for rule in rules), None], dtype=object)
        self.decisions = np.array([*(rule.decision for rule in rules), None], dtype=object)
        self._expressions = Expressions({rule.name: _parse(rule) for rule in rules})
        for name, roots in self._expressions.roots.items():
            if not roots or self._expressions.of_all(name):
                raise ModelError(f"rule {name}: it is one value for all events, not one of each")
        self._given = frozenset(given)
        self.fields = frozenset(self._expressions.fields) - self._given

    def __bool__(self) -> bool:
        """Are there any?"""
        return len(self.names) > 1

    def check_fields(self, fields: Collection[str]) -> None:
        """Hold what the rules read to the fields of a contract.

        Raises:
            ModelError: a rule reads what is not there, or what is there under a name that is also
                the event's; names the rule.
        """
        for name, roots in self._expressions.roots.items():
            if unknown := sorted(set(roots) - set(fields) - self._given):
                raise ModelError(f"rule {name}: the contract has no field {unknown}")
            if doubled := sorted(set(roots) & set(fields) & self._given):
                raise ModelError(
                    f"rule {name}: {doubled} is a field of the event and the model's too; this "
                    "rule cannot tell them apart"
                )

    def first(self, table: pa.RecordBatch) -> tuple[Places, dict[int, Reject]]:
        """For each row the number of the first rule that is true, else -1: the last of `names`.

        The second part has rows whose rules cannot be computed.
        """
        truths, failed = self._expressions.compute(table)
        true = np.nan_to_num(truths) != 0
        found = np.where(true.any(axis=1), true.argmax(axis=1), -1)
        rejections = {
            row: Reject(Code.RULE, f"a rule cannot be computed: {why}")
            for row, why in failed.items()
        }
        return found, rejections


def _parse(rule: Rule) -> pl.Expr:
    try:
        return parse_expression(rule.when)
    except ModelError as error:
        raise ModelError(f"rule {rule.name}: {error}") from error
