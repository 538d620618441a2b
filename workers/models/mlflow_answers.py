"""What MLflow answers, as far as we read it; other fields are ignored."""

from __future__ import annotations

from pydantic import BaseModel


class Tag(BaseModel):
    """A key and its text."""

    key: str
    value: str = ""


class AliasOf(BaseModel):
    """MLflow's alias and its number of the version."""

    alias: str
    version: str


class Registered(BaseModel):
    """A registered model."""

    name: str
    creation_timestamp: int = 0
    last_updated_timestamp: int = 0
    tags: tuple[Tag, ...] = ()
    aliases: tuple[AliasOf, ...] = ()

    def tag(self, key: str) -> str | None:
        """The text of a tag."""
        return next((tag.value for tag in self.tags if tag.key == key), None)


class Version(BaseModel):
    """A model version; `version` is MLflow's number."""

    name: str
    version: str
    source: str = ""
    status: str = "READY"
    tags: tuple[Tag, ...] = ()

    def tag(self, key: str) -> str | None:
        """The text of a tag."""
        return next((tag.value for tag in self.tags if tag.key == key), None)


class RunInfo(BaseModel):
    """A run, and where its artifacts lie."""

    run_id: str
    artifact_uri: str


class Run(BaseModel):
    """A run of an experiment."""

    info: RunInfo


class RegisteredAnswer(BaseModel):
    """Of registered-models/get and create."""

    registered_model: Registered


class VersionAnswer(BaseModel):
    """Of model-versions/get and create."""

    model_version: Version


class VersionsAnswer(BaseModel):
    """Of model-versions/search, a page."""

    model_versions: tuple[Version, ...] = ()
    next_page_token: str = ""


class Experiment(BaseModel):
    """What runs belong to."""

    experiment_id: str


class ExperimentAnswer(BaseModel):
    """Of experiments/get-by-name."""

    experiment: Experiment


class RunAnswer(BaseModel):
    """Of runs/create."""

    run: Run


class Nothing(BaseModel):
    """Of calls that only say that it was done."""
