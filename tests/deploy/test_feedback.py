"""Feedback loops as CronJobs: what is rendered, and what is refused."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import pytest
from typer.main import get_command

from tests.deploy.conftest import Document, Refused, Tools, values_file
from workers.cli import app
from workers.errors import ExitCode
from workers.feedback.lake.lease import SECONDS

VOLUMES = values_file("feedback")
URLS = values_file("everything")


def jobs(documents: list[Document]) -> dict[str, Document]:
    """CronJobs by name."""
    return {d["metadata"]["name"]: d for d in documents if d["kind"] == "CronJob"}


def container(job: Document) -> Document:
    """The only one of its pods."""
    (found,) = job["spec"]["jobTemplate"]["spec"]["template"]["spec"]["containers"]
    return dict(found)


def changed(given: Document, **feedback: Any) -> Document:
    """Other values of `feedback`."""
    made = deepcopy(given)
    made["feedback"] |= feedback
    return made


def looped(given: Document, **loop: Any) -> Document:
    """Other values of its only loop."""
    return changed(given, loops=[{**given["feedback"]["loops"][0], **loop}])


def test_there_is_none_unless_it_is_asked_for(tools: Tools) -> None:
    """Also where the topology has a loop."""
    assert jobs(tools.render(changed(URLS, loops=[]))) == {}
    assert jobs(tools.render(values_file("minimal"))) == {}


def test_a_loop_runs_and_collects_by_its_schedules(tools: Tools) -> None:
    """Two CronJobs, never two of one at a time; commands and options are ours."""
    found = jobs(tools.render(URLS))

    assert sorted(found) == ["flights-feedback-flights", "flights-feedback-flights-collect"]
    run, collect = (found[name] for name in sorted(found))
    assert [run["spec"]["schedule"], collect["spec"]["schedule"]] == ["17 3 * * *", "*/30 * * * *"]
    for job in (run, collect):
        spec = job["spec"]
        assert (spec["concurrencyPolicy"], spec["timeZone"]) == ("Forbid", "Europe/Berlin")
        assert (spec["startingDeadlineSeconds"], spec["suspend"]) == (3600, False)
        assert (spec["successfulJobsHistoryLimit"], spec["failedJobsHistoryLimit"]) == (3, 3)
        of = spec["jobTemplate"]["spec"]
        assert (of["backoffLimit"], of["activeDeadlineSeconds"]) == (2, 14400)
        assert container(job)["resources"]["limits"] == {"memory": "8Gi"}
        _takes(container(job)["args"])
    assert container(run)["args"][:3] == ["feedback", "run", "flights"]
    assert container(collect)["args"][:3] == ["feedback", "collect", "flights"]


def _takes(words: list[str]) -> None:
    """Typer knows the command and every option, and the numbers are ones."""
    command: Any = get_command(app)
    group, name, *rest = words
    found = command.commands[group].commands[name]
    found.make_context(name, list(rest))


def test_a_killed_run_is_waited_for_and_what_a_person_must_do_is_not_tried_again(
    tools: Tools,
) -> None:
    """The wait outlasts a lease; exit codes of faults that stay end the job."""
    (job,) = jobs(tools.render(VOLUMES)).values()
    words = container(job)["args"]
    rules = job["spec"]["jobTemplate"]["spec"]["podFailurePolicy"]["rules"]

    assert int(words[words.index("--wait") + 1]) > SECONDS
    assert words[words.index("--keep") + 1] == "20"
    assert rules[0]["onPodConditions"][0]["type"] == "DisruptionTarget"
    assert rules[1]["onExitCodes"]["containerName"] == container(job)["name"]
    assert rules[1]["onExitCodes"]["values"] == sorted(
        [ExitCode.USAGE, ExitCode.TOPOLOGY, ExitCode.CONTRACT, ExitCode.MODEL]
    )


def test_the_lake_and_the_models_can_be_written_and_the_contracts_cannot(tools: Tools) -> None:
    """The worker's own mount of the models stays as it is."""
    documents = tools.render(VOLUMES)
    (job,) = jobs(documents).values()
    pod = job["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    mounts = {mount["name"]: mount for mount in container(job)["volumeMounts"]}
    claims = {v["name"]: v.get("persistentVolumeClaim") for v in pod["volumes"]}
    worker = next(d for d in documents if d["kind"] == "Deployment")["spec"]["template"]["spec"]
    theirs = {mount["name"]: mount for mount in worker["containers"][0]["volumeMounts"]}

    assert {name for name, mount in mounts.items() if not mount.get("readOnly")} == {
        "lake",
        "models",
        "state",
        "tmp",
    }
    assert mounts["contracts"]["readOnly"]
    assert claims["lake"] == {"claimName": "lake"}
    assert claims["models"] == {"claimName": "models"}
    assert theirs["models"]["readOnly"]
    assert "lake" not in theirs
    assert mounts["topology"] == theirs["topology"]
    assert job["spec"]["suspend"]


def test_its_pods_are_nobodys_but_its_own(tools: Tools) -> None:
    """No selector of the worker's takes them; they have secrets of their own, and a way out."""
    documents = tools.render(URLS)
    job = jobs(documents)["flights-feedback-flights"]
    labels = job["spec"]["jobTemplate"]["spec"]["template"]["metadata"]["labels"]
    selectors = {
        (d["kind"], d["metadata"]["name"]): (
            d["spec"].get("podSelector") or d["spec"]["selector"]
        ).get("matchLabels")
        for d in documents
        if d["kind"] in ("Deployment", "PodDisruptionBudget", "PodMonitor", "NetworkPolicy")
    }
    taking = [name for name, match in selectors.items() if match.items() <= labels.items()]
    policy = next(d for d in documents if d["metadata"]["name"] == "flights-feedback")

    assert taking == [("NetworkPolicy", "flights-feedback")]
    assert policy["spec"]["ingress"] == []
    assert policy["spec"]["policyTypes"] == ["Ingress", "Egress"]
    assert container(job)["envFrom"] == [{"secretRef": {"name": "kafka-flights-feedback"}}]
    plain = jobs(tools.render(changed(URLS, existingSecrets=[])))["flights-feedback-flights"]
    assert [e["secretRef"]["name"] for e in container(plain)["envFrom"]] == URLS["existingSecrets"]


def test_a_loop_has_its_own_word(tools: Tools) -> None:
    """What it says goes before what is said for all; names are ones that Kubernetes takes."""
    own = {"timeZone": "America/New_York", "backoffLimit": 0, "existingSecrets": ["a"]}
    told = changed(VOLUMES, metricsEndpoint="http://p/v1/metrics")
    documents = tools.render(looped(told, **own))
    (job,) = jobs(documents).values()

    assert job["metadata"]["name"] == "flights-feedback-flights-late-2"
    assert job["spec"]["timeZone"] == "America/New_York"
    assert job["spec"]["jobTemplate"]["spec"]["backoffLimit"] == 0
    assert container(job)["envFrom"] == [{"secretRef": {"name": "a"}}]
    endpoint = {"name": "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", "value": "http://p/v1/metrics"}
    assert endpoint in container(job)["env"]
    assert str(documents).count("http://p/v1/metrics") == 1, "the worker sends nothing there"
    assert tools.faults([job]) == []


@pytest.mark.parametrize(
    ("given", "why"),
    [
        (looped(VOLUMES, name="other"), 'no loop "other"'),
        (changed(URLS, metricsEndpoint="http://p/v1/metrics"), "goes before it"),
        (looped(VOLUMES, schedule="daily"), "schedule"),
        (looped(VOLUMES, concurrencyPolicy="Allow"), "concurrencyPolicy"),
        (looped(VOLUMES, collectSchedule="@hourly"), "leave out keep or collectSchedule"),
        (changed(VOLUMES, loops=VOLUMES["feedback"]["loops"] * 2), "is there twice"),
        (changed(VOLUMES, lake={"volume": {}, "mountPath": "/l"}), "would end with the pod"),
        (changed(VOLUMES, models={"volume": {}}), "a volume that can be written"),
        (
            looped({**VOLUMES, "topologyConfigMap": "t", "topology": {}}, name="x" * 40),
            "longer than the 52 characters",
        ),
    ],
)
def test_what_cannot_work_is_refused(tools: Tools, given: Document, why: str) -> None:
    """At `helm install`, and not at three in the night."""
    with pytest.raises(Refused, match=why):
        tools.render(given)
