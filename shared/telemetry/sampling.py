"""Which spans are recorded, beside what the environment says. Imports the SDK."""

from collections.abc import Sequence

from opentelemetry.context import Context
from opentelemetry.sdk.trace.sampling import Decision, Sampler, SamplingResult
from opentelemetry.trace import Link, SpanKind, TraceState
from opentelemetry.util.types import Attributes


class Linked(Sampler):
    """Records the root of a batch that holds messages of recorded traces; else asks `below`.

    A sampler that goes by the trace's id would leave out most batches of the traces it keeps.
    """

    def __init__(self, below: Sampler) -> None:
        self._below = below

    def should_sample(  # noqa: PLR0913, PLR0917 the SDK's signature
        self,
        parent_context: Context | None,
        trace_id: int,
        name: str,
        kind: SpanKind | None = None,
        attributes: Attributes = None,
        links: Sequence[Link] | None = None,
        trace_state: TraceState | None = None,
    ) -> SamplingResult:
        """Return the verdict on one span."""
        _ = trace_state
        if any(link.context.trace_flags.sampled for link in links or ()):
            return SamplingResult(Decision.RECORD_AND_SAMPLE, attributes)
        return self._below.should_sample(parent_context, trace_id, name, kind, attributes, links)

    def get_description(self) -> str:
        """Return the name that is shown."""
        return f"Linked({self._below.get_description()})"
