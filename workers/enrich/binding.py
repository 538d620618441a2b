"""Which input versions a worker can enrich, how each is read, and into what it is written."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from workers.contracts.catalogue import Catalogue, Registered
from workers.contracts.derive import enrichment_block, is_derived
from workers.contracts.framing import SchemaKey, frame
from workers.contracts.resolution import Resolver, Unresolvable, VersionReader
from workers.enrich.policy import Policy
from workers.errors import ContractError, ModelError, Reject, Verdict
from workers.models.bundle import ContractRef
from workers.models.features import Features


@dataclass(frozen=True, slots=True)
class Version:
    """An input version that can be enriched; `prefix` frames its enriched events.

    Where no output is derived from it, `rewriter` makes its records ones of a version that has one.
    """

    source: Registered
    output: Registered
    reader: VersionReader
    prefix: bytes
    rewriter: Resolver | None = None

    @property
    def id(self) -> int | None:
        """The schema id of its records."""
        return self.source.id

    def __str__(self) -> str:
        """How it is decoded and what it becomes, for people."""
        rewritten = " rewritten and" if self.rewriter else ""
        return f"decoded by {self.reader.route.value},{rewritten} enriched as {self.output}"


class Binding:
    """A worker's contracts at one moment: what becomes of each schema key."""

    def __init__(
        self, policy: Policy, contracts: Catalogue, features: Features, built: ContractRef
    ):
        """Bind a worker's contracts to its model's features, built for the version `built`.

        Raises:
            ContractError: there is no input contract, none of its versions can be enriched, or the
                decisions' contract is not the enrichment block.
            ModelError: the model is built for another subject or a version that is not there, or a
                feature reads a field which that version lacks.
        """
        self.contracts = contracts
        self.versions: dict[SchemaKey, Version] = {}
        self.refused: dict[SchemaKey, Reject] = {}
        self._policy = policy
        inputs = contracts.versions(policy.input_subject)
        if not inputs:
            raise ContractError(f"no contract named {policy.input_subject}")
        model = _built_for(policy, inputs, built)
        features.check_fields(model.schema.field_names)
        if not features.fields:
            raise ModelError("no feature of the model reads a field of the event")
        self._bind(inputs, model, features)
        self.prefixes = {
            frame(key): version for key, version in self.versions.items() if isinstance(key, int)
        }
        self.decision_prefix = _decision_frame(policy, contracts)

    def _bind(
        self, inputs: Mapping[int, Registered], model: Registered, features: Features
    ) -> None:
        outputs = {
            number: output
            for number, source in inputs.items()
            if (output := _derived_from(source, self._policy, self.contracts)) is not None
        }
        if not outputs:
            raise ContractError(
                f"no version of {self._policy.output_subject} is derived from any version of "
                f"{self._policy.input_subject}; `workers contracts derive` makes one"
            )
        newest = max(outputs)
        for number, source in inputs.items():
            target = number if number in outputs else newest
            try:
                reader = VersionReader(inputs[target].schema, model.schema, features.fields)
                rewriter = (
                    None if number == target else Resolver(source.schema, inputs[target].schema)
                )
            except Unresolvable as why:
                text = f"{source} cannot be read as version {model.version}: {why}"
                reject = Reject(Verdict.CONTRACT, "unresolvable", text)
                self.refused |= dict.fromkeys(source.keys, reject)
                continue
            output = outputs[target]
            version = Version(source, output, reader, output.frame, rewriter)
            self.versions |= dict.fromkeys(source.keys, version)
        if not self.versions:
            raise ContractError("; ".join(sorted({str(why) for why in self.refused.values()})))

    def unknown(self, key: SchemaKey) -> Reject:
        """Why records of this schema cannot be enriched."""
        if key in self.refused:
            return self.refused[key]
        shown = key if isinstance(key, int) else key.hex()
        found = self.contracts.find(key)
        if found is None:
            return Reject(
                Verdict.CONTRACT, "unknown_schema", f"schema id {shown} is in no contract"
            )
        text = f"schema id {shown} is {found.subject}, not {self._policy.input_subject}"
        return Reject(Verdict.CONTRACT, "other_subject", text)

    def __str__(self) -> str:
        """Every input version and what becomes of it, a line each."""
        lines = [f"{version.source}: {version}" for version in self.versions.values()]
        return "\n".join(dict.fromkeys([*lines, *map(str, self.refused.values())]))


def _built_for(policy: Policy, inputs: Mapping[int, Registered], built: ContractRef) -> Registered:
    if built.subject != policy.input_subject or built.version not in inputs:
        raise ModelError(
            f"the model is built for {built.subject} version {built.version}, which is not among "
            f"the versions of the input, {policy.input_subject}"
        )
    return inputs[built.version]


def _derived_from(source: Registered, policy: Policy, contracts: Catalogue) -> Registered | None:
    outputs = contracts.versions(policy.output_subject).values()
    block = enrichment_block()
    fitting = [
        out
        for out in outputs
        if out.id is not None and is_derived(out.schema, source.schema, block)
    ]
    return fitting[-1] if fitting else None


def _decision_frame(policy: Policy, contracts: Catalogue) -> bytes | None:
    subject = policy.decisions_subject
    if subject is None:
        return None
    block = enrichment_block()
    for version in contracts.versions(subject).values():
        if version.schema.root == block.root:
            return version.frame
    raise ContractError(f"{subject}: no version is the enrichment block {block.full_name}")
