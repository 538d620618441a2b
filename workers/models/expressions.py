"""SQL scalar expressions over the columns of a table, each to a column of numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import polars as pl
import pyarrow as pa

from workers.errors import ModelError
from workers.models.booster import Matrix


def parse_expression(sql: str) -> pl.Expr:
    """A SQL expression, compiled.

    Raises:
        ModelError: it is none.
    """
    try:
        return pl.sql_expr(sql)
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException) as error:
        raise ModelError(f"not a SQL expression: {error}") from error


class Expressions:
    """Several expressions, computed together."""

    def __init__(self, expressions: Mapping[str, pl.Expr]) -> None:
        """`expressions` by the name of their column; each is cast to a double."""
        self._by_name = {
            name: expression.cast(pl.Float64).alias(name)
            for name, expression in expressions.items()
        }
        self._expressions = list(self._by_name.values())
        self.roots = {name: roots(expression) for name, expression in expressions.items()}
        self.fields = sorted({field for fields in self.roots.values() for field in fields})

    def of_all(self, name: str) -> bool:
        """Is it one value over all rows, as MAX(field) is, and not one of each?"""
        kinds = dict.fromkeys(self.roots[name], pl.Float64())
        try:
            return pl.DataFrame(schema=kinds).select(self._by_name[name]).height > 0
        except (pl.exceptions.PolarsError, ValueError, pl.exceptions.PanicException):
            # It needs columns of another type; what is an aggregate is one for numbers too.
            return False

    def compute(self, table: pa.RecordBatch) -> tuple[Matrix, dict[int, str]]:
        """A row a row of the table and a column an expression; null is NaN.

        The second part names the error of rows that cannot be computed: each is found and left out
        alone, its neighbours are not harmed.
        """
        matrix = np.full((table.num_rows, len(self._expressions)), np.nan)
        failed: dict[int, str] = {}
        self._halve(table.select(self.fields), 0, matrix, failed)
        return matrix, failed

    def _halve(
        self, table: pa.RecordBatch, start: int, matrix: Matrix, failed: dict[int, str]
    ) -> None:
        rows = table.num_rows
        if not rows:
            return
        try:
            computed = pl.DataFrame(table).select(self._expressions)
            matrix[start : start + rows] = computed.to_numpy()
        except (pl.exceptions.PolarsError, ValueError, pl.exceptions.PanicException) as error:
            if rows == 1:
                failed[start] = type(error).__name__
                return
            middle = rows // 2
            self._halve(table.slice(0, middle), start, matrix, failed)
            self._halve(table.slice(middle), start + middle, matrix, failed)


def roots(expression: pl.Expr) -> Sequence[str]:
    """The columns that an expression reads."""
    return sorted(set(expression.meta.root_names()))
