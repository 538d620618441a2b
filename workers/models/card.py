"""A model card: what a version is, for people, on one page that needs nothing beside it.

Sections as in "Model Cards for Model Reporting" (Mitchell et al., 2019), as far as a bundle knows
them. The same bundle gives the same bytes.
"""

from __future__ import annotations

from collections import Counter
from xml.etree.ElementTree import Element

from workers.models.bundle import Bundle, Feature, FileEntry, Manifest
from workers.models.markup import Part, page, table, tag
from workers.models.plots import calibration_plot, score_plot, share_bar, small_histogram
from workers.models.text import read_text

STYLE = """
:root { color-scheme: light dark; --ink: #1f2933; --quiet: #52606d; --line: #d3dae0;
  --ground: #ffffff; --bar: #2b6cb0; --band: #e8eef4; }
@media (prefers-color-scheme: dark) { :root { --ink: #e4e9ee; --quiet: #a3b0bd; --line: #3a4550;
  --ground: #14191e; --bar: #63a4e4; --band: #212b35; } }
body { margin: 0; background: var(--ground); color: var(--ink);
  font: 15px/1.5 system-ui, sans-serif; }
main { max-width: 1000px; margin: 0 auto; padding: 24px 16px 64px; }
h1 { font-size: 24px; } h2 { font-size: 18px; margin-top: 36px; }
.wide { overflow-x: auto; } table { border-collapse: collapse; }
th, td { text-align: left; vertical-align: top; padding: 4px 16px 4px 0;
  border-bottom: 1px solid var(--line); overflow-wrap: anywhere; min-width: 70px; }
thead th { color: var(--quiet); font-weight: 500; } tbody th { font-weight: 600; }
code { font: 13px/1.5 ui-monospace, monospace; } figure { margin: 12px 0; }
figcaption, .quiet { color: var(--quiet); }
.plot { width: 100%; max-width: 720px; height: auto; }
svg text { fill: var(--ink); font: 11px system-ui, sans-serif; }
.bar { fill: var(--bar); } .band0 { fill: var(--band); } .band1 { fill: none; }
.axis { stroke: var(--quiet); } .line { fill: none; stroke: var(--bar); stroke-width: 2; }
.same { fill: none; stroke: var(--quiet); stroke-dasharray: 4 4; }
"""


def render_card(bundle: Bundle) -> str:
    """The page as HTML, self-contained: plots are inline, nothing is loaded, nothing runs.

    Raises:
        ModelError: the booster's text cannot be read.
    """
    manifest = bundle.manifest
    parts = [
        tag("h1", f"{manifest.name}, version {manifest.version}"),
        tag("p", manifest.description or "No description."),
        *_facts(manifest),
        *_metrics(manifest),
        *_decisions(bundle),
        *_calibration(manifest),
        *_features(bundle),
        *_reasons(manifest),
        *_proof(bundle),
    ]
    return page(f"{manifest.name} {manifest.version}: model card", STYLE, parts)


def _facts(manifest: Manifest) -> list[Element]:
    training = manifest.training
    learned: list[list[Part]] = [["training", "not said"]]
    if training is not None:
        seed = "not said" if training.seed is None else str(training.seed)
        learned = [
            ["training window", f"{_instant(training.since)} to {_instant(training.until)}"],
            ["training rows", f"{training.rows:,}"],
            ["data", training.dataset or "not said"],
            ["seed", seed],
        ]
    contract = manifest.contract
    rows: list[list[Part]] = [
        ["owner", manifest.owner or "not said"],
        ["licence", manifest.licence or "not said"],
        ["made", _instant(manifest.created)],
        ["reads", f"{contract.subject} version {contract.version}"],
        *learned,
    ]
    return [table([], rows)]


def _instant(value: object) -> str:
    return str(value)


def _metrics(manifest: Manifest) -> list[Element]:
    heading = tag("h2", "Metrics")
    if not manifest.metrics:
        return [heading, tag("p", "None are given.")]
    rows: list[list[Part]] = [[name, f"{value:.6g}"] for name, value in manifest.metrics.items()]
    return [heading, table([], rows)]


def _decisions(bundle: Bundle) -> list[Element]:
    manifest = bundle.manifest
    rows: list[list[Part]] = [
        [band.decision, f"from {band.since:.6g}"] for band in manifest.decisions.bands
    ]
    parts = [
        tag("h2", "Decisions"),
        table(["decision", "score"], rows),
        tag("p", f"Without the model the decision is {manifest.decisions.fallback}."),
    ]
    reference = bundle.reference
    if reference is None:
        return [*parts, tag("p", "The bundle has no reference distribution.", class_="quiet")]
    plot = score_plot(reference.scores, manifest.decisions, manifest.score_range)
    return [*parts, plot, tag("p", f"{reference.rows:,} reference events.", class_="quiet")]


def _calibration(manifest: Manifest) -> list[Element]:
    calibration = manifest.calibration
    if calibration is None:
        return []
    how = f"Scores are calibrated ({calibration.method}); decisions are made on calibrated scores."
    return [
        tag("h2", "Calibration"),
        tag("p", how),
        calibration_plot(calibration, manifest.score_range),
    ]


def _features(bundle: Bundle) -> list[Element]:
    gains = read_text(bundle.booster).gain
    whole = sum(gains.values()) or 1.0
    ordered = sorted(
        bundle.manifest.features, key=lambda feature: (-gains.get(feature.name, 0.0), feature.name)
    )
    rows = [
        [
            feature.name,
            tag("code", feature.sql),
            _kind(feature),
            _rules(feature),
            share_bar(gains.get(feature.name, 0.0) / whole),
            *_seen(bundle, feature),
        ]
        for feature in ordered
    ]
    head = [
        "feature",
        "SQL over the event",
        "type",
        "rules",
        "share of gain",
        "reference",
        "missing",
    ]
    return [tag("h2", f"{len(rows)} features"), table(head, rows)]


def _kind(feature: Feature) -> str:
    count = len(feature.categories)
    return f"{feature.type.value}, {count} categories" if count else feature.type.value


def _rules(feature: Feature) -> str:
    rules = {"nan": "missing is missing", "reject": "missing is rejected"}
    missing = feature.missing
    rule = rules[missing] if isinstance(missing, str) else f"missing is {missing:.6g}"
    if feature.range is None:
        return rule
    return f"{rule}; {feature.range[0]:.6g} to {feature.range[1]:.6g}, else rejected"


def _seen(bundle: Bundle, feature: Feature) -> list[Part]:
    reference = bundle.reference
    if reference is None or feature.name not in reference.features:
        return ["", ""]
    spread = reference.features[feature.name]
    return [small_histogram(spread, feature.name), f"{spread.missing / reference.rows:.1%}"]


def _reasons(manifest: Manifest) -> list[Element]:
    reasons = manifest.reasons
    if reasons is None:
        return []
    grouped: dict[str, list[str]] = {}
    for feature in manifest.features:
        grouped.setdefault(reasons.codes.get(feature.name, feature.name), []).append(feature.name)
    rows: list[list[Part]] = [[code, ", ".join(names)] for code, names in grouped.items()]
    asked = ", ".join(reasons.decisions)
    return [
        tag("h2", "Reasons"),
        tag("p", f"The strongest {reasons.top} are given with the decisions {asked}."),
        table(["code", "features"], rows),
    ]


def _proof(bundle: Bundle) -> list[Element]:
    manifest = bundle.manifest
    counted = Counter(row.decision for row in bundle.golden.rows)
    golden = ", ".join(f"{decision} {count}" for decision, count in sorted(counted.items()))
    entries = [manifest.booster, manifest.golden]
    if manifest.reference is not None:
        entries.append(manifest.reference)
    return [
        tag("h2", "Proof"),
        tag(
            "p",
            f"{len(bundle.golden.rows)} golden rows ({golden}): a worker serves this version only "
            "if it scores each of them the same.",
        ),
        table(["file", "bytes", "SHA-256"], [_file(entry) for entry in entries]),
    ]


def _file(entry: FileEntry) -> list[Part]:
    return [entry.file, f"{entry.bytes:,}", tag("code", entry.sha256)]
