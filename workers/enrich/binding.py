"""Which input versions a worker can enrich, how each is read, and into what it is written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from workers.contracts.catalogue import Catalogue, Registered
from workers.contracts.decision import DecisionFrame, decision_frame, decision_schema
from workers.contracts.derive import block_versions, is_derived
from workers.contracts.framing import SchemaKey, frame
from workers.contracts.resolution import Resolver, Unresolvable, VersionReader
from workers.contracts.schema import Schema
from workers.enrich.policy import Policy
from workers.enrich.seat import Seat
from workers.enrich.staleness import check_staleness
from workers.enrich.versions import Version
from workers.errors import Code, ContractError, ModelError, Reject
from workers.models.model import Model
from workers.topology import Shape, WholeBlock


class Binding:
    """A worker's contracts at one moment: what becomes of each schema key.

    `block` is the version of the enrichment block that its events get, `built` the input version
    as which they are read: the one that the first seat's model was built for.
    """

    def __init__(self, policy: Policy, contracts: Catalogue, seats: Sequence[Seat]):
        """Bind a worker's contracts to what its models and rules read.

        Raises:
            ContractError: there is no input contract, none of its versions can be enriched, or the
                decisions' contract is not the enrichment block; `staleness.field` has no time.
            ModelError: a model is built for another subject or a version that is not there, or a
                feature or a rule reads a field which that version lacks.
        """
        self.contracts = contracts
        self.versions: dict[SchemaKey, Version] = {}
        self.refused: dict[SchemaKey, Reject] = {}
        self._policy = policy
        inputs = contracts.versions(policy.input_subject)
        if not inputs:
            raise ContractError(f"no contract named {policy.input_subject}")
        self.built = seats[0].serving.model.manifest.contract.version
        needs = _needs(policy, inputs, seats)
        self.block, outputs = (
            _unchanged(policy, contracts, inputs)
            if policy.shape is Shape.HEADERS
            else _outputs(policy, contracts, inputs)
        )
        required = {seat.serving.model.manifest.contract.version for seat in seats}
        self._bind(inputs, outputs, needs, required)
        self.prefixes = {
            frame(key): version for key, version in self.versions.items() if isinstance(key, int)
        }
        self.decisions = _decision_frame(policy, contracts, self.block)
        self.block_prefix = _block_prefix(policy, contracts, self.block)

    def _bind(
        self,
        inputs: Mapping[int, Registered],
        outputs: Mapping[int, Registered],
        needs: Mapping[int, frozenset[str]],
        required: set[int],
    ) -> None:
        newest = max(outputs)
        for number, source in inputs.items():
            target = number if number in outputs else newest
            try:
                readers = _readers(inputs, target, needs, required)
                rewriter = (
                    None if number == target else Resolver(source.schema, inputs[target].schema)
                )
            except Unresolvable as why:
                text = f"{source} cannot be read as {why}"
                reject = Reject(Code.UNRESOLVABLE, text)
                self.refused |= dict.fromkeys(source.keys, reject)
                continue
            output, reader = outputs[target], readers[self.built]
            # Values that pass unchanged keep their own framing, which may be a header's.
            prefix = b"" if output is source else output.frame
            version = Version(source, output, reader, prefix, rewriter, readers)
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
            return Reject(Code.UNKNOWN_SCHEMA, f"schema id {shown} is in no contract")
        text = f"schema id {shown} is {found.subject}, not {self._policy.input_subject}"
        return Reject(Code.OTHER_SUBJECT, text)

    def __str__(self) -> str:
        """Every input version and what becomes of it, a line each."""
        lines = [f"{version.source}: {version}" for version in self.versions.values()]
        return "\n".join(dict.fromkeys([*lines, *map(str, self.refused.values())]))


def _needs(
    policy: Policy, inputs: Mapping[int, Registered], seats: Sequence[Seat]
) -> dict[int, frozenset[str]]:
    """Fields by the version as which they are read; the rules read as the first model does."""
    first = seats[0].serving.model.manifest.contract.version
    needs: dict[int, frozenset[str]] = {}
    for model in (model for seat in seats for model in seat.serving.models):
        registered = _built_for(policy, inputs, model)
        model.features.check_fields(registered.schema.field_names)
        if not model.features.fields:
            raise ModelError("no feature of the model reads a field of the event")
        known = needs.get(registered.version, frozenset())
        needs[registered.version] = known | frozenset(model.features.fields)
    for seat in seats:
        for rules in (seat.before, seat.after):
            rules.check_fields(inputs[first].schema.field_names)
        needs[first] |= seat.fields
    needs[first] |= check_staleness(policy.staleness, inputs[first].schema)
    return needs


def _built_for(policy: Policy, inputs: Mapping[int, Registered], model: Model) -> Registered:
    built = model.manifest.contract
    if built.subject != policy.input_subject or built.version not in inputs:
        raise ModelError(
            f"the model is built for {built.subject} version {built.version}, which is not among "
            f"the versions of the input, {policy.input_subject}"
        )
    return inputs[built.version]


def _readers(
    inputs: Mapping[int, Registered],
    target: int,
    needs: Mapping[int, frozenset[str]],
    required: set[int],
) -> dict[int, VersionReader]:
    """Readers of a version as each that is needed; only a canary's may be missing.

    Raises:
        Unresolvable: it cannot be read as a version that a champion needs; names that.
    """
    readers = {}
    for built, fields in needs.items():
        try:
            readers[built] = VersionReader(
                inputs[target].schema, inputs[built].schema, sorted(fields)
            )
        except Unresolvable as why:
            if built in required:
                raise Unresolvable(f"version {built}: {why}") from why
    return readers


def _outputs(
    policy: Policy, contracts: Catalogue, inputs: Mapping[int, Registered]
) -> tuple[Schema, dict[int, Registered]]:
    """Outputs by input version, of the block version that most of them have; the newer one.

    Raises:
        ContractError: there are none.
    """
    best: tuple[Schema, dict[int, Registered]] | None = None
    for block in block_versions():
        found = {
            number: output
            for number, source in inputs.items()
            if (output := _derived_from(source, policy, contracts, block)) is not None
        }
        if best is None or len(found) > len(best[1]):
            best = block, found
    if best is None or not best[1]:
        raise ContractError(
            f"no version of {policy.output_subject} is derived from any version of "
            f"{policy.input_subject} with {_named(policy.blocks)}; `workers contracts derive` "
            "makes one"
        )
    return best


def _unchanged(
    policy: Policy, contracts: Catalogue, inputs: Mapping[int, Registered]
) -> tuple[Schema, dict[int, Registered]]:
    """Every version stays what it is; the newest block that the decisions' contract has."""
    found = policy.decisions_subject
    known = () if found is None else contracts.versions(found).values()
    roots = [version.schema.root for version in known]
    newest, *_ = blocks = block_versions()
    # Where none fits, the decisions' contract is refused as it is for every worker.
    block = next((b for b in blocks if b.root in roots or decision_schema(b).root in roots), newest)
    return block, dict(inputs)


def _named(blocks: Sequence[str]) -> str:
    return f"the block{'s' if len(blocks) > 1 else ''} {', '.join(blocks)}"


def _derived_from(
    source: Registered, policy: Policy, contracts: Catalogue, block: Schema
) -> Registered | None:
    outputs = contracts.versions(policy.output_subject).values()
    fitting = [
        out
        for out in outputs
        if out.id is not None and is_derived(out.schema, source.schema, block, policy.blocks)
    ]
    return fitting[-1] if fitting else None


def _decision_frame(policy: Policy, contracts: Catalogue, block: Schema) -> DecisionFrame | None:
    subject = policy.decisions_subject
    if subject is None:
        return None
    found = decision_frame(contracts, subject, block)
    if found is None:
        raise ContractError(
            f"{subject}: no version with an id has the enrichment block of "
            f"{policy.output_subject}, {len(block.field_names)} fields; `workers contracts derive` "
            "makes one"
        )
    return found


def _block_prefix(policy: Policy, contracts: Catalogue, block: Schema) -> bytes | None:
    """What frames a block alone, where headers are to hold one as Avro."""
    if policy.shape is not Shape.HEADERS or policy.whole is not WholeBlock.AVRO:
        return None
    subject = policy.decisions_subject or ""
    known = [each for each in contracts.versions(subject).values() if each.id is not None]
    for version in reversed(known):
        if version.schema.root == block.root:
            return version.frame
    raise ContractError(
        f"output.block is avro, and {subject} has no version with an id that is the enrichment "
        "block alone, so nothing could frame it; write json"
    )
