"""The record that a worker's shadow writes for each event that champion and challenger scored."""

from __future__ import annotations

from functools import cache
from importlib import resources

from workers.contracts.catalogue import Catalogue, Registered
from workers.contracts.schema import Schema, parse
from workers.errors import ContractError


@cache
def comparison_schema() -> Schema:
    """The newest version of its schema."""
    text = resources.files(__package__).joinpath("comparison-v1.avsc").read_text()
    return parse(text, where="comparison-v1.avsc")


def comparison_contract(contracts: Catalogue, subject: str) -> Registered:
    """The version of a subject that comparisons are written under.

    Raises:
        ContractError: no version of it is the comparison record.
    """
    wanted = comparison_schema()
    for version in contracts.versions(subject).values():
        if version.schema.root == wanted.root:
            return version
    raise ContractError(
        f"{subject}: no version is the comparison record {wanted.full_name}; "
        "`workers contracts derive` writes one for a subject with `role: comparisons`"
    )
