"""What topology.yaml may say, and reading it."""

from workers.topology.deciding import (
    Backend,
    Degrade,
    Exploration,
    Latency,
    ModelRef,
    OnModelFailure,
    Rule,
    RuleSet,
)
from workers.topology.describe import describe
from workers.topology.encryption import Encryption
from workers.topology.feedback import Absent, Cost, Feedback, Lake
from workers.topology.gateway import Gateway, WorkerGateway
from workers.topology.health import Health
from workers.topology.load import environment, load, load_as, user_cache, user_folder
from workers.topology.model import Broker, Topology, json_schema
from workers.topology.models import MlflowPlace, ModelsPlace
from workers.topology.quality import Drift, OnStale, Staleness
from workers.topology.retries import Retries, RetryTopic, Tier
from workers.topology.shapes import Mode, Shape, WholeBlock
from workers.topology.telemetry import Telemetry
from workers.topology.transforms import Transform
from workers.topology.wanted import TopicSettings, retention_settings
from workers.topology.worker import (
    BreakerSettings,
    Delivery,
    EventKey,
    FirstStart,
    HeaderPolicy,
    Partitioning,
    Protocol,
    Sequencing,
    Tombstones,
    Unframed,
    Worker,
)

__all__ = [
    "Absent",
    "Backend",
    "BreakerSettings",
    "Broker",
    "Cost",
    "Degrade",
    "Delivery",
    "Drift",
    "Encryption",
    "EventKey",
    "Exploration",
    "Feedback",
    "FirstStart",
    "Gateway",
    "HeaderPolicy",
    "Health",
    "Lake",
    "Latency",
    "MlflowPlace",
    "Mode",
    "ModelRef",
    "ModelsPlace",
    "OnModelFailure",
    "OnStale",
    "Partitioning",
    "Protocol",
    "Retries",
    "RetryTopic",
    "Rule",
    "RuleSet",
    "Sequencing",
    "Shape",
    "Staleness",
    "Telemetry",
    "Tier",
    "Tombstones",
    "TopicSettings",
    "Topology",
    "Transform",
    "Unframed",
    "WholeBlock",
    "Worker",
    "WorkerGateway",
    "describe",
    "environment",
    "json_schema",
    "load",
    "load_as",
    "retention_settings",
    "user_cache",
    "user_folder",
]
