"""The notifier that needs no channel: a line in the service's log."""

import structlog

from chargeline.domain.anomaly.update import Update
from chargeline.domain.money import plain

log = structlog.get_logger()


class LogNotifier:
    """`ports.Notifier` that writes one line for each update."""

    def notify(self, update: Update) -> None:
        log.warning(
            "cost_anomaly",
            anomaly_id=update.anomaly_id,
            sequence=update.sequence,
            status=update.status,
            kind=update.kind,
            severity=update.severity,
            billing_account_id=update.billing_account_id,
            dimensions=dict(update.dimensions),
            impact=plain(update.impact),
            billing_currency=update.billing_currency,
        )
