"""Several versions of the input at once: each is read right, scored alike, and enriched."""

from __future__ import annotations

import copy
import datetime
import io
import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import fastavro
import pytest

from tests.enrich.test_path import POLICY, batch
from workers.contracts.catalogue import Catalogue, Registered
from workers.contracts.derive import derive, enrichment_block
from workers.contracts.framing import frame
from workers.contracts.resolution import Resolver, Unresolvable, VersionReader
from workers.contracts.schema import Schema, parse
from workers.enrich.path import Enricher
from workers.errors import ContractError, ModelError, Verdict
from workers.models.bundle import Bundle, ContractRef
from workers.models.model import Model

Json = Any
Change = Callable[[Json], None]


def changed(schema: Schema, *changes: Change) -> Schema:
    """The schema with these changes made to its document."""
    document = copy.deepcopy(dict(schema.document))
    for change in changes:
        change(document)
    return parse(json.dumps(document), where="changed")


def entry(document: Json, name: str) -> Json:
    """The field of that name."""
    return next(field for field in document["fields"] if field["name"] == name)


def add(name: str, kind: Json, **more: Json) -> Change:
    """A new last field."""
    return lambda document: document["fields"].append({"name": name, "type": kind, **more})


def drop(name: str) -> Change:
    """A field less."""
    return lambda document: document["fields"].remove(entry(document, name))


def patch(field: str, **more: Json) -> Change:
    """A field with other properties."""
    return lambda document: entry(document, field).update(more)


def required(field: str, kind: Json) -> Change:
    """A field that has this type and no default."""

    def change(document: Json) -> None:
        entry(document, field).pop("default", None)
        entry(document, field)["type"] = kind

    return change


def catalogue(contracts: Catalogue, schemas: Sequence[Schema], derived: Sequence[int]) -> Catalogue:
    """Input versions 1.. with ids 1.., outputs derived from some of them with ids 101.."""
    inputs = [Registered("flights-value", n, n, schema) for n, schema in enumerate(schemas, 1)]
    outputs = [
        Registered("flights.enriched-value", n, 100 + n, derive(schemas[n - 1], enrichment_block()))
        for n in derived
    ]
    # The block alone: later versions of the decision record say which contract the event had.
    decisions = [v for v in contracts.versions("flights.decisions-value").values() if v.version < 3]
    return Catalogue([*inputs, *outputs, *decisions])


@pytest.fixture(scope="module")
def first(contracts: Catalogue) -> Schema:
    """The shipped version."""
    return contracts.versions("flights-value")[1].schema


def events(schema: Schema, datums: Sequence[bytes]) -> list[dict[str, Any]]:
    """The events of some datums."""
    return [
        dict(fastavro.schemaless_reader(io.BytesIO(datum), schema.parsed, None)) for datum in datums
    ]


def encoded(schema: Schema, items: Sequence[dict[str, Any]]) -> list[bytes]:
    """Datums of some events."""
    datums = []
    for item in items:
        stream = io.BytesIO()
        fastavro.schemaless_writer(stream, schema.parsed, item)
        datums.append(stream.getvalue())
    return datums


def read(contracts: Catalogue, value: bytes | None) -> dict[str, Any]:
    """An enriched event, by the schema of its own id."""
    assert value is not None
    found = contracts.find(int.from_bytes(value[1:5], "big"))
    assert found is not None
    stream = io.BytesIO(value[5:])
    event = dict(fastavro.schemaless_reader(stream, found.schema.parsed, None))
    assert not stream.read()
    return event


def built_for(bundle: Bundle, version: int) -> Model:
    """The demo's model, as if built for another version."""
    manifest = bundle.manifest.model_copy(
        update={"contract": ContractRef(subject="flights-value", version=version)}
    )
    return Model(replace(bundle, manifest=manifest))


def test_versions_side_by_side_each_with_its_own_output(
    contracts: Catalogue, bundle: Bundle, first: Schema, flights: list[bytes]
) -> None:
    """A new optional field reaches downstream; scores are those of the same event before it."""
    second = changed(first, add("gate", ["null", "string"], default=None))
    known = catalogue(contracts, [first, second], [1, 2])
    enricher = Enricher(POLICY, known, Model(bundle))
    old, items = flights[:400], events(first, flights[:400])
    new = encoded(second, [{**item, "gate": f"B{n}"} for n, item in enumerate(items)])
    values = list[bytes]()
    for before_datum, after_datum in zip(old, new, strict=True):
        values += [frame(1) + before_datum, frame(2) + after_datum]

    outcomes = enricher.enrich(batch(values))

    assert len(outcomes.enriched) == 800
    for row in range(0, 800, 2):
        before, after = outcomes.enriched[row], outcomes.enriched[row + 1]
        assert before is not None
        assert after is not None
        assert before.startswith(frame(101) + old[row // 2])
        assert after.startswith(frame(102) + new[row // 2])
    for row in (0, 398):
        before_event, after_event = (read(known, outcomes.enriched[row + n]) for n in (0, 1))
        assert after_event["gate"] == f"B{row // 2}"
        assert after_event["enrichment"]["score"] == before_event["enrichment"]["score"]
        assert after_event["enrichment"]["decision_id"].endswith(str(101 + row))
    assert len(outcomes.decisions) == 800


READ_AS_NEWER: list[tuple[str, list[Change], Callable[[dict[str, Any]], dict[str, Any]]]] = [
    ("a field with a default", [drop("visibility")], lambda e: {**e, "visibility": None}),
    ("another order", [lambda d: d["fields"].reverse()], lambda e: e),
    ("a record of another name", [lambda d: d.update(name="Departure")], lambda e: e),
    ("not yet nullable", [required("temperature", "double")], lambda e: e),
]


@pytest.mark.parametrize("derived", [[1, 2], [1]], ids=["derived", "rewritten"])
@pytest.mark.parametrize("case", READ_AS_NEWER, ids=[case[0] for case in READ_AS_NEWER])
def test_older_versions_are_scored_as_the_models_version_reads_them(
    contracts: Catalogue,
    bundle: Bundle,
    first: Schema,
    flights: list[bytes],
    case: tuple[str, list[Change], Callable[[dict[str, Any]], dict[str, Any]]],
    derived: list[int],
) -> None:
    """Defaults, order, names: the score is that of the same event in the model's version."""
    _, changes, as_read = case
    other = changed(first, *changes)
    known = catalogue(contracts, [first, other], derived)
    enricher = Enricher(POLICY, known, Model(bundle))
    items = [e for e in events(first, flights[:200]) if e["temperature"] is not None]
    theirs, ours = encoded(other, items), encoded(first, [as_read(item) for item in items])

    got = enricher.enrich(batch([frame(2) + datum for datum in theirs]))
    expected = enricher.enrich(batch([frame(1) + datum for datum in ours]))

    assert len(got.enriched) == len(items) > 100
    assert got.decisions == expected.decisions
    for row, item in enumerate(items):
        event = read(known, got.enriched[row])
        wanted = item if derived == [1, 2] else as_read(item)
        assert {k: v for k, v in event.items() if k in wanted} == {
            k: v for k, v in wanted.items() if k in event
        }
        assert len(event) == (len(other.field_names) if derived == [1, 2] else 16) + 1


def test_promotions_aliases_and_unknown_symbols_follow_the_models_version(
    contracts: Catalogue, bundle: Bundle, first: Schema, flights: list[bytes]
) -> None:
    """The model is built for version 2; version 1 names a field otherwise, with narrower types."""
    symbols = ["EWR", "JFK", "LGA", "OTHER"]
    second = changed(
        first,
        patch("distance", type="double"),
        patch("departure_delay", type="long"),
        patch("seats", name="seat_count", aliases=["seats"]),
        patch(
            "origin",
            type={"type": "enum", "name": "Origin", "symbols": symbols, "default": "OTHER"},
        ),
    )
    third = changed(
        first,
        patch(
            "origin",
            type={"type": "enum", "name": "Origin", "symbols": ["EWR", "JFK", "LGA", "HPN"]},
        ),
    )
    manifest = bundle.manifest
    features = tuple(
        f.model_copy(update={"sql": f.sql.replace("seats", "seat_count")})
        for f in manifest.features
    )
    moved = manifest.model_copy(
        update={"contract": ContractRef(subject="flights-value", version=2), "features": features}
    )
    known = catalogue(contracts, [first, second, third], [1, 2, 3])
    enricher = Enricher(POLICY, known, Model(replace(bundle, manifest=moved)))
    reference = Enricher(POLICY, known, Model(bundle))
    values = [frame(1) + datum for datum in flights[:300]]

    got, expected = enricher.enrich(batch(values)), reference.enrich(batch(values))

    assert len(got.enriched) == 300
    assert got.decisions == expected.decisions
    assert "columns" in str(enricher.binding)
    away = encoded(third, [{**events(first, flights[:1])[0], "origin": "HPN"}])
    strange = enricher.enrich(batch([frame(3) + away[0]]))
    assert read(known, strange.enriched[0])["origin"] == "HPN"


def test_what_cannot_be_read_as_the_models_version_is_a_contract_verdict(
    contracts: Catalogue, bundle: Bundle, first: Schema, flights: list[bytes]
) -> None:
    """A required field is missing, or means something else: named, and the others go on."""
    lacking = changed(first, drop("distance"))
    seconds = {"type": "long", "logicalType": "timestamp-micros"}
    other = changed(first, patch("scheduled_departure", type=seconds))
    known = catalogue(contracts, [first, lacking, other], [1, 2, 3])
    enricher = Enricher(POLICY, known, Model(bundle))
    item = events(first, flights[:1])[0]
    values = [
        frame(1) + flights[0],
        frame(2) + encoded(lacking, [item])[0],
        frame(3) + encoded(other, [item])[0],
    ]

    outcomes = enricher.enrich(batch(values))

    assert list(outcomes.enriched) == [0]
    missing, meaning = (outcomes.rejected[row].reject for row in (1, 2))
    assert (missing.verdict, missing.code) == (Verdict.CONTRACT, "unresolvable")
    assert "flights-value version 2" in str(missing)
    assert "distance" in str(missing)
    assert meaning.verdict is Verdict.CONTRACT
    assert "scheduled_departure" in str(meaning)


def test_a_value_the_models_version_cannot_hold_is_rejected_alone(
    contracts: Catalogue, bundle: Bundle, first: Schema, flights: list[bytes]
) -> None:
    """An older version allowed null where the model's does not."""
    second = changed(first, patch("distance", type=["null", "int"]))
    known = catalogue(contracts, [first, second], [1, 2])
    enricher = Enricher(POLICY, known, Model(bundle))
    items = events(first, flights[:3])
    items[1]["distance"] = None

    outcomes = enricher.enrich(batch([frame(2) + datum for datum in encoded(second, items)]))

    assert sorted(outcomes.enriched) == [0, 2]
    assert outcomes.rejected[1].reject.code == "unresolvable"
    assert outcomes.rejected[1].schema_id == 2


def test_a_version_without_output_is_rewritten_to_the_newest_that_has_one(
    contracts: Catalogue, bundle: Bundle, first: Schema, flights: list[bytes]
) -> None:
    """And bytes that are damaged, or too many, are still found before."""
    second = changed(first, add("gate", ["null", "string"], default=None))
    third = changed(second, add("belt", ["null", "int"], default=None), drop("humidity"))
    known = catalogue(contracts, [first, second, third], [1, 2])
    enricher = Enricher(POLICY, known, Model(bundle))
    item = {**events(first, flights[:1])[0], "gate": "B7", "belt": 4}
    datum = encoded(third, [item])[0]

    outcomes = enricher.enrich(
        batch([frame(3) + datum, frame(3) + datum[:-2], frame(3) + datum + b"\x00"])
    )

    event = read(known, outcomes.enriched[0])
    assert outcomes.enriched[0] is not None
    assert outcomes.enriched[0][:5] == frame(102)
    assert event["gate"] == "B7"
    assert event["humidity"] is None
    assert "belt" not in event
    assert {row: r.reject.verdict for row, r in outcomes.rejected.items()} == {
        1: Verdict.DECODE,
        2: Verdict.DECODE,
    }


def test_a_newer_catalogue_is_taken_and_a_broken_one_is_not(
    contracts: Catalogue, bundle: Bundle, first: Schema, flights: list[bytes]
) -> None:
    """`rebind` changes what is known between two batches; what cannot be bound changes nothing."""
    second = changed(first, add("gate", ["null", "string"], default=None))
    enricher = Enricher(POLICY, catalogue(contracts, [first], [1]), Model(bundle))
    item = {**events(first, flights[:1])[0], "gate": "B7"}
    values = [frame(1) + flights[0], frame(2) + encoded(second, [item])[0]]

    before = enricher.enrich(batch(values))
    with pytest.raises(ContractError, match=r"no version of flights\.enriched-value is derived"):
        enricher.rebind(catalogue(contracts, [first, second], []))
    between = enricher.enrich(batch(values))
    enricher.rebind(catalogue(contracts, [first, second], [1, 2]))
    after = enricher.enrich(batch(values))

    assert before.unknown == between.unknown == {2: [1]}
    assert sorted(before.enriched) == sorted(between.enriched) == [0]
    assert sorted(after.enriched) == [0, 1]
    assert after.unknown == {}


def test_a_model_built_for_a_version_that_is_not_there_is_refused(
    contracts: Catalogue, bundle: Bundle
) -> None:
    """By name."""
    with pytest.raises(ModelError, match="flights-value version 9"):
        Enricher(POLICY, contracts, built_for(bundle, 9))


def reading(writer: list[Json], reader: list[Json], **more: Any) -> VersionReader:
    """A reader of every field of `reader`."""
    documents = (
        {"type": "record", "name": "E", "fields": writer},
        {"type": "record", "name": "E", "fields": reader, **more},
    )
    theirs, ours = (parse(json.dumps(document), where="here") for document in documents)
    return VersionReader(theirs, ours, ours.field_names)


X = {"name": "x", "type": "int"}


def test_a_default_makes_a_column_for_no_rows_too() -> None:
    """All of a version's records are damaged: an empty table of the model's fields."""
    moment = {"type": "long", "logicalType": "timestamp-millis"}
    listed = {"type": "array", "items": moment}
    added = [
        {"name": "at", "type": moment, "default": 5},
        {"name": "many", "type": listed, "default": [1, 2]},
        {"name": "raw", "type": "bytes", "default": "\u00ff"},
    ]
    reader = reading([X], [X, *added])

    assert reader.decode([b"\xff"]).table.num_rows == 0
    row = reader.decode([b"\x02"]).table.to_pylist()[0]
    assert row["at"] == datetime.datetime(1970, 1, 1, 0, 0, 0, 5000, tzinfo=datetime.UTC)
    assert len(row["many"]) == 2
    assert row["raw"] == b"\xff"


def inner(unit: str) -> list[Json]:
    """A record in a list in a nullable record, with a time."""
    leaf = {"name": "at", "type": {"type": "long", "logicalType": f"timestamp-{unit}"}}
    item = {"type": "record", "name": "Leaf", "fields": [leaf]}
    many = {"name": "many", "type": {"type": "array", "items": item}}
    part = {"type": "record", "name": "Part", "fields": [many]}
    return [{"name": "part", "type": ["null", part], "default": None}, X]


def test_another_unit_is_found_at_any_depth() -> None:
    """It would be read a thousand times too large, and nothing would say so."""
    with pytest.raises(Unresolvable, match=r"part\.many\.items\.at .*timestamp-micros"):
        reading(inner("micros"), inner("millis"))
    theirs, ours = (
        parse(json.dumps({"type": "record", "name": "E", "fields": inner(unit)}), where="here")
        for unit in ("micros", "millis")
    )
    with pytest.raises(Unresolvable, match="another meaning"):
        Resolver(theirs, ours)


def test_a_union_of_several_types_makes_no_feature() -> None:
    """It is carried to the output, and no column can hold it."""
    mixed = [{"name": "y", "type": ["null", "int", "string"], "default": None}]

    with pytest.raises(Unresolvable, match="union of several types"):
        reading([X, *mixed], [X, *mixed])


def test_a_field_and_its_alias_in_one_record_are_not_guessed() -> None:
    """Records are rewritten by fastavro, which may take either."""
    writer = [{"name": "old", "type": "int"}, X]
    reader = [{**X, "aliases": ["old"]}, {"name": "y", "type": "int", "default": 0}]
    theirs, ours = (
        parse(json.dumps({"type": "record", "name": "E", "fields": fields}), where="here")
        for fields in (writer, reader)
    )

    with pytest.raises(Unresolvable, match="alias old"):
        Resolver(theirs, ours)
