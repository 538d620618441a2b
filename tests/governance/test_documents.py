"""Documents made from topology.yaml and the contracts: pages, AsyncAPI, ODCS."""

from __future__ import annotations

import gzip
import json
import re
from importlib import resources
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from open_data_contract_standard.model import OpenDataContractStandard
from ruamel.yaml import YAML
from typer.testing import CliRunner

from tests.conftest import ROOT
from tests.governance.shapes import checkout
from workers.cli import app
from workers.contracts.directory import read_directory
from workers.contracts.subject import Compatibility
from workers.errors import ContractError, TopologyError, Verdict
from workers.governance.documents import documents, load_without_environment
from workers.governance.documents.dead_letter_headers import VERDICTS
from workers.governance.documents.promises import compatibility

__all__ = ["checkout"]
Made = dict[Path, str]


def made(root: Path) -> Made:
    """The documents of a checkout."""
    topology = load_without_environment(root / "topology.yaml")
    return documents(topology, read_directory(root / "schemas"), schemas=Path("../schemas"))


def page(root: Path, topic: str) -> str:
    """One topic's page."""
    return made(root)[Path(f"topics/{topic}.md")]


def edit(root: Path, old: str, new: str) -> None:
    """Change topology.yaml."""
    file = root / "topology.yaml"
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new))


def workers(*arguments: str | Path) -> Any:
    """Run the command."""
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_a_page_says_what_a_reader_must_know() -> None:
    """Owner, key, order, guarantee, rule against duplicates, framing, retention, promise."""
    text = page(ROOT, "flights.enriched")

    for said in (
        "| Owner | flight-operations@example.org |",
        "| Key | The field `tailnum`.",
        "| Ordering | Per key, as the input. |",
        "isolation.level=read_committed",
        "| Drop duplicates by | `enrichment.decision_id`",
        "id 101 is version 1",
        "102 is version 2",
        "| Retention | 7d |",
        "`FULL_TRANSITIVE`",
        "[flights](flights.md) → worker `flight-delays` → model `flight-delay` version 1",
        "| `enrichment.reasons[].code` | text |  |  | Reason code of the bundle. |",
        "[1](../../schemas/flights.enriched-value/v1.avsc) | 2026-11-23 | First version.",
    ):
        assert said in text


def test_every_type_is_shown_as_people_say_it(checkout: Path) -> None:
    """Nested records, lists and maps unfolded; defaults as JSON; a bar does not end a cell."""
    text = page(checkout, "shapes")

    for row in (
        '| `id` | UUID |  |  | An "id" |',
        "| `orderTotal` | decimal, 9 digits, 2 after the point |",
        "| `md5` | 4 bytes | yes | `null` |",
        "| `datetime` | timestamp, UTC, µs |",
        "| `odd` | text |",
        '| `kind` | one of `A`, `None`, `count`, `_x` |  | `"None"` |',
        "| `other` | integer, 32 bit or text or record Place |  | `0` |",
        "| `other.lat` | number, 64 bit |  |  | North \\| south. |",
        "| `places[].name` | text | yes | `null` |",
        "| `tags` | map of text to one of `A`, `None`, `count`, `_x` |  | `{}` |",
        '| `last` | text | yes | `"x"` |',
    ):
        assert row in text


def test_the_changelog_names_the_fields_that_differ(checkout: Path) -> None:
    """Newest version first; what is new, what another type, until when records may come."""
    rows = re.findall(r"^\| \[\d\].*$", page(checkout, "shapes"), re.MULTILINE)

    assert rows == [
        "| [2](../../schemas/shapes-value/v2.avsc) | not yet | More of them. | "
        "`_hidden`: integer, 64 bit → integer, 32 bit, added `ratio` (number, 32 bit) |  |",
        "| [1](../../schemas/shapes-value/v1.avsc) | 2026-01-02 | First version. |  | 2027-01-01 |",
    ]


def test_a_golden_event_is_shown_where_there_is_one(checkout: Path) -> None:
    """Of the newest version; no empty section elsewhere."""
    assert '"string": "golden"' in page(checkout, "shapes")
    assert "## A record" not in page(checkout, "flights.dlq")


def test_a_damaged_golden_event_is_named(checkout: Path) -> None:
    """The file."""
    (checkout / "schemas/shapes-value/examples/v2-one.json").write_text("{")

    with pytest.raises(ContractError, match=r"v2-one\.json"):
        made(checkout)


def test_at_least_once_says_how_to_drop_duplicates(checkout: Path) -> None:
    """By decision id, or by the coordinates of the dead letter."""
    edit(checkout, "delivery: exactly_once", "delivery: at_least_once")

    found = made(checkout)
    enriched, dead = (found[Path(f"topics/flights.{name}.md")] for name in ("enriched", "dlq"))
    assert "whose `enrichment.decision_id` you have seen" in enriched
    assert "`__connect.errors.topic`" in dead.split("## ")[0]
    assert "isolation.level" not in enriched + dead


def test_a_page_says_where_decisions_are_that_are_in_headers(checkout: Path) -> None:
    """Behind the record's own."""
    edit(checkout, "output: {topic: flights.enriched}", "output: {topic: f, shape: headers}")
    about = checkout / "schemas" / "f"
    about.mkdir()
    (about / "subject.yaml").write_text(
        "topic: f\nrole: output\nowner: a@example.org\ndescription: Departures as they came.\n"
    )

    text = page(checkout, "f")

    assert "unchanged and in their order, then the decision's: `enrichment.<field>`" in text


def test_dropped_headers_and_tombstones_are_not_promised(checkout: Path) -> None:
    """What the worker is told to do is what the page says."""
    before = page(checkout, "flights.enriched")
    edit(checkout, "    first_start:", "    headers: drop\n    tombstones: drop\n    first_start:")
    after = page(checkout, "flights.enriched")

    assert "`traceparent`" in before
    assert "tombstone" in before
    assert "None: the input's are dropped." in after
    assert "tombstone" not in after


def test_a_dead_letter_page_explains_every_verdict_and_header() -> None:
    """The headers are those of real dead letters."""
    text = page(ROOT, "flights.dlq")

    assert set(VERDICTS) == set(Verdict)
    for verdict in VERDICTS:
        assert f"| `{verdict.value}` |" in text
    headers = re.findall(r"^\| `(__[a-z0-9._]+)` \|", text, re.MULTILINE)
    assert len(headers) == len(set(headers)) == 27
    assert {"__connect.errors.offset", "__workers.code", "__workers.value.sha256"} <= set(headers)


@pytest.mark.parametrize("mode", list(Compatibility))
def test_every_compatibility_mode_has_words(mode: Compatibility) -> None:
    """A promise is a sentence, transitive ones speak of every earlier version."""
    assert ("every earlier version" in compatibility(mode)) == mode.transitive


def test_the_index_draws_topics_and_workers() -> None:
    """One row and one page a topic; the links lead somewhere."""
    found = made(ROOT)
    text = found[Path("topics/README.md")]

    links = re.findall(r"\]\(([a-z.]+\.md)\)", text)
    assert {Path("topics", link) for link in links} == {
        path for path in found if path.suffix == ".md" and path.name != "README.md"
    }
    assert 't0(["flights"]) --> w0' in text
    assert 'w0 -->|enriched| t1(["flights.enriched"])' in text


def test_a_topic_nobody_answers_for_is_an_error(checkout: Path) -> None:
    """It says which file to write."""
    (checkout / "schemas" / "flights.dlq" / "subject.yaml").unlink()

    with pytest.raises(ContractError, match=r"write flights\.dlq/subject\.yaml"):
        made(checkout)


def test_several_subjects_of_one_topic_have_a_page_each(checkout: Path) -> None:
    """One channel in AsyncAPI, with a message each."""
    file = checkout / "schemas" / "shapes-value" / "subject.yaml"
    text = file.read_text().replace("topic: shapes", "topic: flights\nnaming: record")
    file.write_text(text)

    found = made(checkout)

    assert Path("topics/shapes-value.md") in found
    assert Path("topics/flights-value.md") in found
    channel = YAML(typ="safe").load(found[Path("asyncapi.yaml")])["channels"]["flights"]
    assert set(channel["messages"]) == {"flights-value", "shapes-value"}


def asyncapi(root: Path) -> Any:
    """The document, held to AsyncAPI's own JSON Schema."""
    document = YAML(typ="safe").load(made(root)[Path("asyncapi.yaml")])
    packed = ROOT / "tests" / "governance" / "data" / "asyncapi-3.0.0.json.gz"
    schema = json.loads(gzip.decompress(packed.read_bytes()))
    jsonschema.Draft7Validator(schema).validate(document)
    return document


def test_asyncapi_holds_to_its_schema(checkout: Path) -> None:
    """Topic, retention, key, where the schema id is, the newest schema, who sends and receives."""
    document = asyncapi(checkout)

    channel = document["channels"]["shapes"]["bindings"]["kafka"]
    assert channel["topicConfiguration"] == {"cleanup.policy": ["compact"], "retention.ms": -1}
    message = document["components"]["messages"]["shapes"]
    assert message["bindings"]["kafka"]["schemaIdLocation"] == "payload"
    assert message["payload"]["schemaFormat"] == "application/vnd.apache.avro;version=1.9.0"
    assert len(message["payload"]["schema"]["fields"]) == 19
    actions = {name: entry["action"] for name, entry in document["operations"].items()}
    assert actions == {
        "flight-delays.receive": "receive",
        "flight-delays.output": "send",
        "flight-delays.decisions": "send",
        "flight-delays.dead_letter": "send",
    }


def test_comparisons_are_promised_as_best_effort(checkout: Path) -> None:
    """They are outside of the transactions of the worker that writes them."""
    edit(checkout, "    first_start:", "    shadow: {topic: flights.comparisons}\n    first_start:")

    operation = asyncapi(checkout)["operations"]["flight-delays.comparisons"]
    text = page(checkout, "flights.comparisons")

    assert (operation["x-delivery"], operation["x-isolation-level"]) == (
        "best_effort",
        "read_uncommitted",
    )
    assert "| Delivery | Best effort" in text
    assert "| Headers | None. |" in text
    assert "| Drop duplicates by | `decision_id`" in text
    assert "|comparisons|" in made(checkout)[Path("topics/README.md")]


def test_every_reference_of_asyncapi_leads_somewhere() -> None:
    """The JSON Schema does not follow them."""
    document = asyncapi(ROOT)

    found = re.findall(r'"\$ref": "#/([^"]+)"', json.dumps(document))
    assert len(found) == 10
    for reference in found:
        place = document
        for part in reference.split("/"):
            place = place[part]


def test_asyncapi_says_how_to_connect_and_never_as_whom(checkout: Path) -> None:
    """Every broker, encryption, mechanism and registry; no user, no password."""
    edit(checkout, "${KAFKA_BOOTSTRAP_SERVERS:-127.0.0.1:9092}", "one:9093, two:9093")
    edit(
        checkout,
        "contracts:\n",
        "  security:\n    protocol: SASL_SSL\n"
        "    sasl: {mechanism: SCRAM-SHA-512, username: '${KAFKA_USER}', password: '${SECRET}'}\n"
        "contracts:\n  registry: {url: 'https://registry.example.org'}\n",
    )

    servers = asyncapi(checkout)["servers"]

    assert [server["host"] for server in servers.values()] == ["one:9093", "two:9093"]
    for server in servers.values():
        assert server["protocol"] == "kafka-secure"
        assert server["security"] == [{"type": "scramSha512"}]
        assert server["bindings"]["kafka"]["schemaRegistryVendor"] == "confluent"
    assert not any("SECRET" in text or "KAFKA_USER" in text for text in made(checkout).values())


def odcs(root: Path, topic: str) -> Any:
    """A contract, held to the standard's own schema and model."""
    text = made(root)[Path(f"contracts/{topic}.odcs.yaml")]
    document = YAML(typ="safe").load(text)
    schema = json.loads(
        resources.files("open_data_contract_standard").joinpath("schema.json").read_text()
    )
    jsonschema.Draft201909Validator(schema).validate(document)
    OpenDataContractStandard.model_validate(document)
    return document


@pytest.mark.parametrize(
    "topic", ["flights", "flights.enriched", "flights.decisions", "flights.dlq", "shapes"]
)
def test_odcs_holds_to_its_schema(checkout: Path, topic: str) -> None:
    """For every topic, those without a schema too."""
    document = odcs(checkout, topic)

    assert (document["apiVersion"], document["kind"]) == ("v3.1.0", "DataContract")
    assert document["schema"][0]["physicalType"] == "topic"
    assert document["servers"][0]["type"] == "kafka"


def test_odcs_has_types_promises_and_classification(checkout: Path) -> None:
    """Nested properties, enums, retention in days; physical types where the standard has none."""
    properties = {p["name"]: p for p in odcs(checkout, "shapes")["schema"][0]["properties"]}
    enriched = odcs(checkout, "flights.enriched")

    assert properties["class"]["classification"] == "public"
    assert properties["datetime"]["logicalType"] == "timestamp"
    assert properties["datetime"]["physicalType"] == "long(timestamp-micros)"
    assert properties["other"]["physicalType"] == "int | string | record"
    assert properties["md5"]["physicalType"] == "fixed"
    assert properties["places"]["items"]["properties"][1]["required"] is False
    assert properties["kind"]["customProperties"][0]["value"][1] == "None"
    assert enriched["slaProperties"] == [{"property": "retention", "value": 7, "unit": "d"}]
    said = {entry["property"]: entry["value"] for entry in enriched["customProperties"]}
    assert said["deduplicateBy"] == "enrichment.decision_id"
    assert said["isolationLevel"] == "read_committed"


def test_the_environment_plays_no_part(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither variables with a default nor those without."""
    before = made(checkout)
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", "production:9092")

    assert made(checkout) == before


def test_a_variable_that_is_no_text_needs_a_default(checkout: Path) -> None:
    """It says so."""
    edit(checkout, "model:", "score_threads: ${THREADS}\n    model:")

    with pytest.raises(TopologyError, match="THREADS stood for themselves"):
        made(checkout)


def test_docs_check_names_what_is_stale_and_how_to_renew_it(checkout: Path) -> None:
    """Missing, changed and left over: exit code 1, nothing written; then all is well."""
    arguments = ("contracts", "docs", "--topology", checkout / "topology.yaml")
    output = checkout / "docs"
    assert workers(*arguments, "--output", output).exit_code == 0
    (output / "asyncapi.yaml").write_text("old")
    (output / "topics" / "flights.md").unlink()
    (output / "topics" / "gone.md").write_text("old")

    checked = workers(*arguments, "--output", output, "--check")
    written = workers(*arguments, "--output", output)
    (output / "topics" / "gone.md").unlink()
    again = workers(*arguments, "--output", output, "--check")

    assert checked.exit_code == 1
    for said in (
        "flights.md: is missing",
        "asyncapi.yaml: is out of date",
        "gone.md: belongs to no topic; delete it",
        "renew with: workers contracts docs",
    ):
        assert said in checked.stderr
    assert (written.stdout.count(" written"), written.exit_code) == (2, 1)
    assert (again.stderr, again.exit_code) == ("", 0)
