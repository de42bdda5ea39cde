"""What moto 5.2.5 lacks or tells wrongly of what `terraform/` uses: a module a service, to be removed once moto has it."""

from tests.terraform.cloud.gaps import autoscaling, buckets, database, gateway, network, queues, services, zones

_GAPS = (autoscaling, buckets, database, gateway, network, queues, services, zones)


def fill() -> None:
    """Fill every gap, before the first request is served."""
    for gap in _GAPS:
        gap.fill()
