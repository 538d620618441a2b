"""The model card: what a bundle knows, on one page that loads and runs nothing."""

from __future__ import annotations

from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tests.conftest import ROOT
from workers.cli import app
from workers.models.bundle import Bundle, Isotonic, read_bundle
from workers.models.card import render_card
from workers.models.reference import Bins

VOID = {"meta", "br", "hr", "img", "input", "link"}


class Page(HTMLParser):
    """What a browser would be given: tags with attributes, and the text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.open: list[str] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.fixture(scope="module")
def new() -> Bundle:
    """A bundle with every part, and a calibration."""
    found = read_bundle(ROOT / "models", "flight-delay", "2")
    curve = Isotonic(method="isotonic", scores=(0.1, 0.5, 0.9), calibrated=(0.05, 0.4, 0.95))
    return replace(found, manifest=found.manifest.model_copy(update={"calibration": curve}))


def test_the_card_says_what_the_bundle_knows(new: Bundle) -> None:
    """And draws it: scores with bands, the calibration, a histogram and a share of gain each."""
    manifest = new.manifest
    page = Page(render_card(new))

    assert page.open == []
    for known in (
        "flight-delay, version 2",
        manifest.description,
        manifest.owner,
        "CC0-1.0",
        "flights-value version 1",
        "2013-01-01 00:00:00+00:00 to 2013-07-01 00:00:00+00:00",
        "160,590",
        "test_auc",
        "0.898077",
        "the decision is review",
        "isotonic",
        "50 golden rows",
        "late_departure",
        "temperature, humidity, wind_speed",
        manifest.booster.sha256,
        manifest.golden.sha256,
        "COALESCE(seats, 0)",
        "-1440 to 10000, else rejected",
        "86.3%",
    ):
        assert known in page.text, known
    assert manifest.reference is not None
    assert manifest.reference.sha256 in page.text
    plots = [attrs["aria-label"] or "" for tag, attrs in page.tags if tag == "svg"]
    assert len(plots) == 2 + 2 * len(manifest.features)
    for feature in manifest.features:
        assert any(label.startswith(f"{feature.name}:") for label in plots)
    bands = [attrs for _, attrs in page.tags if (attrs.get("class") or "").startswith("band")]
    assert len(bands) == 3


def test_the_page_loads_and_runs_nothing(new: Bundle) -> None:
    """No script, no address, and a policy that forbids both."""
    html = render_card(new)
    page = Page(html)

    assert not {tag for tag, _ in page.tags} & {"script", "link", "img", "iframe", "object", "a"}
    assert "http://" not in html
    assert "https://" not in html
    assert "url(" not in html
    policy = [attrs for tag, attrs in page.tags if tag == "meta" and "http-equiv" in attrs]
    assert "default-src 'none'" in (policy[0]["content"] or "")


def test_the_same_bundle_gives_the_same_bytes(new: Bundle) -> None:
    """A card under version control changes when the model does."""
    assert render_card(new) == render_card(new)


def test_a_hostile_name_stays_text(new: Bundle) -> None:
    """In cells, attributes and plots; what turns the text around is marked."""
    evil = "\"><script>alert('x')</script><i a='\u202e\x00"
    reference = new.reference
    assert reference is not None
    features = tuple(
        feature.model_copy(update={"name": evil, "sql": evil}) if place == 0 else feature
        for place, feature in enumerate(new.manifest.features)
    )
    spreads = {**reference.features, evil: reference.features["departure_delay"]}
    update = {"features": features, "owner": evil, "description": evil, "metrics": {evil: 1.0}}
    hostile = replace(
        new,
        manifest=new.manifest.model_copy(update=update),
        reference=reference.model_copy(update={"features": spreads}),
    )

    html = render_card(hostile)
    page = Page(html)

    assert page.open == []
    assert not {tag for tag, _ in page.tags} & {"script", "i"}
    assert page.text.count("<script>alert('x')</script>") >= 5
    assert not {"\u202e", "\x00"} & set(html)
    whole = Page(render_card(new))
    assert {tag for tag, _ in page.tags} == {tag for tag, _ in whole.tags}


def test_an_older_bundle_has_a_card_too(bundle: Bundle) -> None:
    """What it does not know is said, or left out."""
    page = Page(render_card(bundle))

    assert "not said" in page.text
    assert "no reference distribution" in page.text
    assert "Calibration" not in page.text


def test_the_command_writes_the_file(tmp_path: Path) -> None:
    """By default of the newest version; another can be named."""
    target = tmp_path / "card.html"
    place = ["--output", str(target), "--topology", str(ROOT / "topology.yaml")]

    done = CliRunner().invoke(app, ["models", "card", "flight-delay", *place])

    assert done.exit_code == 0, done.output
    assert "version 2" in Page(target.read_text()).text
    done = CliRunner().invoke(app, ["models", "card", "flight-delay", "1", *place])
    assert "version 1" in Page(target.read_text()).text
    done = CliRunner().invoke(app, ["models", "card", "nothing", *place])
    assert "no model nothing" in str(done.exception)


@pytest.mark.filterwarnings("error")
def test_extreme_numbers_are_drawn_or_left_out(new: Bundle) -> None:
    """The greatest, the smallest, one value alone, nothing but missing: no NaN in the page."""
    reference = new.reference
    assert reference is not None
    rows, spreads = reference.rows, dict(reference.features)
    spreads["distance"] = Bins(edges=(-1.7e308, 0, 1.7e308), counts=(1, rows - 1))
    spreads["hour"] = Bins(edges=(0, 5e-324), counts=(rows,))
    spreads["seats"] = Bins(edges=(0, 5e-324, 1), counts=(rows - 1, 1))
    spreads["weekday"] = Bins(edges=(0, 1), counts=(0,), missing=rows)
    scores = Bins(edges=(-1e-320, 0, 1e308), counts=(rows, 0))
    update = {"features": spreads, "scores": scores}
    wild = replace(new, reference=reference.model_copy(update=update))

    page = Page(render_card(wild))

    numbers = [
        attrs[name] or ""
        for tag, attrs in page.tags
        if tag == "rect"
        for name in ("x", "y", "width", "height")
    ]
    assert all(0 <= float(number) <= 700 for number in numbers)
