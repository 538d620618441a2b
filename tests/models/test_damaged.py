"""Every kind of damage is refused by name, whether or not the manifest knows of it."""

from __future__ import annotations

import json
import os
import pickle
import random
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import ROOT
from tests.models.test_bundle import edit, resign
from workers.contracts.catalogue import Catalogue
from workers.contracts.schema import Schema
from workers.errors import ModelError
from workers.models import verify as verification
from workers.models.booster import Booster
from workers.models.bundle import Bundle, describe_file, read_bundle
from workers.models.checks import check_bundle, check_features
from workers.models.model import Model
from workers.models.structure import check_structure
from workers.models.text import read_text
from workers.models.verify import verify

NAME = "flight-delay"


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A copy of the demo's bundle that a test may damage."""
    shutil.copytree(ROOT / "models", tmp_path / "models")
    return tmp_path / "models" / NAME / "1"


@pytest.fixture(scope="module")
def schema(contracts: Catalogue) -> Schema:
    """What the bundle is built for."""
    return contracts.versions("flights-value")[1].schema


def admit(folder: Path, schema: Schema) -> Bundle:
    """As a worker does, at its start and at a switch."""
    bundle = read_bundle(folder.parents[1], NAME, folder.name)
    check_bundle(bundle, schema)
    verify(bundle, schema)
    return bundle


def cut(share: float) -> Callable[[str], str]:
    """What is left of a copy that was broken off."""
    return lambda text: text[: int(len(text) * share)]


def line(
    name: str, change: Callable[[list[str]], list[str]], tree: int = 7
) -> Callable[[str], str]:
    """Change the entries of one line of a tree; tree -1 is the header."""

    def damage(text: str) -> str:
        start = 0 if tree < 0 else text.index(f"Tree={tree}\n")
        begin = text.index(f"\n{name}=", start) + len(name) + 2
        end = text.index("\n", begin)
        return text[:begin] + " ".join(change(text[begin:end].split(" "))) + text[end:]

    return damage


def put(place: int, value: str) -> Callable[[list[str]], list[str]]:
    """Another entry, of the same length where that is possible."""

    def change(entries: list[str]) -> list[str]:
        found = list(entries)
        found[place] = value.ljust(len(found[place]), "0") if "." in value else value
        return found

    return change


def swapped(entries: list[str]) -> list[str]:
    """The first two change places."""
    return [entries[1], entries[0], *entries[2:]]


def said(change: Callable[[str], str]) -> Callable[[str], str]:
    """The damage, with the trees' sizes made to fit again: as a tool might write it."""

    def damage(text: str) -> str:
        before, found = text.split("\nTree="), change(text).split("\nTree=")
        grown = [len(new) - len(old) for new, old in zip(found, before, strict=True)][1:]

        def sizes(entries: list[str]) -> list[str]:
            return [str(int(e) + g) for e, g in zip(entries, grown, strict=True)]

        return line("tree_sizes", sizes, tree=-1)("\nTree=".join(found))

    return damage


def in_tree(text: str, tree: int, change: Callable[[str], str]) -> str:
    """Change the lines of one tree."""
    begin, end = text.index(f"Tree={tree}\n"), text.index(f"\n\nTree={tree + 1}\n")
    return text[:begin] + change(text[begin:end]) + text[end:]


def hide_a_circle(tree: str) -> str:
    """Python would take the second of the two lines, LightGBM knows only the first."""
    good = next(found for found in tree.split("\n") if found.startswith("left_child="))
    return f"{line('left_child', put(2, '0'), -1)(tree)}note=\x0b{good}\n"


def linear(tree: str, feature: str) -> str:
    """Its first leaf is linear in one feature."""
    leaves = int(tree.split("num_leaves=")[1].split("\n")[0])
    lines = {
        "is_linear": "1",
        "leaf_const": " ".join(["0"] * leaves),
        "num_features": " ".join(["1"] + ["0"] * (leaves - 1)),
        "leaf_features": feature,
        "leaf_coeff": "0.5",
    }
    return tree.replace("is_linear=0", "\n".join(f"{key}={value}" for key, value in lines.items()))


DAMAGES: dict[str, tuple[Callable[[str], str], str]] = {
    "cut at a tenth": (cut(0.1), "end of trees"),
    "cut at half": (cut(0.5), "end of trees"),
    "cut at nine tenths": (cut(0.9), "end of trees"),
    "cut within its first line": (cut(0.00001), "begins with `tree`"),
    "zeros in the middle": (lambda t: t[:5000] + "\0" * 500 + t[5500:], "holds the character"),
    "a tree missing": (lambda t: t.replace(t[t.index("Tree=5\n") : t.index("Tree=6\n")], ""), "99"),
    "no trees": (lambda t: t[: t.index("Tree=0")] + "end of trees\n", "no trees"),
    "a size of a tree": (line("tree_sizes", put(3, "9999999"), -1), "tree 3: it is not as long"),
    "no scores a row": (line("num_tree_per_iteration", put(0, "0"), -1), "num_tree_per_iteration"),
    "a later format": (line("version", put(0, "v5"), -1), "its format is v5"),
    "another objective": (line("objective", lambda _: ["regression"], -1), "golden row 0"),
    "three classes": (line("num_class", put(0, "3"), -1), "num_class is 3"),
    "more features than names": (line("max_feature_idx", put(0, "4000"), -1), "max_feature_idx"),
    "a feature renamed": (line("feature_names", put(1, "distanse"), -1), "feature distanse"),
    "a huge tree": (said(line("num_leaves", put(0, "2000000000"))), "tree 7: it has 2000000000"),
    "leaves missing": (said(line("leaf_value", lambda v: v[:-1])), "leaf_value has 30 entries"),
    "a leaf that is no number": (said(line("leaf_value", put(3, "nan"))), "not a number, or inf"),
    "an infinite leaf": (said(line("leaf_value", put(3, "inf"))), "not a number, or infinite"),
    "a word for a leaf": (said(line("leaf_value", put(3, "x"))), "leaf_value has an entry"),
    "a threshold that is no number": (said(line("threshold", put(0, "nan"))), "threshold has"),
    "a child that is its own parent": (line("left_child", put(0, "0")), "two parents"),
    "children in a circle": (said(line("left_child", put(2, "0"))), "make no tree"),
    "a child out of reach": (said(line("right_child", put(4, "900"))), "two parents"),
    "a split by no feature": (said(line("split_feature", put(0, "77"))), "there are 13 features"),
    "fewer than no categories": (
        said(lambda t: in_tree(t, 5, lambda x: x.replace("num_cat=", "num_cat=-"))),
        "tree 5: it splits by category and has none",
    ),
    "counts cut off": (said(line("internal_count", lambda v: v[:1])), "internal_count has 1"),
    "digits that only Python reads": (said(line("leaf_value", put(0, "1_0"))), "no number"),
    "a kind of split there is not": (said(line("decision_type", put(0, "99"))), "decision_type"),
    "a line twice": (
        said(lambda t: in_tree(t, 5, lambda x: x + "shrinkage=1\n")),
        "'shrinkage' is there twice",
    ),
    "a line of another name": (
        said(lambda t: in_tree(t, 5, lambda x: x + "note=1\n")),
        "tree 5: it has a line 'note'",
    ),
    "a parameter cut off": (
        lambda t: t.replace("[enable_bundle: 1]", "[enable]"),
        "parameters have a line",
    ),
    "an empty line within": (
        said(lambda t: in_tree(t, 5, lambda x: x.replace("leaf_count", "\nleaf_count"))),
        "tree 5: it has a line ''",
    ),
    "a circle behind another line break": (
        said(lambda t: in_tree(t, 5, hide_a_circle)),
        "holds the character",
    ),
    "a linear leaf of no feature": (
        said(lambda t: in_tree(t, 5, lambda x: linear(x, "99"))),
        "leaf_features: there are 13 features",
    ),
    "a linear leaf of numbers that are missing": (
        said(lambda t: in_tree(t, 5, lambda x: linear(x, ""))),
        "leaf_features has 0 entries",
    ),
    "a set of categories too far": (
        said(line("cat_boundaries", lambda v: [*v[:-1], "4000000"])),
        "cat_threshold has",
    ),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_damage_that_the_manifest_vouches_for_is_named(
    copy: Path, schema: Schema, name: str
) -> None:
    """LightGBM never reads it: half of these would end its process, some would hang it."""
    damage, text = DAMAGES[name]
    model = copy / "model.txt"
    model.write_text(damage(model.read_text()))
    resign(copy)

    with pytest.raises(ModelError, match=text):
        admit(copy, schema)


def test_features_in_another_order_are_found_by_the_golden_rows(copy: Path, schema: Schema) -> None:
    """Names are all there, so only scores show it. LightGBM itself says nothing."""
    model = copy / "model.txt"
    model.write_text(line("feature_names", swapped, -1)(model.read_text()))
    resign(copy)

    with pytest.raises(ModelError, match="golden row"):
        admit(copy, schema)


@pytest.mark.parametrize(
    "content",
    [pickle.dumps({"a": 1}), b"\x1f\x8b\x08\x00", b"tree\n\xff\xfe", b"{}"],
    ids=["pickle", "gzip", "not UTF-8", "JSON"],
)
def test_what_is_no_text_of_a_booster_is_never_loaded(
    copy: Path, schema: Schema, content: bytes
) -> None:
    """A pickle runs code when it is loaded."""
    (copy / "model.txt").write_bytes(content)
    resign(copy)

    with pytest.raises(ModelError, match=r"not text|JSON|begins with `tree`"):
        admit(copy, schema)


def test_what_was_checked_is_what_is_loaded(copy: Path, schema: Schema) -> None:
    """A link that points elsewhere after the check changes nothing: files are read once."""
    real = copy / "model.txt"
    real.rename(copy / "real.txt")
    real.symlink_to("real.txt")
    bundle = read_bundle(copy.parents[1], NAME, "1")
    scores = Model(bundle).score  # before
    real.unlink()
    real.symlink_to("/dev/zero")

    check_bundle(bundle, schema)
    verify(bundle, schema)

    assert Model(bundle).manifest == scores.__self__.manifest  # type: ignore[attr-defined]
    with pytest.raises(ModelError, match="not a plain file"):
        read_bundle(copy.parents[1], NAME, "1")


def golden(folder: Path, change: Callable[[list[dict[str, object]]], object]) -> None:
    """Change the golden rows, and the manifest with them."""
    file = folder / "golden.json"
    document = json.loads(file.read_text())
    change(document["rows"])
    file.write_text(json.dumps(document))
    entry = describe_file(file).model_dump()
    edit(folder, lambda m: m.update(golden=entry))


def moved(by: float) -> Callable[[list[dict[str, object]]], object]:
    """A score a little off."""
    return lambda rows: rows[2].update(score=float(str(rows[2]["score"])) + by)


def test_golden_rows_are_held_to_a_billionth(copy: Path, schema: Schema) -> None:
    """Within it is the same score; beyond it is another model."""
    golden(copy, moved(5e-10))
    admit(copy, schema)
    golden(copy, moved(1e-9))

    with pytest.raises(ModelError, match="golden row 2 scores"):
        admit(copy, schema)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda rows: rows.clear(), "golden.json"),
        (lambda rows: rows[0].update(datum="AAAA"), "golden row 0 does not decode"),
        (lambda rows: rows[0].update(datum="?"), "golden row 0"),
        (lambda rows: rows[1].update(decision="late_"), "golden row 1 decides"),
        (lambda rows: rows[1].update(score=None), "rows.1.score"),
    ],
    ids=["none", "no datum", "not base64", "decision", "no score"],
)
def test_damaged_golden_rows_are_refused(
    copy: Path,
    schema: Schema,
    change: Callable[[list[dict[str, object]]], object],
    said: str,
) -> None:
    """Nothing is proven by rows that cannot be scored."""
    golden(copy, change)

    with pytest.raises(ModelError, match=said):
        admit(copy, schema)


@pytest.mark.parametrize(
    "content",
    [
        "{" * 100_000,
        '{"format": NaN}',
        '{"format": 1e999}',
        "[]",
        "null",
        "\0",
        '{"format": 1, "format": 1}',
        " " * 5_000_000,
    ],
    ids=["deep", "nan", "infinite", "list", "null", "zero byte", "twice", "long"],
)
def test_hostile_manifests_are_refused(copy: Path, content: str) -> None:
    """Deep, huge, not JSON, not an object."""
    (copy / "manifest.json").write_text(content)

    with pytest.raises(ModelError, match=r"manifest\.json"):
        read_bundle(copy.parents[1], NAME, "1")


def test_a_child_that_takes_too_long_is_ended(
    bundle: Bundle, schema: Schema, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And nothing of it is left."""
    monkeypatch.setattr(verification, "SECONDS", 0.05)
    before = children()

    with pytest.raises(ModelError, match=r"took over 0\.05 s"):
        verify(bundle, schema)

    assert children() == before


def children() -> set[int]:
    """Processes that this one started and that are still there."""
    found = set()
    for place in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = int(place.read_text().rpartition(")")[2].split()[1])
        except (FileNotFoundError, ProcessLookupError):
            continue
        if parent == os.getpid():
            found.add(int(place.parent.name))
    return found


def test_a_model_that_takes_all_memory_takes_its_child_alone(copy: Path, schema: Schema) -> None:
    """A feature that grows three letters tenfold, ten times; the limit is the child's."""
    text = "CONCAT(origin, 'EEE')"
    for _ in range(10):
        text = f"REPLACE({text}, 'E', 'EEEEEEEEEE')"
    sql = f"CAST(LENGTH({text}) AS DOUBLE)"
    edit(copy, lambda m: m["features"][1].update(sql=sql))

    with pytest.raises(ModelError, match="version 1: the child process that loaded it ended with"):
        admit(copy, schema)


def test_the_child_runs_the_code_of_its_parent_wherever_it_is_started(
    bundle: Bundle, schema: Schema, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A module beside the topology is not imported in place of one of ours or Python's."""
    (tmp_path / "json.py").write_text("raise SystemExit(3)")
    (tmp_path / "workers").mkdir()
    (tmp_path / "workers" / "__init__.py").write_text("raise SystemExit(4)")
    monkeypatch.chdir(tmp_path)

    verify(bundle, schema)


def test_the_child_is_told_no_password(monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker's environment holds what the topology asks for."""
    monkeypatch.setenv("KAFKA_PASSWORD", "secret")
    monkeypatch.setenv("OMP_NUM_THREADS", "64")

    told = verification._environment()

    assert "secret" not in told.values()
    assert told["OMP_NUM_THREADS"] == "1"


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x00\xff",
        b"[]",
        b"3",
        b'{"batch": 1}',
        b'{"batch": [[0.5]], "single": [[0.5]]}',
        b'{"batch": [["0.5", "late"]]}',
        b'{"other": 1}',
        b"[" * 100_000,
    ],
)
def test_a_child_that_answers_otherwise_proves_nothing(content: bytes) -> None:
    """It is asked because it cannot be trusted."""
    with pytest.raises(ModelError, match=r"model x: the child process .* gave no answer"):
        verification._answer(content, "model x")


def test_no_answer_and_what_is_no_number_are_no_golden_scores(bundle: Bundle) -> None:
    """NaN is not within a billionth of anything, though it is not beyond it either."""
    rows = bundle.golden.rows
    answers = [(row.score, row.decision) for row in rows]
    verification._compare(answers, bundle.golden, "model x")

    with pytest.raises(ModelError, match="0 answers"):
        verification._compare([], bundle.golden, "model x")
    for wrong in (float("nan"), float("inf"), None):
        with pytest.raises(ModelError, match="golden row 0 scores"):
            verification._compare(
                [(wrong, rows[0].decision), *answers[1:]], bundle.golden, "model x"
            )


def test_trees_read_one_after_the_other_score_the_same_bits(bundle: Bundle) -> None:
    """The line of their sizes is not given to LightGBM, which then reads without threads."""
    import lightgbm

    matrix = np.random.default_rng(5).normal(scale=50, size=(2000, 13))
    whole = lightgbm.Booster(model_str=bundle.booster).predict(matrix, num_threads=1)

    assert (Booster(bundle.booster, threads=1).predict(matrix) == whole).all()


def test_a_manifest_says_each_thing_once(copy: Path) -> None:
    """Readers differ in which of two they take."""
    manifest = copy / "manifest.json"
    manifest.write_text(manifest.read_text().replace('"owner":', '"owner": "x", "owner":', 1))

    with pytest.raises(ModelError, match=r"manifest\.json: 'owner' is there twice"):
        read_bundle(copy.parents[1], NAME, "1")


def mutants(text: str, seed: int, count: int) -> list[str]:
    """The text with one thing changed, anywhere: a digit, a span lost, doubled, or made anew."""
    rng, found = random.Random(seed), []
    for _ in range(count):
        at, length = rng.randrange(len(text)), rng.randint(1, 40)
        kind = rng.choice(["digit", "lose", "double", "noise"])
        if kind == "digit":
            at = next(n for n in range(at, 2 * len(text)) if text[n % len(text)].isdigit())
            at %= len(text)
            found.append(text[:at] + str((int(text[at]) + rng.randint(1, 9)) % 10) + text[at + 1 :])
        elif kind == "lose":
            found.append(text[:at] + text[at + length :])
        elif kind == "double":
            found.append(text[:at] + text[at : at + length] * 2 + text[at + length :])
        else:
            noise = "".join(chr(rng.randrange(32, 127)) for _ in range(length))
            found.append(text[:at] + noise + text[at + length :])
    return found


def test_mutants_are_refused_or_harmless(bundle: Bundle, schema: Schema) -> None:
    """A hundred and fifty, without LightGBM here; some of those that look sound go to a child.

    What no check sees is a digit of a leaf, or of a threshold, that no golden row meets: the
    manifest's digest is for that.
    """
    seen: Counter[str] = Counter()
    sound = []
    for text in mutants(bundle.booster, seed=2013, count=150):
        try:
            check_structure(text)
        except ModelError:
            seen["refused"] += 1
        else:
            sound.append(text)
    assert seen["refused"] > 30
    for text in sound[:: max(1, len(sound) // 2)]:
        try:
            verify(Bundle(bundle.manifest, text, bundle.golden), schema)
        except ModelError as error:
            assert "flight-delay version 1" in str(error)  # noqa: PT017  either end is right


def test_names_of_other_alphabets_are_names(bundle: Bundle, schema: Schema) -> None:
    """And one with a space is what LightGBM makes of it."""
    import lightgbm

    matrix = np.random.default_rng(1).normal(size=(500, 2))
    data = lightgbm.Dataset(matrix, matrix[:, 0] > 0, feature_name=["Größe", "im Flug 飛行"])
    always = {"objective": "binary", "verbosity": -1, "num_threads": 1}
    text = lightgbm.train(always, data, 3).model_to_string()
    check_structure(text)

    assert Booster(text, threads=1).feature_names == ("Größe", "im_Flug_飛行")
    with pytest.raises(ModelError, match="feature Größe"):
        check_features(bundle.manifest.features, schema, read_text(text))


def test_the_structure_of_other_boosters_is_known(schema: Schema) -> None:
    """What LightGBM trains is not refused: other sizes, kinds of boosting, and a stump."""
    import lightgbm

    rng = np.random.default_rng(1)
    matrix = rng.normal(size=(2000, 4))
    matrix[:, 3] = rng.integers(0, 50, 2000)
    matrix[rng.random(matrix.shape) < 0.05] = np.nan
    labels = (np.nan_to_num(matrix[:, 0]) > rng.normal(size=2000)).astype(float)
    for given in (
        {"num_leaves": 63},
        {"linear_tree": True},
        {"boosting": "dart"},
        {"boosting": "rf", "bagging_freq": 1, "bagging_fraction": 0.5},
        {"num_leaves": 2, "min_data_in_leaf": 1999},
    ):
        categorical = [] if "linear_tree" in given else [3]
        data = lightgbm.Dataset(matrix, labels, categorical_feature=categorical)
        always = {"objective": "binary", "verbosity": -1, "num_threads": 1}
        check_structure(lightgbm.train(always | given, data, 5).model_to_string())
