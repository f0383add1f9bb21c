"""Since when there is a past to look at."""

from django.db import models


class Beginning(models.Model):
    """When a table began to keep its past. What stood in it then is its first version."""

    table = models.CharField(max_length=63, primary_key=True)
    at = models.DateTimeField(help_text="Later where older versions were forgotten.")

    def __str__(self) -> str:
        return f"{self.table} since {self.at:%Y-%m-%d %H:%M}"
