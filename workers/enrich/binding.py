"""Which input versions a worker can enrich, and into what."""

from __future__ import annotations

from dataclasses import dataclass

from workers.contracts.catalogue import Catalogue, Registered
from workers.contracts.codec import Decoder
from workers.contracts.derive import enrichment_block, is_derived
from workers.contracts.framing import SchemaKey
from workers.enrich.policy import Policy
from workers.errors import ContractError
from workers.models.features import Features


@dataclass(frozen=True, slots=True)
class Version:
    """An input version that can be enriched; `prefix` frames its enriched events."""

    id: int | None
    decoder: Decoder
    prefix: bytes


def bind(policy: Policy, contracts: Catalogue, features: Features) -> dict[SchemaKey, Version]:
    """Input versions that have an output version derived from them, by schema key.

    Raises:
        ContractError: there is no input contract, or none of its versions can be enriched.
        ModelError: a feature reads a field that such a version lacks.
    """
    inputs = contracts.versions(policy.input_subject)
    if not inputs:
        raise ContractError(f"no contract named {policy.input_subject}")
    bound: dict[SchemaKey, Version] = {}
    for source in inputs.values():
        output = _derived_from(source, policy, contracts)
        if output is None:
            continue
        features.check_fields(source.schema.field_names)
        version = Version(source.id, Decoder(source.schema), output.frame)
        for key in source.keys:
            bound[key] = version
    if not bound:
        raise ContractError(
            f"no version of {policy.output_subject} is derived from any version of "
            f"{policy.input_subject}; derive one and put it beside the others"
        )
    return bound


def _derived_from(source: Registered, policy: Policy, contracts: Catalogue) -> Registered | None:
    outputs = contracts.versions(policy.output_subject).values()
    block = enrichment_block()
    fitting = [out for out in outputs if out.keys and is_derived(out.schema, source.schema, block)]
    return fitting[-1] if fitting else None


def decision_frame(policy: Policy, contracts: Catalogue) -> bytes | None:
    """What goes before a decision record; None where there are none.

    Raises:
        ContractError: no version of the decisions' subject is the enrichment block.
    """
    subject = policy.decisions_subject
    if subject is None:
        return None
    block = enrichment_block()
    for version in contracts.versions(subject).values():
        if version.schema.root == block.root:
            return version.frame
    raise ContractError(f"{subject}: no version is the enrichment block {block.full_name}")
