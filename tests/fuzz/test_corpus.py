"""Every input that the fuzzer found interesting, and every one that it found a fault with."""

from __future__ import annotations

from pathlib import Path

from tests.fuzz.one import SHAPES, one

CORPUS = Path(__file__).parent / "corpus"


def test_the_corpus_holds_no_finding() -> None:
    """Each ends in a value or a verdict, as the strict walk and fastavro say."""
    inputs = sorted(CORPUS.iterdir())

    for file in inputs:
        data = file.read_bytes()
        try:
            one(data)
        except BaseException as error:
            raise AssertionError(f"{file.name}: {error!r}") from error

    tried = {(file.read_bytes() or b"\0")[0] % (len(SHAPES) + 1) for file in inputs}
    assert tried == set(range(len(SHAPES) + 1)), "a kind of input is not in the corpus"
