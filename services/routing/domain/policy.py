"""The published rules of routing: what a new desk starts with, and what a policy must be."""

from typing import Final

from shared.contracts.base import Level, Priority
from shared.contracts.routing import Desk, ImpactThreshold, MatrixCell, RoutingPolicyPublished
from shared.errors import InvalidInputError

DEFAULT_POLICY: Final = "default"
LEVELS: Final[tuple[Level, ...]] = ("high", "medium", "low")
_CATEGORIES: Final = ("hardware", "software", "network", "system")
_MATRIX: Final[dict[tuple[Level, Level], Priority]] = {
    ("high", "high"): "P1",
    ("high", "medium"): "P2",
    ("medium", "high"): "P2",
    ("high", "low"): "P3",
    ("medium", "medium"): "P3",
    ("low", "high"): "P3",
    ("medium", "low"): "P4",
    ("low", "medium"): "P4",
    ("low", "low"): "P4",
}


def default_policy() -> RoutingPolicyPublished:
    """Return the policy of a new desk. Source: ITIL 4, impact × urgency."""
    return RoutingPolicyPublished(
        policy_id=DEFAULT_POLICY,
        version=1,
        matrix=tuple(
            MatrixCell(impact=impact, urgency=urgency, priority=priority)
            for (impact, urgency), priority in _MATRIX.items()
        ),
        thresholds=(
            ImpactThreshold(impact="high", people=50, sites=3),
            ImpactThreshold(impact="medium", people=5, sites=2),
        ),
        desks=tuple(
            Desk(
                category=category,
                groups=("service-desk", f"{category}-support", f"{category}-experts"),
                skill=category,
            )
            for category in _CATEGORIES
        ),
        default_groups=("service-desk", "support", "experts"),
    )


def check(policy: RoutingPolicyPublished) -> None:
    """Raise InvalidInputError, naming the field, for a policy that leaves something open."""
    cells = [(cell.impact, cell.urgency) for cell in policy.matrix]
    for impact in LEVELS:
        for urgency in LEVELS:
            count = cells.count((impact, urgency))
            if count != 1:
                raise InvalidInputError(
                    f"the matrix has {count} cells for impact {impact}, urgency {urgency}",
                    field="/matrix",
                )
    categories = [desk.category for desk in policy.desks]
    for place, category in enumerate(categories):
        if category in categories[:place]:
            raise InvalidInputError(
                f"category {category} has two desks", field=f"/desks/{place}/category"
            )


def desk_for(policy: RoutingPolicyPublished, category: str | None) -> Desk:
    """Return who takes tickets of a category; the default groups where nobody else does."""
    for desk in policy.desks:
        if desk.category == category:
            return desk
    return Desk(category=category or "other", groups=policy.default_groups)


def names_group(policy: RoutingPolicyPublished, group: str) -> bool:
    """Whether the policy gives tickets to the group."""
    return group in policy.default_groups or any(group in desk.groups for desk in policy.desks)
