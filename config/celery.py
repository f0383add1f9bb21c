"""The Celery application and its timetable. A task is a doorbell: what is due stands in rows."""

import os
from datetime import timedelta

from celery import Celery

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")

app = Celery("keyreeve")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()

# The one declaration of what runs by itself: name, task, time between two beats. `ScheduledJob` rows follow it, and a
# beat that is missed is a finding.
BEATS = [
    ("connections that are due", "inventory.tasks.sweep_due_connections", timedelta(seconds=30)),
    ("client removals that are due", "inventory.tasks.sweep_due_removals", timedelta(seconds=60)),
    ("operations that are due", "lifecycle.tasks.sweep_due_operations", timedelta(seconds=5)),
    ("evaluation of findings", "lifecycle.tasks.evaluate_findings", timedelta(minutes=5)),
    ("rotations that fall due", "lifecycle.tasks.begin_due_rotations", timedelta(minutes=5)),
    ("waivers that end", "lifecycle.tasks.expire_waivers", timedelta(minutes=5)),
    ("batches of operations", "lifecycle.tasks.sweep_batches", timedelta(seconds=30)),
    ("figures of the day", "lifecycle.tasks.take_snapshot", timedelta(hours=1)),
    ("access reviews", "reviews.tasks.sweep_campaigns", timedelta(minutes=1)),
    ("access reviews that begin", "reviews.tasks.begin_campaigns", timedelta(hours=1)),
    ("ownership that is due", "reviews.tasks.sweep_ownership", timedelta(minutes=15)),
    ("measures of controls", "reviews.tasks.measure_controls", timedelta(hours=1)),
    ("evidence packs that are due", "reviews.tasks.sweep_evidence_packs", timedelta(minutes=1)),
    ("evidence packs that are old", "reviews.tasks.remove_old_packs", timedelta(hours=6)),
    ("notices to compose", "lifecycle.tasks.compose_notices", timedelta(minutes=1)),
    ("notices that are due", "notifications.tasks.sweep_due_notices", timedelta(seconds=30)),
    ("streams of events that are due", "notifications.tasks.sweep_due_streams", timedelta(seconds=15)),
    ("API tokens of Keyreeve itself", "config.tasks.list_own_tokens", timedelta(minutes=15)),
    ("signature of the audit log", "audit.tasks.sign_chain_head", timedelta(hours=1)),
    ("export of the audit log", "audit.tasks.export_chain_heads", timedelta(minutes=5)),
    ("verification of the audit log", "audit.tasks.verify_chain", timedelta(hours=6)),
    ("versions that are too old", "history.tasks.forget_old_versions", timedelta(days=1)),
]
app.conf.beat_schedule = {name: {"task": task, "schedule": cadence} for name, task, cadence in BEATS}
