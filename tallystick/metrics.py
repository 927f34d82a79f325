"""Every metric there is: its type, its words, its label. A role gives values by these names, and no others.

They are read at scrape time from counters that the parts keep anyway: nothing here is called
for a message. A counter that counts something rare is there from the start, at zero: else the
first time would be no increase to Prometheus.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from itertools import accumulate

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric as Family


class Kind(StrEnum):
    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


@dataclass(frozen=True, slots=True)
class Metric:
    kind: Kind
    text: str
    label: str = ""  # besides `role`


class Histogram:
    """Seconds, in buckets."""

    BOUNDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)

    def __init__(self) -> None:
        self.sum = 0.0
        self._counts = [0] * (len(self.BOUNDS) + 1)

    def observe(self, seconds: float) -> None:
        self._counts[bisect_left(self.BOUNDS, seconds)] += 1
        self.sum += seconds

    @property
    def buckets(self) -> list[tuple[str, float]]:
        """Cumulative, as Prometheus wants them."""
        names = [*map(str, self.BOUNDS), "+Inf"]
        return list(zip(names, accumulate(self._counts), strict=True))


Value = float | Mapping[str, float] | Histogram
"""A mapping is by the values of the metric's label."""

ALARMS = (
    "another bus",
    "another approvals topic",
    "another events topic",
    "another journal topic",
    "another recorder of this name",
    "bad grant",
    "bad suspension",
    "break-glass",
    "gap",
    "message not accepted",
    "messages lost",
    "notification given up",
    "one position, two messages",
    "journal shorter than it was",
    "recorder gone",
    "review overdue",
)
"""Every word of a log line `"event": "alarm"`."""

_C, _G, _H = Kind.COUNTER, Kind.GAUGE, Kind.HISTOGRAM
METRICS = {
    # --- every role
    "tallystick_build_info": Metric(_G, "1; the label says which version runs", "version"),
    "tallystick_ready": Metric(_G, "1 if the role can do its job: what /readyz says"),
    "tallystick_alarms_total": Metric(_C, "Tallystick found itself or its record ill", "alarm"),
    # --- gateway
    "tallystick_sessions_active": Metric(_G, "Sessions that are open now"),
    "tallystick_sessions_opened_total": Metric(_C, "Sessions opened"),
    "tallystick_sessions_closed_total": Metric(_C, "Sessions closed"),
    "tallystick_logins_refused_total": Metric(_C, "Logins that were turned away"),
    "tallystick_commands_total": Metric(_C, "Commands seen"),
    "tallystick_refused_total": Metric(_C, "Commands that were not let through", "reason"),
    "tallystick_suspended": Metric(_G, "Suspensions of sessions and identities that last now"),
    "tallystick_holds_total": Metric(_C, "Commands that were held"),
    "tallystick_holds_released_total": Metric(_C, "Held commands that were let through"),
    "tallystick_holds_waiting": Metric(_G, "Commands that wait on the wire now"),
    "tallystick_hold_oldest_seconds": Metric(_G, "How long the oldest of them has waited; 0 if none does"),
    "tallystick_judgements_cached_total": Metric(_C, "Judgements taken from the screen's cache"),
    "tallystick_judgements_made_total": Metric(_C, "Judgements made anew"),
    "tallystick_journal_writable": Metric(_G, "0 while the journal's disk takes nothing: commands are refused"),
    "tallystick_journal_congested": Metric(_G, "1 while more than 4 MiB is not durable: reading stops"),
    "tallystick_journal_chunks_total": Metric(_C, "Chunks written"),
    "tallystick_journal_recorded_bytes_total": Metric(_C, "Bytes of traffic recorded, before sealing"),
    "tallystick_journal_disk_bytes": Metric(_G, "Size of the journal's files: what the ledger has not covered yet"),
    "tallystick_journal_free_bytes": Metric(_G, "Free space where the journal lies"),
    "tallystick_journal_unpublished_bytes": Metric(_G, "What Kafka has not got yet (full mode)"),
    "tallystick_journal_unpublished_seconds": Metric(_G, "For how long that has been so (full mode)"),
    # --- workers
    "tallystick_worker_messages_total": Metric(_C, "Messages handled"),
    "tallystick_behaviour_exchanges_total": Metric(_C, "Commands held against what is usual"),
    "tallystick_behaviour_unknown_total": Metric(_C, "Commands of sessions that were opened before the step began"),
    "tallystick_behaviour_strangers_total": Metric(_C, "Messages that no enrolled producer signed, or that are none"),
    "tallystick_behaviour_identities": Metric(_G, "Identities whose usual is known or being learned"),
    "tallystick_behaviour_alerts_total": Metric(_C, "Alerts"),
    "tallystick_behaviour_suspensions_total": Metric(_C, "Suspensions"),
    "tallystick_worker_lag_messages": Metric(_G, "Messages in Kafka that are not handled yet (full mode)"),
    "tallystick_worker_lag_bytes": Metric(_G, "Bytes of the journal that are not read yet (embedded)"),
    "tallystick_mask_bytes_total": Metric(_C, "Bytes of segments masked"),
    "tallystick_mask_exchanges_total": Metric(_C, "Exchanges masked, judged and encrypted"),
    "tallystick_mask_undecoded_total": Metric(_C, "Segments and messages that could not be read"),
    "tallystick_mask_failed_values_total": Metric(_C, "Values withheld because a part of the mask failed on them"),
    "tallystick_ask_messages_total": Metric(_C, "What the approvals step was told: holds, their ends, boots"),
    "tallystick_approvals_requests_open": Metric(_G, "Approval requests that a vote or a command may still answer"),
    "tallystick_approvals_holds_waiting": Metric(_G, "Held commands that wait for an answer, of all gateways"),
    "tallystick_approvals_oldest_seconds": Metric(_G, "Age of the oldest request with a command that waits"),
    "tallystick_approvals_reviews_due": Metric(_G, "Broken glass that nobody has reviewed yet"),
    "tallystick_approvals_reviews_overdue": Metric(_G, "Of that: past its time"),
    "tallystick_notify_sent_total": Metric(_C, "Messages that a channel took", "channel"),
    "tallystick_notify_failed_total": Metric(_C, "Tries to send one that failed", "channel"),
    "tallystick_notify_given_up_total": Metric(_C, "Notices that nobody was told", "channel"),
    "tallystick_notify_waiting": Metric(_G, "Notices that wait for a channel, or are on their way", "channel"),
    # --- ledger
    "tallystick_ledger_entries": Metric(_G, "Entries under the newest checkpoint"),
    "tallystick_ledger_batches": Metric(_G, "Batches in the shard"),
    "tallystick_ledger_lag_messages": Metric(_G, "Messages of `events` that are not taken yet"),
    "tallystick_ledger_lag_seconds": Metric(_G, "How long the oldest entry that was taken waits for a checkpoint"),
    "tallystick_ledger_commit_seconds": Metric(_H, "From an encoded batch to its signed checkpoint in the store"),
    "tallystick_ledger_commit_last_seconds": Metric(_G, "The newest of these"),
    "tallystick_ledger_checkpoint_timestamp_seconds": Metric(_G, "When the newest checkpoint was made"),
    "tallystick_worm_probe_success": Metric(_G, "1: the store kept what it was tried on; else the role does not start"),
    "tallystick_worm_probe_timestamp_seconds": Metric(_G, "When that was"),
}


def family(name: str, value: Value, role: str) -> Family:
    """Raises KeyError for a name that is not in METRICS."""
    metric = METRICS[name]
    labels = ["role", *([metric.label] if metric.label else [])]
    if isinstance(value, Histogram):
        made = HistogramMetricFamily(name, metric.text, labels=labels)
        made.add_metric([role], value.buckets, value.sum)
        return made
    kind = CounterMetricFamily if metric.kind is Kind.COUNTER else GaugeMetricFamily
    simple = kind(name, metric.text, labels=labels)
    for label, number in value.items() if isinstance(value, Mapping) else [("", value)]:
        simple.add_metric([role, *([label] if metric.label else [])], number)
    return simple
