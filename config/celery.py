"""The Celery application and its timetable. A task is a doorbell: what is due stands in rows."""

import os

from celery import Celery

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")

app = Celery("keyreeve")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()

# name, task, seconds between two beats
BEATS = [
    ("connections that are due", "inventory.tasks.sweep_due_connections", 30),
    ("client removals that are due", "inventory.tasks.sweep_due_removals", 60),
    ("findings", "lifecycle.tasks.evaluate_findings", 300),
    ("waivers that end", "lifecycle.tasks.expire_waivers", 300),
    ("the posture of the day", "lifecycle.tasks.take_snapshot", 3600),
    ("the chain's head", "audit.tasks.sign_chain_head", 3600),
]
app.conf.beat_schedule = {name: {"task": task, "schedule": seconds} for name, task, seconds in BEATS}
