"""Does a bundle fit its contract and its booster? Asked at build, check, start and swap.

Nothing of LightGBM is loaded for it; `verify` proves the rest in a child process.
"""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl
import pyarrow as pa

from workers.contracts.columns import arrow_type, is_mixed
from workers.contracts.schema import Schema
from workers.errors import ModelError
from workers.models.bundle import Bundle, Feature, FeatureType
from workers.models.features import expression_of
from workers.models.reference import Categories, Reference
from workers.models.structure import check_structure
from workers.models.text import BoosterText, read_text


def check_bundle(bundle: Bundle, schema: Schema) -> None:
    """Hold a bundle's features to the contract they read and to the booster that reads them.

    Raises:
        ModelError: something does not fit; names model, version and feature.
    """
    manifest = bundle.manifest
    try:
        check_structure(bundle.booster)
        check_features(manifest.features, schema, read_text(bundle.booster))
        if bundle.reference is not None:
            check_reference(manifest.features, bundle.reference)
    except ModelError as error:
        raise ModelError(f"model {manifest.name} version {manifest.version}: {error}") from error


def check_features(features: Sequence[Feature], schema: Schema, booster: BoosterText) -> None:
    """Hold each feature to the contract's fields and to the booster's columns.

    Raises:
        ModelError: one does not fit; names it.
    """
    _check_names([feature.name for feature in features], booster.names)
    # No rows: an expression shows its type, and that it can be computed, without any event.
    empty = pl.DataFrame(_no_events(schema))
    for feature in features:
        try:
            _check_expression(feature, empty)
            _check_column(feature, booster)
        except ModelError as error:
            raise ModelError(f"feature {feature.name}: {error}") from error
    _check_pandas(features, booster)


def check_reference(features: Sequence[Feature], reference: Reference) -> None:
    """Hold a reference distribution to the features that it is of.

    Raises:
        ModelError: a feature is missing, is not one, or is counted otherwise; names it.
    """
    wanted = {feature.name: feature for feature in features}
    if strange := sorted(set(wanted) ^ set(reference.features)):
        raise ModelError(f"feature {strange[0]}: is in features or in reference, not in both")
    for name, spread in reference.features.items():
        categories = len(wanted[name].categories)
        counted = len(spread.counts) if isinstance(spread, Categories) else 0
        if counted != categories:
            raise ModelError(f"feature {name}: the reference counts other values than it has")


def _check_names(features: Sequence[str], columns: Sequence[str]) -> None:
    for name in columns:
        if name not in features:
            raise ModelError(
                f"feature {name}: the booster was trained with it, the manifest lacks it; the "
                f"booster's features are {', '.join(columns)}"
            )
    for name in features:
        if name not in columns:
            raise ModelError(
                f"feature {name}: the manifest lists it, the booster was not trained with it; the "
                f"booster's features are {', '.join(columns)}"
            )


def _no_events(schema: Schema) -> pa.RecordBatch:
    columns = [(name, arrow_type(n)) for name, n in schema.root.children if not is_mixed(n)]
    return pa.RecordBatch.from_pylist([], schema=pa.schema(columns))


def _check_expression(feature: Feature, empty: pl.DataFrame) -> None:
    expression = expression_of(feature)
    roots = set(expression.meta.root_names())
    if unknown := sorted(roots - set(empty.columns)):
        raise ModelError(f"the contract has no field {unknown}; it has {', '.join(empty.columns)}")
    try:
        found = empty.select(expression)
    except (pl.exceptions.PolarsError, ValueError, pl.exceptions.PanicException) as error:
        raise ModelError(f"`{feature.sql}` cannot be computed: {error}") from error
    if found.width != 1:
        raise ModelError(f"`{feature.sql}` gives {found.width} columns; a feature is one")
    if roots and found.height:
        raise ModelError(
            f"`{feature.sql}` is one value over all events; a feature is one of each event"
        )
    _check_type(feature, found.dtypes[0])


def _check_type(feature: Feature, kind: pl.DataType) -> None:
    if feature.type is FeatureType.CATEGORICAL:
        if kind != pl.String:
            raise ModelError(
                f"`{feature.sql}` gives {kind}, categories are strings; "
                "write CAST(… AS VARCHAR), or make it numeric"
            )
    elif not (kind.is_numeric() or kind.is_temporal() or kind == pl.Boolean):
        raise ModelError(
            f"`{feature.sql}` gives {kind}, which is no number; "
            "write CAST(… AS DOUBLE), or make it categorical"
        )


def _check_column(feature: Feature, booster: BoosterText) -> None:
    highest = booster.highest_code.get(feature.name)
    if feature.type is FeatureType.NUMERIC:
        if highest is not None:
            raise ModelError("the booster was trained with it as categorical, it is numeric here")
        return
    if feature.name in booster.numeric:
        raise ModelError("the booster was trained with it as numeric, it is categorical here")
    if highest is not None and highest >= len(feature.categories):
        raise ModelError(
            f"the booster knows category code {highest}, but {len(feature.categories)} categories "
            f"are listed, up to code {len(feature.categories) - 1}"
        )


def _check_pandas(features: Sequence[Feature], booster: BoosterText) -> None:
    """Codes of a pandas table are places in its own categories: ours must be the same."""
    if booster.pandas_categories is None:
        return
    by_name = {feature.name: feature for feature in features}
    ordered = [by_name[n] for n in booster.names if by_name[n].type is FeatureType.CATEGORICAL]
    if len(ordered) != len(booster.pandas_categories):
        raise ModelError(
            f"the booster was trained on {len(booster.pandas_categories)} categorical columns of a "
            f"pandas table, but {len(ordered)} features are categorical"
        )
    for feature, trained in zip(ordered, booster.pandas_categories, strict=True):
        if feature.categories != trained:
            raise ModelError(
                f"feature {feature.name}: its categories are not those of the pandas table that "
                f"the booster was trained on, in their order: {', '.join(trained)}"
            )
